"""What no claim declares and the published files answer all the same: no training is needed, and no verdict is drawn.

How good teachers are together before a student hears them (`ensembles`); whether a correlation over trials stays when its two
measures come from different seeds (`across_seeds`); whether what teachers say foretells their students (`spread`, `foretold`).
"""

import itertools
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from kdnb.errors import IncompleteError
from kdnb.evidence.claims import ACCURACY, IOU
from kdnb.evidence.estimands import MIXED, PAIRS, PURE, STUDENTS, Association, Cell, Index, Measure
from kdnb.evidence.results import Results
from kdnb.evidence.table import select
from kdnb.ruler import sampling

TOGETHER = {
    "accuracy together": replace(ACCURACY, of_teachers=True),
    "agreement with each other": Measure("agreement", against="each-other", of_teachers=True),
    "attention IoU": IOU,
    "their students' accuracy": ACCURACY,
}
"""title → measure of several teachers, on clean validation images (IoU on clean training images); 0 to 1"""

PARTED: dict[str, dict[str, tuple[Cell, ...]]] = {
    "K5": {
        "teachers of two origins": tuple(Cell("weak+weak", student, origins="AB") for student in STUDENTS),
        "teachers of one origin": tuple(
            Cell("weak+weak", student, origins=each) for each in ("AA", "BB") for student in STUDENTS
        ),
    },
    "K8": {
        "mixed teachers": tuple(Cell(pair, student) for pair in MIXED for student in STUDENTS),
        "pure teachers": tuple(Cell(pair, student) for pair in PURE for student in STUDENTS),
    },
}
"""claim → the two kinds of teachers whose students it compares, the more diverse first"""


def ensembles(table: pd.DataFrame, claim: Literal["K5", "K8"]) -> pd.DataFrame:
    """What two kinds of teachers are together, and their students: a row for each seed and kind (the index), means over the
    claim's cells; columns `TOGETHER`.

    Raises:
        IncompleteError: the table lacks a cell.
    """
    index = Index(table)
    rows = {}
    for seed, (kind, cells) in itertools.product(index.seeds, PARTED[claim].items()):
        values = [[index.value(seed, cell, measure) for cell in cells] for measure in TOGETHER.values()]
        if any(value is None for each in values for value in each):
            raise IncompleteError(f"{kind} with weak and strong students")
        rows[seed, kind] = np.mean(np.array(values, dtype=float), axis=1)
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(TOGETHER)).set_axis(
        pd.MultiIndex.from_tuples(rows, names=["seed", "kind"])
    )


def parted(table: pd.DataFrame, claim: Literal["K5", "K8"]) -> dict[str, list[float]]:
    """Title in `TOGETHER` → the first kind of teachers − the second, of each seed.

    Raises:
        IncompleteError: as `ensembles`.
    """
    first, second = (ensembles(table, claim).xs(kind, level="kind") for kind in PARTED[claim])
    return {title: [float(each) for each in first[title] - second[title]] for title in TOGETHER}


def across_seeds(table: pd.DataFrame, of: Association) -> dict[tuple[int, int], float]:
    """A correlation over trials with the first measure of one seed and the second of another: (first, second) → r, −1 to 1.

    Within a seed both measures are of the same networks, and what is luck in one of them moves the other. Of different seeds
    only the images that are measured on are common. The pairs of seeds are not independent of each other.

    Raises:
        IncompleteError: fewer than two seeds, or a seed lacks a trial.
    """
    index = Index(table)
    found = {pair: of.in_seed(index, *pair) for pair in itertools.permutations(index.seeds, 2)}
    values = {pair: r for pair, r in found.items() if r is not None}
    if not values or len(values) < len(found):
        raise IncompleteError(f"two seeds with all trials of {of.what}")
    return values


SPREADS = ("over views", "between teachers")


def spread(found: Results) -> pd.DataFrame:
    """How much teachers' answers vary, without any student, and how good their students are.

    A row for each seed and trial; columns seed, teachers, student, accuracy (on clean validation images), and `SPREADS`, from 0
    to 0.5, of the probability of the true class, means over validation images. ``over views``: the standard deviation over
    the published views of an image (clean, weak, strong) of the teachers' common answer; ``between teachers``: that over
    the teachers, on a view of the student's kind.

    Wang et al. 2022 (arXiv 2012.02909) take the deviation of the teacher's *mean* probability over many draws of
    one augmentation of training images. Neither those draws nor whole distributions are published.

    Raises:
        IncompleteError: no predictions, a view or a trial is lacking.
    """
    index, names = Index(found.table), sampling.runs(found)
    trials = [Cell(pair, student) for pair in PAIRS for student in STUDENTS]
    rows = []
    for seed, cell in itertools.product(found.seeds, trials):
        accuracy = index.value(seed, cell, ACCURACY)
        if accuracy is None or cell not in names:
            raise IncompleteError("the eight trials")
        run, together = names[cell]
        compared = select(found.table, seed=seed, run=run, measure="agreement", split="validation", view="clean")
        teachers = sorted(set(compared["against"]) - {"ensemble", "halves"})
        said = found.predictions(seed)
        views = np.stack([said.probability(together, view).numpy() for view in said.views])
        each = np.stack([said.probability(teacher, cell.student).numpy() for teacher in teachers])
        varies = dict(zip(SPREADS, (float(of.std(axis=0).mean()) for of in (views, each)), strict=True))
        about = {"seed": seed, "teachers": cell.teachers, "student": cell.student, "accuracy": accuracy}
        rows.append(about | varies)
    return pd.DataFrame(rows)


def foretold(found: Results) -> pd.DataFrame:
    """r of each of `SPREADS` and students' accuracy: a row for each seed, columns (spread, among), of which ``among`` is weak
    or strong (the four trials of such students) or all (eight, means of each student's augmentation taken off).

    Raises:
        IncompleteError: as `spread`.
    """
    rows = spread(found)
    values = [*SPREADS, "accuracy"]
    rows[values] -= rows.groupby(["seed", "student"])[values].transform("mean")
    r = {}
    for seed, of_seed in rows.groupby("seed"):
        parts = {"all": of_seed} | {student: select(of_seed, student=student) for student in STUDENTS}
        r[seed] = {(name, among): of[name].corr(of["accuracy"]) for name in SPREADS for among, of in parts.items()}
    return pd.DataFrame.from_dict(r, orient="index")
