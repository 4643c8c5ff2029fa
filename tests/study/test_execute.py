"""Running what a study lacks: in this process, on an executor, with runs that fail."""

from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from kdnb import devices, environment
from kdnb.environment import Code
from kdnb.errors import DataError, IncompleteError, KdnbError, StoreError
from kdnb.evidence import table as tables
from kdnb.images import datasets
from kdnb.study import execute, worker
from kdnb.study import grid as grids
from kdnb.study.profile import DatasetConfig
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from tests.conftest import small_profile


def one_epoch(**changes):
    profile = small_profile(**changes)
    network = profile.teacher.model_copy(update={"train": profile.teacher.train.model_copy(update={"epochs": 1})})
    return profile.model_copy(update={"teacher": network, "student": network})


def test_an_executor_trains_the_same_study(digits, tmp_path):
    grid = grids.build(one_epoch(ensembles=("", "w")), digits.hash)
    with ThreadPoolExecutor(1) as executor:
        report = execute.execute(grid, Store(tmp_path / "pool"), Resources("cpu"), executor=executor, bar=False)
    assert (report.trained, report.failed) == (6, {})
    execute.execute(grid, Store(tmp_path / "here"), Resources("cpu"), bar=False)
    for run in grid.runs:
        pool, here = (Store(tmp_path / name).entry(run.spec.id) for name in ("pool", "here"))
        assert all((pool.weights[name] == tensor).all() for name, tensor in here.weights.items())


def test_teachers_of_other_images_are_measured_on_the_studys(tmp_path):
    """As the released code has it: students of a subset learn from teachers of the whole."""
    profile = one_epoch(ensembles=("ww",), students=("w",), reference=False, dataset={"name": "digits-5"})
    profile = profile.model_copy(update={"teacher_dataset": DatasetConfig(name="digits")})
    planned, store = grids.plan(profile), Store(tmp_path)
    execute.execute(planned.study, store, Resources("cpu"), bar=False)
    entries = {run.name: store.entry(run.spec.id) for run in planned.study.runs}
    assert {name: entry.spec.dataset.name for name, entry in entries.items()} == {
        "T1w": "digits", "T2w": "digits", "T1w_T2w_Sw": "digits-5",
    }  # fmt: skip
    assert {len(entry.predictions["train/labels"]) for entry in entries.values()} == {50}  # of the 599 of the whole
    found = tables.table(planned.study, store)
    assert (found["measure"] == "agreement").any()


def test_all_that_the_released_code_does_runs_to_its_table(tmp_path):
    """Recipes of other views, teachers in train mode, the best epoch, and students alone in another precision."""
    profile = one_epoch(
        ensembles=("", "ws"),
        students=("s",),
        reference=False,
        augmentations={"weak": "imagenet-weak", "strong": "imagenet-strong-released"},
        objectives={"kd": {"batch_norm": "train"}},
    )
    train = profile.student.train.model_copy(update={"keep": "best"})
    profile = profile.model_copy(
        update={
            "student": profile.student.model_copy(update={"train": train}),
            "alone": train.model_copy(update={"precision": "bfloat16"}),
            "dataset": DatasetConfig(name="digits-5"),
        }
    )
    planned, store = grids.plan(profile), Store(tmp_path)
    assert execute.execute(planned.study, store, Resources("cpu"), bar=False).trained == 4
    precisions = {run.name: run.spec.train.precision for run in planned.study.runs}
    assert (precisions["Ss"], precisions["T1w_T2s_Ss"]) == ("bfloat16", "float32")
    found = tables.table(planned.study, store)
    own = tables.select(found, run="T1w_T2s_Ss", view="own", measure="agreement", form="textbook", split="train")
    assert own["against"].tolist() == ["ensemble"]
    assert own["student"].tolist() == ["strong"]
    same = tables.select(found, run="T1w_T2s_Ss", view="imagenet-strong-released", measure="agreement", form="textbook")
    assert own["value"].item() in same["value"].tolist()


def test_teachers_of_other_classes_are_refused(monkeypatch):
    profile = small_profile().model_copy(update={"teacher_dataset": DatasetConfig(name="digits")})
    other = profile.model_copy(update={"dataset": DatasetConfig(name="cifar100")})
    digits = datasets.load("digits")
    named = replace(digits, name="cifar100", classes=tuple("abcdefghij"))

    def load(config, root=None):
        return named if config.name == "cifar100" else digits

    monkeypatch.setattr(DatasetConfig, "load", load)
    with pytest.raises(DataError, match="teachers of digits cannot teach"):
        grids.plan(other)


def test_what_the_store_holds_is_not_trained_again(digits, tmp_path):
    store = Store(tmp_path)
    execute.execute(grids.build(one_epoch(ensembles=("w",)), digits.hash), store, Resources("cpu"), bar=False)
    more = execute.execute(grids.build(one_epoch(ensembles=("", "w")), digits.hash), store, Resources("cpu"), bar=False)
    assert (more.trained, more.cached) == (2, 4)


def test_a_damaged_entry_is_trained_again_to_the_same_weights(digits, tmp_path):
    grid, store = grids.build(one_epoch(ensembles=("",), reference=False), digits.hash), Store(tmp_path)
    execute.execute(grid, store, Resources("cpu"), bar=False)
    run = grid.runs[0].spec.id
    before, path = store.entry(run).weights, tmp_path / "runs" / run / "log.json"
    path.write_text("[]")
    with pytest.warns(UserWarning, match=r"log\.json is not the file that was written"):
        report = execute.execute(grid, store, Resources("cpu"), bar=False)
    assert (report.trained, report.cached) == (1, 1)
    assert all((before[name] == tensor).all() for name, tensor in store.entry(run).weights.items())


def test_a_teacher_that_diverges_leaves_its_students_out_and_the_rest_goes_on(digits, tmp_path):
    profile = one_epoch(ensembles=("", "w"), reference=False)
    wild = profile.teacher.model_copy(
        update={"train": profile.teacher.train.model_copy(update={"learning_rate": 1e30})}
    )
    grid = grids.build(profile.model_copy(update={"teacher": wild}), digits.hash)
    report = execute.execute(grid, Store(tmp_path), Resources("cpu"), bar=False)
    assert report.trained == 2  # the students without a teacher
    assert set(report.failed) == {"T1w, seed 0", "T1w_Sw, seed 0", "T1w_Ss, seed 0"}
    assert "diverged in epoch 1" in report.failed["T1w, seed 0"]
    assert report.failed["T1w_Ss, seed 0"] == "T1w, which it needs, is missing"
    with pytest.raises(IncompleteError, match=r"3 runs are missing; T1w, seed 0: .*diverged"):
        report.require_complete()


def test_data_that_changed_since_the_plan_is_not_trained_on(tmp_path):
    grid = grids.build(one_epoch(ensembles=("",)), "0123456789abcdef")
    with pytest.raises(DataError, match=r"content hash .* planned for 0123456789abcdef"):
        execute.execute(grid, Store(tmp_path), Resources("cpu"), bar=False)


def test_a_task_whose_teacher_is_not_in_the_store_says_so(digits, tmp_path):
    grid = grids.build(one_epoch(ensembles=("w",)), digits.hash)
    waiting, _ = execute.tasks(grid, Store(tmp_path), Resources("cpu"))
    with pytest.raises(StoreError, match="does not hold the run"):
        worker.run_task(next(task for task in waiting if task.needs))


def test_the_names_of_the_training_images_are_kept(digits, tmp_path):
    import json

    grid = grids.build(one_epoch(ensembles=("",), reference=False), digits.hash)
    execute.execute(grid, Store(tmp_path), Resources("cpu"), bar=False)
    about = json.loads((tmp_path / "datasets" / f"{digits.hash}.json").read_text())
    assert tuple(about["train"]) == digits.train.names


class Dying(ThreadPoolExecutor):
    """A pool whose worker is killed."""

    def submit(self, *_):
        future = Future()
        future.set_exception(BrokenExecutor("terminated abruptly"))
        return future


def test_a_worker_that_dies_is_one_clear_error(digits, tmp_path):
    grid = grids.build(one_epoch(ensembles=("",)), digits.hash)
    with pytest.raises(KdnbError, match="a worker died, perhaps for want of memory; take fewer"), Dying(1) as executor:
        execute.execute(grid, Store(tmp_path), Resources("cpu"), executor=executor, bar=False)


def test_outside_git_nothing_is_said_of_changes(monkeypatch):
    monkeypatch.setattr(environment, "read_code", lambda _: Code(None, None, "no clone"))
    cpu = devices.choose("cpu")
    made = environment.describe(cpu, [environment.provenance(cpu)])
    assert (made["commit"], made["uncommitted_changes"]) == (None, None)


def test_a_run_that_uncommitted_code_began_is_no_commits_run(digits, tmp_path, monkeypatch):
    profile = small_profile(ensembles=("",), students=("w",), reference=False)
    grid, store = grids.build(profile, digits.hash), Store(tmp_path)
    (run,) = grid.runs
    waiting, _ = execute.tasks(grid, store, Resources("cpu"))
    here = environment.describe(devices.choose("cpu"))["processor"]

    def stop(epoch, members):
        # what is committed while it trains is not what it began with
        monkeypatch.setattr(environment, "read_code", lambda _: Code("b" * 40, False, ""))
        monkeypatch.setattr(environment, "_processor", lambda: "another processor")
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "read_code", lambda _: Code("a" * 40, True, "changed"))
    with pytest.raises(KeyboardInterrupt):
        worker.run_task(waiting[0], stop)
    worker.run_task(waiting[0])
    made = store.entry(run.spec.id).environment
    assert (made["commit"], made["earlier_commits"]) == ("b" * 40, ["a" * 40 + "+"])
    assert made["uncommitted_changes"]
    assert made["processor"] == "another processor"
    assert [each.startswith(here) for each in made["earlier_machines"]] == [True]


def test_without_anybody_looking_on_a_line_is_printed_for_each_group(digits, tmp_path, capsys):
    grid = grids.build(one_epoch(ensembles=("",), reference=False), digits.hash)
    execute.execute(grid, Store(tmp_path), Resources("cpu"), bar=False)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "1 of 2 runs: Sw, seed 0 took" in lines[0]


def test_a_bar_shows_what_is_left_of_the_time(digits, tmp_path, capsys):
    grid = grids.build(one_epoch(ensembles=("",), reference=False), digits.hash)
    execute.execute(grid, Store(tmp_path), Resources("cpu"), bar=True)
    assert "left" in capsys.readouterr().err
