"""Reference pages that write themselves from the code and from records: parameters from the types, profiles from their
files, seeds from published results.

Everything is MyST Markdown, for the book.
"""

import inspect
import math
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pandas as pd
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kdnb.book import opening
from kdnb.evidence import claims, judging, results
from kdnb.evidence.estimands import papers, papers_in_words, signed
from kdnb.ruler import power as power_of
from kdnb.ruler import sampling
from kdnb.scale import cost as costs
from kdnb.study import grid, profile
from kdnb.training import objectives, spec

MODELS: dict[type[BaseModel], str] = {
    opening.Parameters: "of a page of the book: the first cell of every notebook, `kdnb reproduce -p NAME=VALUE`",
    profile.Profile: "of a profile: the top level of its YAML file",
    profile.DatasetConfig: "under `dataset`",
    profile.TrainedOrigin: "under `origins.NAME`, with `kind: trained`",
    profile.ImageNet: "under `origins.NAME`, with `kind: imagenet`",
    profile.WeightsFile: "under `origins.NAME`, with `kind: file`",
    profile.NetworkConfig: "under `teacher` and `student`",
    spec.ModelSpec: "under `teacher.model` and `student.model`",
    spec.TrainSpec: "under `teacher.train` and `student.train`",
    spec.OneCycleSchedule: "under `….train.schedule`, with `kind: one-cycle`",
    spec.StepSchedule: "under `….train.schedule`, with `kind: step`",
    spec.CosineSchedule: "under `….train.schedule`, with `kind: cosine`",
    objectives.Objective: "under `objectives.NAME`",
    profile.Row: "of a row of `grid`",
    profile.TeacherConfig: "of a teacher in a row, where its augmentation alone is not enough",
    spec.ObserveSpec: "under `observe`",
}
"""The typed settings, and where a person meets them."""

_BOUNDS = {"gt": "> ", "ge": "≥ ", "lt": "< ", "le": "≤ ", "min_length": "length ≥ ", "pattern": "matches "}


def parameters() -> str:
    """A table for each of `MODELS`: name, type, default, range, meaning."""
    parts = []
    for model, where in MODELS.items():
        rows = ["| name | type | default | range | meaning |", "|---|---|---|---|---|"]
        for name, field in model.model_fields.items():
            text = " ".join((field.description or "").replace("``", "`").split())
            cells = [f"`{name}`", f"`{_kind(field.annotation)}`", _default(field), _range(field), text]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts += [f"**{model.__name__}**, {where}. {_first_line(model)}", "", *rows, ""]
    return "\n".join(parts)


def _kind(annotation: Any) -> str:
    """A type as one would write it. Its range has a column of its own."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(parts[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, parts))}]"
    if origin in (Union, UnionType):
        return " | ".join(map(_kind, parts))
    if parts:
        return f"{origin.__name__}[{', '.join(map(_kind, parts))}]"
    return {None: "None", type(None): "None", ...: "..."}.get(annotation) or str(
        getattr(annotation, "__name__", annotation)
    )


def _first_line(model: type[BaseModel]) -> str:
    """Of its own description, not of the class it inherits from."""
    return inspect.cleandoc(vars(model).get("__doc__") or "").split("\n")[0]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default: Any = field.default
    if isinstance(default, BaseModel):
        return "as below"
    if default == profile.Profile.model_fields["grid"].default:
        return "students without teachers, and the paper's eight trials"
    return "`kd`, as below" if isinstance(default, dict) and default else f"`{default!r}`"


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
    for name in profile.names():
        settings = profile.load(name)
        study = grid.build(settings, "", settings.seeds[:1], dict.fromkeys(settings.origins, ""))
        students = sum(run.spec.role == "student" for run in study.runs)
        parts += [
            f"**{name}**: {settings.about}. A seed is {len(study.runs)} runs, {students} of them students; it has "
            f"{len(settings.seeds)} seed{'' if len(settings.seeds) == 1 else 's'}.",
            "",
            "```yaml",
            (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8").rstrip(),
            "```",
            "",
        ]
    return "\n".join(parts)


CPU_SIZES = costs.Sizes(train=5_000, validation=10_000, classes=100, side=32)
"""of the images of the profile `cpu`"""


def growth(name: str = "cpu", sizes: costs.Sizes = CPU_SIZES) -> str:
    """What a seed of a profile consists of, what it would cost with more of something, and how many workers can share it.

    Args:
        sizes: of the profile's images.
    """
    settings = profile.load(name)
    origins = dict.fromkeys(settings.origins, "")
    study, fifth = (grid.build(settings, "", settings.seeds[:seeds], origins) for seeds in (1, 5))
    runs = study.of_seed(study.seeds[0])
    by_id = {run.spec.id: run.spec for run in study.every_run}

    def of_seed(shape: costs.Sizes) -> costs.Cost:
        groups = [[run.spec for run in group] for group in study.groups(runs)]
        return costs.together([costs.of_group(group, by_id, {"": shape}) for group in groups])

    now, wide = of_seed(sizes), of_seed(replace(sizes, side=2 * sizes.side))
    roles = [run.spec.role for run in runs]
    students, others = roles.count("student"), len(roles) - roles.count("student")
    rows = [
        f"A seed of `{name}` at {sizes.side} px is {now.flop / 1e12:,.0f} TFLOP:",
        "",
        "| part | grows with | share |",
        "|---|---|--:|",
        f"| steps of {others} teachers and reference | teachers × their epochs × images | {now.teachers / now.flop:.0%} |",
        f"| steps of {students} students | students × their epochs × images | {now.students / now.flop:.0%} |",
        f"| answers of teachers | groups × their teachers × epochs × images | {now.answers / now.flop:.0%} |",
        f"| looks at validation images, and measuring | networks × looks | {now.looking / now.flop:.0%} |",
        "",
        "| one more | costs, of a seed |",
        "|---|--:|",
        "| seed | 100% |",
        f"| student in a group that is there | {now.students / students / now.flop:.1%} |",
        f"| teacher, before anyone listens to it | {now.teachers / others / now.flop:.1%} |",
        f"| doubling of the side, to {2 * sizes.side} px | {wide.flop / now.flop - 1:.0%} |",
        "",
        "| workers | one seed, at best | five seeds, at best |",
        "|--:|--:|--:|",
    ]
    for workers in (1, 2, 4, 8, 16):
        faster = [costs.speed_up(each, workers, {"": sizes}) for each in (study, fifth)]
        rows.append(f"| {workers} | {faster[0]:.1f} × | {faster[1]:.1f} × |")
    return "\n".join([*rows, ""])


_SIGNS = {1: "+", -1: "−", None: "none"}


def declared(name: str = "K") -> str:
    """A declared set of claims: both columns of each, the primary in bold, the predicted sign and the paper's own values.

    Args:
        name: of the set.
    """
    declared = claims.SETS[name]
    parts = [
        f"Set {declared.name}, version {declared.version}, declared on {declared.declared:%d %B %Y}. The paper's values are of "
        "CIFAR-100 / its long tail (imb100) / ImageNet-LT, computed from its tables (arXiv v1).",
        "",
    ]
    for claim in declared.claims:
        parts += [
            f"## {_title(claim)}",
            "",
        ]
        parts += [f"Where: {claim.where}. What would contradict it: {claim.contradiction}.", ""]
        parts += [f"*{claim.note[0].upper() + claim.note[1:]}.*", ""] if claim.note else []
        rows = [each for each in declared.estimands() if each[0] is claim]
        if rows:
            parts += ["| column | effect | sign | the paper's own |", "|---|---|:-:|---|"]
        for _, column, primary, estimand in rows:
            what = estimand.what.replace("|", "\\|")
            margin = f", margin ±{claim.margin:g}" * bool(claim.margin)
            test = f", {claim.kind}, family {claim.family}" * bool(claim.family)
            shown = f"**{what}** (primary{test}{margin})" if primary else what
            parts.append(f"| {column} | {shown} | {_SIGNS[estimand.predicted]} | {papers_in_words(estimand)} |")
        parts.append("")
        if claim is claims.P:
            parts += [f"- **{each.key}**: {each.what} ({_SIGNS[each.predicted]})" for each in claims.CONJUNCTION]
            parts.append("")
    return "\n".join([*parts, *_ladder()] if name == "R" else parts)


def _title(claim: claims.Claim) -> str:
    return f"{claim.key[0].upper()}{claim.key[1:]}: {claim.statement}"


def _ladder() -> list[str]:
    """What was declared of the profiles above and below the second round's scale."""
    rows = [
        f"| {each.effect.what} | {each.declared} | {', '.join(f'`{profile}`' for profile in each.profiles)} |"
        for each in claims.LADDER
    ]
    says = "No verdict: of three seeds at each rung it is said whether all have the sign of `cpu-draws`, none, or some."
    return [
        "## The ladder: is a sign peculiar to this scale?",
        "",
        says,
        "",
        "| effect | expected | at |",
        "|---|---|---|",
        *rows,
        "",
    ]


def seeds(folder: Path) -> str:
    """Every estimand of the claims K in every published seed, both columns, with the paper's own values beside them."""
    found = results.read(folder).judged_by("K")
    declared, effects, judged = found.claim_set, found.effects, found.verdicts
    listed = [str(seed) for seed in found.seeds]
    named = f"seed{'s' if len(listed) > 1 else ''} {', '.join(listed)}"
    commits = sorted({made["commit"][:7] for seed in found.about["seeds"].values() for made in seed["environments"]})
    least = f"{len(found.seeds)} of five seeds: every verdict is *inconclusive* until then, whatever the signs." * (
        len(found.seeds) < 5
    )
    parts = [
        f"Profile `{found.profile.name}`, {named}, trained by commit {', '.join(commits)}. {least}",
        "",
    ]
    for claim in declared.claims:
        rows = [each for each in declared.estimands() if each[0] is claim]
        rows = [each for each in rows if (effects["what"] == each[3].what).any()]
        if not rows:
            continue
        parts += [f"## {_title(claim)}", ""]
        parts += [f"| column | effect | sign | {' | '.join(f'seed {seed}' for seed in listed)} | the paper's own |"]
        parts += [f"|---|---|:-:|{'--:|' * len(listed)}---|"]
        for _, column, primary, estimand in rows:
            of = effects[(effects["claim"] == claim.key) & (effects["what"] == estimand.what)].set_index("seed")[
                "effect"
            ]
            shown = [signed(of[seed]) if seed in of.index else "" for seed in found.seeds]
            what = estimand.what.replace("|", "\\|")
            what = f"**{what}**" if primary else what
            paper = papers_in_words(estimand)
            parts.append(f"| {column} | {what} | {_SIGNS[estimand.predicted]} | {' | '.join(shown)} | {paper} |")
        parts.append("")
        if claim.primary is not None:
            of_claim = judged[judged["claim"] == claim.key]
            parts += [_judged(claim, of_claim)]
            over_images = sampling.intervals(found, claim.primary)
            if over_images:
                ranges = [f"seed {seed} {signed(low)} to {signed(high)}" for seed, (low, high) in over_images.items()]
                parts.append(
                    f"Other validation images would give: {'; '.join(ranges)} (95 %, paired bootstrap over images)."
                )
            apart = judging.columns_disagree(claim, of_claim)
            parts += [f"The columns disagree: {apart}." if apart else "", ""]
    return "\n".join(parts)


def _judged(claim: claims.Claim, of_claim: pd.DataFrame) -> str:
    row = of_claim[of_claim["primary"]].iloc[0]
    verdict, _, qualified = judging.said(claim, row, of_claim).partition("; ")
    ends = "" if math.isnan(row["low"]) else f", 95 % over seeds {signed(row['low'])} to {signed(row['high'])}"
    return (
        f"Primary: {signed(row['effect'])}{ends}; p = {row['p']:.3f}, Holm {row['p_holm']:.3f}: **{verdict}**"
        f"{'; ' * bool(qualified)}{qualified}."
    )


def power(folder: Path) -> str:
    """What five and eight seeds can see, by the spread of the exploratory seeds, beside the size of the paper's own effects.

    Args:
        folder: the exploratory results.
    """
    found = results.read(folder)
    theirs = {
        "validation accuracy": (claims.K2.primary, claims.K8.primary),
        "agreement": claims.K1.secondary,
        "calibration error": (claims.K9.primary,),
        "attention IoU": claims.K4.secondary,
    }
    rows = [
        "| a contrast of | spread over seeds | five seeds see | eight see | the paper's own |",
        "|---|--:|--:|--:|---|",
    ]
    for measure, spread in power_of.spread(found).items():
        seen = " | ".join(f"{spread * power_of.smallest_effect(seeds):.3f}" for seeds in (5, 8))
        printed = [each for each in theirs[measure] if each is not None and papers(each)]
        own = "; ".join(f"{each.what}: {papers_in_words(each)}" for each in printed)
        rows.append(f"| {measure} | {spread:.4f} | {seen} | {own} |")
    return "\n".join(rows)
