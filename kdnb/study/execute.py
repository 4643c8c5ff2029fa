"""Hands out what a study still lacks: to this process, to several, or to any `concurrent.futures.Executor`.

The unit of work is a lockstep group (`kdnb.study.worker.Task`). Origins go first, then teachers; a group is handed out when
what it starts from and learns from is in the store.
"""

import math
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kdnb.errors import IncompleteError, KdnbError
from kdnb.progress import Progress, duration
from kdnb.study import weights
from kdnb.study.grid import Run, Study
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from kdnb.study.worker import Outcome, Task, begin_worker, run_task
from kdnb.training.spec import RunSpec, needed_by
from kdnb.training.train import OnEpoch


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


def tasks(
    study: Study,
    store: Store,
    resources: Resources = Resources(),  # noqa: B008  # frozen
    *,
    data_root: str | Path | None = None,
    prepare: bool = False,
) -> tuple[list[Task], list[Run]]:
    """What is to be trained, in lockstep groups, and the runs that the store holds whole or the package has.

    Origins that nothing missing starts from are left alone.

    Args:
        prepare: set aside what the store has damaged, and put into it the origins that come with the package. Without, nothing
            changes on disk.

    Raises:
        StoreError: an entry cannot be read, or the store cannot be written.
    """
    holds = store.holds if prepare else store.whole
    held = [run for run in study.runs if holds(run.spec.id)]
    held_ids = {run.spec.id for run in held}
    missing = [run for run in study.runs if run.spec.id not in held_ids]
    wanted = {needed for run in missing for needed in needed_by(run.spec)}
    for origin in study.origins:
        there = holds(origin.spec.id)
        folder = weights.packaged(origin.spec.id)
        if not there and folder is not None and origin.spec.id in wanted:
            if prepare:
                store.adopt(origin.spec.id, folder)
            there = True
        if there:
            held.insert(0, origin)
        elif origin.spec.id in wanted:
            missing.insert(0, origin)
    root = str(data_root) if data_root is not None else None
    files = tuple(sorted(study.files.items()))
    return [
        Task(
            tuple(run.spec for run in group),
            group[0].dataset,
            str(store.root),
            root,
            resources,
            files,
            study.profile.recipes,
            group[0].observed,
        )
        for group in study.groups(missing)
    ], held


def execute(
    study: Study,
    store: Store,
    resources: Resources = Resources(),  # noqa: B008  # frozen
    *,
    executor: Executor | None = None,
    data_root: str | Path | None = None,
    weigh: Callable[[RunSpec], float] = lambda spec: float(spec.train.epochs),
    bar: bool | None = None,
) -> Report:
    """Trains what the study lacks.

    Args:
        executor: where tasks run; None is this process, one after the other, or as many as `resources` has workers.
        weigh: the work in a run, in any unit; decides how progress is counted.
        bar: show a progress bar; None decides by whether somebody looks on.

    Returns:
        A report; a run that diverged, and those that needed it, are in its `failed`.

    Raises:
        DataError, StoreError, ProfileError: as `run_task`.
        KdnbError: a worker of the executor died.
    """
    began = time.perf_counter()
    if executor is None and resources.workers > 1:
        with _pool(resources.workers) as pool:
            return execute(study, store, resources, executor=pool, data_root=data_root, weigh=weigh, bar=bar)
    waiting, held = tasks(study, store, resources, data_root=data_root, prepare=True)
    done, trained = {run.spec.id for run in held}, 0
    failed: dict[str, str] = {}
    total = sum(weigh(spec) for task in waiting for spec in task.specs)
    count = len(done) + sum(len(task.specs) for task in waiting)
    with Progress(total, bar=bar) as progress:

        def on_epoch(epoch: int, runs: Iterable[RunSpec]) -> None:
            runs = list(runs)
            label = f"{_label(study, runs)}, epoch {epoch + 1}"
            progress.advance(sum(weigh(spec) / spec.train.epochs for spec in runs), label)

        running: dict[Future[Outcome], Task] = {}
        try:
            while waiting or running:
                waiting = _drop_orphans(study, waiting, failed)
                for task in [task for task in waiting if task.needs <= done]:
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
                    progress.line(_line(study, task, outcome, len(done), count, progress.left))
        except BaseException:
            if executor is not None:
                executor.shutdown(wait=False, cancel_futures=True)  # else all that waits would be trained first
            raise
    report = {f"{study.by_id[run].name}, seed {study.by_id[run].seed}": reason for run, reason in failed.items()}
    return Report(trained, len(done) - trained, report, time.perf_counter() - began)


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=begin_worker, initargs=(context.Value("i", 0),)
    ) as pool:
        try:
            yield pool
        except KeyboardInterrupt:  # of this process alone, as a scheduler sends it; what they do can be gone on with
            for each in multiprocessing.active_children():
                each.terminate()
            raise


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
    """Runs that need one that failed cannot be trained: noted, and taken out of their groups."""
    kept = []
    for task in waiting:
        orphans = {spec.id: next((run for run in needed_by(spec) if run in failed), None) for spec in task.specs}
        for run, missing in orphans.items():
            if missing is not None:
                failed[run] = f"{study.by_id[missing].name}, which it needs, is missing"
        specs = tuple(spec for spec in task.specs if orphans[spec.id] is None)
        if specs:
            kept.append(replace(task, specs=specs))
    return kept


def _label(study: Study, specs: Iterable[RunSpec]) -> str:
    runs = [study.by_id[spec.id] for spec in specs]
    names = runs[0].name if len(runs) == 1 else f"{len(runs)} {runs[0].spec.role}s, {runs[0].spec.augmentation}"
    return names if runs[0].spec.role == "origin" else f"{names}, seed {runs[0].seed}"


def _line(study: Study, task: Task, outcome: Outcome, done: int, total: int, left: float) -> str:
    passes = f" in {outcome.passes} passes, to fit the memory" if outcome.passes > 1 else ""
    passes += ", which ran out with larger ones" if outcome.ran_out else ""
    failures = "".join(f"; {reason}" for reason in outcome.failed.values())
    ahead = f"; about {duration(left)} left" if done < total and math.isfinite(left) else ""
    return f"{done} of {total} runs: {_label(study, task.specs)} took {outcome.seconds:.1f} s{passes}{failures}{ahead}"
