"""Every deciding effect and verdict again, from the committed tables alone: with the csv module and numpy, and by formulas that
are written out here. Nothing of kdnb computes what is compared with kdnb."""

import csv
import itertools

import numpy as np
import pytest

from kdnb.evidence import claims, judging, results
from kdnb.paths import CHECKOUT

PUBLISHED = CHECKOUT / "book" / "results"
STUDIES = [name for name in ("smoke", "cpu") if (PUBLISHED / name).is_dir()]
PAIRS = ("weak+weak", "strong+weak", "weak+strong", "strong+strong")
MIXED, PURE = ("strong+weak", "weak+strong"), ("weak+weak", "strong+strong")
STUDENTS = ("weak", "strong")


def read(folder):
    """(run, measure, split, view, against, method) → value, in the textbook's form; of affinity in the paper's."""
    found = {}
    with (folder / "measures.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["form"] == ("paper" if row["measure"] == "affinity" else "textbook"):
                parts = (row["run"], row["measure"], row["split"], row["view"], row["against"], row["method"])
                found[parts] = float(row["value"])
    return found


class Seed:
    """The measures of a seed, by the names of its runs."""

    def __init__(self, values):
        self.values = values

    def student(self, teachers, student, measure, split="validation", view="clean", against="", objective=""):
        letters = {"weak": "w", "strong": "s"}
        names = [f"T{place}{letters[each]}" for place, each in enumerate(teachers.split("+"), start=1)]
        run = "_".join([*names, f"S{letters[student]}", *([objective] if objective else [])])
        return self.values[run, measure, split, view, against, ""]

    def overlap(self, teachers, view="clean"):
        letters = {"weak": "w", "strong": "s"}
        run = "_".join(f"T{place}{letters[each]}" for place, each in enumerate(teachers.split("+"), start=1))
        return self.values[run, "attention_iou", "train", view, "", "cam-predicted"]

    def agreement(self, teachers, student, objective=""):
        return self.student(teachers, student, "agreement", against="ensemble", objective=objective)


def strong_minus_weak(value):
    return np.mean([value(pair, "strong") - value(pair, "weak") for pair in PAIRS])


def residual_correlation(seed, value):
    """Over the eight trials, the correlation with accuracy after the mean of each student augmentation is taken off both."""
    x, y = [], []
    for student in STUDENTS:
        own = np.array([value(pair, student) for pair in PAIRS])
        accuracy = np.array([seed.student(pair, student, "accuracy") for pair in PAIRS])
        x += (own - own.mean()).tolist()
        y += (accuracy - accuracy.mean()).tolist()
    x, y = np.array(x), np.array(y)
    return (x @ y) / np.sqrt((x @ x) * (y @ y))


def primaries(seed):
    """claim → (effect, the sign that the paper predicts)"""
    halves = [
        seed.agreement("weak+weak", student, "half-LR")
        - (seed.agreement("weak+weak", student, "half-LL") + seed.agreement("weak+weak", student, "half-RR")) / 2
        for student in STUDENTS
    ]
    zscore = [
        seed.agreement(pair, student, "zscore") - seed.agreement(pair, student) for pair in PURE for student in STUDENTS
    ]
    best = [
        np.mean([seed.student(pair, student, "accuracy") for pair in MIXED])
        - np.mean([seed.student(pair, student, "accuracy") for pair in PURE])
        for student in STUDENTS
    ]
    own = {"split": "train", "view": "own", "against": "ensemble"}
    return {
        "K1": (strong_minus_weak(seed.agreement), -1),
        "K2": (strong_minus_weak(lambda pair, student: seed.student(pair, student, "accuracy")), 1),
        "K3": (np.mean(halves), -1),
        "K4": (np.mean([seed.overlap(pair) for pair in MIXED]) - np.mean([seed.overlap(pair) for pair in PURE]), -1),
        "K5": (residual_correlation(seed, seed.overlap), -1),
        "K6": (residual_correlation(seed, lambda pair, student: seed.student(pair, student, "agreement", **own)), -1),
        "K7": (np.mean(zscore), -1),
        "K8": (np.mean(best), 1),
        "K9": (strong_minus_weak(lambda pair, student: seed.student(pair, student, "calibration_error")), -1),
    }


MARGINS = {"K1": 0.01, "K2": 0.005, "K3": 0.01, "K4": 0.01, "K5": 0.1, "K6": 0.1, "K7": 0.01, "K8": 0.005, "K9": 0.01}


def verdict(effects, predicted):
    """One-sided in each direction at 0.05, by every assignment of signs to the seeds' effects."""
    for direction, name in ((predicted, "supported"), (-predicted, "contradicted")):
        observed = direction * np.array(effects)
        sums = [np.dot(signs, observed) for signs in itertools.product((1, -1), repeat=len(observed))]
        if np.mean([total >= observed.sum() - 1e-9 for total in sums]) <= 0.05:
            return name
    return "inconclusive"


@pytest.mark.parametrize("study", STUDIES)
def test_every_deciding_effect_and_verdict_can_be_computed_by_hand(study):
    published = results.read(PUBLISHED / study)
    kdnbs = judging.effects(published.table, claims.SETS["K"])
    judged = judging.verdicts(kdnbs, claims.SETS["K"])
    by_hand = {seed: primaries(Seed(read(PUBLISHED / study / f"seed-{seed}"))) for seed in published.seeds}
    deciding = kdnbs[kdnbs["primary"]]
    assert len(deciding) == 9 * len(published.seeds)
    for row in deciding.to_dict("records"):
        effect, predicted = by_hand[row["seed"]][row["claim"]]
        assert row["effect"] == pytest.approx(effect, abs=1e-9), (row["claim"], row["seed"])
        assert row["predicted"] == predicted
    for row in judged[judged["primary"]].to_dict("records"):
        effects = [by_hand[seed][row["claim"]][0] for seed in published.seeds]
        by_sign = verdict(effects, row["predicted"])
        within = len(effects) >= 5 and max(-row["low"], row["high"]) <= MARGINS[row["claim"]]
        shown = (
            by_sign if not within else "negligible" if by_sign == "inconclusive" else f"negligible ({by_sign} by sign)"
        )
        assert row["verdict"] == shown
        assert row["effect"] == pytest.approx(np.mean(effects), abs=1e-9)


@pytest.mark.parametrize("n", [4, 5, 8])
def test_the_rule_by_hand_needs_five_seeds(n):
    assert verdict([0.1] * n, 1) == ("supported" if n >= 5 else "inconclusive")
    assert verdict([-0.1] * n, 1) == ("contradicted" if n >= 5 else "inconclusive")
    assert verdict([0.1, -0.1] * (n // 2), 1) == "inconclusive"
