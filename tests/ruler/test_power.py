"""What a number of seeds can see is what the rule would say of such effects."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from kdnb.evidence import results
from kdnb.evidence.results import home
from kdnb.evidence.statistics import verdict
from kdnb.ruler import power


def test_five_seeds_see_an_effect_when_all_of_them_are_on_its_side():
    # The rule supports five seeds only if none is on the other side: Φ(d)⁵ = 0.8.
    assert power.smallest_effect(5) == pytest.approx(norm.ppf(0.8 ** (1 / 5)), abs=0.05)


def test_more_seeds_see_smaller_effects():
    assert power.smallest_effect(8, draws=1000) < power.smallest_effect(5, draws=1000)


def test_an_effect_of_that_size_is_supported_as_often_as_was_asked_for():
    draw = np.random.default_rng(5)
    size = power.smallest_effect(5)
    found = [verdict((draw.standard_normal(5) + size).tolist(), 1) for _ in range(1500)]
    assert np.mean([each == "supported" for each in found]) == pytest.approx(0.8, abs=0.04)


def test_four_seeds_can_support_nothing():
    with pytest.raises(ValueError, match="4 seeds can support nothing: their smallest p is 1/16"):
        power.smallest_effect(4)


def test_the_spread_of_the_exploratory_seeds_is_that_of_their_table():
    found = results.read(home() / "cpu-scratch")
    table = found.table
    rows = table[(table["measure"] == "accuracy") & (table["view"] == "clean") & (table["split"] == "validation")]
    value = rows.set_index(["run", "seed"])["value"]
    squares = []
    for pair in ("T1w_T2w", "T1w_T2s", "T1s_T2s"):
        first, second = (value[f"{pair}_Ss", seed] - value[f"{pair}_Sw", seed] for seed in (0, 1))
        squares.append((first - second) ** 2 / 2)
    assert power.spread(found)["validation accuracy"] == pytest.approx(math.sqrt(sum(squares) / 3))
    assert set(power.spread(found)) == set(power.KINDS)
