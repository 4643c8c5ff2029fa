"""What is asked of a table of measures: which cells it names, and the number that a seed gives.

Everything is selected by the table's columns. Trials are students of the objective ``kd`` whose teachers all have the study's
default origin, which is that of its first teacher; cells of another origin are only found where an estimand asks for them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pandas as pd

from kdnb.evidence import paper

Sign = Literal[-1, 1]

WEAK, STRONG = "weak", "strong"
STUDENTS = (WEAK, STRONG)
PURE = ("weak+weak", "strong+strong")
MIXED = ("strong+weak", "weak+strong")
PAIRS = ("weak+weak", "strong+weak", "weak+strong", "strong+strong")
"""the teachers of the eight trials"""


# -- what is looked up in a table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A student of the grid, or, with no student, several teachers together."""

    teachers: str
    student: str = ""
    objective: str = "kd"
    """none without teachers"""
    origins: str = "A"
    """of its teachers, as letters: A is the default origin, B another; one letter stands for all of them"""


@dataclass(frozen=True)
class Measure:
    """What is measured of a cell: the table's columns that are not the cell's."""

    name: str
    form: str = "textbook"
    split: str = "validation"
    view: str = "clean"
    """``own``; of teachers together, the student's augmentation stands for it"""
    against: str = ""
    method: str = ""
    of_teachers: bool = False
    """measured of the cell's teachers together, not of its student"""


class Index:
    """A table, looked up by column."""

    _KEY = (
        "role",
        "teachers",
        "origin",
        "student",
        "objective",
        "measure",
        "form",
        "split",
        "view",
        "against",
        "method",
    )

    def __init__(self, table: pd.DataFrame) -> None:
        columns = [table[name].tolist() for name in ("seed", *self._KEY)]
        self._values = dict(zip(zip(*columns, strict=True), table["value"].tolist(), strict=True))
        self.seeds = tuple(int(seed) for seed in dict.fromkeys(table["seed"]))
        teachers = table[table["role"] == "teacher"]
        self._origins = list(dict.fromkeys(teachers["origin"]))
        students = table[(table["role"] == "student") & (table["objective"] == "kd")]
        found = dict.fromkeys(zip(students["teachers"], students["origin"], students["student"], strict=True))
        self.trials = [Cell(t, s) for t, origin, s in found if origin == self._origin(Cell(t, s))]
        """the kd students of the default origin, of any number of teachers"""

    def _origin(self, cell: Cell) -> str | None:
        """What the column says for a cell's origins; None where the table has no such origin."""
        if not cell.teachers:
            return ""
        count = cell.teachers.count("+") + 1
        letters = cell.origins if len(cell.origins) > 1 else cell.origins * count
        places = ["AB".index(letter) for letter in letters]
        return "+".join(self._origins[place] for place in places) if max(places) < len(self._origins) else None

    def value(self, seed: int, cell: Cell, measure: Measure) -> float | None:
        """The number, None where the table has none or it is not finite."""
        origin = self._origin(cell)
        if origin is None:
            return None
        parts: tuple[str, ...] = ("student", cell.teachers, origin, cell.student, cell.objective)
        view = measure.view
        if measure.of_teachers:
            parts = ("ensemble", cell.teachers, origin, "", "")
            view = cell.student if view == "own" else view
        key = (seed, *parts, measure.name, measure.form, measure.split, view, measure.against, measure.method)
        value = self._values.get(key)
        return None if value is None or not math.isfinite(value) else float(value)


# -- estimands -------------------------------------------------------------------------------------------------------

PaperValue = Callable[[str], float]
"""data set → the paper's own value, NaN where its tables have none"""


@dataclass(frozen=True)
class Contrast:
    """A sum of weighted cells within a seed, such as the mean over teachers of strong − weak students."""

    what: str
    terms: tuple[tuple[float, Cell, Measure], ...]
    predicted: Sign | None
    """the sign that the paper predicts, or we; None where nobody predicts one"""
    paper: PaperValue | None = None
    key: str = ""
    """a short name that stays, as ``F1``; empty where nothing refers to it"""

    def in_seed(self, index: Index, seed: int) -> float | None:
        total = 0.0
        for weight, cell, measure in self.terms:
            value = index.value(seed, cell, measure)
            if value is None:
                return None
            total += weight * value
        return total


@dataclass(frozen=True)
class Association:
    """Pearson's correlation of two measures over trials. It shows no cause: augmentation moves both."""

    what: str
    x: Measure
    y: Measure
    predicted: Sign
    within: Literal["", "student", "teachers"] = ""
    """the part whose means are taken off both measures first, so that the rest is alike in it"""
    cells: tuple[Cell, ...] = tuple(Cell(pair, student) for pair in PAIRS for student in STUDENTS)
    """empty for all kd students of the default origin"""
    paper: PaperValue | None = None
    key: str = ""
    """a short name that stays, as ``F1``; empty where nothing refers to it"""

    def in_seed(self, index: Index, seed: int, other: int | None = None) -> float | None:
        """r, None where a trial is lacking; ``other`` is the seed that y is taken of, by default the same."""
        rows = []
        for cell in self.cells or index.trials:
            x, y = index.value(seed, cell, self.x), index.value(seed if other is None else other, cell, self.y)
            if x is not None and y is not None:
                rows.append((cell.teachers, cell.student, x, y))
            elif self.cells:
                return None
        if len(rows) < 3:
            return None
        values = np.array([row[2:] for row in rows])
        if self.within:
            place = ("teachers", "student").index(self.within)
            for part in {row[place] for row in rows}:
                same = np.array([row[place] == part for row in rows])
                values[same] -= values[same].mean(axis=0)
        if (values.std(axis=0) < 1e-12).any():
            return None
        return float(np.corrcoef(values.T)[0, 1])


@dataclass(frozen=True)
class BestIs:
    """The best of some cells − the best of others, within a seed."""

    what: str
    first: tuple[Cell, ...]
    second: tuple[Cell, ...]
    measure: Measure
    predicted: Sign
    paper: PaperValue | None = None
    key: str = ""

    def in_seed(self, index: Index, seed: int) -> float | None:
        values = [[index.value(seed, cell, self.measure) for cell in cells] for cells in (self.first, self.second)]
        if any(value is None for side in values for value in side):
            return None
        first, second = (max(cast(list[float], side)) for side in values)
        return first - second


@dataclass(frozen=True)
class Ratio:
    """One contrast over another, within a seed; none where the other is 0."""

    what: str
    first: Contrast
    second: Contrast
    predicted: Sign | None = None
    paper: PaperValue | None = None
    key: str = ""

    def in_seed(self, index: Index, seed: int) -> float | None:
        first, second = (each.in_seed(index, seed) for each in (self.first, self.second))
        return None if first is None or not second else first / second


Estimand = Contrast | Association | BestIs | Ratio


# -- the paper's own values ------------------------------------------------------------------------------------------


def papers(estimand: Estimand) -> dict[str, float]:
    """The paper's own values of an estimand, by data set; empty where its tables have none."""
    if estimand.paper is None:
        return {}
    found = {dataset: estimand.paper(dataset) for dataset in paper.MEASURED}
    return {dataset: value for dataset, value in found.items() if math.isfinite(value)}


def papers_in_words(estimand: Estimand) -> str:
    """``−0.69 / −0.77 / −0.87``: CIFAR-100, its long tail, ImageNet-LT; empty where the tables have none."""
    return " / ".join(signed(value) for value in papers(estimand).values())


def signed(value: float, digits: int = 3) -> str:
    """``−0.012``, with a sign that is as wide as +, and as many digits as it takes not to read as zero.

    >>> signed(-0.012), signed(-0.0002), signed(0.0), signed(-0.77, 2)
    ('−0.012', '−0.0002', '+0.000', '−0.77')
    """
    value = 0.0 if abs(value) < 1e-9 else value  # what is left of sums that cancel
    while 0 < abs(value) < 0.5 * 10**-digits:
        digits += 1
    return f"{value:+.{digits}f}".replace("-", "−")
