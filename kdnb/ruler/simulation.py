"""How often the rule judges right: synthetic studies with a planted effect, a planted confound, and nothing but noise.

A synthetic table has the rows that the primaries of K read, drawn so that every estimand sees what it would in a real one.
All studies stand in one table, five or eight seeds each, so that thousands of them are judged in seconds.

Of the second round (R), effects are drawn and not tables (`second_round`): normal, with the spread over seeds that the first
study had, and correlated as far as they read the same cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdnb.evidence import claims, estimands
from kdnb.evidence.results import Results
from kdnb.evidence.statistics import LEVEL, equivalence_ps, holm, sign_flip_ps

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
        p[claim.key], opposite[claim.key] = sign_flip_ps(effects, sign), sign_flip_ps(effects, -sign)
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


# -- the second round ------------------------------------------------------------------------------------------------

DECIDING = ("F1", "F2", "F3", "F4", "F5", "E1", "E2", "E3", "Q1", "Q2")
"""the effects of R that get a verdict, in this order"""

STAND_INS = {"Q1": "Q1.alpha-0.2.accuracy", "Q2": "Q2.zscore.accuracy"}
"""effects that the first study has not, and others of R that it has, which stand for them: Q1 of strong students alone, and Q2
of z-score at its own pull. K3's primary stands for E3."""


def first_study(found: Results) -> pd.DataFrame:
    """Mean and spread over seeds (standard deviation) of the effects in `DECIDING`, in a study that was seen before R.

    Its test images stand for those of the other draws; of effects that it has not, `STAND_INS`.

    Args:
        found: of the profile ``cpu``.

    Returns:
        A row for each effect; columns: mean, spread, in the measure's unit.
    """
    index, rows = estimands.Index(found.table), {}
    for key in DECIDING:
        effect = claims.K3.primary if key == "E3" else claims.SETS["R"].estimand(STAND_INS.get(key, key))
        assert isinstance(effect, estimands.Contrast)
        terms = [
            (weight, cell, replace(measure, split="validation") if measure.split == claims.DRAWS else measure)
            for weight, cell, measure in effect.terms
        ]
        there = replace(effect, terms=tuple(terms))
        values = np.array([there.in_seed(index, seed) for seed in found.seeds], dtype=np.float64)
        rows[key] = {"mean": values.mean(), "spread": values.std(ddof=1)}
    return pd.DataFrame.from_dict(rows, orient="index")


def correlation(effects: Sequence[estimands.Contrast]) -> NDArray[np.float64]:
    """How effects go together over seeds only because they read the same cells, if cells are independent and scatter alike,
    (E, E)."""
    read = list(dict.fromkeys((cell, measure) for effect in effects for _, cell, measure in effect.terms))
    weights = np.zeros((len(effects), len(read)))
    for place, effect in enumerate(effects):
        for weight, cell, measure in effect.terms:
            weights[place, read.index((cell, measure))] += weight
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return np.asarray(weights @ weights.T)


@dataclass(frozen=True)
class Found:
    """Which verdicts synthetic studies of the second round reach: *supported*, *equivalent*, either sign; or P."""

    verdicts: dict[str, NDArray[np.bool_]]
    """effect, or P → one for each study"""
    alone: dict[str, NDArray[np.bool_]]
    """effects of F and Q without Holm's correction"""

    def any_of(self, *keys: str) -> float:
        """Of studies, how many reach a verdict on any of these."""
        return float(np.any([self.verdicts[key] for key in keys], axis=0).mean())


def second_round(
    sizes: Mapping[str, float],
    spread: Mapping[str, float],
    studies: int,
    peers: Mapping[str, float] | None = None,
    seeds: int = 7,
    draw: int = 0,
) -> Found:
    """Judges synthetic studies by the rules of R.

    Args:
        sizes: effect → what is planted, in the measure's unit; none is 0.
        spread: effect → its standard deviation over seeds, as `first_study` gives it.
        studies, seeds: how many studies, and seeds in each.
        peers: the sizes of Q1 and of F4 in ``cpu-peers``; none takes those of ``sizes``, so that there is no difference.
        draw: another number draws other studies.
    """
    declared = claims.SETS["R"]
    contrasts = [declared.estimand(key) for key in DECIDING]
    assert all(isinstance(each, estimands.Contrast) for each in contrasts)
    values, vectors = np.linalg.eigh(correlation(contrasts))  # type: ignore[arg-type]
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    rng = np.random.default_rng(draw)

    def drawn(planted: Mapping[str, float]) -> dict[str, NDArray[np.float64]]:
        noise = rng.standard_normal((studies, seeds, len(DECIDING))) @ root.T
        return {key: planted.get(key, 0.0) + spread[key] * noise[:, :, place] for place, key in enumerate(DECIDING)}

    ours, theirs = drawn(sizes), drawn(sizes if peers is None else peers)
    verdicts: dict[str, NDArray[np.bool_]] = {}
    alone: dict[str, NDArray[np.bool_]] = {}
    for family in dict.fromkeys(declared[key].family for key in DECIDING):
        keys = [claim.key for claim in declared.family(family)]
        p = np.stack([_p(declared[key], ours[key]) for key in keys], axis=1)
        for place, key in enumerate(keys):
            alone[key] = p[:, place] <= LEVEL
            verdicts[key] = _holm(p)[:, place] <= LEVEL
    parts = [ours["Q1"] - theirs["Q1"], theirs["F4"] - ours["F4"]]  # what class means cost is −F4
    verdicts["P"] = np.max([sign_flip_ps(part, 1) for part in parts], axis=0) <= LEVEL
    return Found(verdicts, alone)


def _p(claim: claims.Claim, effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the claim's kind of test, one for each study."""
    assert claim.primary is not None
    if claim.kind == "equivalence":
        return equivalence_ps(effects, claim.margin)
    if claim.kind == "two-sided":
        return np.minimum(1.0, 2 * np.minimum(sign_flip_ps(effects, 1), sign_flip_ps(effects, -1)))
    return sign_flip_ps(effects, 1 if claim.primary.predicted == 1 else -1)


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """`kdnb.evidence.statistics.holm` of each row."""
    order = np.argsort(p, axis=1, kind="stable")
    left = np.arange(p.shape[1], 0, -1)
    stepped = np.maximum.accumulate(np.minimum(1.0, np.take_along_axis(p, order, axis=1) * left), axis=1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, stepped, axis=1)
    return adjusted
