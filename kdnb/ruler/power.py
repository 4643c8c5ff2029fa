"""How small an effect a number of seeds can see, from the spread of the seeds that were looked at before.

Two seeds give each contrast one degree of freedom, so the spread of a measure is pooled over contrasts. It is a guess, said
before the seeds that decide, and no part of any verdict.
"""

import math
from functools import cache

import numpy as np

from kdnb.evidence.claims import ACCURACY, AGREEMENT, ECE, IOU
from kdnb.evidence.estimands import STRONG, WEAK, Cell, Contrast, Index, Measure
from kdnb.evidence.results import Results
from kdnb.evidence.statistics import LEVEL, sign_flip_p

CHANCE = 0.8
"""with which an effect of the smallest size is to be supported"""

_PAIRS = ("weak+weak", "weak+strong", "strong+strong")
"""the pairs that the exploratory seeds have"""

KINDS: dict[str, tuple[Contrast, ...]] = {
    "validation accuracy": tuple(
        Contrast(pair, ((1.0, Cell(pair, STRONG), ACCURACY), (-1.0, Cell(pair, WEAK), ACCURACY)), None)
        for pair in _PAIRS
    ),
    "agreement": tuple(
        Contrast(pair, ((1.0, Cell(pair, STRONG), AGREEMENT), (-1.0, Cell(pair, WEAK), AGREEMENT)), None)
        for pair in _PAIRS
    ),
    "calibration error": tuple(
        Contrast(pair, ((1.0, Cell(pair, STRONG), ECE), (-1.0, Cell(pair, WEAK), ECE)), None) for pair in _PAIRS
    ),
    "attention IoU": tuple(
        Contrast(first, ((1.0, Cell(first, WEAK), iou), (-1.0, Cell(second, WEAK), iou)), None)
        for iou in (Measure(IOU.name, method=IOU.method, of_teachers=True),)
        for first, second in (("weak+strong", "weak+weak"), ("strong+strong", "weak+weak"))
    ),
}
"""measure → contrasts within a seed, strong − weak students or one pair of teachers − another"""


def spread(found: Results) -> dict[str, float]:
    """measure → the standard deviation of a contrast over seeds, in the measure's unit, pooled over the contrasts of `KINDS`.

    Raises:
        ValueError: fewer than two seeds.
    """
    if len(found.seeds) < 2:
        raise ValueError(f"a spread takes two seeds or more, not {len(found.seeds)}")
    index, pooled = Index(found.table), {}
    for measure, contrasts in KINDS.items():
        values = [[each.in_seed(index, seed) for seed in found.seeds] for each in contrasts]
        whole = [[value for value in row if value is not None] for row in values]
        there = [np.var(row, ddof=1) for row in whole if len(row) == len(found.seeds)]
        if there:
            pooled[measure] = math.sqrt(float(np.mean(there)))
    return pooled


@cache
def smallest_effect(seeds: int, chance: float = CHANCE, draws: int = 4000) -> float:
    """The smallest effect that the rule supports with this chance, as a multiple of its standard deviation over seeds, which
    are drawn from a normal distribution.

    Raises:
        ValueError: so few seeds that the rule can support nothing.

    >>> round(smallest_effect(5), 1)
    1.7
    """
    if 2.0**-seeds > LEVEL:
        raise ValueError(f"{seeds} seeds can support nothing: their smallest p is 1/{2**seeds}")
    noise = np.random.default_rng(0).standard_normal((draws, seeds))
    low, high = 0.0, 8.0
    for _ in range(12):
        middle = (low + high) / 2
        supported = np.mean([sign_flip_p(row, 1) <= LEVEL for row in (noise + middle).tolist()])
        low, high = (low, middle) if supported >= chance else (middle, high)
    return high
