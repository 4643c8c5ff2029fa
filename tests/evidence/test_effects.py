"""Effects that word themselves: by the signs that all seeds share, and never by more than the numbers say."""

import pytest

from kdnb.errors import IncompleteError
from kdnb.evidence import claims, results
from kdnb.evidence.effects import LACKING, Effect


def effect(*values, predicted=0):
    return Effect("K0", "what", values, predicted)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.1, 0.2), "more"),
        ((-0.1, -0.2), "less"),
        ((0.1, -0.001), "about as much"),  # the mean's side is not taken
        ((0.1, 0.0), "about as much"),
    ],
)
def test_three_ways_are_chosen_by_the_sign_that_all_seeds_share(values, words):
    assert f"{effect(*values):less|about as much|more}" == words


@pytest.mark.parametrize(
    ("values", "predicted", "words"),
    [((-0.1, -0.2), -1, "so"), ((-0.1, -0.2), 1, "not so"), ((0.1, -0.2), 1, "not so"), ((0.1,), 0, "not so")],
)
def test_two_ways_say_whether_the_prediction_holds_in_every_seed(values, predicted, words):
    assert f"{effect(*values, predicted=predicted):so|not so}" == words


def test_numbers_have_a_sign_that_is_one_and_no_more_digits_than_asked():
    shown = effect(-0.064, -0.062)
    assert [f"{shown}", f"{shown:+.2f}", f"{shown:.1%}"] == ["−0.063", "−0.06", "−6.3%"]
    assert [f"{shown:points}", f"{shown:+points}"] == ["6.3 points", "−6.3 points"]
    assert f"{effect(0.0002)}" == "+0.0002"  # not +0.000


def test_seeds_are_counted_by_the_means_sign():
    assert f"{effect(0.1, 0.2, 0.3):seeds}" == "in all 3 seeds"
    assert f"{effect(0.1, 0.2, -0.1):seeds}" == "in 2 of 3 seeds"
    assert f"{effect(0.1):seeds}" == "in the one seed"
    assert f"{effect(0.1, 0.3):each}" == "+0.100, +0.300"


def test_what_the_results_lack_is_marked_and_false():
    assert f"{effect():less|about as much|more} and {effect():points}" == f"{LACKING} and {LACKING}"
    assert not effect()


def test_a_way_that_is_none_is_refused():
    with pytest.raises(ValueError, match="two or three ways"):
        f"{effect(0.1):a|b|c|d}"
    with pytest.raises(ValueError, match="Invalid format"):
        f"{effect(0.1):points of}"


def test_every_estimand_is_found_by_its_key_and_gives_what_the_table_of_effects_has():
    found = results.read(results.home() / "cpu")
    for _, row in found.effects.groupby("key"):
        effect = found.effect(row["key"].iloc[0])
        assert list(effect.values) == row["effect"].tolist()
        assert effect.what == row["what"].iloc[0]
    assert not found.effect("Q2")  # of students that the first study lacks
    with pytest.raises(KeyError, match=r"'K4\.other'"):
        found.effect("K4.other")


def test_keys_are_unique_and_begin_with_their_claims():
    every = [each for declared in claims.SETS.values() for each in declared.estimands()]
    keys = [estimand.key for _, _, _, estimand in every]
    assert len(keys) == len(set(keys))
    assert all(estimand.key == claim.key for claim, _, primary, estimand in every if primary)


def test_answers_and_overlap_of_all_seeds_give_what_the_table_has():
    found = results.read(results.home() / "cpu")
    student, teachers = found.answers("T1w_T2w_Ss"), found.answers("T1w_T2w")
    assert student.shape == (5, 10000)
    agreement = (student == teachers).mean(axis=1)
    assert agreement == pytest.approx(found.measured("T1w_T2w_Ss", "agreement", against="ensemble"), abs=1e-6)
    assert (student == found.labels).mean(axis=1) == pytest.approx(found.measured("T1w_T2w_Ss", "accuracy"), abs=1e-6)
    where = {"split": "train", "method": "cam-predicted"}
    overlap = found.overlap("T1w_T2w", "train").mean(axis=1)
    assert overlap == pytest.approx(found.measured("T1w_T2w", "attention_iou", **where), abs=1e-3)  # kept in 256 steps
    with pytest.raises(IncompleteError, match="not one for each seed"):
        found.measured("T1w_T2w_Ss", "agreement", against="nobody")
    with pytest.raises(IncompleteError, match="no overlap of 'T1w'"):
        found.overlap("T1w")
