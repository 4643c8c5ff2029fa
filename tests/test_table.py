"""From a store to the tidy table, and from the table to what it says of the claims; on a real, small study."""

import math

import pandas as pd
import pytest
import torch

from kdnb.errors import IncompleteError, StoreError
from kdnb.evidence import claims as evidence
from kdnb.evidence import measures
from kdnb.evidence import overlap as attention
from kdnb.evidence import table as tables
from kdnb.images import augment
from kdnb.study import execute
from kdnb.study import grid as study
from kdnb.study.store import Entry, Store
from kdnb.training import train
from kdnb.training.observe import views
from tests.conftest import small_profile


@pytest.fixture(scope="module")
def grid(digits):
    return study.build(small_profile(seeds=(0, 1), ensembles=("", "ww", "ss")), digits.hash)


@pytest.fixture(scope="module")
def store(grid, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    report = execute.execute(grid, store, bar=False, device="cpu")
    assert (report.trained, report.cached, report.failed) == (len(grid.runs), 0, {})
    return store


@pytest.fixture(scope="module")
def table(grid, store):
    return tables.table(grid, store)


def test_runs_whose_images_stood_in_another_order_are_not_compared(grid, store, monkeypatch):
    whole = Entry.predictions.func
    turned = next(run.spec.id for run in grid.runs if run.name == "T1w")

    def predictions(entry):
        answers = dict(whole(entry))
        if entry.spec.id == turned:
            answers["validation/labels"] = answers["validation/labels"].flip(0)
        return answers

    monkeypatch.setattr(Entry, "predictions", property(predictions))
    with pytest.raises(StoreError, match="T1s and T1w were measured on validation images in another order"):
        tables.table(grid, store)


def value(table, **where):
    (found,) = tables.select(table, **where)["value"]
    return found


def test_a_second_call_trains_nothing(grid, store):
    report = execute.execute(grid, store, bar=False, device="cpu")
    assert (report.trained, report.cached) == (0, len(grid.runs))


def test_each_measurement_stands_there_once(table):
    assert not table.duplicated(subset=[column for column in table.columns if column != "value"]).any()
    assert set(table["seed"]) == {0, 1}
    assert set(table["profile"]) == {"tiny"}


def test_values_are_finite_but_where_a_measure_is_undefined(table):
    undefined = set(table[table["value"].isna()]["measure"])
    assert undefined <= {"agreement_on_errors", "error_consistency", "mutual_information"}


def test_rows_are_the_measures_of_the_arrays_in_the_store(table, grid, store):
    runs = {run.name: run.spec.id for run in grid.runs if run.seed == 1}
    student, first, second = (store.entry(runs[name]).predictions for name in ("T1s_T2s_Ss", "T1s", "T2s"))
    taught = (first["validation/weak"].double() + second["validation/weak"].double()) / 2
    where = {"seed": 1, "run": "T1s_T2s_Ss", "form": "textbook", "view": "weak"}
    same = (taught.argmax(1) == student["validation/weak"].argmax(1)).double().mean().item()
    assert value(table, measure="agreement", against="ensemble", **where) == pytest.approx(same)
    one = measures.agreement(second["validation/weak"], student["validation/weak"])
    assert value(table, measure="agreement", against="T2s", **where) == pytest.approx(one)
    right = (student["validation/weak"].argmax(1) == student["validation/labels"]).double().mean().item()
    assert value(table, measure="accuracy", **where) == pytest.approx(right)
    right = (taught.argmax(1) == student["validation/labels"]).double().mean().item()
    assert value(table, measure="accuracy", **where | {"run": "T1s_T2s"}) == pytest.approx(right)


def test_fidelity_on_own_views_is_that_on_the_students_kind_of_view(table):
    where = {"seed": 0, "against": "ensemble", "form": "textbook"}
    for run, view in (("T1s_T2s_Ss", "strong"), ("T1s_T2s_Sw", "weak")):
        for measure in ("agreement", "divergence", "mutual_information"):
            own, same = (value(table, run=run, measure=measure, view=each, **where) for each in ("own", view))
            assert own == same
    theirs = value(table, seed=0, run="T1s_T2s", form="textbook", measure="accuracy", view="strong")
    assert value(table, run="T1s_T2s_Ss", measure="teachers_accuracy", view="own", **where) == theirs
    released = tables.select(table, seed=0, run="T1s_T2s_Ss", form="as-released", measure="agreement")
    assert sorted(released["view"]) == ["clean", "own", "strong"]


def test_the_overlap_of_teachers_is_that_of_their_maps(table, grid, store):
    runs = {run.name: run.spec.id for run in grid.runs if run.seed == 0}
    maps = [store.entry(runs[name]).attention["grad-cam/strong"] for name in ("T1w", "T2w")]
    expected = attention.iou([attention.masks(each, 32) for each in maps])
    where = {"seed": 0, "run": "T1w_T2w", "measure": "attention_iou", "form": "textbook"}
    assert value(table, view="strong", method="grad-cam", **where) == pytest.approx(expected)


def test_undistilled_students_have_no_fidelity(table):
    assert tables.select(table, run="Sw", measure="agreement").empty
    assert not tables.select(table, run="T1w_T2w_Sw", measure="agreement").empty


def test_views_of_the_validation_images_are_the_same_for_all_of_a_seed_and_differ_between_seeds(grid, digits):
    """Views are not stored, so this is asked of the function that makes them."""
    specs = {(run.name, run.seed): run.spec for run in grid.runs}
    numbers = torch.arange(len(digits.validation))
    first, another, other_seed = (
        views(digits.validation, numbers, "strong", specs[key], "validation", torch.device("cpu"))
        for key in (("T1w", 0), ("T1s_T2s_Ss", 0), ("T1w", 1))
    )
    assert torch.equal(first, another)
    assert not torch.equal(first, other_seed)


def test_networks_see_images_at_the_side_that_the_profile_says(digits, tmp_path):
    profile = small_profile(ensembles=("",), students=("s",), reference=False, side=48)
    grid, store = study.build(profile, digits.hash), Store(tmp_path)
    execute.execute(grid, store, bar=False, device="cpu")
    entry = store.entry(grid.runs[0].spec.id)
    assert entry.attention["cam-sum/clean"].shape == (40, 12, 12)
    network = execute.load_network(store, grid.runs[0].spec.id, digits, torch.device("cpu"))
    large = augment.resized(digits.validation.images[:8], 48)
    seen = train.Normaliser(digits, torch.device("cpu"))(large)
    torch.testing.assert_close(network(seen), entry.predictions["validation/clean"][:8], atol=1e-4, rtol=1e-4)


def test_a_table_of_an_incomplete_study_is_an_error_that_names_what_is_missing(grid, store, digits):
    more = study.build(grid.profile, digits.hash, seeds=[0, 7])
    with pytest.raises(
        IncompleteError, match=r"11 of 22 runs of tiny are not in .* the first T1s of seed 7; .*kdnb run"
    ):
        tables.table(more, store)


def test_a_student_of_teachers_in_train_mode_is_compared_with_what_they_said_in_that_mode(digits, tmp_path):
    profile = small_profile(ensembles=("w",), students=("w",), distill={"batch_norm": "train"}, reference=False)
    grid, store = study.build(profile, digits.hash), Store(tmp_path)
    execute.execute(grid, store, bar=False, device="cpu")
    teacher, student = (store.entry(run.spec.id).predictions for run in grid.runs)
    spoken, still = student["teachers/0/clean"], teacher["validation/clean"]
    assert spoken.shape == still.shape
    assert not torch.allclose(spoken, still, atol=1e-2)
    found = value(
        tables.table(grid, store), run="T1w_Sw", measure="divergence", form="textbook", view="clean", against="ensemble"
    )
    assert found == pytest.approx(measures.divergence(spoken, student["validation/clean"]))


def test_curves_have_a_row_for_each_epoch_of_each_run(grid, store):
    curves = tables.curves(grid, store)
    assert len(curves) == 2 * len(grid.runs)
    assert curves["epoch"].tolist() == [1, 2] * len(grid.runs)
    last = curves[(curves["run"] == "T1s_T2s_Ss") & (curves["seed"] == 1)].iloc[-1]
    run = next(run for run in grid.runs if run.name == "T1s_T2s_Ss" and run.seed == 1)
    assert last["validation_accuracy"] == store.entry(run.spec.id).log[-1]["validation_accuracy"]


def test_the_overview_has_a_line_for_every_run_and_ensemble(table):
    overview = tables.overview(table)
    assert list(overview.columns) == list(tables.SHOWN)
    assert {"T1w", "reference", "Sw", "T1s_T2s_Ss", "T1w_T2w"} <= set(overview.index)
    assert math.isnan(overview.loc["Sw", "agreement"])


def test_every_claim_has_an_effect_in_every_seed(table):
    effects = evidence.effects(table)
    asked = [
        claim for claim in evidence.CLAIMS if claim.key != "C8"
    ]  # of one and three teachers, which this grid lacks
    assert effects.groupby("seed").size().tolist() == [sum(len(claim.estimands) for claim in asked)] * 2
    assert set(effects["claim"]) == {claim.key for claim in asked}


def test_an_effect_is_strong_minus_weak(table):
    effects = evidence.effects(table)
    accuracy = [value(table, seed=1, run=run, measure="accuracy", view="clean") for run in ("T1s_T2s_Ss", "T1w_T2w_Sw")]
    (found,) = effects[(effects["claim"] == "C5") & (effects["seed"] == 1)]["effect"]
    assert found == pytest.approx(accuracy[0] - accuracy[1])


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_planted_effect_is_told_with_its_direction(table, sign):
    planted = table.copy()
    rows = (planted["measure"] == "accuracy") & (planted["run"] == "T1s_T2s_Ss")
    planted.loc[rows, "value"] = 0.5 + 0.4 * sign
    planted.loc[(planted["measure"] == "accuracy") & (planted["run"] == "T1w_T2w_Sw"), "value"] = 0.5
    effects = evidence.effects(planted)
    assert effects[effects["claim"] == "C5"]["as_predicted"].tolist() == [sign > 0] * 2
    assert f"{0.4 * sign:+.3f}, {0.4 * sign:+.3f}; predicted up" in evidence.describe(effects, "tiny")


def test_a_few_seeds_are_never_called_a_test(table):
    text = evidence.describe(evidence.effects(table), "smoke")
    assert "2 seeds are an observation, not a test" in text
    assert "says nothing about the paper" in text


def test_cells_that_a_table_lacks_give_no_effect():
    assert evidence.effects(pd.DataFrame(columns=list(tables.COLUMNS))).empty
