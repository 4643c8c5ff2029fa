"""The declared claims: whole, with the paper's values, and what a planted table makes of them."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kdnb.evidence import across, claims, estimands, judging, paper, results, statistics
from kdnb.evidence.table import COLUMNS

K = claims.SETS["K"]


def test_ten_claims_are_declared_and_nine_have_one_primary():
    keys = [claim.key for claim in K.claims]
    assert keys == [f"K{number}" for number in range(1, 11)] + ["controls"]
    assert [claim.key for claim in K.claims if claim.primary] == keys[:9]
    assert all(claim.margin > 0 for claim in K.claims if claim.primary)
    for claim in K.claims:
        names = [each[3].what for each in K.estimands() if each[0] is claim]
        assert len(set(names)) == len(names), claim.key


def test_controls_and_the_other_data_sets_have_no_sign_and_no_verdict():
    controls = [each for claim, _, _, each in K.estimands() if claim.key == "controls"]
    assert len(controls) == 7
    assert {each.predicted for each in controls} == {None}


@pytest.mark.parametrize(
    ("key", "what", "expected"),
    [
        ("K1", "r of agreement and affinity", (0.98, 0.96, 0.99)),
        ("K1", "agreement, own training views, as the paper", (-0.088, -0.082, -0.114)),
        ("K2", "r of affinity and accuracy", (-0.66, -0.75, -0.89)),
        ("K2", "validation accuracy", (0.011, 0.033, 0.012)),
        ("K3", "half − whole images: agreement, own training views", (-0.209, -0.266, -0.306)),
        ("K4", "r of attention IoU and affinity", (0.50, 0.50, 0.64)),
        ("K4", "attention IoU, strong − weak views at fixed teachers", (-0.041, -0.045, -0.039)),
        ("K4", "mixed − pure teachers, as the paper at strong students", (-0.045, 0.006, -0.062)),
        ("K5", "r of attention IoU and accuracy", (-0.77, -0.64, -0.71)),
        ("K6", "r of agreement and accuracy", (-0.69, -0.77, -0.87)),
        (
            "K6",
            "r of agreement and accuracy, means of each student augmentation taken off",
            (-0.18, -0.17, 0.29),
        ),
        ("K8", "validation accuracy, strong students", (0.005, 0.002, 0.003)),
        ("K9", "calibration error, common clean validation images", (-0.057, -0.060, -0.018)),
    ],
)
def test_the_papers_own_values_stand_beside_the_estimands(key, what, expected):
    (estimand,) = [each for claim, _, _, each in K.estimands() if (claim.key, each.what) == (key, what)]
    values = estimands.papers(estimand)
    assert tuple(values) == paper.MEASURED
    digits = max(len(f"{abs(value):g}".split(".")[1]) for value in expected)
    np.testing.assert_allclose(list(values.values()), expected, atol=0.6 * 10**-digits)


# -- a planted table -------------------------------------------------------------------------------------------------


def planted(seeds=5, strong=-0.05, jitter=0.001, origin="A"):
    """Agreement of the eight trials on clean validation images, `strong` lower for strong students; and, of teachers of another
    origin, nonsense that no trial may pick up."""
    draw, rows = np.random.default_rng(0), []

    def add(seed, teachers, student, origins, objective, value):
        cell = {"seed": seed, "role": "student", "teachers": teachers, "student": student, "origin": origins}
        what = {"objective": objective, "measure": "agreement", "form": "textbook", "split": "validation"}
        rows.append(dict.fromkeys(COLUMNS, "") | cell | what | {"view": "clean", "against": "ensemble", "value": value})

    for seed in range(seeds):
        for name in (origin, "Z"):
            rows.append(
                dict.fromkeys(COLUMNS, "") | {"seed": seed, "role": "teacher", "teachers": "weak", "origin": name}
            )
        for pair in estimands.PAIRS:
            for student in estimands.STUDENTS:
                value = 0.6 + strong * (student == "strong") + jitter * draw.standard_normal()
                add(seed, pair, student, f"{origin}+{origin}", "kd", value)
                add(seed, pair, student, f"{origin}+Z", "kd", 9.0)
                add(seed, pair, student, f"{origin}+{origin}", "zscore", 7.0)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["value"] = pd.to_numeric(table["value"])
    return table


@pytest.mark.parametrize("origin", ["A", "fresh"])
@pytest.mark.parametrize(("strong", "expected"), [(-0.05, "supported"), (0.05, "contradicted")])
def test_a_planted_effect_is_found_with_its_direction_and_size(strong, expected, origin):
    judged = judging.verdicts(judging.effects(planted(strong=strong, origin=origin), K), K)
    (row,) = judged[judged["primary"] & (judged["claim"] == "K1")].to_dict("records")
    assert row["verdict"] == expected
    assert row["effect"] == pytest.approx(strong, abs=0.003)
    assert (row["seeds"], row["p"]) == (5, pytest.approx(1 / 32 if strong < 0 else 1.0))


def test_four_seeds_decide_nothing():
    judged = judging.verdicts(judging.effects(planted(seeds=4), K), K)
    assert set(judged.loc[judged["primary"], "verdict"]) == {"inconclusive"}


def test_only_a_primary_gets_a_verdict():
    judged = judging.verdicts(judging.effects(planted(), K), K)
    assert (judged.loc[~judged["primary"], "verdict"] == "").all()
    assert judged.loc[~judged["primary"], "p"].isna().all()


def test_the_intervention_on_origins_reads_other_origins_and_the_default_ones():
    (effect,) = [each for each in claims.K5.secondary if each.what.endswith("agreement, clean")]
    table = planted(jitter=0.0, strong=0.0)
    extra = table[(table["origin"] == "A+Z") & (table["teachers"] == "weak+weak")].assign(origin="Z+Z", value=0.2)
    index = estimands.Index(pd.concat([table, extra], ignore_index=True))
    assert effect.in_seed(index, 0) == pytest.approx(9.0 - (0.6 + 0.2) / 2)


def rows_of(primary, share, low=-1.0, high=1.0):
    base = {"predicted": -1, "seeds": 5, "claim": "K1"}
    return pd.DataFrame(
        [
            base | {"column": claims.PLOTTED, "primary": False, "share": share, "verdict": "", "low": 0.0, "high": 0.0},
            base
            | {"column": claims.FACTOR, "primary": True, "share": 0.0, "verdict": primary, "low": low, "high": high},
        ]
    )


@pytest.mark.parametrize(
    ("primary", "share", "apart"),
    [
        ("contradicted", 1.0, True),
        ("contradicted", 0.8, False),
        ("supported", 0.0, True),
        ("supported", 1.0, False),
        ("inconclusive", 1.0, False),
    ],
)
def test_columns_disagree_only_if_the_primary_and_every_seed_of_the_plot_do(primary, share, apart):
    assert bool(judging.columns_disagree(claims.K1, rows_of(primary, share))) == apart


def test_columns_disagree_where_the_effect_that_decides_is_negligible():
    said = judging.columns_disagree(claims.K1, rows_of("negligible (contradicted by sign)", 0.6))
    assert said == "the effect that decides is negligible: its interval lies within ±0.01"


@pytest.mark.parametrize(
    ("strong", "jitter", "seeds", "expected"),
    [
        (0.004, 0.001, 5, "negligible (contradicted by sign)"),
        (-0.004, 0.001, 5, "negligible (supported by sign)"),
        (0.0, 0.001, 5, "negligible"),
        (0.05, 0.001, 5, "contradicted"),
        (0.0, 0.001, 4, "inconclusive"),
        (0.0, 0.05, 5, "inconclusive"),
    ],
)
def test_an_effect_within_its_margin_is_said_to_be_negligible_first(strong, jitter, seeds, expected):
    judged = judging.verdicts(judging.effects(planted(seeds, strong, jitter), K), K)
    assert judged.loc[judged["primary"] & (judged["claim"] == "K1"), "verdict"].tolist() == [expected]


def test_a_verdict_stands_beside_what_qualifies_it_and_a_number_that_is_lacking_is_left_out():
    judged = results.read(results.home() / "cpu").verdicts
    said = {}
    for key in ("K2", "K3", "K6", "K9"):
        of_claim = judged[judged["claim"] == key]
        said[key] = judging.said(K[key], of_claim[of_claim["primary"]].iloc[0], of_claim)
    assert said["K2"] == "negligible"
    assert said["K3"].startswith("negligible: no effect shown (the control is unequal); ")
    assert "contradicted" not in said["K3"]
    scaled = judged[judged["what"] == "calibration error after fitting one temperature"]["effect"].item()
    assert f"after fitting one temperature {estimands.signed(scaled)}" in said["K9"]
    primary = judged[(judged["claim"] == "K6") & judged["primary"]]
    assert said["K6"].endswith("(3 of 5)")
    assert judging.said(K["K6"], primary.iloc[0], primary) == (
        "supported; own training views, where agreement is nearly training accuracy"
    )


def test_a_description_says_what_one_seed_can_bear_and_gives_the_papers_values():
    text = judging.describe(judging.effects(planted(seeds=1), K), K, "smoke")
    assert "One seed is an observation, not a test" in text
    assert "* agreement, common clean validation images: −0.05" in text
    assert "says nothing about the paper" in text
    assert "not in this grid" in text or "no estimand of its own" in text


# -- the second round ------------------------------------------------------------------------------------------------

R = claims.SETS["R"]


def rows_for(estimand, seed, value_of, origin="A"):
    """Rows with a value for each cell and measure that an estimand reads, and the teacher that names the default origin."""
    rows = [{"seed": seed, "role": "teacher", "teachers": "weak", "origin": origin}]
    for _, cell, measure in estimand.terms:
        of = {"teachers": cell.teachers, "student": cell.student, "objective": cell.objective, "role": "student"}
        if measure.of_teachers:
            of |= {"student": "", "objective": "", "role": "ensemble"}
        of["origin"] = f"{origin}+{origin}" if cell.teachers else ""
        of |= {"measure": measure.name, "form": measure.form, "split": measure.split, "view": measure.view}
        of |= {"against": measure.against, "method": measure.method, "seed": seed, "value": value_of(cell, measure)}
        rows.append(of)
    return [dict.fromkeys(COLUMNS, "") | row for row in rows]


def in_one_seed(key, value_of):
    estimand = R.estimand(key)
    table = pd.DataFrame(rows_for(estimand, 10, value_of), columns=list(COLUMNS))
    table["value"] = pd.to_numeric(table["value"])
    return estimand.in_seed(estimands.Index(table), 10)


def test_the_second_round_is_declared_as_it_was_written_down():
    primaries = [claim for claim in R.claims if claim.primary is not None]
    assert [claim.key for claim in primaries] == ["F1", "F2", "F3", "F4", "F5", "E1", "E2", "E3", "Q1", "Q2"]
    assert [claim.primary.key for claim in primaries] == [claim.key for claim in primaries]
    assert [claim.kind for claim in primaries] == ["directional"] * 5 + ["equivalence"] * 3 + ["two-sided"] * 2
    assert [claim.family for claim in primaries] == ["F"] * 5 + ["E1", "E2", "E3"] + ["Q"] * 2
    assert [claim.primary.predicted for claim in primaries] == [-1, -1, -1, -1, 1] + [None] * 5
    assert [R[key].margin for key in ("E1", "E2", "E3")] == [0.005, 0.0028, 0.005]
    assert (R.version, R.seeds, R.decided_by) == (1, 7, "cpu-draws")
    keys = [each.key for _, _, _, each in R.estimands()]
    assert len(set(keys)) == len(keys)
    for claim in R.claims:
        names = [each[3].what for each in R.estimands() if each[0] is claim]
        assert len(set(names)) == len(names), claim.key


def test_the_margin_of_mixed_teachers_is_the_smallest_of_the_papers_own_differences():
    assert min(estimands.papers(R.estimand("E2")).values()) == pytest.approx(R["E2"].margin, abs=0.0001)


TEACHERS = {"weak+weak": 1.0, "strong+weak": 2.0, "weak+strong": 4.0, "strong+strong": 8.0}
OBJECTIVES = {
    "none": -1.0,
    "kd": 0.0,
    "class-mean": 16.0,
    "alpha-0.2": 32.0,
    "zscore-equal": 64.0,
    "halves-different": 128.0,
    "halves-both": 256.0,
}


def told_apart(cell, measure):
    """A number of its own for each cell and view: a strong student's is three times its teachers', plus 0.5 for its view."""
    strong = cell.student == "strong" and not measure.of_teachers
    value = TEACHERS.get(cell.teachers, 0.0) * (3.0 if strong else 1.0)
    return (
        value
        + OBJECTIVES[cell.objective]
        + 0.5 * (measure.view == "strong") * (strong * TEACHERS.get(cell.teachers, 0.0))
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("F1", (2 + 4) / 2 - (1 + 8) / 2),  # of the teachers together
        ("F1.true", (2 + 4) / 2 - (1 + 8) / 2),
        ("F2", 2 * (1 + 2 + 4 + 8) / 4),  # a strong student's is three times a weak one's
        ("F3", 2 * 8 - 2 * 1),
        ("F4", 16.0),
        ("F5", 0.5 * (1 + 2 + 4 + 8) / 4),  # what strong views add to strong students
        ("E1", 2 * (1 + 2 + 4 + 8) / 4),
        ("E1.ww", 2 * 1),
        ("E1.ss", 2 * 8),
        ("E2", ((2 + 4) / 2 - (1 + 8) / 2) * (1 + 3) / 2),
        ("E2.teachers", (2 + 4) / 2 - (1 + 8) / 2),
        ("E3", 128.0 - 256.0),
        ("E3.whole-different.accuracy", 0.0 - 128.0),
        ("Q1", 32.0),
        ("Q2", 64.0),
        ("P.cost", -16.0),
        ("P.gain", (1 + 3) / 2 + 1),
    ],
)
def test_an_effect_of_the_second_round_is_what_its_words_say(key, expected):
    assert in_one_seed(key, told_apart) == pytest.approx(expected)


def test_the_second_round_is_judged_on_images_of_other_draws_but_for_maps_and_views():
    read = {
        claim.key: {
            (measure.split, measure.view, measure.against, measure.method) for _, _, measure in claim.primary.terms
        }
        for claim in R.claims
        if claim.primary is not None
    }
    assert read.pop("F1") == {("train", "clean", "", "cam-predicted")}
    assert read.pop("F5") == {("validation", view, "ensemble", "") for view in ("weak", "strong")}
    assert read.pop("E3") == {("draws", "clean", "ensemble", "")}
    assert set().union(*read.values()) == {("draws", "clean", "", "")}
    assert {measure.name for _, _, measure in R.estimand("F2").terms} == {"calibration_error"}
    for key in ("F3", "F4", "E1", "E2", "Q1", "Q2"):
        assert {measure.name for _, _, measure in R.estimand(key).terms} == {"accuracy"}


def test_what_half_images_lose_is_lost_information_and_divergence():
    draw = np.random.default_rng(0)
    values = {}

    def value_of(cell, measure):
        return values.setdefault((cell, measure), draw.random())

    for measure in ("accuracy", "agreement"):
        whole, information, divergence = (
            in_one_seed(f"E3.{way}.{measure}", value_of) for way in ("whole-different", "whole-both", "both-different")
        )
        assert whole == pytest.approx(information + divergence)


def effects_of(values):
    """Rows as `judging.effects` gives them, of the primaries: key → an effect for each seed."""
    rows = [
        (key, key, R[key].primary.what, claims.FACTOR, True, seed, effect, R[key].primary.predicted or 0,
         effect * (R[key].primary.predicted or 0) > 0)
        for key, effects in values.items()
        for seed, effect in enumerate(effects, start=10)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=judging.EFFECT_COLUMNS)


DOWN = [-0.01, -0.02, -0.03, -0.04, -0.05, -0.06, -0.07]
ONE_UP = [0.01, *DOWN[1:]]


def test_five_effects_share_one_level_by_holm_and_all_seven_seeds_alike_are_enough():
    up = [-effect for effect in DOWN]
    judged = judging.verdicts(effects_of({"F1": DOWN, "F2": DOWN, "F3": DOWN, "F4": DOWN, "F5": up}), R)
    assert judged["p_holm"].tolist() == [5 / 128] * 5
    assert set(judged["verdict"]) == {"supported"}
    # An effect with its smallest seed on the other side has p = 2/128, which Holm takes three times behind two of 1/128.
    judged = judging.verdicts(effects_of({"F1": DOWN, "F2": ONE_UP, "F3": DOWN, "F4": DOWN, "F5": up}), R)
    assert judged["p"].tolist() == [1 / 128, 2 / 128, 1 / 128, 1 / 128, 1 / 128]
    assert judged["p_holm"].tolist() == [5 / 128] * 5
    judged = judging.verdicts(effects_of({"F1": ONE_UP, "F2": ONE_UP, "F3": up, "F4": up, "F5": DOWN}), R)
    assert judged["p_holm"].tolist()[:2] == [10 / 128] * 2
    assert set(judged["verdict"]) == {"not supported"}


def test_a_family_is_as_large_as_it_was_declared_whatever_the_results_lack():
    assert judging.verdicts(effects_of({"F1": DOWN}), R)["p_holm"].item() == 5 / 128
    assert judging.verdicts(effects_of({"Q1": DOWN}), R)["p_holm"].item() == 4 / 128


def test_a_question_has_either_sign_and_each_family_a_level_of_its_own():
    judged = judging.verdicts(
        effects_of({"F1": DOWN, "Q1": DOWN, "Q2": [0.01, -0.02, 0.03, -0.04, 0.05, -0.06, 0.07]}), R
    )
    of = judged.set_index("claim")
    assert of["verdict"].to_dict() == {"F1": "supported", "Q1": "negative", "Q2": "inconclusive"}
    assert of["p"]["Q1"] == 2 / 128


def test_there_is_no_verdict_before_all_seven_seeds_and_none_of_other_profiles():
    judged = judging.verdicts(effects_of({"F1": DOWN[:6], "E1": [0.0001] * 6, "Q1": DOWN[:6]}), R)
    assert set(judged["verdict"]) == {"pending"}
    assert claims.of_profile("cpu-draws") is R
    assert [each.name for each in claims.sets_of_profile("cpu-draws")] == ["R", "K"]
    for profile in ("cpu-peers", "cpu-25000", "cpu-fit"):
        asked = claims.of_profile(profile)
        assert asked.name == "R"
        judged = judging.verdicts(effects_of({"F1": DOWN, "E1": DOWN, "Q1": DOWN}), asked)
        assert set(judged["verdict"]) == {"exploratory"}
        assert judged["p"].isna().all()
        assert "without one" in judging.describe(effects_of({"F1": DOWN}), asked, profile)
    assert [each.name for each in claims.sets_of_profile("cpu")] == ["K"]


def test_an_equivalence_stands_where_its_interval_of_90_percent_lies_within_the_margin():
    # mean 0.001, standard deviation 0.002, n 7: half of the 90 % interval is 1.9432 · 0.002 / √7 = 0.001469.
    step = 0.002 * np.sqrt(6 / 28)  # seven equal steps have this standard deviation
    values = [0.001 + step * (place - 3) for place in range(7)]
    (row,) = judging.verdicts(effects_of({"E2": values}), R).to_dict("records")
    assert row["low"] == pytest.approx(0.001 - 0.001469, abs=1e-6)
    assert row["high"] == pytest.approx(0.001 + 0.001469, abs=1e-6)
    assert judging.in_words(R["E2"], row["verdict"]) == "equivalent within ±0.0028"
    (row,) = judging.verdicts(effects_of({"E2": [value + 0.0004 for value in values]}), R).to_dict("records")
    assert (row["high"] > R["E2"].margin, row["verdict"]) == (True, "inconclusive")


def upper_tail_of_six(t):
    """P(T > t) of Student's t with six degrees of freedom, by its closed form (Abramowitz & Stegun 26.7.4)."""
    sine, cosine2 = t / math.sqrt(6 + t * t), 6 / (6 + t * t)
    return (1 - sine * (1 + cosine2 / 2 + 3 * cosine2**2 / 8)) / 2


@pytest.mark.parametrize("mean", [0.0, 0.001, -0.002, 0.004])
def test_equivalence_is_the_harder_of_two_one_sided_tests(mean):
    step = 0.002 * math.sqrt(6 / 28)
    values = [mean + step * (place - 3) for place in range(7)]
    error = 0.002 / math.sqrt(7)
    against = [upper_tail_of_six((mean + 0.0028) / error), upper_tail_of_six((0.0028 - mean) / error)]
    assert statistics.equivalence_p(values, 0.0028) == pytest.approx(max(against))


def test_equivalence_needs_two_seeds_and_a_margin():
    assert math.isnan(statistics.equivalence_p([0.001], 0.005))
    assert statistics.equivalence_p([0.001] * 7, 0.005) == 0.0
    assert statistics.equivalence_p([0.006] * 7, 0.005) == 1.0
    with pytest.raises(ValueError, match="a margin above 0, not 0"):
        statistics.equivalence_p([0.001, 0.002], 0.0)


def test_a_two_sided_test_counts_both_tails():
    assert statistics.two_sided_p(DOWN) == statistics.two_sided_p([-effect for effect in DOWN]) == 2 / 128
    assert statistics.two_sided_p([0.01, -0.01]) == 1.0


# -- two studies at once ---------------------------------------------------------------------------------------------


def study(profile, seeds, values):
    """Results of a profile as far as `across` reads them: key of R → an effect for each seed, all of it in one cell."""
    rows = []
    for place, seed in enumerate(seeds):
        for key, effects in values.items():
            estimand = R.estimand(key)
            positive = {(cell, measure) for weight, cell, measure in estimand.terms if weight > 0}
            share = sum(weight for weight, _, _ in estimand.terms if weight > 0)

            def value_of(cell, measure, positive=positive, share=share, effect=effects[place]):
                return 0.3 + (effect / share if (cell, measure) in positive else 0.0)

            rows += rows_for(estimand, seed, value_of)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).drop_duplicates(list(COLUMNS[:-1]), keep="last")
    table["value"] = pd.to_numeric(table["value"])
    return SimpleNamespace(profile=SimpleNamespace(name=profile), seeds=tuple(seeds), table=table)


def draws_and_peers(cost_of_peers, seeds_of_peers=range(20, 27)):
    """Fidelity pays .02 and costs .05 in draws, and in peers nothing and what is given."""
    # Both read vanilla students: what α = 0.2 gains is planted in its own cells, what class means cost is taken from theirs.
    parts = []
    for name, seeds, gain, cost in (
        ("cpu-draws", range(10, 17), [0.02] * 7, [0.05] * 7),
        ("cpu-peers", seeds_of_peers, [0.0] * 7, cost_of_peers),
    ):
        found = study(name, seeds, {"Q1": gain})
        lower = study(name, seeds, {"F4": [-each for each in cost]})
        low = lower.table[lower.table["objective"] == "class-mean"].assign(
            value=[
                0.3 - cost[list(seeds).index(seed)]
                for seed in lower.table.loc[lower.table["objective"] == "class-mean", "seed"]
            ]
        )
        found.table = pd.concat([found.table, low], ignore_index=True)
        parts.append(found)
    return parts


def test_the_conjunction_takes_both_parts_and_pairs_seeds_by_draw():
    judged = across.conjunction(*draws_and_peers([0.01] * 7)).set_index("key")
    assert judged["effect"]["P1"] == pytest.approx(0.02)
    assert judged["effect"]["P2"] == pytest.approx(0.04)
    assert judged["p"].to_dict() == {"P1": 1 / 128, "P2": 1 / 128, "P": 1 / 128}
    assert judged["verdict"]["P"] == "supported"
    # Four of seven draws cost more with peers: P1 stands as before, and both together do not.
    judged = across.conjunction(*draws_and_peers([0.01] * 3 + [0.09] * 4)).set_index("key")
    assert (judged["p"]["P1"], judged["p"]["P"], judged["verdict"]["P"]) == (
        1 / 128,
        judged["p"]["P2"],
        "not supported",
    )
    assert judged["p"]["P2"] > 0.05


def test_a_seed_that_was_trained_again_is_paired_by_its_draw():
    draws, peers = draws_and_peers([0.01, 0.02, 0.03, 0.04, 0.01, 0.02, 0.03], (30, 21, 22, 23, 24, 25, 26))
    values = across.differences(claims.CONJUNCTION[1], draws, peers)
    assert values == pytest.approx([0.04, 0.03, 0.02, 0.01, 0.04, 0.03, 0.02])
    peers.seeds = (30, 20)
    with pytest.raises(ValueError, match="two seeds of cpu-peers are of one draw"):
        across.by_draw(peers, claims.CONJUNCTION[1].effect)
    with pytest.raises(ValueError, match="P1 is cpu-draws − cpu-peers, not cpu-peers − cpu-draws"):
        across.conjunction(peers, draws)


def test_six_pairs_of_draws_decide_nothing():
    draws, peers = draws_and_peers([0.01] * 7)
    peers.table, peers.seeds = peers.table[peers.table["seed"] != 26], tuple(range(20, 26))
    assert across.conjunction(draws, peers)["verdict"].tolist() == ["", "", "pending"]


def test_the_ladder_says_whether_a_sign_stays_and_a_size_moves_as_declared():
    base = study("cpu-draws", range(10, 17), {"F3": [-0.02] * 3 + [-0.01] * 4})
    fit = study("cpu-fit", range(10, 13), {"F3": [-0.015, -0.012, -0.018]})
    more = study("cpu-25000", range(10, 13), {"F3": [0.03, 0.02, 0.02]})
    f3 = [rung for rung in claims.LADDER if rung.effect.key == "F3"]
    rows = across.ladder(base, fit, more, declared=f3)
    assert rows[["key", "profile", "sign", "as_declared"]].to_numpy().tolist() == [
        ["F3", "cpu-fit", "consistent", True],
        ["F3", "cpu-25000", "reversed", False],
    ]
    # With the teachers of the base, only the draws of both count.
    assert rows["base"].tolist() == pytest.approx([-0.02, -0.1 / 7])
    assert across.regime(rows) == "reversed at cpu-25000"
    assert across.regime(rows[:1]) == "consistent at every rung"
    mixed = study("cpu-fit", range(10, 13), {"F3": [-0.01, 0.01, -0.01]})
    assert across.regime(across.ladder(base, mixed, declared=f3)) == "cannot be said"


def test_the_ladder_was_declared_of_effects_that_its_rungs_can_have():
    declared = {rung.effect.key: (rung.declared, rung.profiles) for rung in claims.LADDER}
    assert declared == {
        "K2.pure": ("larger", ("cpu-fit",)),
        "F3": ("smaller in size", ("cpu-fit", "cpu-25000")),
        "F4": ("smaller in size", ("cpu-25000",)),
        "F1": ("as before", ("cpu-25000",)),
        "F5.pure": ("as before", ("cpu-fit", "cpu-25000")),
    }
    for rung in claims.LADDER:
        if "cpu-fit" in rung.profiles:
            assert {cell.teachers for _, cell, _ in rung.effect.terms} == set(estimands.PURE)
    effect = next(rung.effect for rung in claims.LADDER if rung.effect.key == "F5.pure")
    table = pd.DataFrame(rows_for(effect, 10, told_apart), columns=list(COLUMNS))
    assert effect.in_seed(estimands.Index(table), 10) == pytest.approx(0.5 * (1 + 8) / 2)
