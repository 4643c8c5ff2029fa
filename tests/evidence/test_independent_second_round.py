"""The second round's effects and verdicts again, from the committed tables alone, with the csv module and numpy, by formulas
that are written out here. Nothing of kdnb computes what is compared with kdnb."""

import itertools

import numpy as np
import pandas as pd
import pytest

from kdnb.evidence import claims, judging, results
from kdnb.paths import CHECKOUT
from tests.evidence.test_independent import MIXED, PAIRS, PURE, STUDENTS, Seed, read, strong_minus_weak

PUBLISHED = CHECKOUT / "book" / "results"
ROUND = [name for name in claims.SECOND_ROUND if (PUBLISHED / name).is_dir()]
R = claims.SETS["R"]
DRAWS = {"split": "draws"}


def accuracy(seed, teachers, student, objective=""):
    return seed.student(teachers, student, "accuracy", objective=objective, **DRAWS)


def agreement(seed, student, objective=""):
    return seed.student("weak+weak", student, "agreement", against="ensemble", objective=objective, **DRAWS)


def alone(seed, student):
    return seed.values[f"S{student[0]}", "accuracy", "draws", "clean", "", ""]


def mean_over_students(value):
    return np.mean([value(student) for student in STUDENTS])


def effects(seed):
    """key → the effect in a seed, of all that it has"""

    def ww(student, objective=""):
        return accuracy(seed, "weak+weak", student, objective)

    def gained(teachers):
        return accuracy(seed, teachers, "strong") - accuracy(seed, teachers, "weak")

    def on_common(view):
        where = {"view": view, "against": "ensemble"}
        return strong_minus_weak(lambda pair, student: seed.student(pair, student, "agreement", **where))

    asked = {
        "F1": lambda: np.mean([seed.overlap(pair) for pair in MIXED]) - np.mean([seed.overlap(pair) for pair in PURE]),
        "F2": lambda: strong_minus_weak(lambda p, s: seed.student(p, s, "calibration_error", **DRAWS)),
        "F3": lambda: gained("strong+strong") - gained("weak+weak"),
        "F4": lambda: mean_over_students(lambda s: ww(s, "class-mean") - ww(s)),
        "F5": lambda: on_common("strong") - on_common("weak"),
        "E1": lambda: np.mean([gained(pair) for pair in PAIRS]),
        "E2": lambda: mean_over_students(
            lambda s: np.mean([accuracy(seed, p, s) for p in MIXED]) - np.mean([accuracy(seed, p, s) for p in PURE])
        ),
        "E3": lambda: mean_over_students(
            lambda s: agreement(seed, s, "halves-different") - agreement(seed, s, "halves-both")
        ),
        "Q1": lambda: mean_over_students(lambda s: ww(s, "alpha-0.2") - ww(s)),
        "Q2": lambda: mean_over_students(lambda s: ww(s, "zscore-equal") - ww(s)),
        "P.cost": lambda: mean_over_students(lambda s: ww(s) - ww(s, "class-mean")),
        "P.gain": lambda: mean_over_students(lambda s: ww(s) - alone(seed, s)),
    }
    found = {}
    for key, compute in asked.items():
        try:
            found[key] = float(compute())
        except KeyError:
            continue  # of students that this profile has not
    return found


@pytest.mark.parametrize("study", ROUND)
def test_every_effect_of_the_second_round_can_be_computed_by_hand(study):
    published = results.read(PUBLISHED / study)
    for place, seed in enumerate(published.seeds):
        by_hand = effects(Seed(read(PUBLISHED / study / f"seed-{seed}")))
        assert by_hand
        for key, effect in by_hand.items():
            assert published.effect(key).values[place] == pytest.approx(effect, abs=1e-9), (key, seed)


# -- the rules, of seven seeds ---------------------------------------------------------------------------------------


def one_sided(values, sign):
    """The share of all assignments of signs whose sum is at least what was seen."""
    observed = sign * np.array(values)
    sums = [np.dot(signs, observed) for signs in itertools.product((1, -1), repeat=len(observed))]
    return np.mean([total >= observed.sum() - 1e-12 for total in sums])


def two_sided(values):
    observed = np.array(values)
    sums = [abs(np.dot(signs, observed)) for signs in itertools.product((1, -1), repeat=len(observed))]
    return np.mean([total >= abs(observed.sum()) - 1e-12 for total in sums])


def t_tail(t, freedom):
    """P(T > t) of Student's distribution, by the trapezoidal rule over its density."""
    x = np.linspace(abs(t), abs(t) + 400.0, 400_001)
    density = (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    whole = np.linspace(-400.0, 400.0, 800_001)
    total = np.trapezoid((1 + whole**2 / freedom) ** (-(freedom + 1) / 2), whole)
    tail = np.trapezoid(density, x) / total
    return tail if t >= 0 else 1 - tail


def equivalence(values, margin):
    """The larger p of two one-sided t-tests."""
    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    return max(t_tail((mean + margin) / error, len(values) - 1), t_tail((margin - mean) / error, len(values) - 1))


def holm(ps):
    """Each p times the number of those that are no smaller, and no less than the one before."""
    order, adjusted, least = np.argsort(ps, kind="stable"), {}, 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[int(place)] = least
    return [adjusted[place] for place in range(len(ps))]


SIGNS = {"F1": -1, "F2": -1, "F3": -1, "F4": -1, "F5": 1}
MARGINS = {"E1": 0.005, "E2": 0.0028, "E3": 0.005}


def verdicts(values):
    """key → verdict, of an effect for each of seven seeds"""
    found = {}
    for key, p in zip(SIGNS, holm([one_sided(values[key], sign) for key, sign in SIGNS.items()]), strict=True):
        found[key] = "supported" if p <= 0.05 else "not supported"
    for key, margin in MARGINS.items():
        found[key] = "equivalent" if equivalence(values[key], margin) <= 0.05 else "inconclusive"
    for key, p in zip(("Q1", "Q2"), holm([two_sided(values[key]) for key in ("Q1", "Q2")]), strict=True):
        found[key] = "inconclusive" if p > 0.05 else "positive" if np.mean(values[key]) > 0 else "negative"
    return found


@pytest.mark.parametrize("draw", range(12))
def test_every_verdict_of_the_second_round_can_be_computed_by_hand(draw):
    random = np.random.default_rng(draw)
    sizes = dict.fromkeys(SIGNS, 0.02) | dict.fromkeys(MARGINS, 0.002) | {"Q1": 0.01, "Q2": 0.01}
    values = {key: (random.normal(random.normal(0, size), size, 7)).tolist() for key, size in sizes.items()}
    rows = [
        (key, key, R[key].primary.what, claims.FACTOR, True, 10 + place, effect, SIGNS.get(key, 0), False)
        for key, each in values.items()
        for place, effect in enumerate(each)
    ]
    judged = judging.verdicts(pd.DataFrame(rows, columns=judging.EFFECT_COLUMNS), R)
    assert dict(zip(judged["claim"], judged["verdict"], strict=True)) == verdicts(values)
