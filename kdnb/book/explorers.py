"""Explorers: figures that a reader can turn the knobs of, with no kernel and no network.

An explorer is HTML: its data as JSON, a static picture of its first state, and a table. In the book, ``explorers.js`` reads
the data and puts controls in the picture's place; where there is no script, picture and table stay. In a running notebook
`Interactive.live` gives the same controls as Jupyter widgets, computed in Python: `kdnb.book.pages.show` displays these where a
person runs the notebook, and the HTML elsewhere, so that no state of a widget gets into a stored notebook.
"""

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from kdnb.evidence import overlap as attention
from kdnb.images import augment
from kdnb.book import figures
from kdnb.images.counter import Purpose, Stream
from kdnb.errors import IncompleteError
from kdnb.evidence.results import Explorer, Results
from kdnb.evidence.table import select

IMAGES = 40
"""At most so many images are in the attention explorer; it is about their size that a page grows by."""

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
    """attention, dial or scatter: which part of explorers.js takes over"""
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
        IncompleteError: the records hold maps of fewer than two teachers.
    """
    explorer = results.explorer
    runs = _teachers(explorer)
    count = min(IMAGES, len(explorer.images))
    side = explorer.images.shape[-1]
    data: dict[str, Any] = {
        "side": side,
        "threshold": attention.THRESHOLD,
        "seed": explorer.seed,
        "teachers": runs,
        "images": [_png(image) for image in explorer.images[:count]],
        "labels": _labels(explorer, range(count)),
        "maps": {run: _rounded(explorer.maps[run][f"{METHOD}/clean"][:count]) for run in runs},
    }

    def draw(image: int, first: str, second: str, threshold: float) -> str:
        axes = figures.attention_maps(explorer, image, (first, second), threshold)
        masks = [
            attention.masks(explorer.maps[run][f"{METHOD}/clean"][image : image + 1], side, threshold)
            for run in (first, second)
        ]
        areas = ", ".join(
            f"{run} {float(attention.area(mask)):.3f}" for run, mask in zip((first, second), masks, strict=True)
        )
        said = (
            f"IoU {attention.iou(masks):.3f}; area-matched chance IoU {attention.chance_iou(masks):.3f}; "
            f"areas of the masks: {areas}"
        )
        what = f"Image {image + 1}, {data['labels'][image]}"
        alt = f"{what}: where {first} and {second} look at threshold {threshold:.2f}. {said}."
        return f"{figures.to_svg(axes, alt)}<p>{said}</p>"

    def controls() -> dict[str, Any]:
        import ipywidgets

        images = [(f"{place + 1}: {label}", place) for place, label in enumerate(data["labels"])]
        return {
            "image": ipywidgets.Dropdown(options=images, description="image"),
            "first": ipywidgets.Dropdown(options=runs, value=runs[0], description="teacher A"),
            "second": ipywidgets.Dropdown(options=runs, value=runs[1], description="teacher B"),
            "threshold": ipywidgets.FloatSlider(
                attention.THRESHOLD, min=0.0, max=0.9, step=0.05, description="threshold"
            ),
        }

    caption = f"Data: every pair of teachers at threshold {attention.THRESHOLD}, means over these {count} images"
    picture = draw(0, runs[0], runs[1], attention.THRESHOLD)
    return Interactive("attention", data, picture, _pairs(explorer, runs, count), caption, draw, controls)


def _teachers(explorer: Explorer) -> list[str]:
    """Runs of teachers that have maps: T1w, T2w, T3w, T1s, …, so that the first two are of a kind."""
    runs = [
        run for run, maps in explorer.maps.items() if run[0] == "T" and "_" not in run and f"{METHOD}/clean" in maps
    ]
    if len(runs) < 2:
        raise IncompleteError(
            f"the explorer holds maps of {len(runs)} teachers and needs two; publish a study of two teachers"
        )
    return sorted(runs, key=lambda run: (run[-1] != "w", run))


def _pairs(explorer: Explorer, runs: Sequence[str], count: int) -> pd.DataFrame:
    masks = {
        run: attention.masks(explorer.maps[run][f"{METHOD}/clean"][:count], explorer.images.shape[-1]) for run in runs
    }
    return pd.DataFrame(
        {
            "A": first,
            "B": second,
            "IoU": attention.iou([masks[first], masks[second]]),
            "chance IoU": attention.chance_iou([masks[first], masks[second]]),
            "area of A": float(attention.area(masks[first]).mean()),
            "area of B": float(attention.area(masks[second]).mean()),
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
        IncompleteError: no dial of the reference in the records.
    """
    rows = select(results.dial, run="reference")
    if rows.empty:
        raise IncompleteError("the records hold no dial of the reference; publish a study that has the run reference")
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
        said = f"At strength {strength:.1f} the reference's affinity is {value:+.3f} (accuracy {accuracy:.3f})."
        said = said.replace("-", "−")
        axes = figures.gallery(views[strengths[0]], {f"{strength:.1f}": views[strength]})
        alt = f"{len(places)} images ({', '.join(labels)}), clean and at strength {strength:.1f}."
        return f"{figures.to_svg(axes, alt)}<p>{said}</p>"

    def controls() -> dict[str, Any]:
        import ipywidgets

        return {"strength": ipywidgets.SelectionSlider(options=strengths, value=data["start"], description="strength")}

    table = means.reset_index().assign(strength=lambda frame: frame["strength"].map("{:.1f}".format))
    alt = "Affinity of the reference network against the strength of augmentation; the table below has the values."
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
        "points": [
            {"run": row["run"], "seed": row["seed"], "student": row["student"], "teachers": row["ensemble"]}
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

    table = points.drop(columns=["student", "ensemble"]).rename(columns=_title)
    caption = f"Data: {len(points)} distilled students, every cell of the grid in every seed"
    return Interactive("scatter", data, draw(data["x"], data["y"]), table, caption, draw, controls)


def _title(measure: str) -> str:
    return {"attention_iou": "attention IoU of the teachers"}.get(measure, figures.LABELS.get(measure, measure))


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each distilled student and seed: run, seed, student, ensemble, and a column for each measure."""
    key = ["run", "seed", "student", "ensemble"]
    rows = select(table, form="textbook")
    students = select(rows, role="student")
    students = students[students["ensemble"] != ""]
    points = students[key].drop_duplicates().reset_index(drop=True)
    points["teachers"] = points["run"].str.rsplit("_", n=1).str[0]
    for measure, of in MEASURES.items():
        view = "own" if measure == "train_validation_gap" else "clean"
        if of == "teachers":
            values = select(rows, role="ensemble", measure=measure, view=view, method=METHOD)
            values = values[["run", "seed", "value"]].rename(columns={"run": "teachers"})
        else:
            values = select(students, measure=measure, view=view, against=of)[["run", "seed", "value"]]
        points = points.merge(values.rename(columns={"value": measure}), how="left", validate="many_to_one")
    return points.drop(columns="teachers")


def _cells(points: pd.DataFrame, x: str, y: str) -> Axes:
    with rc_context(figures.STYLE):
        ax = Figure((figures.WIDTH, 4.2), layout="constrained").add_subplot()
        for student, colour, filling, word in (
            ("w", figures.WEAK, "none", "weak"),
            ("s", figures.STRONG, figures.STRONG, "strong"),
        ):
            of = points[points["student"] == student]
            ax.scatter(
                of[x], of[y], s=50, linewidths=1.5, edgecolors=colour, facecolors=filling, label=f"{word} student"
            )
        ax.set_xlabel(_title(x))
        ax.set_ylabel(_title(y))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax
