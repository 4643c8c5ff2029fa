"""Specification curves measure what was declared, in every other way, and find the choice that flips a sign."""

import numpy as np
import pandas as pd
import pytest

from kdnb.evidence import estimands, results
from kdnb.evidence.results import Results, home
from kdnb.evidence.table import select
from kdnb.ruler import curves


@pytest.fixture(scope="module", params=["smoke", "cpu"])
def found(request: pytest.FixtureRequest) -> Results:
    return results.read(home() / request.param).judged_by("K")


@pytest.fixture(scope="module")
def specs(found: Results) -> pd.DataFrame:
    return curves.specifications(found)


def test_the_declared_specification_is_the_primary(found: Results, specs: pd.DataFrame) -> None:
    declared = select(specs, declared=True).set_index(["claim", "seed"])["effect"]
    primary = select(found.effects, primary=True).set_index(["claim", "seed"])["effect"]
    assert declared.to_dict() == pytest.approx(primary.to_dict())
    assert set(declared.index.get_level_values("claim")) == {f"K{number}" for number in range(1, 10)}


def test_one_specification_a_claim_is_the_papers_own(specs: pd.DataFrame) -> None:
    ways = curves.over_seeds(specs)
    assert ways.groupby("claim")["paper"].sum().eq(1).all()
    assert ways.groupby("claim")["declared"].sum().eq(1).all()


def test_no_specification_stands_twice(specs: pd.DataFrame) -> None:
    assert not specs.duplicated(["claim", *curves.CHOICES, "seed"]).any()
    assert np.isfinite(specs[["effect", "size"]].to_numpy()).all()


@pytest.mark.parametrize("method", ["cam-predicted", "cam-sum", "grad-cam"])
def test_attention_at_the_papers_threshold_is_that_of_the_tidy_table(
    method: str, found: Results, specs: pd.DataFrame
) -> None:
    table = select(found.table, role="ensemble", measure="attention_iou", form="textbook", split="train", view="clean")
    iou = select(table, method=method, against="", seed=found.seeds[0])
    iou = iou[~iou["origin"].str.contains("B")].set_index("teachers")["value"]
    expected = iou[list(estimands.MIXED)].mean() - iou[list(estimands.PURE)].mean()
    where = {
        "claim": "K4",
        "map": method,
        "threshold": "0.4",
        "view": "clean",
        "images": "train",
        "seed": found.seeds[0],
    }
    rows = select(specs, **where).set_index("counted")["effect"]
    assert rows["per image"] == pytest.approx(expected, abs=2e-6)
    assert len(rows) == 3


def test_more_divergence_counts_as_less_fidelity(found: Results, specs: pd.DataFrame) -> None:
    where = {"claim": "K7", "view": "clean", "images": "validation", "seed": found.seeds[0]}
    of = select(specs, measure="KL divergence", **where)["effect"].item()
    what = "z-score − vanilla: KL divergence, clean"
    declared = select(found.effects, claim="K7", what=what, seed=found.seeds[0])["effect"].item()
    assert of == pytest.approx(-declared)


def made(shift: float) -> pd.DataFrame:
    """Specifications of one claim in three seeds, whose sign the view alone decides."""
    rows = []
    for view, measure, seed in [
        (v, m, s) for v in ("clean", "own") for m in ("agreement", "KL divergence") for s in range(3)
    ]:
        effect = (0.02 if view == "clean" else -0.05) + 0.001 * seed + (shift if measure == "agreement" else 0.0)
        row = dict.fromkeys(curves.COLUMNS, "") | {"claim": "K1", "view": view, "measure": measure, "seed": seed}
        row |= {"effect": effect, "size": effect, "side": -1, "as_predicted": effect < 0}
        rows.append(row | {"declared": False, "paper": False})
    return pd.DataFrame(rows, columns=list(curves.COLUMNS))


def test_the_choice_that_flips_the_sign_is_found() -> None:
    flips = curves.flips(made(0.0)).set_index(["choice", "value"])
    assert flips.loc[("view", "clean"), "share"] == 0.0
    assert flips.loc[("view", "own"), "share"] == 1.0
    assert flips.loc[("view", "own"), "range"] == 1.0
    assert flips.loc[("measure", "agreement"), "range"] == 0.0


def test_shares_count_the_mean_and_every_seed() -> None:
    (row,) = curves.shares(made(0.0)).to_dict("records")
    assert row == {"claim": "K1", "specifications": 4, "mean": 2, "every": 2, "none": 2}
    (row,) = curves.shares(made(0.049)).to_dict("records")  # on own views agreement now changes its sign between seeds
    assert row == {"claim": "K1", "specifications": 4, "mean": 1, "every": 1, "none": 2}


def test_results_without_the_eight_trials_have_none_of_the_table() -> None:
    small = results.read(home() / "smoke").judged_by("K")
    lacking = Results(small.folder, small.profile, small.about, small.seeds)
    table = small.table[(small.table["role"] != "student") | (small.table["teachers"] == "")]
    lacking.__dict__["table"] = table
    assert set(curves.specifications(lacking)["claim"]) == {"K4"}
