"""From a store to the tidy table, on a real, small study that has every kind of cell."""

import math

import pandas as pd
import pytest
import torch
from torch.nn.functional import one_hot

from kdnb.errors import IncompleteError, StoreError
from kdnb.evidence import claims, judging, measures, overlap
from kdnb.evidence import table as tables
from kdnb.images import augment
from kdnb.study import execute, weights
from kdnb.study import grid as grids
from kdnb.study.resources import Resources
from kdnb.study.store import Entry, Store
from kdnb.training.inference import Normaliser, views
from tests.conftest import grid_of, small_profile

OBJECTIVES = {
    "kd": {},
    "zscore": {"kind": "zscore"},
    "half-LR": {"kind": "half", "sides": ["left", "right"]},
}


@pytest.fixture(scope="module")
def digits(some_digits):
    return some_digits


@pytest.fixture(scope="module")
def grid(digits):
    network = small_profile().student
    network = network.model_copy(update={"train": network.train.model_copy(update={"epochs": 4})})  # of few images
    rows = [*grid_of(), {"teachers": [["weak", "weak"]], "students": ["weak"], "objectives": ["zscore", "half-LR"]}]
    return grids.build(
        small_profile(seeds=(0, 1), grid=rows, objectives=OBJECTIVES, teacher=network, student=network), digits.hash
    )


@pytest.fixture(scope="module")
def store(grid, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    report = execute.execute(grid, store, Resources("cpu"), bar=False)
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
    where = {"seed": 1, "run": "T1s_T2s_Ss", "form": "textbook", "view": "weak", "split": "validation"}
    same = (taught.argmax(1) == student["validation/weak"].argmax(1)).double().mean().item()
    assert value(table, measure="agreement", against="ensemble", **where) == pytest.approx(same)
    one = measures.agreement(second["validation/strong"], student["validation/strong"])
    assert value(table, measure="agreement", against="T2s", **where | {"view": "strong"}) == pytest.approx(one)
    right = (student["validation/weak"].argmax(1) == student["validation/labels"]).double().mean().item()
    assert value(table, measure="accuracy", **where) == pytest.approx(right)
    right = (taught.argmax(1) == student["validation/labels"]).double().mean().item()
    assert value(table, measure="accuracy", **where | {"run": "T1s_T2s"}) == pytest.approx(right)


def test_fidelity_on_own_views_is_that_on_the_students_kind_of_view(table):
    where = {"seed": 0, "against": "ensemble", "form": "textbook", "split": "validation"}
    for run, view in (("T1s_T2s_Ss", "strong"), ("T1s_T2s_Sw", "weak")):
        for measure in ("agreement", "divergence", "mutual_information"):
            own, same = (value(table, run=run, measure=measure, view=each, **where) for each in ("own", view))
            assert own == same
    theirs = value(table, seed=0, run="T1s_T2s", form="textbook", measure="accuracy", view="strong", split="validation")
    assert value(table, run="T1s_T2s_Ss", measure="teachers_accuracy", view="own", **where) == theirs
    released = tables.select(
        table, seed=0, run="T1s_T2s_Ss", form="as-released", measure="agreement", split="validation"
    )
    assert sorted(released["view"]) == ["clean", "own", "strong"]


def labelled(count: int, classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels in an order by class, and a teacher and a student that are right about 9 and 8 of 10 images."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) * classes // count
    answers = [
        torch.where(
            torch.rand(count, generator=generator) < right,
            labels,
            torch.randint(classes, (count,), generator=generator),
        )
        for right in (0.9, 0.8)
    ]
    return labels, *(one_hot(answer, classes).double() for answer in answers)


@pytest.mark.parametrize("measure", ["mutual_information", "mutual_information_score"])
def test_the_released_information_of_training_images_is_that_of_shuffled_ones_and_not_of_an_order_by_class(measure):
    labels, teacher, student = labelled(5000, 100)
    declared = tables._as_released("train", teacher, student, labels)[measure]
    form = {"mutual_information": "as-released", "mutual_information_score": "as-released-score"}[measure]
    shuffled = []
    for seed in range(5):
        order = torch.randperm(5000, generator=torch.Generator().manual_seed(seed))
        shuffled.append(measures.mutual_information(teacher[order], student[order], form, drop_last=False))
    by_class = measures.mutual_information(teacher, student, form)
    assert declared == pytest.approx(sum(shuffled) / 5, rel=0.03)
    assert by_class < declared / 2
    assert tables._as_released("validation", teacher, student, labels)[measure] == by_class


def test_the_released_averages_of_training_images_are_over_all_of_them_in_a_random_order(table, grid, store):
    runs = {run.name: run.spec.id for run in grid.runs if run.seed == 1}
    student, *teachers = (store.entry(runs[name]).predictions["train/strong"] for name in ("T1s_T2s_Ss", "T1s", "T2s"))
    order = tables._shuffled(len(student))
    assert sorted(order.tolist()) == list(range(len(student)))
    assert order.tolist() != sorted(order.tolist())
    mean = measures.ensemble_logits(teachers)
    expected = measures.agreement(mean, student)  # of one batch, for these are fewer images
    where = {"seed": 1, "run": "T1s_T2s_Ss", "form": "as-released", "split": "train", "view": "own"}
    assert len(student) < measures.BATCH
    assert value(table, measure="agreement", **where) == pytest.approx(expected)


def test_the_overlap_of_teachers_is_that_of_their_maps(table, grid, store):
    runs = {run.name: run.spec.id for run in grid.runs if run.seed == 0}
    maps = [store.entry(runs[name]).attention["train/grad-cam/strong"] for name in ("T1w", "T2w")]
    expected = overlap.iou([overlap.masks(each, 32) for each in maps])
    where = {"seed": 0, "run": "T1w_T2w", "measure": "attention_iou", "form": "textbook"}
    where |= {"split": "train", "against": ""}
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
    grid, store = grids.build(profile, digits.hash), Store(tmp_path)
    execute.execute(grid, store, Resources("cpu"), bar=False)
    entry = store.entry(grid.runs[0].spec.id)
    assert entry.attention["validation/cam-sum/clean"].shape == (40, 12, 12)
    network = weights.network(store, grid.runs[0].spec.id, digits, torch.device("cpu"))
    large = augment.resized(digits.validation.images[:8], 48)
    seen = Normaliser(digits, torch.device("cpu"), entry.spec)(large)
    torch.testing.assert_close(network(seen), entry.predictions["validation/clean"][:8], atol=1e-4, rtol=1e-4)


def test_a_table_of_an_incomplete_study_is_an_error_that_names_what_is_missing(grid, store, digits):
    more = grids.build(grid.profile, digits.hash, seeds=[0, 7])
    with pytest.raises(
        IncompleteError, match=r"13 of 13 runs of tiny are not in .* the first T1s of seed 7; .*kdnb run"
    ):
        tables.table(more, store)


def test_a_student_of_teachers_in_train_mode_is_compared_with_what_they_said_in_that_mode(digits, tmp_path):
    profile = small_profile(
        ensembles=("w",), students=("w",), objectives={"kd": {"batch_norm": "train"}}, reference=False
    )
    grid, store = grids.build(profile, digits.hash), Store(tmp_path)
    execute.execute(grid, store, Resources("cpu"), bar=False)
    teacher, student = (store.entry(run.spec.id).predictions for run in grid.runs)
    spoken, still = student["teachers/0/validation/clean"], teacher["validation/clean"]
    assert spoken.shape == still.shape
    assert not torch.allclose(spoken, still, atol=1e-2)
    found = value(
        tables.table(grid, store),
        run="T1w_Sw",
        measure="divergence",
        form="textbook",
        split="validation",
        view="clean",
        against="ensemble",
    )
    assert found == pytest.approx(measures.divergence(spoken, student["validation/clean"]))


def test_curves_have_a_row_for_each_epoch_of_each_run(grid, store):
    curves = tables.curves(grid, store)
    assert curves["epoch"].tolist() == [1, 2, 3, 4] * len(grid.runs)
    last = curves[(curves["run"] == "T1s_T2s_Ss") & (curves["seed"] == 1)].iloc[-1]
    run = next(run for run in grid.runs if run.name == "T1s_T2s_Ss" and run.seed == 1)
    assert last["validation_accuracy"] == store.entry(run.spec.id).log[-1]["validation_accuracy"]


def test_the_overview_has_a_line_for_every_run_and_ensemble(table):
    overview = tables.overview(table)
    assert list(overview.columns) == list(tables.SHOWN)
    assert {"T1w", "reference", "Sw", "T1s_T2s_Ss", "T1w_T2w"} <= set(overview.index)
    assert math.isnan(overview.loc["Sw", "agreement"])


def test_every_measure_of_fidelity_is_there_on_both_splits_and_on_common_views(table):
    where = {"seed": 0, "run": "T1w_T2w_Ss", "measure": "agreement", "form": "textbook", "against": "ensemble"}
    found = tables.select(table, **where)
    assert set(zip(found["split"], found["view"], strict=True)) == {
        (split, view) for split in ("validation", "train") for view in ("clean", "weak", "strong", "own")
    }


def test_affinity_is_of_the_student_itself_by_the_text_and_by_base_views_as_released(table):
    accuracy = {
        view: value(table, seed=0, run="T1s_T2s_Ss", measure="accuracy", split="validation", view=view)
        for view in ("clean", "base", "strong")
    }
    found = {
        form: value(table, seed=0, run="T1s_T2s_Ss", measure="affinity", form=form, view="own")
        for form in ("textbook", "paper", "as-released")
    }
    assert found["textbook"] == pytest.approx(accuracy["strong"] - accuracy["clean"])
    assert found["paper"] == pytest.approx(accuracy["strong"] / accuracy["clean"])
    assert found["as-released"] == pytest.approx(accuracy["strong"] / accuracy["base"])


def test_the_released_calibration_error_is_there_on_augmented_training_images(table, grid, store):
    run = next(run for run in grid.runs if (run.name, run.seed) == ("T1s_T2s_Ss", 0))
    answers = store.entry(run.spec.id).predictions
    expected = measures.calibration_error(answers["train/strong"], answers["train/labels"], "as-released")
    where = {"seed": 0, "run": run.name, "measure": "calibration_error", "form": "as-released", "split": "train"}
    assert value(table, view="own", **where) == pytest.approx(expected)


def test_a_student_of_halves_is_compared_with_whole_answers_and_with_those_to_the_halves_it_was_taught_with(
    table, grid, store
):
    runs = {run.name: store.entry(run.spec.id).predictions for run in grid.runs if run.seed == 1}
    student = runs["T1w_T2w_Sw_half-LR"]["validation/clean"]
    halves = measures.ensemble_logits([runs["T1w"]["validation/clean/left"], runs["T2w"]["validation/clean/right"]])
    where = {"seed": 1, "objective": "half-LR", "measure": "agreement", "form": "textbook", "split": "validation"}
    assert value(table, view="clean", against="halves", **where) == measures.agreement(halves, student)
    whole = measures.ensemble_logits([runs["T1w"]["validation/clean"], runs["T2w"]["validation/clean"]])
    assert value(table, view="clean", against="ensemble", **where) == measures.agreement(whole, student)
    assert tables.select(table, objective="kd", against="halves").empty


def test_teachers_that_see_different_halves_hardly_overlap(table):
    where = {"role": "ensemble", "teachers": "weak+weak", "measure": "attention_iou", "method": "cam-predicted"}
    rows = tables.select(table, split="train", view="clean", seed=0, form="textbook", **where)
    by_sides = rows.set_index("against")["value"]
    assert by_sides["left+right"] < 0.25
    assert by_sides["left+right"] < min(by_sides["left+left"], by_sides["right+right"])


def test_a_recipe_that_a_run_was_not_shown_is_an_error_and_never_another_view(grid, store):
    entry = store.entry(grid.runs[0].spec.id)
    with pytest.raises(StoreError, match=r"was not observed on dial:0\.5 views of train images"):
        tables.observed(entry, "train", "dial:0.5")


def test_a_student_of_a_recipe_of_its_own_gets_columns_and_own_views(digits, tmp_path):
    rows = [{"teachers": [[], ["weak", "weak"]], "students": ["dial:0.5"]}]
    grid, store = grids.build(small_profile(grid=rows, reference=False), digits.hash), Store(tmp_path)
    execute.execute(grid, store, Resources("cpu"), bar=False)
    found = tables.select(tables.table(grid, store), role="student", student="dial:0.5", split="validation")
    distilled = tables.select(found, teachers="weak+weak", measure="agreement", against="ensemble", form="textbook")
    assert set(distilled["view"]) == {"clean", "weak", "strong", "dial:0.5", "own"}
    run = next(run for run in grid.runs if run.columns["teachers"] == "weak+weak" and run.spec.role == "student")
    answers = store.entry(run.spec.id).predictions
    right = measures.accuracy(answers["validation/dial:0.5"], answers["validation/labels"])
    assert value(found, run=run.name, measure="accuracy", view="own") == right


@pytest.mark.rings
def test_specifications_hold_the_tables_overlap_among_all_others(table, grid, store):
    from kdnb.ruler import specifications as specs

    entries = tables.of_seed(grid, store, 0)
    found = specs.specifications(grid, 0, entries)
    where = {"run": "T1s_T2s", "method": "cam-true", "view": "weak", "split": "train"}
    (row,) = tables.select(found, threshold=0.4, **where).to_dict("records")
    rows = tables.select(table, seed=0, form="textbook", against="", **where)
    by_measure = rows.set_index("measure")["value"]
    assert row["per_image"] == pytest.approx(by_measure["attention_iou"])
    assert row["chance"] == pytest.approx(by_measure["chance_iou"])
    sweep = tables.select(found, **where).sort_values("threshold")
    assert sweep["chance"].is_monotonic_decreasing
    assert len(found) == 2 * 9 * 4 * 3 * 2


def test_cells_that_a_table_lacks_give_no_effect():
    empty = pd.DataFrame(columns=list(tables.COLUMNS))
    assert judging.effects(empty, claims.SETS["K"]).empty
