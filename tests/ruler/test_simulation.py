"""The rule judges synthetic studies at the rates that theory gives, and the committed rates are these."""

import numpy as np
import pandas as pd
import pytest

from kdnb.book.reproduce import ROOT
from kdnb.evidence import claims, results, statistics
from kdnb.ruler import simulation

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


# -- the second round ------------------------------------------------------------------------------------------------

R = claims.SETS["R"]
FAMILY = ("F1", "F2", "F3", "F4", "F5")
MARGINS = {key: R[key].margin for key in ("E1", "E2", "E3")}
ROUNDS = 10_000


@pytest.fixture(scope="module")
def first():
    return simulation.first_study(results.read(results.home() / "cpu"))


@pytest.fixture(scope="module")
def nothing(first):
    return simulation.second_round(MARGINS, first["spread"].to_dict(), ROUNDS)


def most(level):
    """What a rate of `ROUNDS` studies stays below with three standard deviations to spare."""
    return level + 3 * (level * (1 - level) / ROUNDS) ** 0.5


def test_no_family_gives_a_false_verdict_more_often_than_its_level(nothing):
    for keys in (FAMILY, ("Q1", "Q2"), ("E1",), ("E2",), ("E3",), ("P",)):
        assert nothing.any_of(*keys) <= most(0.05)


def test_without_holms_correction_five_effects_would_give_more():
    spread = dict.fromkeys(simulation.DECIDING, 0.01)
    alone = simulation.second_round({}, spread, ROUNDS, draw=1).alone
    # One effect passes alone at .05 if at most 6 of 128 sums reach its own.
    assert np.mean([alone[key].mean() for key in FAMILY]) == pytest.approx(6 / 128, abs=0.005)
    assert np.any([alone[key] for key in FAMILY], axis=0).mean() > 0.15


def test_an_equivalence_errs_at_its_margin_as_often_as_its_level(nothing):
    for key in MARGINS:
        assert nothing.any_of(key) == pytest.approx(0.05, abs=0.008)


def test_a_conjunction_of_which_one_part_holds_errs_no_more_than_its_level(first):
    for part in ("F4", "Q1"):
        held = simulation.second_round({part: first["mean"][part] * 3}, first["spread"].to_dict(), ROUNDS, peers={})
        assert held.any_of("P") <= most(0.05)


def test_effects_of_the_first_studys_size_are_not_missed(first):
    sizes = {key: first["mean"][key] for key in FAMILY}
    judged = simulation.second_round(sizes, first["spread"].to_dict(), 2000)
    assert all(judged.any_of(key) > 0.99 for key in FAMILY)
    assert judged.any_of("E1") > 0.95


def test_the_first_study_is_summed_up_as_its_own_table_says(first):
    found = results.read(results.home() / "cpu")
    k4 = found.effects[(found.effects["claim"] == "K4") & found.effects["primary"]]["effect"]
    k3 = found.effects[(found.effects["claim"] == "K3") & found.effects["primary"]]["effect"]
    assert first.loc["F1"].tolist() == pytest.approx([k4.mean(), k4.std()])
    assert first.loc["E3"].tolist() == pytest.approx([k3.mean(), k3.std()])
    assert list(first.index) == list(simulation.DECIDING)


def test_effects_that_read_the_same_students_go_together():
    effects = [R.estimand(key) for key in ("Q1", "Q2", "F1")]
    # Q1 and Q2 share two of their four students each, with the same weights.
    assert simulation.correlation(effects) == pytest.approx(
        np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    )


def test_what_is_judged_at_once_is_what_is_judged_one_by_one():
    draw = np.random.default_rng(2)
    studies = draw.normal(0.001, 0.003, (40, 7))
    signs, margins = statistics.sign_flip_ps(studies, 1), statistics.equivalence_ps(studies, 0.0028)
    assert [statistics.sign_flip_p(row, 1) for row in studies.tolist()] == signs.tolist()
    assert [statistics.equivalence_p(row, 0.0028) for row in studies.tolist()] == pytest.approx(margins.tolist())
    p = draw.random((40, 5)) ** 3
    assert simulation._holm(p) == pytest.approx(np.array([statistics.holm(row) for row in p.tolist()]))


def test_the_committed_rates_of_the_second_round_are_those_of_this_code(nothing):
    rates = pd.read_csv(ROOT / "book" / "calibration" / "second-round.csv").set_index("question")["answer"]
    assert rates["nothing is there: any effect of F is supported, by Holm's values"] == f"{nothing.any_of(*FAMILY):.1%}"
    everything = rates["nothing is there, and each E lies at its margin: any false verdict in F, E, Q or P"]
    assert everything == f"{nothing.any_of(*nothing.verdicts):.1%}"
