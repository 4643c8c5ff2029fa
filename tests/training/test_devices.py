"""Which device trains what: one GPU a worker, and nothing on Apple's that it cannot do."""

import contextlib
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kdnb import devices, environment
from kdnb.errors import ProfileError
from kdnb.images import augment
from kdnb.images.counter import Stream
from kdnb.study import grid, worker
from kdnb.study.resources import Resources
from kdnb.training import train
from kdnb.training.observe import observe
from kdnb.training.spec import TrainSpec
from tests.conftest import small_profile

CPU, CUDA, APPLES = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine that lists two GPUs; `chosen` has those that were made the current one."""
    chosen = [0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: chosen[-1])
    return chosen


class Turn(SimpleNamespace):
    """A number of one process."""

    def get_lock(self):
        return contextlib.nullcontext()


def test_each_worker_of_a_machine_takes_another_gpu(two_gpus, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    turn, taken = Turn(value=0), []
    for _ in range(3):
        worker.begin_worker(turn)
        taken.append(devices.choose("auto"))
    assert taken == [torch.device("cuda", number) for number in (0, 1, 0)]
    assert devices.choose("cuda") == taken[-1]


def test_workers_share_a_gpu_only_where_there_are_more_of_them(two_gpus):
    assert [devices.sharing("auto", workers) for workers in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert devices.sharing("cpu", 4) == 4  # they share the machine's memory


@pytest.mark.parametrize("name", ["meta", "hpu", "xla", "cpu:-1", ""])
def test_what_cannot_compute_is_no_device(name):
    with pytest.raises(ProfileError, match=f"no device '{name}' here .*; try auto, cpu, cuda or mps"):
        devices.choose(name)


def test_cores_are_those_that_affinity_and_quotas_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 6, raising=False)
    membership, mount = tmp_path / "cgroup", tmp_path / "groups"
    assert devices.cores(membership, mount) == 6  # not Linux
    membership.write_text("0::/pod/job\n")
    (mount / "pod" / "job").mkdir(parents=True)
    (mount / "pod" / "job" / "cpu.max").write_text("max 100000\n")
    assert devices.cores(membership, mount) == 6
    (mount / "pod" / "cpu.max").write_text("250000 100000\n")
    assert devices.cores(membership, mount) == 2
    (mount / "cpu").mkdir()
    membership.write_text("3:cpuset:/\n5:cpu,cpuacct:/elsewhere\n")  # of version 1, seen from inside
    (mount / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (mount / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert devices.cores(membership, mount) == 1
    (mount / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert devices.cores(membership, mount) == 6


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system lets no process choose its cores")
def test_a_process_that_may_use_one_core_counts_one():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert devices.cores() == 1
        assert environment.describe(CPU)["cores"] == 1
        assert Resources("cpu", workers=3).threads_each == 1
    finally:
        os.sched_setaffinity(0, before)


def test_torch_takes_no_more_threads_than_there_are_cores(monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        monkeypatch.setattr(devices, "cores", lambda: 3)
        devices.keep_to_cores()
        assert torch.get_num_threads() == 3
        monkeypatch.setattr(devices, "cores", lambda: 8)
        devices.keep_to_cores()
        assert torch.get_num_threads() == 3  # as somebody may have asked for
    finally:
        torch.set_num_threads(before)


def test_without_a_gpu_workers_take_none():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    devices.take_gpu(1)
    assert devices.choose("auto") == CPU
    with pytest.raises(ProfileError, match=r"no device 'cuda' here .*; try auto, cpu, cuda or mps"):
        devices.choose("cuda")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has Apple's GPU")
def test_a_machine_without_apples_gpu_says_so():
    with pytest.raises(ProfileError, match="no device 'mps' here"):
        devices.choose("mps")


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("The operator 'aten::histc' is not currently implemented for the MPS device. If you want"),
        TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. Please"),
    ],
)
def test_what_apples_gpu_lacks_is_named_with_two_ways_out(error):
    told = devices.cannot(APPLES, error)
    assert str(error).split(". ")[0] in told
    assert "use --device cpu, or set PYTORCH_ENABLE_MPS_FALLBACK=1" in told
    assert devices.cannot(CPU, error) == ""
    assert devices.cannot(APPLES, RuntimeError("shapes do not match")) == ""


class WithoutDoubles(TorchDispatchMode):
    """As Apple's GPU: no operation may give double precision."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        doubles = [each for each in tree_leaves(out) if isinstance(each, torch.Tensor) and each.dtype == torch.float64]
        assert not doubles, f"{func} gives double precision"
        return out


@pytest.mark.parametrize("name", ["weak", "strong", "base", "dial:0.5", "imagenet-weak", "imagenet-strong"])
def test_views_are_made_without_double_precision(name, images):
    with WithoutDoubles():
        shown = augment.views(images[:16], torch.arange(16).numpy(), augment.recipe(name), Stream(0), 0)
    assert shown.dtype == torch.uint8


def test_students_learn_and_are_observed_without_double_precision(few_digits, monkeypatch):
    monkeypatch.setattr(devices, "finest", lambda device: torch.float32)  # as on Apple's GPU
    runs = grid.build(small_profile(ensembles=("w",), students=("w",), reference=False), few_digits.hash).runs
    teacher, student = (run.spec for run in runs)
    network = train.initial(teacher, 10, 32, CPU)
    one = student.model_copy(update={"train": student.train.model_copy(update={"epochs": 1})})
    with WithoutDoubles():
        result = train.train([one], few_digits, {teacher.id: network}, CPU)[one.id]
        observed = observe({one.id: result.network}, [one], few_digits, {teacher.id: network}, CPU)[one.id]
    assert 0 < result.log[0]["loss"] < 10
    assert observed.attention["train/grad-cam/weak"].dtype == torch.float32


def test_doubles_are_taken_where_there_are_some():
    assert devices.finest(CPU) == devices.finest(CUDA) == torch.float64
    assert devices.finest(APPLES) == torch.float32
    assert devices.doubled(torch.ones(1)).dtype == torch.float64


def test_precision_is_single_unless_asked_and_batches_are_channels_last(few_digits, monkeypatch):
    assert TrainSpec.model_fields["precision"].default == "float32"
    (run,) = grid.build(small_profile(ensembles=("",), students=("w",), reference=False), few_digits.hash).runs
    spec = run.spec.model_copy(update={"train": run.spec.train.model_copy(update={"epochs": 1})})
    network, seen = train.initial(spec, 10, 32, CPU), []
    network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    monkeypatch.setattr(train, "initial", lambda *_: network)
    train.train([spec], few_digits, {}, CPU)
    assert len(seen) > 2
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in seen)
    filters = [each for each in network.parameters() if each.dim() == 4]
    assert filters
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in filters)
