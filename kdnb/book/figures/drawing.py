"""What figures share: their axes, how a run looks, a point for each seed, the legend."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kdnb.book.style import HEIGHT, NEUTRAL, SEEDS, WIDTH, literal, look, styled
from kdnb.errors import IncompleteError
from kdnb.evidence.statistics import interval
from kdnb.evidence.table import select
from kdnb.images import augment

in_style = styled()


ENDS = (("weak+weak", "weak"), ("strong+strong", "strong"))
"""The students at the ends of the grid, as (teachers, student): all weak, all strong."""


def own_axes(ax: Axes | None, height: float = HEIGHT) -> Axes:
    return ax if ax is not None else Figure((WIDTH, height), layout="constrained").add_subplot()


def own_grid(axes: Sequence[Axes] | NDArray[Any] | None, rows: int, columns: int, height: float) -> NDArray[Any]:
    """Axes in the order of reading: those given, or of a new figure."""
    if axes is None:
        axes = Figure((WIDTH, height), layout="constrained").subplots(rows, columns, squeeze=False)
    return np.ravel(np.asarray(axes, dtype=object))


def rows_of(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    rows = select(table, **where)
    if rows.empty:
        wanted = ", ".join(f"{column} {value!r}" for column, value in where.items())
        raise IncompleteError(
            f"these results have nothing with {wanted}; kdnb.evidence.table names the columns and their values"
        )
    return rows


def look_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run or an ensemble, by its columns."""
    if row["role"] == "student":
        return look(row["student"], "o" if row["teachers"] else "^")
    return look(row["teachers"], "D" if row["role"] == "reference" else "s")


def looks_of(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """run → what it looks like"""
    columns = ["run", "role", "teachers", "student"]
    rows = cast(list[dict[str, str]], table[columns].drop_duplicates("run").to_dict("records"))
    return {row["run"]: look_of(row) for row in rows}


def symbols(teachers: str) -> list[str]:
    """``weak+strong`` → w, s: how a column's augmentations are written on an axis."""
    return [augment.symbol(each) for each in teachers.split("+")] if teachers else []


def seed_points(
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


def legend(ax: Axes, handles: Sequence[Line2D] | None = None, columns: int = 2, right: bool = False) -> None:
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


def zero_line(ax: Axes) -> None:
    ax.axhline(0.0, color=NEUTRAL, linewidth=1.2, zorder=1)


def name_teachers(ax: Axes, ensembles: Sequence[str]) -> None:
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


def student_handle(student: str) -> Line2D:
    return Line2D([], [], linestyle="none", label=f"{literal(student)} student", **look(student, "o"))


def bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
