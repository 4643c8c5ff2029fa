"""A measure of every cell of the grid."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from kdnb.book.figures.drawing import (
    in_style,
    legend,
    name_teachers,
    own_axes,
    rows_of,
    seed_points,
    student_handle,
    zero_line,
)
from kdnb.book.style import LABELS, LINES, NEUTRAL, look
from kdnb.evidence.estimands import PURE, STUDENTS
from kdnb.evidence.table import plain, select


@in_style
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
    rows = rows_of(plain(table), role="student", measure=measure, view=view, against=against, form=form, split=split)
    return _cells(rows, LABELS.get(measure, measure.replace("_", " ")), ax, papers or {})


@in_style
def distillation_gain(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What teachers add: validation accuracy of each distilled student − that of the one without teachers, the same
    augmentation, paired within a seed.

    Raises:
        IncompleteError: no student without teachers.
    """
    rows = rows_of(plain(table), role="student", measure="accuracy", view="clean", form="textbook", split="validation")
    alone = rows_of(rows, teachers="").set_index(["seed", "student"])["value"]
    taught = rows[rows["teachers"] != ""].join(alone.rename("alone"), on=["seed", "student"], how="inner")
    ax = _cells(taught.assign(value=taught["value"] - taught["alone"]), "gain in validation accuracy", ax)
    zero_line(ax)
    return ax


def _cells(
    rows: pd.DataFrame, label: str, ax: Axes | None, papers: Mapping[tuple[str, str], float] | None = None
) -> Axes:
    ax = own_axes(ax)
    ensembles = list(dict.fromkeys(rows["teachers"]))
    students = list(dict.fromkeys(rows["student"]))
    beside = np.linspace(-0.2, 0.2, len(students)) if len(students) > 1 else [0.0]
    for place, teachers in enumerate(ensembles):
        for student, shift in zip(students, beside, strict=True):
            values = select(rows, teachers=teachers, student=student)["value"].tolist()
            if values:
                seed_points(ax, place + shift, values, look(student, "o" if teachers else "^"), spread=0.06)
            if (teachers, student) in (papers or {}):
                cross = {"color": look(student, "o")["color"], "markersize": 8, "markeredgewidth": 2.2}
                ax.plot([place + shift], [(papers or {})[teachers, student]], "x", **cross)
    name_teachers(ax, ensembles)
    ax.set_ylabel(label)
    handles = [student_handle(student) for student in students]
    if papers:
        handles.append(
            Line2D([], [], linestyle="none", marker="x", color=NEUTRAL, markeredgewidth=2.2, label="the paper")
        )
    legend(ax, handles, columns=3)
    return ax


@in_style
def by_view(
    table: pd.DataFrame,
    measure: str = "agreement",
    teachers: Sequence[str] = PURE,
    against: str = "ensemble",
    ax: Axes | None = None,
) -> Axes:
    """A measure of weak and of strong students on clean, weak and strong views of the validation images, the mean over sets of
    teachers.

    Args:
        teachers: these sets, as the table's column has them.

    Raises:
        IncompleteError: one of them has no such student.
    """
    ax, table = own_axes(ax), plain(table)
    views = ("clean", "weak", "strong")
    for student, shift, line in zip(STUDENTS, (-0.12, 0.12), LINES, strict=False):
        shown, means = look(student, "o"), []
        where = {"role": "student", "student": student, "form": "textbook", "split": "validation", "against": against}
        for place, view in enumerate(views):
            rows = [rows_of(table, measure=measure, view=view, teachers=each, **where) for each in teachers]
            values = pd.concat(rows).groupby("seed")["value"].mean()
            seed_points(ax, place + shift, values.tolist(), shown, label=f"{student} student", spread=0.05)
            means.append(float(values.mean()))
        ax.plot(np.arange(len(views)) + shift, means, color=shown["color"], linestyle=line, linewidth=1.2)
    ax.set_xticks(range(len(views)), [f"{view} views" for view in views])
    ax.set_xlim(-0.4, len(views) - 0.6)
    ax.set_ylabel(LABELS.get(measure, measure.replace("_", " ")))
    legend(ax)
    return ax
