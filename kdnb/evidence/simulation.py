"""How often the rule judges right: synthetic studies with a planted effect, a planted confound, and nothing but noise.

A synthetic table has the rows that the primaries of K read, drawn so that every estimand sees what it would in a real one.
All studies stand in one table, five or eight seeds each, so that thousands of them are judged in seconds.
"""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdnb.evidence import claims, estimands
from kdnb.evidence.statistics import LEVEL, holm, sign_flip_p

Scenario = Literal["effect", "confound", "noise"]

SPREAD = 0.01
"""standard deviation of a cell over seeds, in the measures' unit: about that of accuracies in the exploratory seeds"""

SIZE = 0.03
"""what is planted: three standard deviations of a cell"""


@dataclass(frozen=True)
class Judged:
    """What became of synthetic studies."""

    p: dict[str, NDArray[np.float64]]
    """claim → one-sided p of its primary in the predicted direction, one for each study"""
    opposite: dict[str, NDArray[np.float64]]
    """the same in the other direction"""
    plotted: NDArray[np.bool_]
    """whether the first plot of K6 has the paper's sign in every seed, one for each study"""

    def share(self, claim: str, verdict: Literal["supported", "contradicted"]) -> float:
        """Of studies, how many reach this verdict on a claim."""
        values = self.p[claim] if verdict == "supported" else self.opposite[claim]
        return float((values <= LEVEL).mean())

    def any_verdict(self, adjusted: bool = False) -> float:
        """Of studies, how many reach a verdict on any of the primaries, in either direction; with Holm's values or without."""
        both = np.stack([np.minimum(self.p[key], self.opposite[key]) for key in self.p], axis=1)
        if adjusted:
            both = np.array([holm(row.tolist()) for row in both])
        return float((both <= LEVEL).any(axis=1).mean())


def primaries() -> list[claims.Claim]:
    """The claims of K that get a verdict."""
    return [claim for claim in claims.SETS["K"].claims if claim.primary is not None]


def simulate(scenario: Scenario, studies: int, seeds: int = 5, size: float = SIZE, draw: int = 0) -> Judged:
    """Judges synthetic studies by the primaries of K.

    Args:
        scenario: ``noise``: every cell is drawn alike. ``effect``: what each claim predicts is planted with this size.
            ``confound``: the student's augmentation moves agreement down and accuracy up, as a common cause, and nothing else
            is related.
        studies, seeds: how many studies, and seeds in each.
        size: what is planted, in the measures' unit.
        draw: another number draws other studies.
    """
    index = estimands.Index(_table(scenario, studies * seeds, size, np.random.default_rng(draw)))
    p: dict[str, NDArray[np.float64]] = {}
    opposite: dict[str, NDArray[np.float64]] = {}
    for claim in primaries():
        assert claim.primary is not None
        effects = _effects(index, claim.primary).reshape(studies, seeds)
        sign: Any = claim.primary.predicted
        p[claim.key] = np.array([sign_flip_p(row, sign) for row in effects.tolist()])
        opposite[claim.key] = np.array([sign_flip_p(row, -sign) for row in effects.tolist()])
    plotted = np.asarray((_effects(index, claims.K6.plotted[0]).reshape(studies, seeds) < 0).all(axis=1))
    return Judged(p, opposite, plotted)


def _effects(index: estimands.Index, estimand: estimands.Estimand) -> NDArray[np.float64]:
    return np.array([estimand.in_seed(index, seed) for seed in index.seeds], dtype=np.float64)


def _table(scenario: Scenario, seeds: int, size: float, rng: np.random.Generator) -> pd.DataFrame:
    """The rows of `seeds` seeds that the primaries and the plot of K6 read."""
    numbers, parts = np.arange(seeds), []
    planted = size if scenario == "effect" else 0.0

    def add(value: NDArray[np.float64], measure: estimands.Measure, **cell: str) -> None:
        columns = {"role": "student", "origin": "A+A", "objective": "kd", "student": "", "teachers": ""} | cell
        of = {"measure": measure.name, "form": measure.form, "split": measure.split, "view": measure.view}
        of |= {"against": measure.against, "method": measure.method}
        parts.append(pd.DataFrame({"seed": numbers, "value": value} | columns | of))

    def noise(mean: float) -> NDArray[np.float64]:
        return mean + SPREAD * rng.standard_normal(seeds)

    own_agreement = replace(claims.AGREEMENT, split="train", view="own")
    for pair in estimands.PAIRS:
        mixed = pair in estimands.MIXED
        for view in ("clean", *estimands.STUDENTS):
            value = noise(0.6) - planted * mixed
            add(value, replace(claims.IOU, view=view), role="ensemble", teachers=pair, objective="")
            seen = value
            if view == "clean":
                continue
            # with a planted effect, students of teachers that overlap less, and that agree less, are the better ones
            agreement = noise(0.5) - planted * mixed
            accuracy = noise(0.3) + planted * mixed
            if scenario == "effect":
                accuracy = accuracy - (seen - 0.6) - (agreement - 0.5)
            strong = view == estimands.STRONG
            shift = 3 * size if scenario == "confound" else planted
            add(agreement - strong * shift, own_agreement, teachers=pair, student=view)
            add(accuracy + strong * shift, claims.ACCURACY, teachers=pair, student=view)
            add(noise(0.6) - planted * strong, claims.AGREEMENT, teachers=pair, student=view)
            add(noise(0.1) - planted * strong, claims.ECE, teachers=pair, student=view)
    for pair, student in product(estimands.PURE, estimands.STUDENTS):
        add(noise(0.6) - 2 * planted, claims.AGREEMENT, teachers=pair, student=student, objective="zscore")
    for objective, student in product(("half-LR", "half-LL", "half-RR"), estimands.STUDENTS):
        lower = planted * (objective == "half-LR")
        add(noise(0.5) - lower, claims.AGREEMENT, teachers="weak+weak", student=student, objective=objective)
    origin = pd.DataFrame({"seed": numbers, "value": 0.0, "role": "teacher", "teachers": "weak", "origin": "A"})
    return pd.concat([origin, *parts], ignore_index=True).fillna("")
