"""Effects, trials and doses: what the claims are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdnb.book.figures.drawing import (
    in_style,
    legend,
    own_axes,
    own_grid,
    rows_of,
    seed_points,
    student_handle,
    symbols,
    zero_line,
)
from kdnb.book.style import LABELS, NEUTRAL, SEEDS, STRONG, WEAK, WIDTH, literal, look
from kdnb.errors import IncompleteError
from kdnb.evidence.table import plain, select


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


@in_style
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
        seed_points(ax, place, strip.values, ring, spread=0.0, between=strip.between, sideways=True)
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


@in_style
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
    axes = own_grid(axes, rows, min(2, len(panels)), 0.7 + 2.9 * rows)
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


@in_style
def interaction(
    table: pd.DataFrame, measure: str, view: str = "clean", against: str = "", split: str = "validation",
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Two weak or two strong teachers along the axis, a weak and a strong student as lines, thin for each seed. Parallel lines
    would mean that what the student's augmentation does is the same with either teachers.

    Raises:
        IncompleteError: one of the four cells is missing.
    """
    ax = own_axes(ax)
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
                teachers: rows_of(plain(table), teachers=teachers, student=student, **where).set_index("seed")["value"]
                for teachers in ("weak+weak", "strong+strong")
            }
        )
        if len(by_seed) > 1:
            ax.plot([shift, 1 + shift], by_seed.to_numpy().T, color=shown["color"], linewidth=0.8, alpha=0.55)
        ax.plot([shift, 1 + shift], by_seed.mean().to_numpy(), color=shown["color"], linewidth=2.2)
        for place, teachers in enumerate(by_seed):
            seed_points(ax, place + shift, by_seed[teachers].tolist(), shown, spread=0.0)
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


@in_style
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
    axes = own_grid(axes, len(measures), 1, len(measures) * (0.75 + 0.42 * len(rows)))
    origin = table.loc[table["role"] == "teacher", "origin"].iloc[0] if len(table) else ""
    for ax, (measure, against) in zip(axes, measures, strict=True):
        where = {"role": "student", "measure": measure, "form": "textbook", "split": "validation", "view": "clean"}
        found = rows_of(table, against=against, **where)
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
                    seed_points(ax, place - shift, values, shown, spread=0.0, bar=0.12, sideways=True)
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
    legend(axes[0], [student_handle(student) for student in students], right=True)
    return axes


@in_style
def dose(points: pd.DataFrame, axes: Sequence[Axes] | NDArray[Any] | None = None) -> NDArray[Any]:
    """Accuracy and agreement of a student against α, the weight of the labels; a line a seed, the mean in bold.

    Args:
        points: alpha, seed, accuracy, agreement.
    """
    axes = own_grid(axes, 1, 2, 3.2)
    for ax, measure in zip(axes, ("accuracy", "agreement"), strict=True):
        by_seed = points.pivot(index="alpha", columns="seed", values=measure)
        if by_seed.shape[1] > 1:
            ax.plot(by_seed.index, by_seed.to_numpy(), color=STRONG, linewidth=0.9, alpha=0.6)
        ax.plot(by_seed.index, by_seed.mean(axis=1).to_numpy(), color=STRONG)
        for alpha, values in by_seed.iterrows():
            seed_points(ax, float(str(alpha)), values.dropna().tolist(), look("strong", "o"), spread=0.0, bar=0.02)
        ax.set_xlabel("α, weight of the labels")
        ax.set_title({"accuracy": "accuracy", "agreement": "agreement"}[measure])
        ax.set_xticks(list(by_seed.index))
    return axes


@in_style
def specification_curve(
    specs: pd.DataFrame, flips: pd.DataFrame, unit: str, axes: Sequence[Axes] | NDArray[Any] | None = None
) -> NDArray[Any]:
    """One claim measured in every way: above, the sorted effects, with the side that the paper predicts in grey, their range
    over seeds, the declared way as a diamond and the paper's own as a cross; below, for each choice and value, the share of
    specifications with the paper's sign.

    Args:
        specs: of one claim, as `kdnb.ruler.curves.over_seeds`.
        flips: of that claim, as `kdnb.ruler.curves.flips`.
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
    zero_line(curve)
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
