"""A study on a real Dask cluster of two worker processes: the same bits, whatever happens to the workers."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import distributed
import psutil
import pytest
import torch

from kdnb import cli
from kdnb.errors import DataError, KdnbError, ProfileError, StoreError
from kdnb.paths import CHECKOUT as ROOT
from kdnb.scale import cluster
from kdnb.study import execute
from kdnb.study import grid as grids
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from tests import killed
from tests.conftest import HANGS, small_profile

MEMORY = 8e9


@pytest.fixture(scope="module")
def scheduler():
    """The address of a cluster of two workers, each of which says that it has a GPU and 8 GB."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        resources={"GPU": 1, "MEMORY": MEMORY},
    ) as local:
        yield local.scheduler_address


def study_of(digits, *, epochs=1, **changes):
    profile = small_profile(**changes)
    network = profile.teacher.model_copy(update={"train": profile.teacher.train.model_copy(update={"epochs": epochs})})
    return grids.build(profile.model_copy(update={"teacher": network, "student": network}), digits.hash)


def on_cluster(study, store, scheduler, **options):
    with cluster.connect(scheduler, store, **options) as executor:
        return execute.execute(study, store, Resources(device="cpu", threads=1), executor=executor, bar=False)


def same(study, one, other):
    """Whether two stores hold the same bits."""
    for run in study.runs:
        mine, theirs = one.entry(run.spec.id), other.entry(run.spec.id)
        for kind in ("weights", "predictions", "attention"):
            found, expected = getattr(mine, kind), getattr(theirs, kind)
            if found.keys() != expected.keys() or not all(torch.equal(found[n], expected[n]) for n in expected):
                return False
    return True


def test_a_cluster_trains_the_same_bits_as_one_process(digits, tmp_path, scheduler, capsys):
    study = study_of(digits, ensembles=("", "w"))
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    report = on_cluster(study, there, scheduler)
    assert (report.trained, report.failed) == (6, {})
    lines = capsys.readouterr().err.splitlines()
    assert "left" in lines[0]
    assert "left" not in lines[-1]
    execute.execute(study, here, Resources(device="cpu", threads=1), bar=False)
    assert same(study, here, there)
    assert not list((there.root / "locks").glob("held-*"))


def kill_a_busy_worker(scheduler, store, killed):
    """Ends a worker with SIGKILL when something that it trains has a checkpoint."""
    with distributed.Client(scheduler, set_as_default=False) as client:
        while not list(store.checkpoints.folder.glob("*.safetensors")):
            time.sleep(0.005)
        pids = client.run(os.getpid)
        busy = [address for address, keys in client.processing().items() if keys]
        os.kill(pids[busy[0]], signal.SIGKILL)
        killed.append(busy[0])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_what_a_killed_worker_had_ends_on_another_with_the_same_bits(digits, tmp_path, scheduler):
    study = study_of(digits, epochs=8, ensembles=("",), students=("w",), reference=False)
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    killed, said = [], []
    killer = threading.Thread(target=kill_a_busy_worker, args=(scheduler, there, killed))
    killer.start()
    report = on_cluster(study, there, scheduler, say=said.append)
    killer.join()
    assert (report.trained, report.failed) == (1, {})
    assert said[0].startswith("dashboard: http://")
    assert said[1:] == [f"lost {killed[0]}; what it trained goes on elsewhere, from its last whole epoch"]
    execute.execute(study, here, Resources(device="cpu", threads=1), bar=False)
    assert same(study, here, there)
    assert not list(there.checkpoints.folder.iterdir())


@pytest.mark.filterwarnings("ignore:another process trains the run")
def test_two_schedulers_on_one_store_train_nothing_twice(digits, tmp_path, scheduler):
    """One hands out to the cluster while the other trains in a process of its own."""
    study, store = study_of(digits, ensembles=("", "w")), Store(tmp_path)
    reports = []
    both = [
        threading.Thread(target=lambda: reports.append(on_cluster(study, store, scheduler))),
        threading.Thread(
            target=lambda: reports.append(execute.execute(study, store, Resources(device="cpu", threads=1), bar=False))
        ),
    ]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert sum(report.trained for report in reports) == len(study.runs) == 6
    assert all(report.trained + report.cached == 6 for report in reports)


# -- what a task asks for ---------------------------------------------------------------------------------------------


def task(digits, tmp_path, device="cpu"):
    study = study_of(digits, ensembles=("",), students=("w",), reference=False)
    return execute.tasks(study, Store(tmp_path), Resources(device))[0][0]


def test_a_task_asks_only_for_what_some_worker_has_declared(digits, tmp_path):
    cpu, auto = task(digits, tmp_path), task(digits, tmp_path, "auto")
    assert cluster.demands(auto, [{}, {}], 1e9) == {}
    assert cluster.demands(auto, [{}, {"GPU": 2}], 1e9) == {"GPU": 1}
    assert cluster.demands(cpu, [{"GPU": 2}], 1e9) == {}
    assert cluster.demands(auto, [{"GPU": 1, "MEMORY": 2e9}], 1e9) == {"GPU": 1, "MEMORY": 1e9}
    assert cluster.demands(auto, [], 1e9) == {}  # the first worker is still to come


def test_a_group_that_no_worker_can_hold_asks_for_the_largest_and_trains_in_passes(digits, tmp_path):
    one = task(digits, tmp_path)
    three = replace(one, specs=one.specs * 3)
    declared = [{"MEMORY": 7e9}, {"MEMORY": 5e9}, {}]

    def need(task):
        return 2e9 + 3e9 * len(task.specs)

    assert cluster.fitted(one, declared, need) == (replace(one, process=5e9), 5e9)
    assert cluster.fitted(three, declared, need) == (replace(three, process=7e9), 7e9)
    assert cluster.fitted(three, [{"MEMORY": 4e9}], need)[1] == 11e9  # which is an error that says so
    assert cluster.fitted(three, [{}], need) == (three, 11e9)  # nothing is declared, and it measures where it trains


def test_a_task_that_no_worker_can_take_is_an_error_with_the_numbers(digits, tmp_path, scheduler):
    study = study_of(digits, ensembles=("",), reference=False)
    with pytest.raises(
        KdnbError,
        match=r"no worker can take 1 student of seed 0 \(weak\): it asks for MEMORY 9e\+09, .* is MEMORY 8e\+09",
    ):
        on_cluster(study, Store(tmp_path), scheduler, memory=lambda task: 9e9)


def test_no_one_worker_may_have_the_gpu_and_another_the_memory(digits, tmp_path):
    with pytest.raises(KdnbError, match="no worker can take"):
        cluster.demands(task(digits, tmp_path, "auto"), [{"GPU": 1, "MEMORY": 1e9}, {"MEMORY": 9e9}], 2e9)


# -- errors -----------------------------------------------------------------------------------------------------------


def boom(*_):
    raise DataError("the images are gone")


def drop_dead(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_kills_every_worker_is_given_up_in_one_line(digits, tmp_path, scheduler):
    with (
        pytest.raises(KdnbError, match="every worker that was given a call died before the end of an epoch"),
        cluster.connect(scheduler, Store(tmp_path)) as executor,
    ):
        executor.submit(drop_dead).result(timeout=HANGS)


def test_an_error_on_a_worker_is_the_same_error_here(digits, tmp_path, scheduler):
    with (
        pytest.raises(DataError, match=r"^the images are gone$"),
        cluster.connect(scheduler, Store(tmp_path)) as executor,
    ):
        executor.submit(boom).result(timeout=HANGS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"torch": "0.1"}, r"has torch \d.*, and 0\.1 is here"),
        ({"python": "2.7"}, r"has python 3\.\d+, and 2\.7 is here"),
    ],
)
def test_a_worker_of_another_version_is_an_error(changes, said, tmp_path, scheduler):
    with cluster.connect(scheduler, Store(tmp_path)) as executor:
        executor._made |= changes
        with pytest.raises(KdnbError, match=rf"the worker tcp://\S+ {said}; install the same on both"):
            executor.submit(len, "abc").result(timeout=HANGS)


def test_a_worker_that_does_not_see_the_store_is_an_error(tmp_path, scheduler):
    with cluster.connect(scheduler, Store(tmp_path)) as executor:
        executor._held_lock = str(tmp_path / "elsewhere" / "locks" / "held-1.lock")
        with pytest.raises(StoreError, match=r"the worker \S+ does not see the store .*elsewhere"):
            executor.submit(len, "abc").result(timeout=HANGS)


@pytest.mark.parametrize(
    "where", ["dask-local:", "dask-local:0", "dask-local:two", "scheduler:8786", "tcp://scheduler"]
)
def test_an_address_that_is_none_is_an_error(where, tmp_path):
    with pytest.raises(ProfileError, match=r"no cluster .*; write tcp://HOST:8786, .* or dask-local:2"):
        cluster.local_workers(where)


def run(*arguments):
    try:
        cli.main([str(each) for each in arguments])
    except SystemExit as stop:
        return stop.code
    return 0


TINY = ["--epochs", "1", "--set", "grid=[{teachers: [[]], students: [weak]}]", "--set", "origin=fresh", "--device", "cpu",
        "--threads", "1", "--set", "observe={maps: 20, train_sample: 20, validate_sample: 20}"]  # fmt: skip


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_WITHIN", 0.5)
    assert run("run", *TINY, "--store", tmp_path, "--cluster", "tcp://127.0.0.1:9") == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "no commit names this code" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("kdnb: no scheduler answers at tcp://127.0.0.1:9 (")


def test_a_cluster_and_workers_exclude_each_other(tmp_path, capfd):
    assert run("run", *TINY, "--store", tmp_path, "--cluster", "dask-local:2", "--workers", "2") == 2
    assert "kdnb: --cluster and --workers exclude each other" in capfd.readouterr().err


def test_the_command_starts_a_cluster_of_its_own_and_shows_its_dashboard(tmp_path):
    command = [sys.executable, "-m", "kdnb.cli", "run", *TINY, "--store", str(tmp_path), "--cluster", "dask-local:1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert "kdnb: dashboard: http://127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr
    assert "smoke: 2 runs trained" in done.stdout


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_ctrl_c_ends_a_cluster_of_the_commands_own_in_one_line(tmp_path):
    command = killed.command("run", *TINY, "--epochs", 100_000, "--store", tmp_path, "--cluster", "dask-local:1")
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + HANGS
    while not list((tmp_path / "checkpoints").glob("*.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=HANGS)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "kdnb: interrupted; the next call goes on from the last whole epoch"
    assert psutil.wait_procs(workers, timeout=HANGS)[1] == []
