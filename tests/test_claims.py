"""The declared claims: whole, with the paper's values, and what a planted table makes of them."""

import numpy as np
import pandas as pd
import pytest

from kdnb.evidence import claims, estimands, judging, paper, results
from kdnb.evidence.table import COLUMNS

K, C = claims.SETS["K"], claims.SETS["C"]


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
    base = {"predicted": -1, "seeds": 5}
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
def test_columns_part_only_if_the_primary_and_every_seed_of_the_plot_disagree(primary, share, apart):
    assert bool(judging.columns_part(claims.K1, rows_of(primary, share))) == apart


def test_columns_part_where_the_interval_lies_within_the_margin():
    assert "as good as none" in judging.columns_part(claims.K1, rows_of("inconclusive", 1.0, -0.009, 0.004))
    assert not judging.columns_part(claims.K1, rows_of("inconclusive", 1.0, -0.011, 0.004))


def test_a_description_says_what_one_seed_can_bear_and_gives_the_papers_values():
    text = judging.describe(judging.effects(planted(seeds=1), K), K, "smoke")
    assert "One seed is an observation, not a test" in text
    assert "* agreement, common clean validation images: −0.05" in text
    assert "says nothing about the paper" in text
    assert "not in this grid" in text or "no estimand of its own" in text


# -- the earlier claims ----------------------------------------------------------------------------------------------

PUBLISHED = {
    "C1": (-0.0500, -0.0501),
    "C2": (0.008941, 0.015288),
    "C3": (-0.1760, -0.1865),
    "C4": (0.0535, 0.0459),
    "C5": (0.0176, 0.0097),
    "C6": (0.302209, 0.272982),
    "C7": (0.0256, 0.0153),
    "C8": (0.0169, 0.0149),
}
"""as the pages showed them before the results got their present form"""


def test_the_two_exploratory_seeds_say_what_they_always_said():
    found = results.read(results.home() / "cpu-scratch")
    assert found.claim_set is C
    assert found.exploratory
    effects = found.effects[found.effects["primary"]]
    for key, expected in PUBLISHED.items():
        shown = effects[effects["claim"] == key].sort_values("seed")["effect"]
        np.testing.assert_allclose(shown, expected, atol=1e-5)
    assert set(found.verdicts.loc[found.verdicts["primary"], "verdict"]) == {"inconclusive"}
