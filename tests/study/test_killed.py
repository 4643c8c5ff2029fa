"""Killed for real, with SIGKILL, at several points: the next call goes on and ends with the same bits."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from kdnb.paths import CHECKOUT as ROOT
from kdnb.study import worker
from kdnb.study.store import Store
from tests import killed
from tests.conftest import HANGS

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")


@pytest.fixture(scope="module")
def uninterrupted(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    task = killed.task(folder, digits.hash)
    assert not worker.run_task(task).failed
    return {spec.id: Store(folder).entry(spec.id) for spec in task.specs}


def finish(folder, digits, uninterrupted):
    """The next call, and what must be true of what it leaves."""
    task = killed.task(folder, digits.hash)
    assert not worker.run_task(task).failed
    store = Store(folder)
    for spec in task.specs:
        mine, whole = store.entry(spec.id), uninterrupted[spec.id]
        for kind in ("weights", "predictions", "attention"):
            tensors, expected = getattr(mine, kind), getattr(whole, kind)
            assert tensors.keys() == expected.keys()
            assert all(torch.equal(tensors[name], expected[name]) for name in expected), (kind, spec.id)
    assert list((store.root / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    "point",
    ["between-epochs", "writing-checkpoint", "replacing-checkpoint", "observing", "writing-entry", "replacing-entry"],
)
def test_a_training_killed_at_a_point_ends_as_an_uninterrupted_one(point, digits, uninterrupted, tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "tests.killed", str(tmp_path), point], cwd=ROOT, timeout=HANGS, capture_output=True
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()[-2000:]
    finish(tmp_path, digits, uninterrupted)


def test_a_training_killed_from_outside_ends_as_an_uninterrupted_one(digits, uninterrupted, tmp_path):
    command = [sys.executable, "-c", "import sys; from tests import killed; "
               "from kdnb.images import datasets; from kdnb.study import worker; "
               "worker.run_task(killed.task(sys.argv[1], datasets.load('digits').hash))", str(tmp_path)]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + HANGS
    while not list((tmp_path / "checkpoints").glob("*.safetensors")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finish(tmp_path, digits, uninterrupted)


@pytest.fixture(params=["default_int_handler"])
def two_workers(request, tmp_path):
    """`kdnb run --workers 2`, both of which are training, and would for hours."""
    command = killed.command("run", "--store", tmp_path, "--epochs", 100_000, "--seeds", "0-3",
                             "--set", 'grid=[{teachers: [[], [weak]]}]', "--set", "origin=fresh", "--device", "cpu",
                             "--workers", 2, ctrl_c=request.param)  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + HANGS
        while len(list((tmp_path / "checkpoints").glob("*.safetensors"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def workers_of(process):
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [each for each in children if "spawn_main" in " ".join(each.cmdline())]
    assert len(workers) == 2
    return workers


SAID = "kdnb: interrupted; the next call goes on from the last whole epoch"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_no_worker_outlives_the_command(how, two_workers):
    workers = workers_of(two_workers)
    two_workers.send_signal(how)  # to the command alone, as a scheduler does
    gone, alive = psutil.wait_procs(workers, timeout=HANGS)
    assert (len(gone), alive) == (2, [])
    assert two_workers.wait() == -how
    assert (SAID in two_workers.stderr.read()) == (how == signal.SIGTERM)


def test_ctrl_c_for_the_command_alone_stops_its_workers_too(two_workers, tmp_path):
    workers = workers_of(two_workers)
    two_workers.send_signal(signal.SIGINT)
    _, said = two_workers.communicate(timeout=HANGS)
    assert (two_workers.returncode, said.splitlines()[-1]) == (130, SAID)
    assert psutil.wait_procs(workers, timeout=HANGS)[1] == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_stopped_is_one_line(how):
    """Whatever the module that is being imported makes of it."""
    code = f"""
import os, signal, time
from kdnb import cli
signal.signal(signal.SIGINT, signal.default_int_handler)

class Swallows:
    def __del__(self):
        os.kill(os.getpid(), {how:d})

@cli.cli.command()
def waits():
    Swallows()
    try:
        time.sleep(60)
    except BaseException:
        raise ImportError("half")

cli.main(["waits"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == (130 if how == signal.SIGINT else -how)
    assert done.stderr.strip() == SAID


def test_ctrl_c_stops_all_workers_and_what_waits_is_not_begun(two_workers, tmp_path):
    os.killpg(two_workers.pid, signal.SIGINT)  # as a terminal does
    _, said = two_workers.communicate(timeout=HANGS)
    assert two_workers.returncode == 130
    assert said.splitlines()[-1] == SAID
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize("two_workers", ["SIG_IGN"], indirect=True)
def test_ctrl_c_that_the_command_ignores_stops_no_worker(two_workers, tmp_path):
    """As of a job that a script started in the background."""
    workers = workers_of(two_workers)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").glob("*.safetensors")}
    os.killpg(two_workers.pid, signal.SIGINT)
    deadline = time.monotonic() + HANGS
    while any(path.stat().st_mtime_ns == written for path, written in before.items()):  # both go on
        assert all(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in workers)
        assert two_workers.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
