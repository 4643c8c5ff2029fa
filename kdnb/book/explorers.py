"""Explorers: figures that a reader can turn the knobs of, with no kernel and no network.

An explorer is HTML: its data as JSON, a static picture of its first state, and a table. In the book, ``explorers.js`` reads
the data and puts controls in the picture's place; where there is no script, picture and table stay. In a running notebook
`Interactive.live` gives the same controls as Jupyter widgets, computed in Python: an exhibit displays these where a person runs
the notebook, and the HTML elsewhere, so that no state of a widget gets into a stored notebook.
"""

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from kdnb.book import figures, style
from kdnb.errors import IncompleteError
from kdnb.evidence import overlap, paper
from kdnb.evidence.estimands import signed
from kdnb.evidence.results import Explorer, Results
from kdnb.evidence.table import plain, select
from kdnb.images import augment
from kdnb.images.counter import Purpose, Stream
from kdnb.ruler import curves

IMAGES = 40
"""The attention explorer has at most this many images; each adds its maps to the page."""

SHOWN = 6
"""Images under the dial."""

METHOD = "cam-predicted"

MEASURES = {
    "agreement": "ensemble",
    "divergence": "ensemble",
    "mutual_information": "ensemble",
    "error_consistency": "ensemble",
    "attention_iou": "teachers",
    "accuracy": "",
    "train_validation_gap": "",
    "calibration_error": "",
}
"""What the scatter can show: measure → ``ensemble`` for one of a student against its teachers, ``teachers`` for one of the
teachers together, empty for one of the student alone."""


@dataclass(frozen=True)
class Interactive:
    """An explorer, as a notebook displays it."""

    kind: str
    """attention, directions, dial, scatter, specifications or tables: which part of explorers.js takes over"""
    data: Mapping[str, Any]
    """what explorers.js reads; JSON"""
    picture: str
    """HTML of the first state"""
    table: pd.DataFrame
    caption: str
    """what the table holds"""
    draw: Callable[..., str]
    """HTML of the state that the controls are in, by their names"""
    controls: Callable[[], dict[str, Any]]
    """the controls of `live`, by their names: fresh Jupyter widgets"""

    @property
    def html(self) -> str:
        """Data, picture and table; the same bytes each time."""
        data = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        table = self.table.to_html(border=0, index=False, float_format=lambda value: f"{value:.3f}", na_rep="–")
        caption = html.escape(self.caption)
        return (
            f'<div class="kdnb-explorer" data-kind="{self.kind}"><div class="kdnb-static">{self.picture}</div>\n'
            f'<details class="kdnb-data"><summary>{caption}</summary>'
            f'<div class="kdnb-table" tabindex="0" role="region" aria-label="{caption}">{table}</div></details>\n'
            f'<script type="application/json">{data}</script></div>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": f"explorer: {self.kind}"}

    def live(self) -> Any:
        """The same controls as Jupyter widgets, for a running notebook; Python computes what they show."""
        import ipywidgets

        controls = self.controls()
        shown = ipywidgets.HTML()

        def update(change: object = None) -> None:
            shown.value = self.draw(**{name: control.value for name, control in controls.items()})

        for control in controls.values():
            control.observe(update, names="value")
        update()
        return ipywidgets.VBox([*controls.values(), shown])


# -- where teachers look ---------------------------------------------------------------------------------------------


def attention_explorer(results: Results) -> Interactive:
    """An image, two teachers and a threshold: both heat maps, their masks, and how much these overlap.

    Raises:
        IncompleteError: the results hold maps of fewer than two teachers.
    """
    explorer = results.explorer
    return _overlaps("attention", explorer, _teachers(explorer), "teacher")


def directions(results: Results) -> Interactive:
    """One network, read along random directions (`kdnb.ruler.directions`): what maps summed over all classes do where heads
    are fresh. The network is the origin that the teachers start from; direction n is that of the n-th fresh head.

    Raises:
        IncompleteError: the results hold none, since the package has no origin of these teachers and images.
    """
    explorer = results.explorer
    if not explorer.directions:
        model, name = results.profile.teacher.model.name, results.about["dataset"]["name"]
        raise IncompleteError(
            f"the package comes with no pretrained {model} for {name}; look at the profile cpu, whose teachers start from one"
        )
    maps = {name: {f"{METHOD}/clean": read} for name, read in explorer.directions.items()}
    cells = {name: {"teachers": name, "origin": ""} for name in maps}
    return _overlaps("directions", replace(explorer, maps=maps, cells=cells), list(maps), "direction")


def _overlaps(kind: str, explorer: Explorer, runs: Sequence[str], what: str) -> Interactive:
    """Maps of a few runs, of which a reader chooses two.

    Args:
        what: what a run is called: ``teacher``, ``direction``.
    """
    count = min(IMAGES, len(explorer.maps[runs[0]][f"{METHOD}/clean"]), len(explorer.images))
    side = explorer.images.shape[-1]
    data: dict[str, Any] = {
        "side": side,
        "threshold": overlap.THRESHOLD,
        "seed": explorer.seed,
        "what": what,
        "teachers": runs,
        "colours": {run: style.colour(explorer.cells[run]["teachers"]) for run in runs},
        "images": [_png(image) for image in explorer.images[:count]],
        "labels": _labels(explorer, range(count)),
        "maps": {run: _rounded(explorer.maps[run][f"{METHOD}/clean"][:count]) for run in runs},
    }

    def draw(image: int, first: str, second: str, threshold: float) -> str:
        axes = figures.attention_maps(explorer, image, (first, second), threshold)
        masks = [
            overlap.masks(explorer.maps[run][f"{METHOD}/clean"][image : image + 1], side, threshold)
            for run in (first, second)
        ]
        areas = ", ".join(
            f"{run} {float(overlap.area(mask)):.3f}" for run, mask in zip((first, second), masks, strict=True)
        )
        said = (
            f"IoU {overlap.iou(masks):.3f}; area-matched chance IoU {overlap.chance_iou(masks):.3f}; "
            f"areas of the masks: {areas}"
        )
        where = f"Image {image + 1}, {data['labels'][image]}"
        alt = f"{where}: where {first} and {second} look at threshold {threshold:.2f}. {said}."
        return f"{figures.to_svg(axes, alt)}<p>{said}</p>"

    def controls() -> dict[str, Any]:
        import ipywidgets

        images = [(f"{place + 1}: {label}", place) for place, label in enumerate(data["labels"])]
        return {
            "image": ipywidgets.Dropdown(options=images, description="image"),
            "first": ipywidgets.Dropdown(options=runs, value=runs[0], description=f"{what} A"),
            "second": ipywidgets.Dropdown(options=runs, value=runs[1], description=f"{what} B"),
            "threshold": ipywidgets.FloatSlider(
                overlap.THRESHOLD, min=0.0, max=0.9, step=0.05, description="threshold"
            ),
        }

    caption = f"Data: every pair of {what}s at threshold {overlap.THRESHOLD}, means over these {count} images"
    picture = draw(0, runs[0], runs[1], overlap.THRESHOLD)
    return Interactive(kind, data, picture, _pairs(explorer, runs, count), caption, draw, controls)


def _teachers(explorer: Explorer) -> list[str]:
    """Runs of teachers that have maps, weak ones of one origin first, so that the first two are alike."""
    runs = [run for run, maps in explorer.maps.items() if f"{METHOD}/clean" in maps]
    if len(runs) < 2:
        raise IncompleteError(
            f"the explorer holds maps of {len(runs)} teachers and needs two; publish a study of two teachers"
        )
    weak = figures.alike(explorer, "weak")
    return sorted(runs, key=lambda run: (run not in weak, explorer.cells[run]["origin"], run))


def _pairs(explorer: Explorer, runs: Sequence[str], count: int) -> pd.DataFrame:
    masks = {
        run: overlap.masks(explorer.maps[run][f"{METHOD}/clean"][:count], explorer.images.shape[-1]) for run in runs
    }
    return pd.DataFrame(
        {
            "A": first,
            "B": second,
            "IoU": overlap.iou([masks[first], masks[second]]),
            "chance IoU": overlap.chance_iou([masks[first], masks[second]]),
            "area of A": float(overlap.area(masks[first]).mean()),
            "area of B": float(overlap.area(masks[second]).mean()),
        }
        for first, second in combinations(runs, 2)
    )


def _rounded(maps: Tensor) -> list[list[list[float]]]:
    """Maps (N, h, w) as lists, four significant digits."""
    return [[[float(f"{value:.4g}") for value in row] for row in each] for each in maps.tolist()]


def _labels(explorer: Explorer, places: Sequence[int]) -> list[str]:
    return [explorer.classes[int(explorer.labels[place])].replace("_", " ") for place in places]


def _png(image: Tensor) -> str:
    """A data URI of an image, uint8 (3, S, S)."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


# -- how strong augmentation is --------------------------------------------------------------------------------------


def dial(results: Results) -> Interactive:
    """The strength of augmentation: a few images under it, the same draws at each strength, and what the reference network
    loses on such views.

    Raises:
        IncompleteError: no dial of the reference in the results.
    """
    rows = select(results.dial, role="reference")
    if rows.empty:
        raise IncompleteError("the results hold no dial of the reference; publish a study that trains a reference")
    explorer = results.explorer
    first_of_class = {label: place for place, label in reversed(list(enumerate(explorer.labels.tolist())))}
    places = sorted(first_of_class.values())[:SHOWN]
    labels = _labels(explorer, places)
    means = rows.groupby("strength")[["accuracy", "affinity"]].mean()
    strengths = [float(strength) for strength in means.index]
    views = {
        strength: augment.views(
            explorer.images[places],
            explorer.index[places].numpy().astype(np.int64),
            augment.recipe(f"dial:{strength}"),
            Stream(explorer.seed),
            0,
            purpose=Purpose.VIEW,
        )
        for strength in strengths
    }
    by_seed = rows.pivot(index="strength", columns="seed", values="affinity")
    data: dict[str, Any] = {
        "strengths": strengths,
        "start": strengths[len(strengths) // 2],
        "labels": labels,
        "images": [[_png(view) for view in views[strength]] for strength in strengths],
        "accuracy": [float(value) for value in means["accuracy"]],
        "affinity": [float(value) for value in means["affinity"]],
        "seeds": {str(seed): [float(value) for value in by_seed[seed]] for seed in by_seed},
    }

    def draw(strength: float) -> str:
        strength = min(strengths, key=lambda there: abs(there - strength))
        value, accuracy = (data[name][strengths.index(strength)] for name in ("affinity", "accuracy"))
        said = (
            f"At strength {strength:.1f} the reference's accuracy is {accuracy:.3f}, which is {signed(value)} from that on "
            "clean images."
        )
        axes = figures.gallery(views[strengths[0]], {f"{strength:.1f}": views[strength]})
        alt = f"{len(places)} images ({', '.join(labels)}), clean and at strength {strength:.1f}."
        return f"{figures.to_svg(axes, alt)}<p>{said}</p>"

    def controls() -> dict[str, Any]:
        import ipywidgets

        return {"strength": ipywidgets.SelectionSlider(options=strengths, value=data["start"], description="strength")}

    table = means.reset_index().assign(strength=lambda frame: frame["strength"].map("{:.1f}".format))
    alt = (
        "Accuracy of the reference network − that on clean images, against the strength of augmentation; values below."
    )
    curve = figures.to_svg(figures.dial_response(rows), alt)
    caption = f"Data: the reference at each strength, mean over the published seeds ({', '.join(data['seeds'])})"
    return Interactive("dial", data, draw(data["start"]) + curve, table, caption, draw, controls)


# -- which measures go together --------------------------------------------------------------------------------------


def scatter(results: Results) -> Interactive:
    """Any two measures of the distilled students against each other: every cell of the grid, in every seed."""
    points = _points(results.table)
    there = [measure for measure in MEASURES if points[measure].notna().any()]
    data: dict[str, Any] = {
        "measures": {measure: _title(measure) for measure in there},
        "x": there[0],
        "y": "accuracy",
        "students": {
            student: {"colour": style.colour(student), "filled": style.filling(student) != "none"}
            for student in dict.fromkeys(points["student"])
        },
        "points": [
            {"run": row["run"], "seed": row["seed"], "student": row["student"], "shape": _shape(row["teachers"])}
            | {"values": {measure: None if pd.isna(row[measure]) else row[measure] for measure in there}}
            for row in points.to_dict("records")
        ],
    }

    def draw(x: str, y: str) -> str:
        alt = f"{_title(y)} against {_title(x)}, a point for each distilled student in each seed."
        return figures.to_svg(_cells(points, x, y), alt[0].upper() + alt[1:])

    def controls() -> dict[str, Any]:
        import ipywidgets

        options = [(_title(measure), measure) for measure in there]
        return {axis: ipywidgets.Dropdown(options=options, value=data[axis], description=axis) for axis in ("x", "y")}

    table = points.drop(columns=["student", "teachers"]).rename(columns=_title)
    caption = f"Data: {len(points)} distilled students, every cell of the grid in every seed"
    return Interactive("scatter", data, draw(data["x"], data["y"]), table, caption, draw, controls)


def _title(measure: str) -> str:
    return {"attention_iou": "attention IoU of the teachers"}.get(measure, style.LABELS.get(measure, measure))


def _shape(teachers: str) -> str:
    """weak, strong, other: the one augmentation of all teachers; or mixed"""
    kinds = set(teachers.split("+"))
    return "mixed" if len(kinds) > 1 else next(iter(kinds & {"weak", "strong"}), "other")


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each distilled student and seed: run, seed, student, teachers, and a column for each measure."""
    rows = select(plain(table), form="textbook", split="validation")
    students = select(rows, role="student")
    students = students[students["teachers"] != ""]
    points = students[["run", "seed", "student", "teachers"]].drop_duplicates().reset_index(drop=True)
    for measure, of in MEASURES.items():
        view = "own" if measure == "train_validation_gap" else "clean"
        if of == "teachers":
            values = select(rows, role="ensemble", measure=measure, view=view, method=METHOD, against="")
            values = values[["teachers", "seed", "value"]]
        else:
            values = select(students, measure=measure, view=view, against=of)[["run", "seed", "value"]]
        points = points.merge(values.rename(columns={"value": measure}), how="left", validate="many_to_one")
    return points


# -- the paper's tables ----------------------------------------------------------------------------------------------

TABLES = ("agreement", "attention_iou", "affinity", "train_validation_gap", "calibration_error", "accuracy")
"""What the paper's tables print, in the order of the controls."""


def paper_tables() -> Interactive:
    """Any two measures of the eight trials in each of the paper's data sets, the student's augmentation free or held fixed:
    then the mean of all trials with the same student is taken off both."""
    datasets = {}
    for name in paper.DATASETS:
        trials = paper.trials(name)
        points = [
            {
                "trial": _trial(row["teachers"], row["student"]),
                "student": row["student"],
                "shape": _shape(row["teachers"]),
            }
            | {"values": {measure: float(row[measure]) for measure in TABLES if measure in trials}}
            for row in trials.reset_index().to_dict("records")
        ]
        datasets[name] = {"title": paper.TITLES[name], "points": points}
    looks = {
        each: {"colour": style.colour(each), "filled": style.filling(each) != "none"} for each in ("weak", "strong")
    }
    data = {"datasets": datasets, "measures": {measure: _title(measure) for measure in TABLES}, "students": looks}
    data |= {"dataset": paper.DATASETS[0], "x": "agreement", "y": "accuracy"}

    def draw(dataset: str, x: str, y: str, fixed: bool) -> str:
        trials = paper.trials(dataset)
        if not {x, y} <= set(trials):
            printed = ", ".join(_title(measure) for measure in TABLES if measure in trials)
            return f"<p>The paper prints no such pair for {paper.TITLES[dataset]}; it prints {printed}.</p>"
        pair = trials[[x, y]]
        pair = pair - pair.groupby(level="student").transform("mean") if fixed else pair
        shown = pair.set_axis(["x", "y"], axis=1).reset_index()
        axes = figures.trials({paper.TITLES[dataset]: shown}, _title(x), _title(y))
        within = ", ".join(
            f"among {student} students {_r(paper.correlation_at(x, y, dataset, student))}" for student in looks
        )
        said = f"Pearson correlation: all trials {_r(paper.correlation(x, y, dataset))}, {within}; with the student's "
        said += f"augmentation held fixed {_r(paper.correlation(x, y, dataset, 'student'))}."
        alt = f"The paper's eight trials on {paper.TITLES[dataset]}: {_title(y)} against {_title(x)}. {said}"
        return f"{figures.to_svg(axes, alt)}<p>{said}</p>"

    def controls() -> dict[str, Any]:
        import ipywidgets

        options = [(_title(measure), measure) for measure in TABLES]
        return {
            "dataset": ipywidgets.Dropdown(
                options=[(paper.TITLES[name], name) for name in paper.DATASETS], description="data set"
            ),
            "x": ipywidgets.Dropdown(options=options, value="agreement", description="across (x)"),
            "y": ipywidgets.Dropdown(options=options, value="accuracy", description="up (y)"),
            "fixed": ipywidgets.Checkbox(value=False, description="hold the student's augmentation fixed"),
        }

    table = pd.concat({paper.TITLES[name]: paper.trials(name) for name in paper.DATASETS}, names=["data set"])
    table = table[list(TABLES)].reset_index().rename(columns=_title)
    caption = f"Data: the paper's tables, {len(table)} trials"
    return Interactive(
        "tables", data, draw(paper.DATASETS[0], "agreement", "accuracy", fixed=False), table, caption, draw, controls
    )


# -- the ruler -------------------------------------------------------------------------------------------------------

ANY = "any"


def specifications(specs: pd.DataFrame) -> Interactive:
    """A claim's effect under every way of measuring, of which a reader keeps some.

    Args:
        specs: as `kdnb.ruler.curves.specifications`.

    Raises:
        IncompleteError: no specification.
    """
    if specs.empty:
        raise IncompleteError("these results have no specifications; publish a study that has the eight trials")
    every = curves.over_seeds(specs)
    listed: dict[str, dict[str, Any]] = {}
    for key, group in every.groupby("claim"):
        choices = {name: list(dict.fromkeys(group[name])) for name in curves.CHOICES if group[name].nunique() > 1}
        rows = [
            [
                *(choices[name].index(row[name]) for name in choices),
                float(f"{row['size']:.3g}"),
                int(row["as_predicted"]),
                int(row["agree"]),
                1 if row["declared"] else 2 if row["paper"] else 0,
            ]
            for row in group.sort_values("size").to_dict("records")
        ]
        listed[str(key)] = {"choices": choices, "seeds": int(group["seeds"].max()), "rows": rows}
    first = next(iter(listed))

    def draw(claim: str, **kept: str) -> str:
        group = every[every["claim"] == claim]
        for name in listed[claim]["choices"]:
            if kept.get(name, ANY) != ANY:
                group = group[group[name] == kept[name]]
        if group.empty:
            return "<p>No way of measuring has all of these at once.</p>"
        agree, whole = int(group["as_predicted"].sum()), int((group["agree"] == group["seeds"]).sum())
        said = f"{claim}: the paper's sign in {agree} of {len(group)} ways of measuring, and in every seed in {whole}."
        with style.styled():
            ax = Figure((style.WIDTH, 3.4), layout="constrained").add_subplot()
            ax.axhline(0.0, color=style.NEUTRAL, linewidth=1.2)
            sizes = group["size"].sort_values().to_numpy()
            ax.plot(range(len(sizes)), sizes, "k.-" if len(sizes) <= 120 else "k-")
            ax.set_xlabel("ways of measuring, sorted")
            ax.set_ylabel("effect")
        return f"{figures.to_svg(ax, said)}<p>{said}</p>"

    def controls() -> dict[str, Any]:
        import ipywidgets

        made: dict[str, Any] = {"claim": ipywidgets.Dropdown(options=list(listed), description="claim")}
        for name in curves.CHOICES:
            values = list(dict.fromkeys(value for each in listed.values() for value in each["choices"].get(name, ())))
            if values:
                made[name] = ipywidgets.Dropdown(options=[ANY, *values], description=name)
        return made

    table = curves.shares(specs).rename(columns={"mean": "paper's sign", "every": "in every seed", "none": "in none"})
    caption = f"Data: {len(every)} ways of measuring, by claim"
    data = {"claims": listed, "any": ANY}
    return Interactive("specifications", data, draw(first), table, caption, draw, controls)


def _trial(teachers: str, student: str) -> str:
    """``T1w T2s Ss``: as the paper writes it."""
    letters = [augment.symbol(each) for each in teachers.split("+")]
    return " ".join(
        [*(f"T{place}{letter}" for place, letter in enumerate(letters, start=1)), f"S{augment.symbol(student)}"]
    )


def _r(value: float) -> str:
    return signed(value, 2)


def _cells(points: pd.DataFrame, x: str, y: str) -> Axes:
    with style.styled():
        ax = Figure((style.WIDTH, 4.2), layout="constrained").add_subplot()
        for student in dict.fromkeys(points["student"]):
            of, colour = points[points["student"] == student], style.colour(student)
            filled = colour if style.filling(student) != "none" else "none"
            label = f"{style.literal(student)} student"
            ax.scatter(of[x], of[y], s=50, linewidths=1.5, edgecolors=colour, facecolors=filled, label=label)
        ax.set_xlabel(_title(x))
        ax.set_ylabel(_title(y))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax
