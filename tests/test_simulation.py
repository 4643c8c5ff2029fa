"""The rule judges synthetic studies at the rates that theory gives, and the committed rates are these."""

import pandas as pd
import pytest

from kdnb.book.reproduce import ROOT
from kdnb.evidence import simulation

STUDIES = 2000


@pytest.fixture(scope="module")
def judged():
    return {scenario: simulation.simulate(scenario, STUDIES) for scenario in ("effect", "confound", "noise")}


def keys():
    return [claim.key for claim in simulation.primaries()]


def test_a_planted_effect_is_supported_and_never_contradicted(judged):
    for key in keys():
        assert judged["effect"].share(key, "supported") > 0.95
        assert judged["effect"].share(key, "contradicted") == 0.0


def test_of_noise_one_study_in_thirty_two_is_supported_and_as_many_contradicted(judged):
    four_deviations = 4 * (1 / 32 * 31 / 32 / STUDIES) ** 0.5
    for key in keys():
        for verdict in ("supported", "contradicted"):
            assert judged["noise"].share(key, verdict) == pytest.approx(1 / 32, abs=four_deviations)


def test_a_common_cause_gives_the_plot_its_sign_and_leaves_the_primary_alone(judged):
    assert judged["confound"].plotted.mean() > 0.99
    assert judged["confound"].share("K6", "supported") < 0.06


def test_luck_gives_some_verdict_in_two_studies_of_five_and_holm_gives_none_at_five_seeds(judged):
    assert judged["noise"].any_verdict() == pytest.approx(1 - (15 / 16) ** 9, abs=0.05)
    assert judged["noise"].any_verdict(adjusted=True) == 0.0


def test_the_committed_rates_are_those_of_this_code(judged):
    rates = pd.read_csv(ROOT / "book" / "calibration" / "judging.csv").set_index("question")["answer"]
    shown = f"{judged['confound'].plotted.mean():.1%}", f"{judged['noise'].any_verdict():.1%}"
    confound = next(question for question in rates.index if question.startswith("a common cause"))
    luck = next(
        question for question in rates.index if question.startswith("nothing is planted: any verdict at all over")
    )
    assert (rates[confound], rates[luck]) == shown
