"""What a handful of seeds can say: an exact test, intervals, verdicts.

**The rule** (`verdict`). Over seeds, a sign-flip test of the mean effect, exact up to 20 of them: under the null hypothesis
each seed's effect is as likely to be its negative, so p is the share of all 2^n assignments of signs whose mean reaches the
observed one. An effect is *supported* if the one-sided p in the predicted direction is at most 0.05, *contradicted* if that
in the opposite direction is, else *inconclusive*. With n seeds the smallest p is 2^-n: fewer than five seeds can only be
inconclusive, whatever they show. Where a margin was declared and the interval lies within it, the effect is *negligible*, and
that is said first (`with_margin`).

Two more kinds of question are asked of an effect: whether it is *equivalent* to none within a margin (`equivalence_p`), and
whether it has a sign at all, with none predicted (`two_sided_p`).
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
"""One-sided, for each direction."""


EXACT_UP_TO = 20
"""Of so many seeds, the sign-flip test goes through all assignments of signs; of more, it draws 2^20 of them."""


Verdict = Literal["supported", "contradicted", "inconclusive"]

Kind = Literal["directional", "equivalence", "two-sided"]
"""of a test: of a predicted sign; that an effect lies within a margin; of any sign"""


def sign_flip_p(effects: Sequence[float], direction: Literal[-1, 1]) -> float:
    """One-sided p of the mean of `effects` in a direction, by flipping the sign of each; 2^-n to 1.

    Exact up to 20 effects. Of more, a million assignments are drawn, always the same, and the observed one is counted among
    them, which keeps the test valid.

    Raises:
        ValueError: no effects, or one that is not finite.
    """
    if not len(effects) or not all(math.isfinite(effect) for effect in effects):
        raise ValueError(f"a sign-flip test takes finite effects, and at least one, not {list(effects)}")
    return float(sign_flip_ps(np.asarray([effects], dtype=np.float64), direction)[0])


def sign_flip_ps(effects: NDArray[np.float64], direction: Literal[-1, 1]) -> NDArray[np.float64]:
    """`sign_flip_p` of many studies at once, (N,).

    Args:
        effects: a row for each study, (N, seeds), finite.
    """
    n, draws = effects.shape[1], 1 << EXACT_UP_TO
    if n <= EXACT_UP_TO:
        flipped = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    else:
        flipped = np.random.default_rng(0).integers(2, size=(draws, n), dtype=np.int8)
        flipped[0] = 0
    signs, magnitudes = (1.0 - 2.0 * flipped).T, direction * effects
    at_once = max(1, (1 << 22) // signs.shape[1])  # rows, of some tens of megabytes
    found = []
    for start in range(0, len(effects), at_once):
        rows = magnitudes[start : start + at_once]
        sums = rows @ signs
        # Equal sums may differ in their last bits, and must count as equal.
        least = sums[:, :1] - 1e-12 * np.abs(rows).sum(axis=1, keepdims=True)
        found.append((sums >= least).mean(axis=1))
    return np.concatenate(found)


def two_sided_p(effects: Sequence[float]) -> float:
    """Two-sided p of the mean by the sign-flip test: twice the smaller of the one-sided ones, at most 1; 2^(1-n) to 1.

    Raises:
        ValueError: as `sign_flip_p`.
    """
    return min(1.0, 2 * min(sign_flip_p(effects, 1), sign_flip_p(effects, -1)))


def equivalence_p(effects: Sequence[float], margin: float) -> float:
    """p of two one-sided t-tests (Schuirmann 1987) that the mean lies within ± margin: the larger of that against −margin and
    that against +margin. It is at most .05 exactly where the 90 % interval lies within the margin. NaN for a single effect.

    Raises:
        ValueError: the margin is not above 0.
    """
    if margin <= 0:
        raise ValueError(f"equivalence takes a margin above 0, not {margin:g}")
    return (
        float(equivalence_ps(np.asarray([effects], dtype=np.float64), margin)[0]) if len(effects) > 1 else float("nan")
    )


def equivalence_ps(effects: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """`equivalence_p` of many studies at once, (N,).

    Args:
        effects: a row for each study, (N, seeds), of two seeds or more.
    """
    from scipy.stats import t

    n = effects.shape[1]
    inside = margin - np.abs(effects.mean(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = t.sf(inside / (effects.std(axis=1, ddof=1) / math.sqrt(n)), n - 1)
    return np.asarray(np.where(np.isnan(p), 1.0, p))  # 0/0: at the margin to the last bit


def interval(effects: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean over seeds; NaN for a single one."""
    from scipy.stats import t

    n = len(effects)
    if n < 2:
        return float("nan"), float("nan")
    half = float(t.ppf(0.5 + level / 2, n - 1)) * float(np.std(effects, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(effects))
    return mean - half, mean + half


def bootstrap_interval(effects: Sequence[float], level: float = 0.95, draws: int = 10_000) -> tuple[float, float]:
    """Percentile interval of the mean by drawing seeds with replacement (Efron 1979), for effects that are far from normal,
    such as correlations. With few seeds it is too narrow; of two it would be no more than these two, and is NaN, as for a
    single one. The draws are always the same."""
    if len(effects) < 3:
        return float("nan"), float("nan")
    values = np.asarray(effects, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def verdict(effects: Sequence[float], predicted: Literal[-1, 1]) -> Verdict:
    """The rule in the module's description."""
    if sign_flip_p(effects, predicted) <= LEVEL:
        return "supported"
    opposite: Literal[-1, 1] = 1 if predicted == -1 else -1
    return "contradicted" if sign_flip_p(effects, opposite) <= LEVEL else "inconclusive"


def with_margin(by_sign: Verdict, seeds: int, low: float, high: float, margin: float) -> str:
    """The verdict, with *negligible* before it where the interval lies within ± the margin that was declared.

    Fewer seeds than a verdict takes are inconclusive, whatever their interval.

    Args:
        by_sign: the verdict of so many seeds by `verdict`.
        low, high: the 95 % interval over them.
        margin: 0 where none was declared.
    """
    if 2.0**-seeds > LEVEL or not (margin and -margin <= low and high <= margin):
        return by_sign
    return "negligible" if by_sign == "inconclusive" else f"negligible ({by_sign} by sign)"


def holm(p: Sequence[float], of: int = 0) -> list[float]:
    """Holm's step-down adjustment of p-values (Holm 1979), in their order; at most 1.

    Args:
        of: how many the family was declared with, where some have no p: they count as the largest.
    """
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, largest, count = [0.0] * len(p), 0.0, max(of, len(p))
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (count - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def image_interval(
    first: NDArray[Any], second: NDArray[Any], level: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """The paired sampling error over images of a difference of two networks: a percentile interval of the mean of first −
    second by drawing images with replacement (Efron 1979). It says what other validation images would give, not what other
    trainings would.

    Args:
        first, second: a value for each image, as whether the network is right, (N,).

    Raises:
        ValueError: different images, or none.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"a paired interval takes the same images twice, not {first.shape} and {second.shape}")
    difference = first.astype(np.float64) - second.astype(np.float64)
    values, counts = np.unique(difference, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(len(difference), counts / len(difference), size=draws) @ values
    low, high = np.quantile(drawn / len(difference), [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
