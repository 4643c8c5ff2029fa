"""The book's figures: one function for each, named after what it shows; it takes a table or arrays and axes, and returns them.

One vocabulary throughout (`kdnb.book.style`). Every seed is a point; where there are several a bar is their mean, and from
three on a line is its 95 % interval. What is not asked for otherwise is of students of the objective ``kd``, or without
teachers, whose teachers have the study's default origin.

Without axes a function makes its own figure (matplotlib's object interface: no window, no global state); `to_svg` turns it
into inline SVG for a page. No statistic is computed here that is not the business of another module.
"""

import hashlib
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any, cast

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from kdnb.book.style import (
    BOTH,
    FAMILY,
    HEIGHT,
    LABELS,
    LINES,
    NEUTRAL,
    SEEDS,
    STRONG,
    WEAK,
    WIDTH,
    literal,
    look,
    styled,
)
from kdnb.errors import IncompleteError
from kdnb.evidence.overlap import THRESHOLD, heatmaps, iou, masks
from kdnb.evidence.statistics import interval
from kdnb.evidence.table import select
from kdnb.images import augment

if TYPE_CHECKING:
    from kdnb.evidence.results import Explorer

_styled = styled()


# -- into a page -----------------------------------------------------------------------------------------------------


def to_svg(drawn: Axes | Figure | Sequence[Axes] | NDArray[Any], alt: str) -> str:
    """Inline SVG of a figure, the same bytes each time: transparent, black as ``currentColor``, so that it suits both themes.

    Args:
        drawn: a figure, or axes of it.
        alt: what the figure shows, for those who do not see it. Its hash makes ids unique among the SVGs of a page.

    Raises:
        ValueError: no alt text.
    """
    if not alt.strip():
        raise ValueError("a figure needs alt text: a sentence that says what it shows")
    figure = drawn if isinstance(drawn, Figure) else np.ravel(np.asarray(drawn, dtype=object))[0].get_figure(root=True)
    salt = "f" + hashlib.sha256(alt.encode()).hexdigest()[:8]
    buffer = io.StringIO()
    with styled(), matplotlib.rc_context({"svg.hashsalt": salt}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    body = re.sub(r"<!--.*?-->|<style.*?</style>|<defs>\s*</defs>", "", buffer.getvalue(), flags=re.S)
    body = body[body.index("<svg") :]
    opening = body[: body.index(">") + 1]
    found = re.search(r'viewBox="([^"]+)"', opening)
    assert found is not None  # matplotlib always writes it
    width = float(found[1].split()[2])
    body = body.removeprefix(opening).replace("#000000", "currentColor").replace("'DejaVu Sans'", FAMILY)
    # matplotlib names parts by a hash of their places, whose last bits differ from run to run; a number does not
    names = {
        name: f"{salt}-{n}" for n, name in enumerate(dict.fromkeys(re.findall(r'(?:url\(|href=")#([\w-]+)', body)))
    }
    body = re.sub(r' id="([^"]+)"', lambda match: f' id="{names[match[1]]}"' if match[1] in names else "", body)
    body = re.sub(r'(url\(|href=")#([\w-]+)', lambda match: f"{match[1]}#{names[match[2]]}", body)
    said = html.escape(alt.strip())
    opened = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{found[1]}" '
        f'width="100%" style="max-width: {width * 1.4:.0f}px; height: auto" fill="currentColor" stroke-linejoin="round" '
        f'stroke-linecap="butt" role="img" aria-label="{said}"><title>{said}</title>'
    )
    return "\n".join(line for line in map(str.strip, (opened + body).splitlines()) if line)


# -- the vocabulary --------------------------------------------------------------------------------------------------


def _axes(ax: Axes | None, height: float = HEIGHT) -> Axes:
    return ax if ax is not None else Figure((WIDTH, height), layout="constrained").add_subplot()


def _grid(axes: Sequence[Axes] | NDArray[Any] | None, rows: int, columns: int, height: float) -> NDArray[Any]:
    """Axes in the order of reading: those given, or of a new figure."""
    if axes is None:
        axes = Figure((WIDTH, height), layout="constrained").subplots(rows, columns, squeeze=False)
    return np.ravel(np.asarray(axes, dtype=object))


def _rows(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    rows = select(table, **where)
    if rows.empty:
        wanted = ", ".join(f"{column} {value!r}" for column, value in where.items())
        raise IncompleteError(
            f"these results have nothing with {wanted}; kdnb.evidence.table names the columns and their values"
        )
    return rows


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the objective ``kd``, of students without teachers, and of what is no student; of teachers, those of the
    default origin, which is the first teacher's."""
    rows = table[table["objective"].isin(("", "kd", "none"))]
    first = table.loc[table["role"] == "teacher", "origin"]
    if first.empty:
        return rows
    alike = {"+".join([first.iloc[0]] * count) for count in range(1, 10)}
    return rows[rows["origin"].isin({"", *alike})]


def _look_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run or an ensemble, by its columns."""
    if row["role"] == "student":
        return look(row["student"], "o" if row["teachers"] else "^")
    return look(row["teachers"], "D" if row["role"] == "reference" else "s")


def _looks(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """run → what it looks like"""
    columns = ["run", "role", "teachers", "student"]
    rows = cast(list[dict[str, str]], table[columns].drop_duplicates("run").to_dict("records"))
    return {row["run"]: _look_of(row) for row in rows}


def symbols(teachers: str) -> list[str]:
    """``weak+strong`` → w, s: how a column's augmentations are written on an axis."""
    return [augment.symbol(each) for each in teachers.split("+")] if teachers else []


def _points(
    ax: Axes,
    place: float,
    values: Sequence[float],
    look: Mapping[str, Any],
    *,
    label: str = "",
    spread: float = 0.08,
    bar: float = 0.06,
    between: tuple[float, float] | None = None,
    sideways: bool = False,
) -> None:
    """A point a seed at a place on the x axis (or, sideways, on the y axis); the mean, if there are more, and its interval, if
    there are three: Student's of two seeds is so wide that it would hide all else."""
    count = len(values)
    beside = np.linspace(-spread, spread, count) if count > 1 else np.zeros(1)

    def draw(across: Any, along: Any, **style: Any) -> None:
        ax.plot(*((along, across) if sideways else (across, along)), **style)

    if count > 1:
        low, high = between or interval(values)
        mean, wide = float(np.mean(values)), spread + bar
        plain = {"color": look["color"], "linewidth": 1.4}
        if count > 2:
            draw([place, place], [low, high], **plain)
        draw([place - wide, place + wide], [mean, mean], **plain | {"linewidth": 2.6})
    draw(place + beside, np.asarray(values), linestyle="none", label=label or "_", gid=SEEDS, **look)


def _legend(ax: Axes, handles: Sequence[Line2D] | None = None, columns: int = 2, right: bool = False) -> None:
    """Above the axes, each label once, from the left, or to the right where long labels of rows leave the axes little width."""
    if handles is None:
        found = {str(line.get_label()): line for line in ax.get_lines() if not str(line.get_label()).startswith("_")}
        handles = list(found.values())
    ax.legend(
        handles=list(handles),
        loc="lower right" if right else "lower left",
        bbox_to_anchor=(float(right), 1.0),
        ncols=columns,
        borderaxespad=0.2,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.1,
    )


def _zero(ax: Axes) -> None:
    ax.axhline(0.0, color=NEUTRAL, linewidth=1.2, zorder=1)


def _name_teachers(ax: Axes, ensembles: Sequence[str]) -> None:
    """Ticks with a symbol a teacher, the first on top."""
    ax.set_xticks(range(len(ensembles)), ["\n".join(map(literal, symbols(each))) or "–" for each in ensembles])
    ax.tick_params(axis="x", length=0)
    ax.grid(False, axis="x")
    none = "; – none" if "" in ensembles else ""
    ax.set_xlabel(f"teachers, first on top: w weak, s strong{none}")
    ax.set_xlim(-0.6, len(ensembles) - 0.4)
    for place in range(1, len(ensembles)):
        if len(symbols(ensembles[place])) != len(symbols(ensembles[place - 1])):
            ax.axvline(place - 0.5, color=NEUTRAL, linewidth=0.8, linestyle=":")


# -- the claims -----------------------------------------------------------------------------------------------------

ENDS = (("weak+weak", "weak"), ("strong+strong", "strong"))
"""The students at the ends of the grid, as (teachers, student): all weak, all strong."""


@dataclass(frozen=True)
class Strip:
    """One effect on a common axis: a point a seed, and what stands beside them."""

    label: str
    values: Sequence[float]
    predicted: int
    """the side that the paper predicts, −1 or 1; 0 for none"""
    between: tuple[float, float] = (float("nan"), float("nan"))
    """the interval over seeds"""
    papers: Sequence[float] = ()
    """the paper's own values, drawn as crosses"""


@_styled
def strips(panels: Mapping[str, Sequence[Strip]], axes: Sequence[Axes] | NDArray[Any] | None = None) -> NDArray[Any]:
    """Effects below each other, a panel with a scale of its own for each measure, so that a large effect on one does not hide a
    small one on another: a point for each seed, a cross for each of the paper's own values. Grey is the side that the paper
    predicts; filled points lie on that side or have none to lie on, hollow ones lie on the other. An interval may run out of
    the picture.

    Args:
        panels: what a panel's axis says → its effects.
        axes: one for each panel; none makes a figure.

    Raises:
        IncompleteError: nothing to show.
    """
    if not any(panels.values()):
        raise IncompleteError("no effect is shown here: these results lack the cells that are compared")
    heights = {
        unit: [0.62 + 0.34 * fill(strip.label, 58).count("\n") for strip in shown] for unit, shown in panels.items()
    }
    if axes is None:
        spans = [sum(each) + 0.1 for each in heights.values()]
        figure = Figure((WIDTH, 0.92 * sum(spans) + 0.62 * len(spans) + 0.2), layout="constrained")
        axes = figure.subplots(len(spans), 1, squeeze=False, height_ratios=spans)
    axes = np.ravel(np.asarray(axes, dtype=object))
    for ax, (unit, shown) in zip(axes, panels.items(), strict=True):
        _strips(ax, unit, shown, heights[unit])
    return axes


def _strips(ax: Axes, unit: str, shown: Sequence[Strip], heights: Sequence[float]) -> None:
    """One panel of `strips`."""
    below = np.cumsum(heights)
    every = [abs(value) for strip in shown for value in (*strip.values, *strip.papers)]
    reach = max(every) or 1.0
    for place, strip in zip(below - 0.08, shown, strict=True):
        ax.vlines([0.0], place - 0.14, place + 0.14, color=NEUTRAL, linewidth=1.4)
        ax.barh(place, strip.predicted * reach, height=0.24, color=NEUTRAL, alpha=0.22, linewidth=0)
        ring = {"color": "black", "marker": "o", "fillstyle": "none"}
        _points(ax, place, strip.values, ring, spread=0.0, between=strip.between, sideways=True)
        full = [value for value in strip.values if strip.predicted == 0 or value * strip.predicted > 0]
        ax.plot(full, [place] * len(full), "ko")
        ax.plot(strip.papers, [place] * len(strip.papers), "x", color=STRONG, markersize=7, markeredgewidth=2.0)
        ax.text(-1.1 * reach, place - 0.17, fill(strip.label, 58), va="bottom", linespacing=1.15)
    ax.set_xlim(-1.12 * reach, 1.12 * reach)
    ax.set_ylim(float(below[-1]) + 0.1, 0.0)
    ax.locator_params(axis="x", nbins=6)
    ax.set_yticks([])
    ax.grid(False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(unit)


@_styled
def trials(
    panels: Mapping[str, pd.DataFrame], x: str, y: str, axes: Sequence[Axes] | NDArray[Any] | None = None
) -> NDArray[Any]:
    """Two measures of the eight trials against each other, a panel for each source: small points are seeds, large ones their
    mean, which bears its teachers' symbols.

    Args:
        panels: title → a row for each trial and seed: teachers, student, x, y.
        axes: one for each panel; none makes a figure.
    """
    rows = -(-len(panels) // 2)
    axes = _grid(axes, rows, min(2, len(panels)), 0.7 + 2.9 * rows)
    for ax, (title, points) in zip(axes, panels.items(), strict=False):
        for (teachers, student), of in points.groupby(["teachers", "student"], sort=False):
            shown = look(str(student), "o") | {"linestyle": "none"}
            if len(of) > 1:
                ax.plot(
                    of["x"], of["y"], gid=SEEDS, **shown | {"markersize": 3.5, "markeredgewidth": 1.0, "alpha": 0.6}
                )
            at = (float(of["x"].mean()), float(of["y"].mean()))
            ax.plot(*([value] for value in at), gid=SEEDS if len(of) == 1 else None, **shown)
            left = teachers == "weak+strong"  # the two mixed trials are often close
            beside = {
                "xytext": (-6 if left else 5, 4),
                "ha": "right" if left else "left",
                "textcoords": "offset points",
            }
            ax.annotate("".join(symbols(str(teachers))), at, fontsize=10, **beside)
        ax.set_title(title)
        ax.set_xlabel(x)
        ax.margins(x=0.16, y=0.12)
    for ax in axes[:: min(2, len(panels))]:
        ax.set_ylabel(y)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    return axes


@_styled
def interaction(
    table: pd.DataFrame, measure: str, view: str = "clean", against: str = "", split: str = "validation",
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Two weak or two strong teachers along the axis, a weak and a strong student as lines, thin for each seed. Parallel lines
    would mean that what the student's augmentation does is the same with either teachers.

    Raises:
        IncompleteError: one of the four cells is missing.
    """
    ax = _axes(ax)
    where = {
        "measure": measure,
        "view": view,
        "against": against,
        "split": split,
        "form": "textbook",
        "role": "student",
    }
    for student, shift in (("weak", -0.04), ("strong", 0.04)):
        shown = look(student, "o")
        by_seed = pd.DataFrame(
            {
                teachers: _rows(plain(table), teachers=teachers, student=student, **where).set_index("seed")["value"]
                for teachers in ("weak+weak", "strong+strong")
            }
        )
        if len(by_seed) > 1:
            ax.plot([shift, 1 + shift], by_seed.to_numpy().T, color=shown["color"], linewidth=0.8, alpha=0.55)
        ax.plot([shift, 1 + shift], by_seed.mean().to_numpy(), color=shown["color"], linewidth=2.2)
        for place, teachers in enumerate(by_seed):
            _points(ax, place + shift, by_seed[teachers].tolist(), shown, spread=0.0)
        ax.annotate(
            f"{student} student",
            (1 + shift, float(by_seed["strong+strong"].mean())),
            (12, -4),
            textcoords="offset points",
            color=shown["color"],
        )
    ax.set_xticks([0, 1], ["weak teachers", "strong teachers"])
    ax.set_xlim(-0.25, 1.75)
    ax.set_ylabel(LABELS.get(measure, measure.replace("_", " ")))
    return ax


@_styled
def by_objective(
    table: pd.DataFrame,
    rows: Mapping[str, tuple[str, str]],
    measures: Sequence[tuple[str, str]] = (("accuracy", ""), ("agreement", "ensemble")),
    axes: Sequence[Axes] | NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Students of different objectives below each other, a panel for each measure, on clean validation images; the rest alike.

    Args:
        rows: label → (teachers, objective); one without any such student is left out.
        measures: (measure, against) as the table's columns.

    Raises:
        IncompleteError: none of these students.
    """
    axes = _grid(axes, len(measures), 1, len(measures) * (0.75 + 0.42 * len(rows)))
    origin = table.loc[table["role"] == "teacher", "origin"].iloc[0] if len(table) else ""
    for ax, (measure, against) in zip(axes, measures, strict=True):
        where = {"role": "student", "measure": measure, "form": "textbook", "split": "validation", "view": "clean"}
        found = _rows(table, against=against, **where)
        found = found[found["origin"].isin(("", origin, f"{origin}+{origin}"))]
        place, labels = 0, []
        for label, (teachers, objective) in rows.items():
            of = select(found, teachers=teachers, objective=objective)
            if of.empty:
                continue
            for student, shift in (("weak", 0.14), ("strong", -0.14)):
                values = select(of, student=student)["value"].tolist()
                if values:
                    shown = look(student, "o" if teachers else "^")
                    _points(ax, place - shift, values, shown, spread=0.0, bar=0.12, sideways=True)
            labels.append(label)
            place += 1
        if not labels:
            raise IncompleteError(
                f"these results have no student of {', '.join(sorted({o for _, o in rows.values()}))}"
            )
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(LABELS.get(measure, measure.replace("_", " ")))
    students = [student for student in ("weak", "strong") if student in set(found["student"])]
    _legend(axes[0], [_handle(student) for student in students], right=True)
    return axes


@_styled
def dose(points: pd.DataFrame, axes: Sequence[Axes] | NDArray[Any] | None = None) -> NDArray[Any]:
    """Accuracy and agreement of a student against α, the weight of the labels; a line a seed, the mean in bold.

    Args:
        points: alpha, seed, accuracy, agreement.
    """
    axes = _grid(axes, 1, 2, 3.2)
    for ax, measure in zip(axes, ("accuracy", "agreement"), strict=True):
        by_seed = points.pivot(index="alpha", columns="seed", values=measure)
        if by_seed.shape[1] > 1:
            ax.plot(by_seed.index, by_seed.to_numpy(), color=STRONG, linewidth=0.9, alpha=0.6)
        ax.plot(by_seed.index, by_seed.mean(axis=1).to_numpy(), color=STRONG)
        for alpha, values in by_seed.iterrows():
            _points(ax, float(str(alpha)), values.dropna().tolist(), look("strong", "o"), spread=0.0, bar=0.02)
        ax.set_xlabel("α, weight of the labels")
        ax.set_title({"accuracy": "accuracy", "agreement": "agreement"}[measure])
        ax.set_xticks(list(by_seed.index))
    return axes


@_styled
def specification_curve(
    specs: pd.DataFrame, flips: pd.DataFrame, unit: str, axes: Sequence[Axes] | NDArray[Any] | None = None
) -> NDArray[Any]:
    """One claim measured in every way: above, the sorted effects, with the side that the paper predicts in grey, their range
    over seeds, the declared way as a diamond and the paper's own as a cross; below, for each choice and value, the share of
    specifications with the paper's sign.

    Args:
        specs: of one claim, as `kdnb.evidence.curves.over_seeds`.
        flips: of that claim, as `kdnb.evidence.curves.flips`.
        unit: what the axis of effects says.

    Raises:
        IncompleteError: no specification.
    """
    if specs.empty:
        raise IncompleteError("these results have no specification of this claim")
    rows = [
        (choice, value, share) for choice, value, share in flips[["choice", "value", "share"]].itertuples(index=False)
    ]
    if axes is None:
        low = 0.9 + 0.27 * (len(rows) + flips["choice"].nunique())
        axes = Figure((WIDTH, 3.0 + low), layout="constrained").subplots(2, 1, height_ratios=[3.0, low])
    curve, shares = np.ravel(np.asarray(axes, dtype=object))
    order = specs.sort_values("size").reset_index(drop=True)
    sizes, side = order["size"].to_numpy(), int(order["side"].iloc[0])
    _zero(curve)
    reach = 1.05 * float(np.abs(order[["low", "high"]].to_numpy()).max())
    curve.axhspan(*sorted((0.0, side * reach)), color=NEUTRAL, alpha=0.16, linewidth=0)
    if specs["seeds"].max() > 1:
        curve.fill_between(order.index, order["low"], order["high"], color=NEUTRAL, alpha=0.4, linewidth=0, step="mid")
    few = len(order) <= 120
    curve.plot(order.index, sizes, "k.-" if few else "k-", linewidth=0.8 if few else 1.8, markersize=6, gid=SEEDS)
    for column, marker, label in (("declared", "D", "declared"), ("paper", "X", "the paper's own")):
        at = order.index[order[column]]
        shown = {"color": STRONG, "markersize": 10, "markeredgecolor": "white", "markeredgewidth": 1.0}
        curve.plot(at, sizes[at], marker, linestyle="none", label=label, **shown)
    curve.set_ylabel(unit)
    curve.set_xlabel(f"{len(order)} ways to measure, sorted")
    curve.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2, handletextpad=0.3)
    place, ticks, labels, last = 0.0, [], [], ""
    for choice, value, share in rows:
        if choice != last:
            place += 1.0
            shares.text(0.0, place - 0.25, literal(choice), va="bottom", style="italic")
            last = choice
        place += 1.0
        shares.barh(place - 0.5, share, height=0.62, color=WEAK, linewidth=0)
        shares.barh(place - 0.5, 1.0 - share, left=share, height=0.62, color=NEUTRAL, alpha=0.3, linewidth=0)
        ticks.append(place - 0.5)
        labels.append(literal(value))
    shares.set_yticks(ticks, labels)
    shares.set_ylim(place + 0.1, 0.1)
    shares.tick_params(axis="y", length=0)
    shares.grid(False, axis="y")
    shares.set_xlim(0, 1)
    shares.set_xlabel("share with the paper's sign")
    return np.array([curve, shares])


# -- augmentation ----------------------------------------------------------------------------------------------------


@_styled
def gallery(images: Tensor, rows: Mapping[str, Tensor], ax: Axes | None = None) -> Axes:
    """Images, and below them the same ones in other views.

    Args:
        images: uint8 (N, 3, S, S), the row called clean.
        rows: title → uint8 (N, 3, S, S), the same N images.

    Raises:
        ValueError: a row of another shape.
    """
    every = {"clean": images, **rows}
    for title, row in every.items():
        if row.shape != images.shape:
            raise ValueError(f"the row {title!r} is {tuple(row.shape)}; it shows the images, {tuple(images.shape)}")
    count, _, side, _ = images.shape
    step = side + max(1, side // 10)
    sheet = np.zeros((step * len(every) - (step - side), step * count - (step - side), 4), dtype=np.uint8)
    for i, row in enumerate(every.values()):
        for j, image in enumerate(row):
            place = sheet[i * step : i * step + side, j * step : j * step + side]
            place[..., :3], place[..., 3] = image.permute(1, 2, 0).numpy(), 255
    ax = _axes(ax, 0.1 + (WIDTH - 0.9) * sheet.shape[0] / sheet.shape[1])
    ax.imshow(sheet, interpolation="none")
    ax.set_yticks([i * step + side / 2 for i in range(len(every))], list(every))
    _bare(ax)
    return ax


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


@_styled
def dial_response(dial: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Affinity (accuracy on views − accuracy on clean images) against the strength of augmentation, a line a network.

    Args:
        dial: columns as `kdnb.evidence.results.Results.dial`; a line for each run in it.
    """
    ax = _axes(ax)
    _zero(ax)
    looks, handles = _looks(dial), []
    for (run, shown), line in zip(looks.items(), LINES, strict=False):
        rows = select(dial, run=run)
        ax.plot(rows.groupby("strength")["affinity"].mean(), color=shown["color"], linestyle=line)
        handles.append(Line2D([], [], label=run, **shown | {"linestyle": line}))
        for strength, group in rows.groupby("strength"):
            _points(ax, float(str(strength)), group["affinity"].tolist(), shown, spread=0.0, bar=0.015)
    ax.set_xlabel("strength of augmentation (0 clean, 1 strong)")
    ax.set_ylabel(LABELS["affinity"])
    _legend(ax, handles, columns=len(looks))
    return ax


# -- attention -------------------------------------------------------------------------------------------------------


@_styled
def attention_maps(
    explorer: "Explorer",
    image: int,
    teachers: Sequence[str],
    threshold: float = THRESHOLD,
    method: str = "cam-predicted",
    axes: Sequence[Axes] | NDArray[Any] | None = None,
) -> NDArray[Any]:
    """An image, where each teacher looks (heat, and the outline of the mask), and where all of them do (yellow).

    Args:
        image: its place in ``explorer.images``.
        teachers: two or more runs.
        axes: one for the image, one for each teacher, one for the overlap; none makes a figure.

    Raises:
        ValueError: no such image, or a run without such maps.
    """
    if not 0 <= image < len(explorer.images):
        raise ValueError(f"no image {image} among the {len(explorer.images)} of the explorer, counted from 0")
    heats = [_maps(explorer, teacher, method)[image : image + 1] for teacher in teachers]
    side = explorer.images.shape[-1]
    marked = [masks(maps, side, threshold) for maps in heats]
    count = len(teachers) + 2
    columns = count if count <= 4 else 3
    lines = -(-count // columns)
    axes = _grid(axes, lines, columns, lines * (WIDTH / columns + 0.2))
    for ax in axes:
        _bare(ax)
        ax.set_yticks([])
    picture = explorer.images[image].permute(1, 2, 0).numpy()
    grey = picture.mean(axis=2)
    first, *middle, last = axes[:count]
    first.imshow(picture, interpolation="none")
    name = literal(explorer.classes[int(explorer.labels[image])].replace("_", " "))
    first.set_title(name if len(name) <= 14 else name[:13] + "…")
    faint = {"cmap": "gray", "vmin": -100, "vmax": 320, "interpolation": "none"}
    last.imshow(grey, **faint)
    together = np.zeros((side, side, 4))
    together[..., :3] = matplotlib.colors.to_rgb(BOTH)
    together[..., 3] = 0.6 * np.all([mask[0].numpy() for mask in marked], axis=0)
    last.imshow(together, interpolation="none")
    for ax, teacher, maps, line in zip(middle, teachers, heats, LINES, strict=False):
        heat = heatmaps(maps, side)[0].numpy()
        ax.imshow(grey, **faint)
        ax.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.65, interpolation="none")
        ax.set_title(teacher)
        if heat.min() < threshold < heat.max():
            ax.contour(heat, levels=[threshold], colors="white", linestyles=line, linewidths=1.6)
            last.contour(
                heat,
                levels=[threshold],
                colors=_of_teacher(explorer, teacher)["color"],
                linestyles=line,
                linewidths=2.2,
            )
    last.set_title(f"IoU {iou(marked):.2f}")
    return axes


def _of_teacher(explorer: "Explorer", run: str) -> dict[str, Any]:
    return look(explorer.cells.get(run, {}).get("teachers", ""), "s")


def alike(explorer: "Explorer", augmentation: str) -> list[str]:
    """The teachers of an augmentation, of the first teacher's origin, that the explorer has maps of; in order."""
    cells = {run: explorer.cells[run] for run in explorer.maps}
    first = next(iter(cells.values()))["origin"]
    return [run for run, cell in cells.items() if cell["teachers"] == augmentation and cell["origin"] == first]


def _maps(explorer: "Explorer", run: str, method: str) -> Tensor:
    try:
        return explorer.maps[run][f"{method}/clean"]
    except KeyError:
        raise ValueError(
            f"no maps {method!r} of {run!r} in the explorer; choose from the runs {', '.join(explorer.maps)}"
        ) from None


@_styled
def overlap(
    table: pd.DataFrame,
    measure: str = "attention_iou",
    method: str = "cam-predicted",
    view: str = "clean",
    split: str = "validation",
    ax: Axes | None = None,
) -> Axes:
    """How much the attention of each ensemble's teachers overlaps; for the IoU, beside its area-matched chance level.

    Args:
        measure: attention_iou, chance_iou or excess_iou.
    """
    ax, table = _axes(ax), plain(table)
    where = {"form": "textbook", "role": "ensemble", "split": split, "method": method, "view": view, "against": ""}
    rows = _rows(table, measure=measure, **where)
    ensembles = list(dict.fromkeys(rows["teachers"]))
    for place, teachers in enumerate(ensembles):
        kinds = set(teachers.split("+"))
        word = "mixed" if len(kinds) > 1 else f"all {literal(kinds.pop())}"
        _points(ax, place, select(rows, teachers=teachers)["value"].tolist(), look(teachers, "s"), label=word)
    if measure == "attention_iou":
        chance = _rows(table, measure="chance_iou", **where).groupby("teachers")["value"].mean()
        for place, teachers in enumerate(ensembles):
            ax.plot([place - 0.36, place + 0.36], [chance[teachers]] * 2, color=NEUTRAL, linewidth=2.2, label="chance")
    elif measure == "excess_iou":
        _zero(ax)
    _name_teachers(ax, ensembles)
    ax.set_ylabel(LABELS[measure])
    _legend(ax, columns=4)
    return ax


# -- the grid --------------------------------------------------------------------------------------------------------


@_styled
def by_cell(
    table: pd.DataFrame,
    measure: str,
    view: str = "clean",
    against: str = "",
    form: str = "textbook",
    split: str = "validation",
    papers: Mapping[tuple[str, str], float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A measure of every student: teachers along the axis, colour by the student's own augmentation.

    Args:
        measure, view, against, form, split: which rows, as in `kdnb.evidence.table`; of fidelity, `against` is ``ensemble``.
        papers: (teachers, student) → the paper's own value, drawn as a cross.

    Raises:
        IncompleteError: no such rows.
    """
    rows = _rows(plain(table), role="student", measure=measure, view=view, against=against, form=form, split=split)
    return _cells(rows, LABELS.get(measure, measure.replace("_", " ")), ax, papers or {})


@_styled
def distillation_gain(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What teachers add: validation accuracy of each distilled student − that of the one without teachers, the same
    augmentation, paired within a seed.

    Raises:
        IncompleteError: no student without teachers.
    """
    rows = _rows(plain(table), role="student", measure="accuracy", view="clean", form="textbook", split="validation")
    alone = _rows(rows, teachers="").set_index(["seed", "student"])["value"]
    taught = rows[rows["teachers"] != ""].join(alone.rename("alone"), on=["seed", "student"], how="inner")
    ax = _cells(taught.assign(value=taught["value"] - taught["alone"]), "gain in validation accuracy", ax)
    _zero(ax)
    return ax


def _cells(
    rows: pd.DataFrame, label: str, ax: Axes | None, papers: Mapping[tuple[str, str], float] | None = None
) -> Axes:
    ax = _axes(ax)
    ensembles = list(dict.fromkeys(rows["teachers"]))
    students = list(dict.fromkeys(rows["student"]))
    beside = np.linspace(-0.2, 0.2, len(students)) if len(students) > 1 else [0.0]
    for place, teachers in enumerate(ensembles):
        for student, shift in zip(students, beside, strict=True):
            values = select(rows, teachers=teachers, student=student)["value"].tolist()
            if values:
                _points(ax, place + shift, values, look(student, "o" if teachers else "^"), spread=0.06)
            if (teachers, student) in (papers or {}):
                cross = {"color": look(student, "o")["color"], "markersize": 8, "markeredgewidth": 2.2}
                ax.plot([place + shift], [(papers or {})[teachers, student]], "x", **cross)
    _name_teachers(ax, ensembles)
    ax.set_ylabel(label)
    handles = [_handle(student) for student in students]
    if papers:
        handles.append(
            Line2D([], [], linestyle="none", marker="x", color=NEUTRAL, markeredgewidth=2.2, label="the paper")
        )
    _legend(ax, handles, columns=3)
    return ax


def _handle(student: str) -> Line2D:
    return Line2D([], [], linestyle="none", label=f"{literal(student)} student", **look(student, "o"))


# -- fidelity --------------------------------------------------------------------------------------------------------


@_styled
def by_view(
    table: pd.DataFrame,
    measure: str = "agreement",
    cells: Sequence[tuple[str, str]] = ENDS,
    against: str = "ensemble",
    ax: Axes | None = None,
) -> Axes:
    """A measure of students on clean, weak and strong views of the validation images.

    Args:
        cells: (teachers, student), as the table's columns have them.
    """
    ax, table = _axes(ax), plain(table)
    views = ("clean", "weak", "strong")
    for (teachers, student), shift, line in zip(cells, np.linspace(-0.12, 0.12, len(cells)), LINES, strict=False):
        shown, means = look(student, "o" if teachers else "^"), []
        where = {"role": "student", "teachers": teachers, "student": student, "form": "textbook", "split": "validation"}
        for place, view in enumerate(views):
            rows = _rows(table, measure=measure, view=view, against=against, **where)
            _points(ax, place + shift, rows["value"].tolist(), shown, label=rows["run"].iloc[0], spread=0.05)
            means.append(float(rows["value"].mean()))
        ax.plot(np.arange(len(views)) + shift, means, color=shown["color"], linestyle=line, linewidth=1.2)
    ax.set_xticks(range(len(views)), [f"{view} views" for view in views])
    ax.set_xlim(-0.4, len(views) - 0.6)
    ax.set_ylabel(LABELS.get(measure, measure.replace("_", " ")))
    _legend(ax)
    return ax


# -- generalisation --------------------------------------------------------------------------------------------------


@_styled
def learning_curves(curves: pd.DataFrame, cells: Sequence[tuple[str, str]] = ENDS, ax: Axes | None = None) -> Axes:
    """Running training accuracy (dashed, on augmented views) and validation accuracy (solid) over the epochs; a line a seed,
    their mean in bold.

    Args:
        curves: as `kdnb.evidence.results.Results.curves`.
        cells: (teachers, student), as the table's columns have them.

    Raises:
        IncompleteError: no curve of a run.
    """
    ax = _axes(ax)
    handles = []
    for teachers, student in cells:
        rows = _rows(plain(curves), role="student", teachers=teachers, student=student)
        run, shown = rows["run"].iloc[0], look(student, "o" if teachers else "^")
        for column, line in (("train_accuracy", "--"), ("validation_accuracy", "-")):
            seen = rows.dropna(subset=[column])
            several = seen["seed"].nunique() > 1
            style = {"color": shown["color"], "linestyle": line}
            for _, of_seed in seen.groupby("seed"):
                thin = {"linewidth": 0.8, "alpha": 0.6} if several else {}
                ax.plot(of_seed["epoch"], of_seed[column], gid=SEEDS, **style | thin)
            mean = seen.groupby("epoch")[column].mean()
            ax.plot(mean.index, mean.to_numpy(), markevery=max(1, len(mean) // 6), **shown | style)
        handles.append(Line2D([], [], label=run, **shown))
    ax.set_xlabel("epoch")
    ax.set_ylabel("accuracy")
    handles.append(Line2D([], [], color=NEUTRAL, linestyle="--", label="training"))
    handles.append(Line2D([], [], color=NEUTRAL, linestyle="-", label="validation"))
    _legend(ax, handles)
    return ax


def pilot_curves(curves: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The curves that a profile was calibrated on: undistilled networks with weak and with strong augmentation, on pilot
    seeds that no study uses.

    Args:
        curves: columns as `kdnb.evidence.results.Results.curves`, of the students without teachers.
    """
    return learning_curves(curves, (("", "weak"), ("", "strong")), ax)


@_styled
def reliability_diagram(
    reliability: pd.DataFrame, cells: Sequence[tuple[str, str]] = ENDS, view: str = "clean", ax: Axes | None = None
) -> Axes:
    """Accuracy against confidence in ten bins, a point for each bin that is not empty and each seed; the line pools seeds.
    Above the diagonal a network is too modest, below it too sure.

    Args:
        reliability: as `kdnb.evidence.results.Results.reliability`.
        cells: (teachers, student), as the table's columns have them.
    """
    ax = _axes(ax, 4.2)
    ax.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1.2)
    for (teachers, student), line in zip(cells, LINES, strict=False):
        rows = _rows(plain(reliability), role="student", teachers=teachers, student=student, view=view)
        rows = rows[rows["count"] > 0]
        run, shown = rows["run"].iloc[0], look(student, "o" if teachers else "^")
        pooled = rows[["confidence", "accuracy"]].mul(rows["count"], axis=0).groupby(rows["bin"]).sum()
        pooled = pooled.div(rows.groupby("bin")["count"].sum(), axis=0)
        ax.plot(pooled["confidence"], pooled["accuracy"], color=shown["color"], linestyle=line)
        ax.plot(rows["confidence"], rows["accuracy"], linestyle="none", label=run, gid=SEEDS, **shown)
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("confidence")
    ax.set_ylabel("accuracy")
    _legend(ax)
    return ax
