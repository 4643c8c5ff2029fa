"""Runs what a study still lacks, in this process or on any `concurrent.futures.Executor`.

The unit of work is a lockstep group (`Task`): plain data that pickles, so that a pool of processes or a cluster's
executor can take it, given a store that all of them reach. A task that finds a run in the store does nothing for it; one
that finds it being trained by another process waits and reads. Teachers go first; a group of students is handed out when
its teachers are in the store.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from kdnb import datasets, environment, models, record
from kdnb.errors import DataError, DivergedError, IncompleteError, KdnbError
from kdnb.progress import Progress
from kdnb.spec import RunSpec
from kdnb.store import Store
from kdnb.study import DatasetConfig, Run, Study
from kdnb.train import OnEpoch, Trained, train


@dataclass(frozen=True)
class Task:
    """A lockstep group to train, and where everything is."""

    specs: tuple[RunSpec, ...]
    dataset: DatasetConfig
    store: str
    data_root: str | None = None
    device: str = "auto"
    threads: int | None = None
    """of torch within an operation; None leaves them as they are"""

    @property
    def teachers(self) -> set[str]:
        """ids of the runs that must be in the store first"""
        return {teacher for spec in self.specs for teacher in spec.teachers}


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    done: tuple[str, ...]
    """ids of the runs that are in the store now"""
    trained: tuple[str, ...]
    """ids of those that this task trained; the others were there, or another process was faster"""
    failed: Mapping[str, str]
    """id → why not"""
    seconds: float


@dataclass(frozen=True)
class Report:
    """What became of a study."""

    trained: int
    """runs that were trained for this call"""
    cached: int
    """runs that were in the store, or that another process put there meanwhile"""
    failed: Mapping[str, str]
    """name and seed of a run → why it is missing"""
    seconds: float

    def require_complete(self) -> None:
        """Raises:
        IncompleteError: runs are missing; the message has the first reason."""
        if self.failed:
            name, reason = next(iter(self.failed.items()))
            raise IncompleteError(f"{len(self.failed)} runs are missing; {name}: {reason}")


@lru_cache(maxsize=1)
def _dataset(config: DatasetConfig, root: str | None) -> datasets.Dataset:
    return config.load(root)


def run_task(task: Task, on_epoch: OnEpoch | None = None) -> Outcome:
    """Trains what of the group the store lacks, records it, and puts it there. At home in any process.

    Raises:
        DataError: the data set cannot be loaded, or is not the one that the specs name.
        StoreError: a teacher is not in the store, or the store cannot be written.
    """
    began = time.perf_counter()
    if task.threads:
        torch.set_num_threads(task.threads)
    device, store, code = environment.choose_device(task.device), Store(task.store), environment.code()
    ids = [spec.id for spec in task.specs]
    failed: dict[str, str] = {}
    finished: dict[str, Trained] = {}
    with store.claim(ids):
        missing = [spec for spec in task.specs if not store.holds(spec.id)]
        if missing:
            dataset = _dataset(task.dataset, task.data_root)
            if dataset.hash != missing[0].dataset.hash:
                raise DataError(
                    f"{dataset.name} has the content hash {dataset.hash}, the study was planned for "
                    f"{missing[0].dataset.hash}; the files changed since, plan again"
                )
            store.note_dataset(dataset)
            taught_by = {teacher for spec in missing for teacher in spec.teachers}
            teachers = {teacher: load_network(store, teacher, dataset, device) for teacher in sorted(taught_by)}
            results = train(
                missing, dataset, teachers, device, checkpoints=store.checkpoints, on_epoch=on_epoch, code=code
            )
            failed = {run: str(result) for run, result in results.items() if isinstance(result, DivergedError)}
            finished = {run: result for run, result in results.items() if isinstance(result, Trained)}
            if finished:
                specs = [spec for spec in missing if spec.id in finished]
                networks = {run: result.network for run, result in finished.items()}
                records = record.record(networks, specs, dataset, teachers, device)
                for spec in specs:
                    about = environment.describe(device, finished[spec.id].code)
                    store.write(spec, finished[spec.id], records[spec.id], about)
    done = tuple(run for run in ids if run not in failed)
    return Outcome(done, tuple(finished), failed, time.perf_counter() - began)


def load_network(store: Store, run: str, dataset: datasets.Dataset, device: torch.device) -> models.Network:
    """A finished run's network, in eval mode.

    Raises:
        StoreError: the store lacks it or has it damaged.
    """
    entry = store.entry(run)
    model = entry.spec.model.model_copy(update={"pretrained": False})
    network = models.build(model, len(dataset.classes), entry.spec.side or dataset.side, seed=0)
    network.load_state_dict(entry.weights)
    return network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def tasks(
    study: Study, store: Store, *, data_root: str | Path | None = None, device: str = "auto", threads: int | None = None
) -> tuple[list[Task], list[Run]]:
    """What is to be trained, in lockstep groups, and the runs that the store holds."""
    held = [run for run in study.runs if store.holds(run.spec.id)]
    held_ids = {run.spec.id for run in held}
    missing = [run for run in study.runs if run.spec.id not in held_ids]
    root = str(data_root) if data_root is not None else None
    return [
        Task(tuple(run.spec for run in group), study.profile.dataset, str(store.root), root, device, threads)
        for group in study.groups(missing)
    ], held


def execute(
    study: Study,
    store: Store,
    *,
    executor: Executor | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    weigh: Callable[[RunSpec], float] = lambda spec: float(spec.train.epochs),
    bar: bool | None = None,
) -> Report:
    """Trains what the study lacks.

    Args:
        executor: where tasks run; None is this process, one after the other.
        threads: of torch in each task.
        weigh: the work in a run, in any unit; decides how progress is counted.
        bar: show a progress bar; None decides by whether somebody looks on.

    Returns:
        A report; a run that diverged, and those that needed it as a teacher, are in its `failed`.

    Raises:
        DataError, StoreError: as `run_task`.
        KdnbError: a worker of the executor died.
    """
    began = time.perf_counter()
    waiting, held = tasks(study, store, data_root=data_root, device=device, threads=threads)
    done, trained = {run.spec.id for run in held}, 0
    failed: dict[str, str] = {}
    total = sum(weigh(spec) for task in waiting for spec in task.specs)
    with Progress(total, bar=bar) as progress:

        def on_epoch(epoch: int, members: Iterable[RunSpec]) -> None:
            members = list(members)
            label = f"{_label(study, members)}, epoch {epoch + 1}"
            progress.advance(sum(weigh(spec) / spec.train.epochs for spec in members), label)

        running: dict[Future[Outcome], Task] = {}
        while waiting or running:
            waiting = _drop_orphans(study, waiting, failed)
            for task in [task for task in waiting if task.teachers <= done]:
                if executor is None and running:
                    break  # this process does one task at a time
                running[_submit(executor, task, on_epoch)] = task
                waiting.remove(task)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, outcome = running.pop(future), _result(future)
                done.update(outcome.done)
                trained += len(outcome.trained)
                failed.update(outcome.failed)
                if executor is not None:
                    progress.advance(sum(weigh(spec) for spec in task.specs), _label(study, task.specs))
                progress.line(_tell(study, task, outcome, len(done), len(study.runs)))
    report = {f"{study.by_id[run].name}, seed {study.by_id[run].seed}": reason for run, reason in failed.items()}
    return Report(trained, len(done) - trained, report, time.perf_counter() - began)


def _result(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenExecutor:
        raise KdnbError(
            "a worker died, perhaps for want of memory; take fewer of them: the next call goes on from the last whole epoch"
        ) from None


def _submit(executor: Executor | None, task: Task, on_epoch: OnEpoch) -> Future[Outcome]:
    if executor is not None:
        return executor.submit(run_task, task)
    future: Future[Outcome] = Future()
    future.set_result(run_task(task, on_epoch))
    return future


def _drop_orphans(study: Study, waiting: list[Task], failed: dict[str, str]) -> list[Task]:
    """Students whose teacher failed cannot be trained: noted, and taken out of their groups."""
    kept = []
    for task in waiting:
        orphans = {spec.id: next((t for t in spec.teachers if t in failed), None) for spec in task.specs}
        for run, teacher in orphans.items():
            if teacher is not None:
                failed[run] = f"its teacher {study.by_id[teacher].name} is missing"
        specs = tuple(spec for spec in task.specs if orphans[spec.id] is None)
        if specs:
            kept.append(Task(specs, task.dataset, task.store, task.data_root, task.device, task.threads))
    return kept


def _label(study: Study, specs: Iterable[RunSpec]) -> str:
    runs = [study.by_id[spec.id] for spec in specs]
    names = runs[0].name if len(runs) == 1 else f"{len(runs)} students S{runs[0].name[-1]}"
    return f"{names}, seed {runs[0].seed}"


def _tell(study: Study, task: Task, outcome: Outcome, done: int, total: int) -> str:
    failures = "".join(f"; {reason}" for reason in outcome.failed.values())
    return f"{done} of {total} runs: {_label(study, task.specs)} took {outcome.seconds:.1f} s{failures}"
