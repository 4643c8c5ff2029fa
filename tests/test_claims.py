"""The rule that turns seeds into verdicts: exact where it can be, calibrated over many draws."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdnb.evidence import claims as evidence
from kdnb.evidence.table import COLUMNS

CONTRASTS = [c for claim in evidence.CLAIMS for c in claim.estimands if isinstance(c, evidence.Contrast)]
finite = st.floats(-1, 1).filter(lambda x: abs(x) > 1e-6)


def synthetic(seeds, shift, noise, generator):
    """A table in which every contrast of every claim is shift · (predicted sign) plus noise."""
    values = {}
    for contrast, seed in itertools.product(CONTRASTS, range(seeds)):
        first, second = (tuple(sorted((cell | {"seed": seed}).items())) for cell in (contrast.first, contrast.second))
        effect = contrast.predicted * shift + noise * generator.standard_normal()
        # Claims share cells: what one of them settled, the next builds on.
        values.setdefault(first, values.get(second, 0.5) + effect)
        values.setdefault(second, values[first] - effect)
    rows = [dict.fromkeys(COLUMNS, "") | dict(cell) | {"value": value} for cell, value in values.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_claims_are_declared_whole():
    assert [claim.key for claim in evidence.CLAIMS] == ["C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8"]
    for claim in evidence.CLAIMS:
        assert all((claim.statement, claim.cells, claim.contradiction, claim.page))
        assert len({estimand.what for estimand in claim.estimands}) == len(claim.estimands) > 0
    assert all(contrast.first != contrast.second for contrast in CONTRASTS)


def test_the_smallest_p_of_n_seeds_is_two_to_the_minus_n():
    for n in range(1, 8):
        assert evidence.sign_flip_p([0.1 + 0.01 * i for i in range(n)], 1) == 2.0**-n


@given(st.lists(finite, min_size=1, max_size=7), st.sampled_from([-1, 1]))
def test_the_sign_flip_test_is_the_share_of_all_assignments(effects, direction):
    sums = [
        sum(s * e for s, e in zip(signs, effects, strict=True))
        for signs in itertools.product((1, -1), repeat=len(effects))
    ]
    reached = sum(direction * total >= direction * sum(effects) - 1e-9 for total in sums)
    assert evidence.sign_flip_p(effects, direction) == pytest.approx(reached / len(sums))


def test_the_sign_flip_test_is_scipys_permutation_test():
    effects = np.array([0.3, -0.1, 0.25, 0.4, 0.05, 0.2])
    theirs = stats.permutation_test(
        (effects,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert evidence.sign_flip_p(effects.tolist(), 1) == pytest.approx(theirs.pvalue)


@given(st.lists(finite, min_size=1, max_size=8), st.sampled_from([-1, 1]))
def test_a_verdict_turns_with_the_prediction(effects, predicted):
    turned = {"supported": "contradicted", "contradicted": "supported", "inconclusive": "inconclusive"}
    assert evidence.verdict(effects, -predicted) == turned[evidence.verdict(effects, predicted)]


def test_fewer_than_five_seeds_are_inconclusive_whatever_they_show():
    assert [evidence.verdict([0.5] * n, 1) for n in range(1, 6)] == ["inconclusive"] * 4 + ["supported"]


def test_effects_of_exactly_zero_support_nothing():
    assert evidence.verdict([0.0] * 10, 1) == "inconclusive"


@pytest.mark.parametrize("effects", [[], [math.nan], [0.1, math.inf]])
def test_what_cannot_be_tested_is_an_error(effects):
    with pytest.raises(ValueError, match="finite effects, and at least one"):
        evidence.sign_flip_p(effects, 1)


def test_with_more_seeds_than_can_be_gone_through_signs_are_drawn():
    exact = evidence.sign_flip_p(np.linspace(-0.4, 0.6, 20).tolist(), 1)
    drawn = evidence.sign_flip_p([*np.linspace(-0.4, 0.6, 20), 0.0], 1)  # a zero changes no sum
    assert drawn == pytest.approx(exact, abs=0.002)
    assert evidence.sign_flip_p([0.1] * 30, 1) == pytest.approx(2.0**-20)


def test_an_effect_that_is_undefined_in_a_seed_gives_no_row():
    rows = [
        {"seed": seed, "run": run, "measure": "mutual_information", "form": "textbook", "view": "clean", "against": "ensemble",
         "value": math.nan if seed else 1.0}
        for seed in (0, 1) for run in ("T1s_T2s_Ss", "T1w_T2w_Sw")
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(profile="p", role="student", ensemble="", student="", method="")
    assert evidence.effects(table)["seed"].tolist() == [0]


def test_the_interval_is_students():
    effects = [0.1, 0.3, 0.2, 0.25]
    expected = stats.t.interval(0.95, 3, loc=np.mean(effects), scale=stats.sem(effects))
    assert evidence.interval(effects) == pytest.approx(expected)
    assert all(math.isnan(bound) for bound in evidence.interval([0.1]))


def test_holm_by_hand():
    assert evidence.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert evidence.holm([0.9, 0.8]) == [1.0, 1.0]
    assert evidence.holm([]) == []


@pytest.mark.parametrize(("shift", "expected"), [(0.2, "supported"), (-0.2, "contradicted")])
def test_a_planted_effect_is_found_in_its_direction(shift, expected):
    table = synthetic(5, shift, 0.02, np.random.default_rng(0))
    judged = evidence.verdicts(evidence.effects(table))
    assert set(judged["verdict"]) == {expected}
    assert len(judged) == len(CONTRASTS)
    assert judged["decides"].sum() == len(evidence.CLAIMS) - 1  # C6 is an association
    assert judged["p_holm"].notna().equals(judged["decides"])


def test_noise_is_supported_and_contradicted_no_more_often_than_the_level_says():
    """The test is exact: of five seeds of pure noise 1 in 32 has all signs as predicted, and 1 in 32 all against."""
    generator = np.random.default_rng(1)
    draws = 4000
    told = [evidence.verdict(generator.standard_normal(5).tolist(), 1) for _ in range(draws)]
    standard_error = math.sqrt(1 / 32 * 31 / 32 / draws)
    for outcome in ("supported", "contradicted"):
        share = told.count(outcome) / draws
        assert abs(share - 1 / 32) < 4 * standard_error
        assert share <= evidence.LEVEL


@pytest.mark.parametrize(("seeds", "power"), [(5, 0.8), (8, 0.95)])
def test_an_effect_of_two_standard_deviations_is_mostly_found(seeds, power):
    generator = np.random.default_rng(2)
    told = [evidence.verdict((2 + generator.standard_normal(seeds)).tolist(), 1) for _ in range(500)]
    assert told.count("supported") / 500 > power
    assert told.count("contradicted") == 0


def test_two_seeds_are_told_with_their_signs_and_no_more():
    effects = evidence.effects(synthetic(2, 0.2, 0.01, np.random.default_rng(3)))
    text = evidence.describe(effects, "cpu")
    assert "2 of 2 seeds as predicted, p = 0.250: inconclusive" in text
    assert "2 seeds are an observation, not a test" in text
    assert "says nothing about the paper" not in text


def test_five_seeds_are_told_with_their_verdict():
    effects = evidence.effects(synthetic(5, 0.2, 0.01, np.random.default_rng(4)))
    text = evidence.describe(effects, "cpu")
    assert "5 of 5 seeds as predicted, p = 0.031: supported" in text
    assert "observation" not in text


def grid(cells, seeds=2):
    """A table of agreement and accuracy for (ensemble, student) → (agreement, accuracy), the same in each seed."""
    blank = dict.fromkeys(COLUMNS, "") | {"form": "textbook", "view": "clean", "role": "student"}
    rows = [
        blank | {"seed": seed, "ensemble": ensemble, "student": student} | measured
        for seed in range(seeds)
        for (ensemble, student), (agreement, accuracy) in cells.items()
        for measured in (
            {"measure": "agreement", "against": "ensemble", "value": agreement},
            {"measure": "accuracy", "value": accuracy},
        )
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def associations(table):
    effects = evidence.effects(table)
    return effects[effects["claim"] == "C6"].groupby("what", sort=False)["effect"].mean().tolist()


def test_associations_between_and_within_cells_are_told_apart():
    """Between the student's augmentations fidelity falls as accuracy rises; between teacher sets both rise together."""
    cells = {
        (ensemble, student): (0.7 + lift - 0.2 * (student == "s"), 0.3 + lift + 0.1 * (student == "s"))
        for ensemble, lift in (("w", 0.0), ("ww", 0.01), ("www", 0.02))
        for student in "ws"
    }
    pooled, between_teachers, between_augmentations = associations(grid(cells))
    assert pooled < -0.9
    assert between_teachers == pytest.approx(1.0)
    assert between_augmentations == pytest.approx(-1.0)


def test_an_association_is_numpys_and_ignores_undistilled_students():
    generator = np.random.default_rng(5)
    cells = {(e, s): tuple(generator.random(2)) for e in ("w", "s", "ww", "ss") for s in "ws"}
    expected = np.corrcoef(*np.array(list(cells.values())).T)[0, 1]
    table = grid(cells)
    alone = table[table["measure"] == "accuracy"].head(1).assign(ensemble="", value=0.99)
    assert associations(pd.concat([table, alone]))[0] == pytest.approx(expected)


def test_a_measure_that_does_not_vary_has_no_association():
    assert associations(grid({("w", "w"): (0.5, 0.1), ("s", "w"): (0.5, 0.2), ("ww", "w"): (0.5, 0.3)})) == []


@pytest.mark.parametrize(("shift", "expected"), [(-0.5, "supported"), (0.5, "contradicted"), (0.0, "inconclusive")])
def test_an_associations_verdict_follows_the_rule(shift, expected):
    generator = np.random.default_rng(6)
    tables = []
    for seed in range(5):
        agreement, noise = generator.random(14), 0.1 * generator.standard_normal(14)
        sign = shift if shift else 0.5 * (-1) ** seed
        keys = [(e, s) for e in ("w", "s", "ww", "ws", "ss", "www", "sss") for s in "ws"]
        accuracy = sign * agreement + noise
        tables.append(grid(dict(zip(keys, zip(agreement, accuracy, strict=True), strict=True)), 1).assign(seed=seed))
    judged = evidence.verdicts(evidence.effects(pd.concat(tables))).set_index("what")
    row = judged.loc["correlation over all cells"]
    assert row["verdict"] == expected
    assert row["low"] <= row["effect"] <= row["high"]
    assert row["seeds"] == 5


def test_the_bootstrap_interval_narrows_with_seeds_and_is_reproducible():
    generator = np.random.default_rng(7)
    few, many = generator.standard_normal(5).tolist(), generator.standard_normal(500).tolist()
    low, high = evidence.bootstrap_interval(many)
    assert (low, high) == evidence.bootstrap_interval(many)
    half = 1.96 * np.std(many) / math.sqrt(500)
    assert (low, high) == pytest.approx((np.mean(many) - half, np.mean(many) + half), abs=0.02)
    assert np.diff(evidence.bootstrap_interval(few)) > high - low
    for too_few in ([0.1], [0.1, 0.2]):
        assert all(math.isnan(bound) for bound in evidence.bootstrap_interval(too_few))
