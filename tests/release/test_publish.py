"""From a store to results that can be committed, and back."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch.nn.functional import one_hot

from kdnb.errors import DamagedResultsError, IncompleteError, StoreError
from kdnb.evidence import claims, integrity, judging, overlap, results
from kdnb.evidence import table as tables
from kdnb.release import diff, publish
from kdnb.study import execute
from kdnb.study import grid as grids
from kdnb.study.resources import Resources
from kdnb.study.store import Entry, Store
from tests.conftest import small_profile

CLEAN = {"commit": "0123456789abcdef", "uncommitted_changes": False, "device": "cpu"}


@pytest.fixture(scope="module")
def digits(some_digits):
    return some_digits


@pytest.fixture(scope="module")
def grid(digits):
    return grids.build(small_profile(seeds=(0, 1)), digits.hash)


@pytest.fixture(scope="module")
def store(grid, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    execute.execute(grid, store, Resources("cpu"), bar=False).require_complete()
    return store


@pytest.fixture(autouse=True)
def _committed(monkeypatch):
    monkeypatch.setattr(Entry, "environment", CLEAN)


@pytest.fixture(scope="module")
def published(grid, store, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entry, "environment", CLEAN)
        publish.publish(grid, store, digits, folder)
    return folder


@pytest.fixture
def folder(published, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(published, tmp_path / "tiny")


def one_seed(grid, seed):
    return replace(grid, runs=grid.of_seed(seed))


def test_what_is_read_is_what_the_store_says(grid, store, folder):
    there = results.read(folder)
    expected = tables.table(grid, store)
    assert there.seeds == (0, 1)
    assert there.profile == grid.profile
    keys = list(expected.columns[:-1])
    assert there.table[keys].astype(str).equals(expected[keys].astype(str))
    pd.testing.assert_series_equal(there.table["value"], expected["value"], rtol=1e-6)
    assert len(there.curves) == 2 * len(grid.runs)
    pd.testing.assert_frame_equal(
        there.verdicts.drop(columns=["p", "p_holm", "scale"]),
        judging.verdicts(judging.effects(expected, claims.SETS["K"]), claims.SETS["K"]).drop(columns=["p", "p_holm"]),
        rtol=1e-3,
        atol=1e-6,  # what is published has seven digits, and an effect may be the difference of two equal values
    )


def test_teachers_alone_are_published_with_what_they_say_of_the_claims(grid, store, digits, tmp_path):
    settings = grid.profile.model_dump() | {
        "reference": False,
        "grid": [{"teachers": [["weak", "weak"], ["strong", "strong"]], "students": []}],
    }
    teachers = grids.build(type(grid.profile).model_validate(settings), digits.hash)
    there = publish.publish(teachers, store, digits, tmp_path / "alone")
    assert set(there.table["role"]) == {"teacher", "ensemble"}
    whole = tables.table(grid, store)
    columns = ["seed", "run", "measure", "form", "split", "view", "method", "against"]
    both = there.table.merge(whole, on=columns, suffixes=("", "_of_all"))
    assert len(both) == len(there.table)
    assert np.allclose(both["value"], both["value_of_all"], rtol=1e-6, equal_nan=True)
    judged = there.verdicts
    assert set(judged["claim"]) == {"K3", "K4"}  # of K3 the check that halves make teachers diverge
    assert "attention IoU, strong − weak teachers" in set(judged["what"])


def test_seeds_published_one_by_one_are_those_published_together(grid, store, digits, folder, tmp_path):
    for seed in (1, 0):  # the explorers' seed changes when a smaller one comes
        publish.publish(one_seed(grid, seed), store, digits, tmp_path / "single")
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 2 * 7 + 5
    different = [name for name in files if (folder / name).read_bytes() != (tmp_path / "single" / name).read_bytes()]
    assert different == []


def test_explorers_show_the_images_that_the_maps_are_of(grid, store, digits, folder):
    explorer = results.read(folder).explorer
    teacher = next(run for run in grid.runs if (run.name, run.seed) == ("T1s", 0))
    entry = store.entry(teacher.spec.id)
    assert (explorer.images == digits.validation.images[explorer.index]).all()
    assert (explorer.labels == digits.validation.labels[explorer.index]).all()
    assert explorer.index.unique().numel() == len(explorer.index)
    assert explorer.index[:20].tolist() != sorted(explorer.index[:20].tolist())
    rows = [entry.attention["validation/index"].tolist().index(number) for number in explorer.index.tolist()]
    theirs = entry.attention["validation/cam-predicted/clean"][rows]
    assert torch.allclose(explorer.maps["T1s"]["cam-predicted/clean"], theirs, rtol=2e-3)
    ours, full = (overlap.masks(maps, 32) for maps in (explorer.maps["T1s"]["cam-predicted/clean"], theirs))
    assert (ours == full).float().mean() > 0.99


@pytest.mark.parametrize("run", ["T1s", "reference", "T1s_T2s_Ss"])
def test_a_published_network_gives_the_published_answers(folder, run):
    there = results.read(folder)
    about = there.about["dataset"]
    mean, std = (torch.tensor(about[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        answers = there.network(run)((there.explorer.images / 255 - mean) / std)
    assert torch.allclose(answers, there.explorer.logits[run], atol=0.02)
    with pytest.raises(IncompleteError, match=r"no network 'T9w' in .*; choose from Ss, Sw, T1s"):
        there.network("T9w")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(IncompleteError, match="no networks in"):
        there.network(run)


def test_bins_hold_every_image_and_give_the_accuracy_back(digits, folder):
    there = results.read(folder)
    for (seed, run, view), bins in there.reliability.groupby(["seed", "run", "view"]):
        (accuracy,) = tables.select(there.table, seed=seed, run=run, view=view, measure="accuracy", split="validation")[
            "value"
        ]
        assert bins["count"].sum() == len(digits.validation)
        assert (bins["count"] * bins["accuracy"]).sum() / bins["count"].sum() == pytest.approx(accuracy, abs=1e-5)


def test_the_dial_is_of_the_reference_and_the_teachers(folder):
    dial = results.read(folder).dial
    assert set(dial["run"]) == {"reference", "T1w", "T2w", "T1s", "T2s"}
    assert sorted(set(dial["strength"])) == pytest.approx([step / 10 for step in range(11)])
    assert dial["affinity"].between(-1, 1).all()


def test_an_incomplete_seed_is_refused_and_nothing_written(grid, store, digits, tmp_path):
    partial = Store(tmp_path / "partial")
    shutil.copytree(store.root, partial.root)
    shutil.rmtree(partial.root / "runs" / grid.runs[-1].spec.id)
    with pytest.raises(
        IncompleteError, match=f"1 of {len(grid.runs) // 2} runs of tiny are not in .*{grid.runs[-1].name} of seed 1"
    ):
        publish.publish(grid, partial, digits, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_entry_is_refused(grid, store, digits, tmp_path):
    damaged = Store(tmp_path / "damaged")
    shutil.copytree(store.root, damaged.root)
    path = damaged.root / "runs" / grid.runs[0].spec.id / "attention.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(StoreError, match=r"attention\.safetensors is not the file that was written: its hash differs"):
        publish.publish(grid, damaged, digits, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("made", [{"commit": None, "uncommitted_changes": None}, CLEAN | {"uncommitted_changes": True}])
def test_runs_of_uncommitted_code_are_refused_unless_asked_for(grid, store, digits, tmp_path, monkeypatch, made):
    monkeypatch.setattr(Entry, "environment", made)
    alone = replace(grid, runs=tuple(run for run in grid.runs if run.name in ("T1w", "reference")))
    with pytest.raises(IncompleteError, match="code that no commit has"):
        publish.publish(alone, store, digits, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    publish.publish(alone, store, digits, tmp_path / "out", strict=False)


def test_results_of_other_settings_are_not_mixed(grid, store, digits, folder):
    (folder / integrity.NAME).unlink()
    path = folder / "study.json"
    there = json.loads(path.read_text())
    there["profile"]["objectives"]["kd"]["alpha"] = 0.5
    path.write_text(json.dumps(there))
    with pytest.raises(IncompleteError, match=r"another study: objectives\.kd\.alpha is 0\.5 there"):
        publish.publish(grid, store, digits, folder)


def older(folder):
    """As results were before they said their format."""
    there = json.loads((folder / "study.json").read_text())
    del there["format"]
    (folder / "study.json").write_text(json.dumps(there))


def test_results_with_other_measures_are_not_read_and_not_mixed(grid, store, digits, folder):
    older(folder)
    with pytest.raises(IncompleteError, match=r"are of format 1, and this version reads 3.*publish their seeds again"):
        results.read(folder)
    with pytest.raises(IncompleteError, match="publish all of their seeds together: --seeds 0,1"):
        publish.publish(one_seed(grid, 0), store, digits, folder)
    assert publish.publish(grid, store, digits, folder).seeds == (0, 1)


def test_the_released_averages_of_seeds_published_earlier_are_named_for_the_order_they_have(folder):
    (folder / integrity.NAME).unlink()
    path = folder / "seed-0" / "provenance.json"
    made = json.loads(path.read_text())
    assert made.pop("training_order") == "random"
    path.write_text(json.dumps(made))
    table = results.read(folder).table
    rows = table[table["form"] == "as-released-sorted"]
    assert set(rows["seed"]) == {0}
    assert set(rows["split"]) == {"train"}
    assert set(rows["measure"]) == set(results.OF_BATCHES)
    kept = table[(table["form"] == "as-released") & (table["split"] == "train") & (table["seed"] == 0)]
    assert set(kept["measure"]) == {"attention_iou", "calibration_error"}
    both = table[table["form"].str.startswith("as-released")].groupby("seed")
    assert both.size()[0] == both.size()[1]


def test_the_published_released_forms_of_validation_images_stand():
    """Made again from the predicted classes that are published: these come in an order by class in the released code, too."""
    found = results.read(results.home() / "cpu", [2])
    said, run = found.predictions(2), "T1s_T2s_Ss"
    theirs, ours = (one_hot(said.answers(each), 100).double() for each in ("T1s_T2s", run))
    again = tables._as_released("validation", theirs, ours, said.labels)
    rows = found.table.query(f"run == '{run}' and form == 'as-released' and split == 'validation' and view == 'clean'")
    values = rows.set_index("measure")["value"]
    for measure in ("agreement", "mutual_information", "mutual_information_score"):
        assert again[measure] == pytest.approx(values[measure], rel=1e-5)


def test_a_first_call_that_was_stopped_between_its_seeds_is_finished(grid, store, digits, folder):
    shutil.rmtree(folder / "seed-1")
    (folder / "study.json").unlink()
    with pytest.raises(IncompleteError, match=r"has seeds 0 of a kdnb publish that was stopped.*\(--seeds 0,1\)"):
        publish.publish(one_seed(grid, 1), store, digits, folder)
    assert publish.publish(grid, store, digits, folder).seeds == (0, 1)


def test_a_seed_that_is_added_leaves_what_the_others_have(grid, store, digits, tmp_path):
    folder = tmp_path / "tiny"
    publish.publish(one_seed(grid, 0), store, digits, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    publish.publish(one_seed(grid, 1), store, digits, folder)
    of_all = ("verdicts.csv", integrity.NAME)
    assert all(path.read_bytes() == content for path, content in before.items() if path.name not in of_all)
    assert {path.name for path in folder.iterdir()} == {
        "seed-0", "seed-1", "study.json", "explorer.safetensors", "weights.safetensors", *of_all,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["seed-0/measures.csv", "seed-0/predictions.safetensors.xz", "explorer.safetensors", "seed-0"]
)
def test_a_seed_is_not_added_to_results_that_are_not_whole(grid, store, digits, folder, name):
    """The new crate would prove what is damaged."""
    if name == "seed-0":
        shutil.rmtree(folder / name)
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"?")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(DamagedResultsError, match=f"{name}.* (is not the file that was published|cannot be read)"):
        publish.publish(one_seed(grid, 1), store, digits, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert publish.publish(grid, store, digits, folder).seeds == (0, 1)


def test_a_call_that_is_stopped_leaves_no_proof_of_other_files(grid, store, digits, folder, monkeypatch):
    """The crate goes before what it proves changes, so that the next call can tell the folder from a damaged one."""
    monkeypatch.setattr(publish, "summarise", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish.publish(one_seed(grid, 0), store, digits, folder, weights=False)
    assert not (folder / integrity.NAME).exists()
    monkeypatch.undo()
    monkeypatch.setattr(Entry, "environment", CLEAN)
    assert publish.publish(one_seed(grid, 0), store, digits, folder).seeds == (0,)
    assert results.read(folder).seeds == (0, 1)


def test_what_is_there_stays_where_new_results_cannot_be_made(grid, store, digits, folder, monkeypatch):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(publish, "_explorer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish.publish(grid, store, digits, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_networks_of_other_results_do_not_stay(grid, store, digits, folder):
    assert (folder / "weights.safetensors").is_file()
    publish.publish(grid, store, digits, folder, weights=False)
    assert not (folder / "weights.safetensors").exists()


def test_each_seed_says_what_made_it(grid, folder):
    about = results.read(folder).about["seeds"][1]
    assert about["environments"] == [CLEAN]
    assert {name: run["id"] for name, run in about["runs"].items()} == {
        run.name: run.spec.id for run in grid.runs if run.seed == 1
    }
    assert all(run["seconds"] > 0 for run in about["runs"].values())


def test_reading_what_is_not_there_names_it(folder, tmp_path):
    with pytest.raises(IncompleteError, match="no results in"):
        results.read(tmp_path / "nowhere")
    with pytest.raises(IncompleteError, match=r"seed 7 is not among .*\[0, 1\]"):
        results.read(folder, [7])
    (folder / "seed-1" / "measures.csv").unlink()
    assert len(results.read(folder, [0]).table)
    (folder / integrity.NAME).unlink()
    with pytest.raises(DamagedResultsError, match=r"seed-1.measures\.csv cannot be read .*publish its seeds again"):
        _ = results.read(folder).table
    (folder / "seed-1" / "provenance.json").write_text("{")
    with pytest.raises(DamagedResultsError, match=r"seed-1.provenance\.json cannot be read"):
        results.read(folder)
    (folder / "study.json").write_text("[]")
    with pytest.raises(DamagedResultsError, match="cannot be read"):
        results.read(folder)


def test_a_study_goes_before_the_stand_in(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "smoke")
    assert results.published(tmp_path) == folder
    assert results.published(tmp_path, like="smoke") == tmp_path / "smoke"
    assert results.published(tmp_path, like="mine") == folder
    shutil.copytree(folder, tmp_path / results.BOOK_PROFILE)
    assert results.published(tmp_path) == tmp_path / results.BOOK_PROFILE
    assert results.published(tmp_path, like=folder.name) == folder
    shutil.rmtree(tmp_path / results.BOOK_PROFILE)
    shutil.rmtree(folder)
    assert results.published(tmp_path) == tmp_path / "smoke"
    with pytest.raises(IncompleteError, match="no published results"):
        results.published(tmp_path / "smoke" / "seed-0")


def test_a_study_agrees_with_itself_and_not_with_its_opposite(folder, tmp_path):
    ours = results.read(folder)
    same = diff.compare(ours, ours)
    assert set(same["agree"]) == {"yes"}
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / integrity.NAME).unlink()
    for seed in (0, 1):
        path = tmp_path / "other" / f"seed-{seed}" / "measures.csv"
        rows = pd.read_csv(path, keep_default_na=False, na_values=["nan"])
        strong = (rows["measure"] == "accuracy") & (rows["run"] == "T1s_T2s_Ss")
        rows.loc[strong, "value"] = 50 + 0.001 * seed
        rows.to_csv(path, index=False)
        made = path.with_name("provenance.json")
        about = json.loads(made.read_text())
        about["files"]["measures.csv"] = hashlib.sha256(path.read_bytes()).hexdigest()
        made.write_text(json.dumps(about))
    theirs = results.read(tmp_path / "other")
    changed = diff.compare(ours, theirs).set_index(["claim", "what"])["agree"]
    assert changed["K2", "validation accuracy, strong and strong teachers"] == "no"
    assert changed["K2", "validation accuracy, weak and weak teachers"] == "yes"
    assert "agree: no" in diff.describe(ours, theirs)


def test_results_of_another_study_are_compared_with_a_caution(folder, tmp_path):
    ours = results.read(folder)
    assert diff.caution(ours, results.read(folder, [1])) == ""
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / integrity.NAME).unlink()
    there = json.loads((tmp_path / "other" / "study.json").read_text())
    there["profile"]["objectives"]["kd"]["alpha"] = 0.5
    (tmp_path / "other" / "study.json").write_text(json.dumps(there))
    said = diff.describe(ours, results.read(tmp_path / "other"))
    assert "two studies, not two runs of one: they differ in `objectives.kd.alpha` (0.6 here, 0.5 there)." in said


def test_reruns_of_one_study_agree_about_as_often_as_their_interval_says():
    rng = np.random.default_rng(0)
    for ours, theirs in ((1, 5), (5, 5), (3, 5), (1, 2)):
        draws = [diff.agreement(rng.normal(0.02, 0.01, ours), rng.normal(0.02, 0.01, theirs)) for _ in range(600)]
        assert draws.count("yes") / 600 == pytest.approx(0.95, abs=0.035)
    apart = [diff.agreement(rng.normal(0.1, 0.01, 5), rng.normal(0.02, 0.01, 5)) for _ in range(100)]
    assert apart.count("no") == 100


def test_equal_effects_agree_also_where_nothing_scatters():
    assert diff.agreement([0.0], [0.0]) == "same sign"
    assert diff.agreement([0.1, 0.1], [0.1, 0.1]) == "yes"
    assert diff.agreement([0.1, 0.1], [0.2, 0.2]) == "no"


def test_single_seeds_are_compared_by_sign(folder):
    first, second = results.read(folder, [0]), results.read(folder, [1])
    assert set(diff.compare(first, second)["agree"]) <= {"same sign", "opposite sign"}
    assert diff.table(first, second).count("<tr>") == len(diff.compare(first, second)) + 1


def test_a_published_file_that_was_changed_is_not_read(folder):
    path = folder / "seed-0" / "measures.csv"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(DamagedResultsError, match="is not the file that was published: its hash differs"):
        _ = results.read(folder).table


def test_predictions_come_back_within_their_stated_steps(grid, store, folder):
    found = results.read(folder).predictions(1)
    run = next(run for run in grid.runs if (run.name, run.seed) == ("T1s_T2s_Ss", 1))
    answers = store.entry(run.spec.id).predictions
    p = answers["validation/strong"].double().softmax(dim=1)
    place, view = found.runs.index(run.name), found.views.index("strong")
    assert torch.equal(found.predicted[place, view], p.argmax(dim=1))
    assert (found.confidence[place, view] - p.max(dim=1).values).abs().max() <= 0.5 / 255 + 1e-6
    true = p.gather(1, answers["validation/labels"][:, None])[:, 0]
    assert ((found.truth[place, view] - true).abs() <= true * 2**-11 + 1e-7).all()
    assert found.correct(run.name, "strong").double().mean() == pytest.approx(
        float((p.argmax(dim=1) == answers["validation/labels"]).double().mean())
    )
    assert found.ensembles == ("T1w_T2w", "T1s_T2s")
    rows = tables.select(results.read(folder).table, seed=1, role="ensemble", teachers="weak+weak", split="train")
    rows = tables.select(
        rows, measure="attention_iou", form="textbook", method="cam-predicted", against="", view="clean"
    )
    assert float(found.iou[0, 1, 0].mean()) == pytest.approx(rows["value"].item(), abs=0.002)
    with pytest.raises(IncompleteError, match="no predictions of 'T9w'"):
        found.correct("T9w")


def test_results_say_which_claims_they_are_judged_by(folder):
    found = results.read(folder)
    assert (found.claim_set.name, found.exploratory) == ("K", False)
    assert set(found.judged_by("R").effects["claim"]) == {"F3"}  # this grid has weak and strong teachers alone


# -- a study whose seeds have draws of their own ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(digits, tmp_path_factory):
    """Two seeds, each on its draw of three, and what is published of them."""
    images = {"name": "digits-4", "draws": 3, "set_aside": 2}
    planned = grids.plan(small_profile(name="drawn", dataset=images, seeds=(0, 1), reference=False))
    store = Store(tmp_path_factory.mktemp("drawn-store"))
    execute.execute(planned.study, store, bar=False).require_complete()
    folder = tmp_path_factory.mktemp("drawn") / "drawn"
    published = publish.publish(planned.study, store, planned.dataset, folder, strict=False)
    return planned, store, published


def test_a_seed_is_judged_on_the_images_of_the_other_draws(drawn):
    planned, store, found = drawn
    for seed in (0, 1):
        run = next(run for run in planned.study.of_seed(seed) if run.name == "T1w_T2w_Ss")
        answers = store.entry(run.spec.id).predictions
        labels = planned.datasets[run.spec.dataset.hash].draws.labels
        assert torch.equal(answers["draws/labels"], labels)
        accuracy = float((answers["draws/clean"].argmax(dim=1) == labels).double().mean())
        where = {"seed": seed, "run": run.name, "split": "draws", "view": "clean"}
        assert tables.select(found.table, measure="accuracy", **where)["value"].item() == pytest.approx(accuracy)
        teachers = [store.entry(each).predictions["draws/clean"] for each in run.spec.teachers]
        together = torch.stack(teachers).mean(dim=0).argmax(dim=1)
        agreement = float((together == answers["draws/clean"].argmax(dim=1)).double().mean())
        rows = tables.select(found.table, measure="agreement", against="ensemble", form="textbook", **where)
        assert rows["value"].item() == pytest.approx(agreement)
    assert set(tables.select(found.table, split="draws")["view"]) == {"clean", "own"}  # own: of the gap
    assert set(tables.select(found.table, split="draws", view="own")["measure"]) == {"train_validation_gap"}


def test_what_a_seed_with_draws_publishes_is_small_and_gives_its_measures_back(drawn):
    _, _, found = drawn
    said = found.predictions(1)
    assert said.truth.numel() == 0
    assert said.confidence.shape[1] == 1
    for run in ("T1w", "T1w_T2w", "T1s_T2s_Sw"):
        right = said.correct(run, split="draws").double().mean()
        where = {"seed": 1, "run": run, "measure": "accuracy", "split": "draws"}
        assert tables.select(found.table, **where)["value"].item() == pytest.approx(float(right))
    alike = said.answers("T1w_T2w", split="draws") == said.answers("T1w_T2w_Sw", split="draws")
    where = {"seed": 1, "run": "T1w_T2w_Sw", "measure": "agreement", "against": "ensemble", "form": "textbook"}
    rows = tables.select(found.table, split="draws", **where)
    assert rows["value"].item() == pytest.approx(float(alike.double().mean()))
    with pytest.raises(IncompleteError, match="no predictions on weak views of draws images"):
        said.answers("T1w", "weak", "draws")
    with pytest.raises(IncompleteError, match="is not published of a study with draws"):
        said.probability("T1w")


def test_a_study_with_draws_says_how_many_images_a_seed_has_and_proves_all_of_them(drawn):
    planned, _, found = drawn
    assert found.about["dataset"]["train"] == 40
    assert found.about["dataset"]["hash"] == planned.dataset.hash
    assert found.profile.dataset.draws == 3
    assert found.profile.dataset.name == "digits-4"
    assert "4 images a class" in found.scale
    starts = [made["runs"]["T1w"]["id"] for made in found.about["seeds"].values()]
    assert starts[0] != starts[1]


def test_networks_that_are_too_large_together_leave_other_objectives_out(drawn, monkeypatch):
    planned, store, _ = drawn
    runs = list(planned.study.of_seed(0))
    entries = {run.spec.id: store.entry(run.spec.id) for run in runs}
    whole = len(publish._weights(runs, entries))
    monkeypatch.setattr(publish, "WEIGHTS_LIMIT", whole - 1)
    halved = safetensors.torch.load(publish._weights(runs, entries))
    assert {tensor.dtype for tensor in halved.values() if tensor.is_floating_point()} == {torch.float16}
    other = next(run for run in runs if run.name == "T1w_T2w_Ss")
    columns = dict(other.columns) | {"objective": "zscore"}
    parted = [replace(other, columns=columns) if run is other else run for run in runs]
    monkeypatch.setattr(publish, "WEIGHTS_LIMIT", len(publish._weights(runs, entries)) - 1)
    kept = {name.split("/")[0] for name in safetensors.torch.load(publish._weights(parted, entries))}
    assert kept == {run.name for run in runs} - {"T1w_T2w_Ss"}
    monkeypatch.setattr(publish, "WEIGHTS_LIMIT", 10)
    assert publish._weights(runs, entries) is None
