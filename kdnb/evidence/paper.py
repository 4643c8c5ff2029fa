"""The paper's own numbers: its tables (arXiv 2405.00739v1), and what they say when they are computed again.

A trial is a student of two teachers. Each dataset has eight trials, four sets of teachers times two students, each trained
once: a correlation over them, or within a student's augmentation, is a hint and no proof. The paper prints scatter plots;
every correlation here is ours.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
import pandas as pd
import yaml

DATASETS = ("cifar100", "cifar100-imb100", "imagenet", "imagenet-lt")
"""with accuracy and affinity in table 1"""

MEASURED = ("cifar100", "cifar100-imb100", "imagenet-lt")
"""with agreement, attention IoU and gap (tables C.2 to C.4) and the calibration error (H.6)"""

TITLES = {
    "cifar100": "CIFAR-100",
    "cifar100-imb100": "its long tail",
    "imagenet": "ImageNet",
    "imagenet-lt": "ImageNet-LT",
}
"""what a reader calls them"""

_WORDS = {"w": "weak", "s": "strong"}

Within = Literal["", "student", "teachers"]


@cache
def tables() -> pd.DataFrame:
    """A row for each number: table, dataset, kd (v: vanilla, h: half images), measure, teachers (weak+strong), student (weak),
    value. Accuracies, gaps and shares are fractions."""
    with (resources.files("kdnb") / "data" / "paper" / "tables.csv").open(encoding="utf-8") as file:
        rows = pd.read_csv(file, dtype={"table": str})
    rows["teachers"] = ["+".join(_WORDS[letter] for letter in letters) for letters in rows["teachers"]]
    rows["student"] = rows["student"].map(_WORDS)
    return rows


@cache
def best() -> pd.DataFrame:
    """Table G.5: method, dataset, accuracy; the best of one, two and three teachers, and of two other methods."""
    with (resources.files("kdnb") / "data" / "paper" / "table-G5.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def trials(dataset: str, kd: Literal["v", "h"] = "v") -> pd.DataFrame:
    """The eight trials of a dataset: indexed by (teachers, student), a column for each measure that is printed.

    Raises:
        ValueError: no such dataset.
    """
    rows = tables()
    rows = rows[(rows["dataset"] == dataset) & (rows["kd"] == kd)]
    if rows.empty:
        raise ValueError(f"the paper has no table of {dataset!r} with kd {kd!r}; choose from {', '.join(DATASETS)}")
    return rows.pivot_table(index=["teachers", "student"], columns="measure", values="value")


def correlation(x: str, y: str, dataset: str, within: Within = "") -> float:
    """Pearson's r of two measures over the eight trials; NaN where one is not printed.

    Args:
        within: take the mean of all trials with the same student, or the same teachers, off both measures first.

    >>> round(correlation("agreement", "affinity", "cifar100"), 2)
    0.98
    >>> round(correlation("accuracy", "accuracy", "cifar100"), 2)
    1.0
    """
    values = trials(dataset)
    if x not in values or y not in values:
        return float("nan")
    left, right = values[x], values[y]
    if within:
        left, right = (each - each.groupby(level=within).transform("mean") for each in (left, right))
    return float(np.corrcoef(left, right)[0, 1])


def correlation_at(x: str, y: str, dataset: str, student: str) -> float:
    """Pearson's r over the four trials with one student augmentation."""
    values = trials(dataset).xs(student, level="student")
    return float(np.corrcoef(values[x], values[y])[0, 1])


def contrast(measure: str, dataset: str, first: list[tuple[str, str]], second: list[tuple[str, str]]) -> float:
    """The mean of a measure over some trials − that over others, each a (teachers, student); NaN where not printed."""
    values = trials(dataset)
    if measure not in values:
        return float("nan")
    return float(values[measure].loc[first].mean() - values[measure].loc[second].mean())


def half_minus_whole(measure: str, dataset: str) -> float:
    """The mean over the eight trials of half-image distillation − vanilla; NaN where it is not printed."""
    half, whole = trials(dataset, "h") if dataset in MEASURED else pd.DataFrame(), trials(dataset)
    return float((half[measure] - whole[measure]).mean()) if measure in half else float("nan")


@dataclass(frozen=True)
class Difference:
    """Where the paper's text or tables and its released code differ, or leave a question open."""

    what: str
    text: str
    """what the text or the tables say"""
    code: str
    """what the released code does"""
    moves: str
    """which result it moves, and how"""
    size: str
    """how much: "not measured" where nobody knows, else with names of numbers in braces, which `kdnb.book.ledger` computes"""
    shows: str
    """a command, or the place, that shows it"""


@cache
def differences() -> tuple[Difference, ...]:
    """The ledger of differences between text, tables and released code."""
    with (resources.files("kdnb") / "data" / "paper" / "differences.yaml").open(encoding="utf-8") as file:
        return tuple(Difference(**{name: str(value) for name, value in each.items()}) for each in yaml.safe_load(file))
