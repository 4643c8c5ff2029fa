"""The sampling error over images of a deciding effect."""

import numpy as np
import pytest

from kdnb.evidence import claims, results
from kdnb.ruler import sampling

SUMS = {"K1", "K2", "K3", "K7", "K8"}
"""the claims whose primaries are sums over validation images"""


@pytest.fixture(scope="module")
def smoke():
    return results.read(results.home() / "smoke").judged_by("K")


@pytest.mark.parametrize("key", [f"K{number}" for number in range(1, 10)])
def test_the_mean_over_images_is_the_effect(smoke, key):
    primary = claims.SETS["K"][key].primary
    values = sampling.by_image(primary, smoke.predictions(0), sampling.runs(smoke))
    assert (values is not None) == (key in SUMS)
    if values is not None:
        found = smoke.effects
        effect = found[(found["claim"] == key) & found["primary"]]["effect"].item()
        assert values.mean() == pytest.approx(effect, abs=1e-6)  # the table has seven digits


def test_a_seeds_predictions_are_unpacked_once(smoke):
    assert smoke.predictions(0) is smoke.predictions(0)


def test_an_interval_over_images_is_about_two_standard_errors_either_way(smoke):
    primary = claims.SETS["K"]["K2"].primary
    values = sampling.by_image(primary, smoke.predictions(0), sampling.runs(smoke))
    low, high = sampling.intervals(smoke, primary)[0]
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.25 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.25 * error)


def test_what_is_no_sum_over_images_has_no_interval(smoke):
    assert sampling.intervals(smoke, claims.SETS["K"]["K5"].primary) == {}
