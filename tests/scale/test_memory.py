"""Groups that memory cannot hold: as few passes as fit, and the same bits in each of them."""

import math
import platform
import shutil
import subprocess
import sys

import psutil
import pytest
import torch

from kdnb.errors import KdnbError, ProfileError
from kdnb.images.datasets import Dataset
from kdnb.scale import cost, graphs, memory
from kdnb.study import execute, worker
from kdnb.study import grid as grids
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from kdnb.training import train
from tests.conftest import small_profile

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def study():
    """A teacher, and three students of one group: alone, distilled, and one whose targets are prepared from images."""
    profile = small_profile(
        dataset={"name": "digits-5"},
        reference=False,
        objectives={"kd": {}, "mean": {"kind": "class-mean"}},
        grid=[
            {"teachers": [[]], "students": ["strong"]},
            {"teachers": [["weak"]], "students": ["strong"], "objectives": ["kd", "mean"]},
        ],
    )
    return grids.plan(profile).study


FOR_ONE = 1.1 * cost.RUNTIME
"""bytes that one small network fits into, and no two"""


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory):
    """The store of the study, whose students trained together."""
    store = Store(tmp_path_factory.mktemp("whole"))
    execute.execute(study, store, Resources("cpu"), bar=False).require_complete()
    return store


@pytest.fixture
def taught(study, whole, tmp_path):
    """A store that has the teacher alone."""
    teacher = study.runs[0].spec
    assert teacher.role == "teacher"
    shutil.copytree(whole.root / "runs" / teacher.id, tmp_path / "runs" / teacher.id)
    return Store(tmp_path)


def assert_same_bits(study, one, other):
    for run in study.runs:
        mine, theirs = one.entry(run.spec.id), other.entry(run.spec.id)
        for kind in ("weights", "predictions", "attention"):
            found, expected = getattr(mine, kind), getattr(theirs, kind)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_students_in_passes_of_one_are_those_of_one_pass(study, whole, taught, capsys):
    report = execute.execute(study, taught, Resources(device="cpu", memory=FOR_ONE), bar=False)
    assert (report.trained, report.failed) == (3, {})
    assert " s in 3 passes, to fit the memory" in capsys.readouterr().err
    assert_same_bits(study, taught, whole)


def test_memory_that_runs_out_halves_the_pass_which_goes_on_from_its_epochs(study, whole, taught):
    (task,), _ = execute.tasks(study, taught, Resources("cpu"))
    epochs = []

    def runs_out(epoch, runs):
        epochs.append((epoch, len(runs)))
        if len(runs) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    outcome = worker.run_task(task, runs_out)
    assert (outcome.passes, outcome.ran_out, len(outcome.trained)) == (3, True, 3)
    assert epochs == [(0, 3), (1, 2), (1, 1)]
    assert "in 3 passes, to fit the memory, which ran out with larger ones" in execute._line(
        study, task, outcome, 4, 4, 0
    )
    assert_same_bits(study, taught, whole)


def test_one_network_that_does_not_fit_is_one_error_with_the_mend(study, taught):
    (task,), _ = execute.tasks(study, taught, Resources(device="cpu", memory=FOR_ONE))

    def runs_out(epoch, runs):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(
        KdnbError, match=r"memory of cpu is used up by a single student \(resnet8-w8, .* or a smaller batch_size"
    ):
        worker.run_task(task, runs_out)


@pytest.mark.parametrize("given", [1e6, None])
def test_one_network_that_cannot_fit_is_refused_with_what_it_needs_before_it_is_begun(
    study, taught, given, monkeypatch
):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Small", (), {"total": 1e6, "available": 1e6}))
    (task,), _ = execute.tasks(study, taught, Resources("cpu", given))
    with pytest.raises(
        KdnbError, match=r"a single student \(resnet8-w8, batches of \d+\) needs 0\.9\d* GB .* 0\.001 GB"
    ):
        worker.run_task(task, lambda epoch, runs: pytest.fail("it was begun"))


def test_an_error_that_is_not_about_memory_is_not_tried_again(study, taught):
    (task,), _ = execute.tasks(study, taught, Resources("cpu"))

    def fails(epoch, runs):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        worker.run_task(task, fails)


def test_a_group_is_split_in_its_order_into_as_few_passes_as_fit(study):
    students = [run.spec for run in study.runs if run.spec.role == "student"] * 3
    for room, sizes in ((35, [2, 2, 2, 2, 1]), (34, [1] * 9), (1, [1] * 9), (105, [9]), (104, [8, 1])):
        passes = memory.split(students, lambda specs: 15 + 10 * len(specs), room)
        assert [len(each) for each in passes] == sizes
        assert [spec for each in passes for spec in each] == students


def test_what_a_pass_needs_grows_by_a_students_own_networks(study):
    by_id = {run.spec.id: run.spec for run in study.runs}
    teacher, alone, distilled, mean = by_id.values()
    sizes = {teacher.dataset.hash: cost.Sizes(50, 1198, 10, 32)}
    need = memory.need_of("cuda", by_id, sizes)
    weights = 4 * cost._network(alone.model, 10, 32).weights
    assert need([distilled, mean]) - need([distilled]) == pytest.approx(memory.SPARE * 3 * weights)
    beyond = memory.need_of("cuda", by_id, sizes, beyond=1e9)
    assert beyond([alone]) - need([alone]) == pytest.approx(memory.SPARE * 1e9)
    at_once = memory.need_of("cuda", by_id, sizes, graphs=True)
    assert at_once([alone]) == need([alone])
    assert at_once([distilled, mean]) - need([distilled, mean]) == pytest.approx(graphs.SIDE_BY_SIDE)
    assert memory.need_of("cpu", by_id, sizes)([alone]) == cost.of_worker([alone], by_id, sizes)


def test_the_trial_of_a_student_is_a_training_that_any_objective_allows(study, few_digits):
    by_id = {run.spec.id: run.spec for run in study.runs}
    teacher, _, _, mean = by_id.values()
    trial, few = memory.trial_of(mean, few_digits)
    networks = {teacher.id: train.initial(teacher, 10, 32, CPU)}
    (result,) = train.train([trial], few, networks, CPU).values()
    assert len(result.log) == 1
    sizes = {trial.dataset.hash: cost.Sizes(70, 0, 10, 32)}
    reckoned = cost.of_group([trial], by_id, sizes).memory
    assert memory.beyond_reckoned(trial, few, by_id, reckoned + 5e6) == pytest.approx(5e6)
    assert memory.beyond_reckoned(trial, few, by_id, 1.0) == 0
    large = Dataset(**{**vars(few_digits), "train": few_digits.train.select(list(range(70)) * 20)})
    assert len(memory.trial_of(mean, large)[1].train) == 1024


@pytest.mark.parametrize(
    "text", ["", "8", "8 GB", "8GiB", "2.5k", "1e9", "1e9B", "0", "-1GB", "8GG", "nan", "9e999", "GB"]
)
def test_a_size_is_bytes_or_an_error_that_says_how_to_write_it(text):
    known = {"8": 8, "8 GB": 8e9, "8GiB": 2**33, "2.5k": 2500, "1e9": 1e9, "1e9B": 1e9}
    if text in known:
        assert memory.parse(text) == known[text]
    else:
        with pytest.raises(ProfileError, match="is no memory; write a number of bytes"):
            memory.parse(text)


def test_workers_share_what_is_free_and_keep_what_they_have(monkeypatch):
    own = 3e9
    monkeypatch.setattr(memory, "_left_in_group", lambda: math.inf)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Free", (), {"available": 8e9}))
    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: type("Own", (), {"rss": own}))
    assert (memory.free(CPU), memory.free(CPU, workers=2)) == (8e9 + own, 4e9 + own)
    monkeypatch.setattr(memory, "_left_in_group", lambda: 2e9)
    assert memory.free(CPU) == 2e9 + own


def test_a_container_has_no_more_than_any_group_it_is_in(tmp_path):
    membership, mount = tmp_path / "cgroup", tmp_path / "mount"
    assert memory._left_in_group(tmp_path / "none", mount) == math.inf  # not Linux
    membership.write_text("0::/jobs/mine\n")
    assert memory._left_in_group(membership, mount) == math.inf  # seen from inside
    (mount / "jobs" / "mine").mkdir(parents=True)
    for folder, most, used, idle in ((mount / "jobs", 900, 500, 100), (mount / "jobs" / "mine", "max", 300, 0)):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {idle}\n")
    assert memory._left_in_group(membership, mount) == 900 - 500 + 100
    assert memory._limit_of_group(membership, mount) == 900
    old = mount / "memory" / "job"
    old.mkdir(parents=True)
    membership.write_text("5:cpu,cpuacct:/job\n4:memory:/job\n")
    for name, text in (("limit_in_bytes", "700"), ("usage_in_bytes", "650"), ("stat", "total_inactive_file 20")):
        (old / f"memory.{name}").write_text(text)
    assert memory._left_in_group(membership, mount) == 70


_TAKE_AND_FREE = """
import resource, sys, torch
from kdnb.scale import memory

if sys.argv[1] == "keep":
    memory.keep_freed()

def take():
    return [torch.ones(5 << 20, dtype=torch.uint8).add_(1) for _ in range(16)]

take(), take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this system has no GNU C library")
def test_a_process_that_keeps_what_it_frees_has_no_pages_cleared_for_it_again():
    def cleared(how):
        done = subprocess.run([sys.executable, "-c", _TAKE_AND_FREE, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    taken = 16 * (5 << 20) // 4096
    assert cleared("keep") < 0.2 * taken
    assert cleared("give back") > 0.5 * taken
