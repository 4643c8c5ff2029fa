"""How networks learn, and how sure they get."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kdnb.book.figures.drawing import ENDS, in_style, legend, own_axes, rows_of
from kdnb.book.style import LINES, NEUTRAL, SEEDS, look
from kdnb.evidence.estimands import PURE, STUDENTS
from kdnb.evidence.table import plain


@in_style
def learning_curves(curves: pd.DataFrame, cells: Sequence[tuple[str, str]] = ENDS, ax: Axes | None = None) -> Axes:
    """Running training accuracy (dashed, on augmented views) and validation accuracy (solid) over the epochs; a line a seed,
    their mean in bold.

    Args:
        curves: as `kdnb.evidence.results.Results.curves`.
        cells: (teachers, student), as the table's columns have them.

    Raises:
        IncompleteError: no curve of a run.
    """
    ax = own_axes(ax)
    handles = []
    for teachers, student in cells:
        rows = rows_of(plain(curves), role="student", teachers=teachers, student=student)
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
    legend(ax, handles)
    return ax


def pilot_curves(curves: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The curves that a profile was calibrated on: undistilled networks with weak and with strong augmentation, on pilot
    seeds that no study uses.

    Args:
        curves: columns as `kdnb.evidence.results.Results.curves`, of the students without teachers.
    """
    return learning_curves(curves, (("", "weak"), ("", "strong")), ax)


@in_style
def reliability_diagram(
    reliability: pd.DataFrame, teachers: Sequence[str] = PURE, view: str = "clean", ax: Axes | None = None
) -> Axes:
    """Accuracy against confidence of weak and of strong students, in ten bins that pool sets of teachers: a point for each bin
    that is not empty and each seed; the line pools seeds. Above the diagonal a network is too modest, below it too sure.

    Args:
        reliability: as `kdnb.evidence.results.Results.reliability`.
        teachers: these sets, as the table's column has them.

    Raises:
        IncompleteError: one of them has no such student.
    """
    ax = own_axes(ax, 4.2)
    ax.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1.2)
    for student, line in zip(STUDENTS, LINES, strict=False):
        where = {"role": "student", "student": student, "view": view}
        rows = pd.concat([rows_of(plain(reliability), teachers=each, **where) for each in teachers])
        shown = look(student, "o")
        pooled, of_seed = _pooled(rows, ["bin"]), _pooled(rows, ["seed", "bin"])
        ax.plot(pooled["confidence"], pooled["accuracy"], color=shown["color"], linestyle=line)
        ax.plot(
            of_seed["confidence"], of_seed["accuracy"], linestyle="none", label=f"{student} student", gid=SEEDS, **shown
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("confidence")
    ax.set_ylabel("accuracy")
    legend(ax)
    return ax


def _pooled(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """confidence and accuracy of the images of several bins together; bins without any are left out."""
    sums = rows[["confidence", "accuracy"]].mul(rows["count"], axis=0).assign(count=rows["count"])
    sums = sums.groupby([rows[name] for name in by]).sum()
    sums = sums[sums["count"] > 0]
    return sums[["confidence", "accuracy"]].div(sums["count"], axis=0)
