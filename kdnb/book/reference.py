"""Reference pages that write themselves: parameters from the types, profiles from their files, calibration and cost from
their records.

Everything is MyST Markdown, for the book.
"""

import ast
import inspect
import textwrap
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kdnb.book import figures, pages
from kdnb.training import spec
from kdnb.study import grid as study

MODELS: dict[type[BaseModel], str] = {
    pages.Parameters: "of a page of the book: the first cell of every notebook, `kdnb reproduce -p NAME=VALUE`",
    study.Profile: "of a profile: the top level of its YAML file",
    study.DatasetConfig: "under `dataset`",
    study.NetworkConfig: "under `teacher` and `student`",
    spec.ModelSpec: "under `teacher.model` and `student.model`",
    spec.TrainSpec: "under `teacher.train` and `student.train`",
    spec.OneCycleSchedule: "under `….train.schedule`, with `kind: one-cycle`",
    spec.StepSchedule: "under `….train.schedule`, with `kind: step`",
    spec.CosineSchedule: "under `….train.schedule`, with `kind: cosine`",
    spec.DistillSpec: "under `distill`",
    spec.RecordSpec: "under `record`",
}
"""The typed settings, and where a person meets them."""

_BOUNDS = {"gt": "> ", "ge": "≥ ", "lt": "< ", "le": "≤ ", "min_length": "length ≥ ", "pattern": "matches "}


def documented(model: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """field → (its type as written, the text under it)."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    found: dict[str, tuple[str, str]] = {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = " ".join(str(following.value.value).replace("``", "`").split())
            found[statement.target.id] = (ast.unparse(_Plain().visit(statement.annotation)), text)
    return found


class _Plain(ast.NodeTransformer):
    """``Annotated[int, …]`` is an int to whoever writes a profile; its range has a column of its own."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return node


def parameters() -> str:
    """A table for each of `MODELS`: name, type, default, range, meaning."""
    parts = []
    for model, where in MODELS.items():
        written = documented(model)
        rows = ["| name | type | default | range | meaning |", "|---|---|---|---|---|"]
        for name, field in model.model_fields.items():
            kind, text = written[name]
            cells = [f"`{name}`", f"`{kind}`", _default(field), _range(field), text]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts += [f"**{model.__name__}**, {where}. {_first_line(model)}", "", *rows, ""]
    return "\n".join(parts)


def _first_line(model: type[BaseModel]) -> str:
    """Of its own description, not of the class it inherits from."""
    return inspect.cleandoc(vars(model).get("__doc__") or "").split("\n")[0]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default: Any = field.default
    if isinstance(default, BaseModel):
        return "as below"
    return "the paper's rows" if default is study.ALL_ENSEMBLES else f"`{default!r}`"


def _range(field: FieldInfo) -> str:
    found = []
    for each in field.metadata:
        for name, sign in _BOUNDS.items():
            bound = getattr(each, name, None)
            if bound is not None:
                found.append(f"{sign}`{bound}`" if name == "pattern" else f"{sign}{bound}")
    return ", ".join(found)


def profiles() -> str:
    """For each profile of the package: what it is for, how many runs it has, and its file."""
    parts = []
    for name in study.profile_names():
        profile = study.load_profile(name)
        grid = study.build(profile, "", profile.seeds[:1])
        students = sum(run.spec.role == "student" for run in grid.runs)
        parts += [
            f"**{name}**: {profile.about}. A seed is {len(grid.runs)} runs, {students} of them students; it has "
            f"{len(profile.seeds)} seed{'' if len(profile.seeds) == 1 else 's'}.",
            "",
            "```yaml",
            (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8").rstrip(),
            "```",
            "",
        ]
    return "\n".join(parts)


COST = {
    "runs": ("runs", "{:.0f}"),
    "tflop": ("TFLOP", "{:,.1f}"),
    "images_per_second": ("images/s", "{:,.0f}"),
    "gflops": ("GFLOP/s", "{:.0f}"),
    "share_of_peak": ("of the peak", "{:.0%}"),
    "memory_gb": ("peak memory, GB", "{:.2f}"),
    "minutes": ("minutes", "{:.1f}"),
}
"""The columns that ``benchmarks/cost.py`` writes, for a seed: how they are headed and shown."""


def cost(folder: Path) -> str:
    """What a seed of a profile costs, by role, on the machine that was measured."""
    parts = []
    if not any(folder.glob("cost-*.csv")):
        return "Not measured yet; `python benchmarks/cost.py` measures it."
    for path in sorted(folder.glob("cost-*.csv")):
        costs = pd.read_csv(path).set_index("role")
        (machine,) = costs["machine"].unique()
        peak, total = costs["peak_gflops"].median(), costs["minutes"].sum() / 60
        parts += [
            f"**{path.stem.removeprefix('cost-')}**, a seed on {machine}: {total:.1f} hours; large matrices multiply at "
            f"{peak:.0f} GFLOP/s there.",
            "",
            "| role | " + " | ".join(title for title, _ in COST.values()) + " |",
            "|---|" + "--:|" * len(COST),
        ]
        for role, row in costs.iterrows():
            cells = ["" if pd.isna(row[name]) else form.format(row[name]) for name, (_, form) in COST.items()]
            parts.append(f"| {role} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def calibration(folder: Path) -> str:
    """The pilot networks: where each ended, and its curves."""
    parts = []
    for path in sorted(folder.glob("*-resnet*.csv"), key=lambda path: path.stem.split("-resnet")):
        curves = pd.read_csv(path)
        ends = curves[curves["epoch"] == curves["epoch"].max()].sort_values(["seed", "run"])
        epochs = int(curves["epoch"].max())
        rows = ["| seed | augmentation | training accuracy (own views) | validation accuracy |", "|---|---|---|---|"]
        for end in ends.to_dict("records"):
            augmentation = "weak" if end["run"] == "Sw" else "strong"
            rows.append(
                f"| {end['seed']} | {augmentation} | {end['train_accuracy']:.1%} | {end['validation_accuracy']:.1%} |"
            )
        profile, network = path.stem.rsplit("-", 1)[0].split("-resnet")
        network = f"resnet{network}"
        alt = f"Accuracy of {network} by epoch, trained alone with weak and with strong augmentation."
        parts += [
            f"**`{profile}`: {network}, {epochs} epochs**",
            "",
            *rows,
            "",
            "```{raw} html",
            f'<div class="kdnb-figure">{figures.to_svg(figures.pilot_curves(curves), alt)}</div>',
            "```",
            "",
        ]
    return "\n".join(parts)
