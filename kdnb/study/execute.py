"""Runs what a study still lacks, in this process or on any `concurrent.futures.Executor`.

The unit of work is a lockstep group (`Task`): plain data that pickles, so that a pool of processes or a cluster's
executor can take it, given a store that all of them reach. A task that finds a run in the store does nothing for it; one
that finds it being trained by another process waits and reads. Origins go first, then teachers; a group is handed out
when what it starts from and learns from is in the store. Where memory cannot hold all of a group, the task trains it in
passes (`kdnb.study.memory`), one after the other, and each pass is in the store before the next begins.
"""

import hashlib
import json
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from kdnb import devices, environment
from kdnb.errors import DataError, DivergedError, IncompleteError, KdnbError, ProfileError
from kdnb.images import augment, datasets
from kdnb.progress import Progress, duration
from kdnb.study import memory
from kdnb.study.cost import Sizes
from kdnb.study.grid import Run, Study
from kdnb.study.profile import DatasetConfig
from kdnb.study.store import Store
from kdnb.training import models, objectives, pretrained
from kdnb.training.observe import observe
from kdnb.training.spec import FreshOrigin, RunOrigin, RunSpec
from kdnb.training.train import OnEpoch, Trained, initial, train


@dataclass(frozen=True)
class Task:
    """A lockstep group to train, and where everything is."""

    specs: tuple[RunSpec, ...]
    dataset: DatasetConfig
    """the images that it is trained on"""
    store: str
    data_root: str | None = None
    device: str = "auto"
    threads: int | None = None
    """of torch within an operation; None leaves them as they are"""
    files: tuple[tuple[str, str], ...] = ()
    """(SHA-256, path) of the weights that runs start from"""
    recipes: tuple[str, ...] = ()
    """files that register augmentations and objectives of one's own; another process must run them first"""
    observed: DatasetConfig | None = None
    """the images that it is measured on, where they are others"""
    memory: float | None = None
    """bytes that it may take of its device's memory; None: what is free when it begins"""
    workers: int = 1
    """processes that share that device and its free memory"""
    process: float | None = None
    """bytes that its process may take where it trains on the processor, as a cluster's worker has declared"""
    graphs: bool = False
    """record its steps as CUDA graphs, where its device has them"""

    @property
    def needs(self) -> set[str]:
        """ids of the runs that must be in the store first"""
        return {run for spec in self.specs for run in needed_by(spec)}


def needed_by(spec: RunSpec) -> tuple[str, ...]:
    """ids of the runs that a run starts from or learns from"""
    return (*spec.teachers, *([spec.origin.run] if isinstance(spec.origin, RunOrigin) else []))


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
    passes: int = 1
    """in how many it was trained"""
    ran_out: bool = False
    """whether memory was used up, and smaller passes were taken"""


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


class Turn(Protocol):
    """A number that processes share, as of `multiprocessing.Value`."""

    value: int

    def get_lock(self) -> AbstractContextManager[object]: ...


def begin_worker(turn: Turn | None = None) -> None:
    """For the processes of a pool, to call first: Ctrl-C ends them, and so does the end of their parent, whatever ended it.

    Where the parent ignores Ctrl-C, as a script's background jobs do, so do they.

    Args:
        turn: how many have begun, shared by all of the pool: each takes another GPU, and from the first one again where there
            are more processes than GPUs.
    """
    if turn is not None:
        with turn.get_lock():
            devices.take_gpu(turn.value)
            turn.value += 1
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a worker that caught it would go on with the next group
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)  # in the midst of what it does; the next call goes on from the last whole epoch

        threading.Thread(target=follow, daemon=True).start()


@lru_cache(maxsize=2)
def _dataset(config: DatasetConfig, root: str | None) -> datasets.Dataset:
    return config.load(root)


def _planned(config: DatasetConfig, root: str | None, planned: str) -> datasets.Dataset:
    """Raises:
    DataError: it cannot be loaded, or its content hash is another than was planned."""
    dataset = _dataset(config, root)
    if dataset.hash != planned:
        raise DataError(
            f"{dataset.name} has the content hash {dataset.hash}, the study was planned for {planned}; the files changed "
            "since, plan again"
        )
    return dataset


def run_task(task: Task, on_epoch: OnEpoch | None = None) -> Outcome:
    """Trains what of the group the store lacks, observes it, and puts it there. At home in any process.

    Raises:
        DataError: the data set or weights cannot be loaded, or are not those that the specs name.
        StoreError: a run that is needed is not in the store, or the store cannot be written.
        ProfileError: an objective that these teachers cannot serve, or an augmentation that is not the one of the plan.
        KdnbError: a single network needs more memory than there is, or something that the device cannot do.
    """
    began = time.perf_counter()
    _register(task)
    memory.keep_freed()
    if task.threads:
        torch.set_num_threads(task.threads)
    device, store = devices.choose(task.device), Store(task.store)
    maker = environment.maker(device)
    ids = [spec.id for spec in task.specs]
    failed: dict[str, str] = {}
    trained: list[str] = []
    done_passes, ran_out = 0, False
    with store.claim(ids):
        missing = [spec for spec in task.specs if not store.holds(spec.id)]
        if missing:
            dataset = shown = _planned(task.dataset, task.data_root, missing[0].dataset.hash)
            store.note_dataset(dataset)
            if task.observed is not None and missing[0].observed is not None:
                shown = _planned(task.observed, task.data_root, missing[0].observed.hash)
                store.note_dataset(shown)
            train_pass = _Pass(task, store, dataset, shown, device, maker, on_epoch)
            waiting = _passes(task, missing, train_pass)
            while waiting:
                try:
                    finished, diverged = train_pass(waiting[0])
                except (RuntimeError, MemoryError, TypeError) as error:
                    reason = _why_not(error, waiting[0], device)
                    if reason:
                        raise KdnbError(reason) from None
                else:
                    done_passes += 1
                    trained += finished
                    failed |= diverged
                    del waiting[0]
                    continue
                # Here, after the error and all that it held on to are gone.
                memory.release(device)
                ran_out = True
                size = (len(waiting[0]) + 1) // 2
                trained += [spec.id for spec in waiting[0] if store.has(spec.id)]  # if it was while they were written
                left = [spec for part in waiting for spec in part if not store.has(spec.id)]
                waiting = [left[start : start + size] for start in range(0, len(left), size)]
    done = tuple(run for run in ids if run not in failed)
    return Outcome(done, tuple(trained), failed, time.perf_counter() - began, max(1, done_passes), ran_out)


@dataclass(frozen=True)
class _Pass:
    """Trains, observes and stores some of a group's runs."""

    task: Task
    store: Store
    dataset: datasets.Dataset
    shown: datasets.Dataset
    device: torch.device
    maker: environment.Maker
    on_epoch: OnEpoch | None

    def teachers(self, specs: Sequence[RunSpec]) -> dict[str, models.Network]:
        taught_by = {teacher for spec in specs for teacher in spec.teachers}
        return {teacher: load_network(self.store, teacher, self.dataset, self.device) for teacher in sorted(taught_by)}

    def __call__(self, specs: Sequence[RunSpec]) -> tuple[list[str], dict[str, str]]:
        """ids of the runs that are in the store now; id → why not, of those that diverged"""
        store, dataset, device = self.store, self.dataset, self.device
        teachers = self.teachers(specs)
        results = train(
            specs,
            dataset,
            teachers,
            device,
            untrained=_untrained(store, specs, dataset, device),
            origins=_origins(store, specs, dict(self.task.files)),
            checkpoints=store.checkpoints,
            on_epoch=self.on_epoch,
            maker=self.maker,
            record=self.task.graphs,
        )
        failed = {run: str(result) for run, result in results.items() if isinstance(result, DivergedError)}
        finished = {run: result for run, result in results.items() if isinstance(result, Trained)}
        if finished:
            kept = [spec for spec in specs if spec.id in finished]
            networks = {run: result.network for run, result in finished.items()}
            with devices.repeatable():
                observations = observe(networks, kept, self.shown, teachers, device)
            for spec in kept:
                about = environment.describe(device, finished[spec.id].makers)
                store.write(spec, finished[spec.id], observations[spec.id], about)
        return list(finished), failed


def _passes(task: Task, specs: Sequence[RunSpec], train_pass: _Pass) -> list[list[RunSpec]]:
    """What of a group trains at once: all, where its memory is not short."""
    if len(specs) == 1:
        return [list(specs)]
    device, store, dataset = train_pass.device, train_pass.store, train_pass.dataset
    by_id = {teacher: store.entry(teacher).spec for spec in specs for teacher in spec.teachers}
    sizes = {dataset.hash: Sizes.of(dataset), train_pass.shown.hash: Sizes.of(train_pass.shown)}
    given = [task.memory, task.process if device.type == "cpu" else None]
    room = min((each for each in given if each is not None), default=None)
    if room is None:
        room = memory.free(device, task.workers)
    beyond = 0.0
    if device.type == "cuda":
        alone = memory.need_of(device.type, by_id, sizes)
        trial, few = memory.trial_of(max(specs, key=lambda spec: alone([spec])), dataset)
        taken = memory.peak(device, lambda: train([trial], few, train_pass.teachers([trial]), device))
        beyond = memory.beyond_reckoned(trial, few, by_id, taken)
    return memory.split(specs, memory.need_of(device.type, by_id, sizes, beyond, graphs=task.graphs), room)


def _why_not(error: RuntimeError | MemoryError | TypeError, specs: Sequence[RunSpec], device: torch.device) -> str:
    """What to tell a user of an error in a pass; empty where smaller passes may do.

    Raises:
        RuntimeError, TypeError: the error itself, if it is about neither memory nor device.
    """
    if reason := devices.cannot(device, error):
        return reason
    if not memory.is_used_up(error):
        raise error
    if len(specs) > 1:
        return ""
    return (
        f"the memory of {device} is used up by a single {specs[0].role} ({specs[0].model.name}, batches of "
        f"{specs[0].train.batch_size}): end what else uses it, take fewer --workers, or a smaller batch_size or model"
    )


def _register(task: Task) -> None:
    if not all(_is_registered(spec) for spec in task.specs):
        for path in task.recipes:
            augment.load_recipes(path)
    for spec in task.specs:
        if augment.registered_identity(spec.augmentation) != spec.recipe:
            raise ProfileError(
                f"the augmentation {spec.augmentation!r} is another than when the study was planned, or is not registered in "
                "this process; register it in a file that the profile names under recipes, and plan again"
            )
        if not _is_registered(spec) and spec.objective:
            raise ProfileError(
                f"the objective {spec.objective.kind!r} is another than when the study was planned, or is not registered in "
                "this process; register it in a file that the profile names under recipes, and plan again"
            )


def _is_registered(spec: RunSpec) -> bool:
    """Whether this process knows the augmentation and the objective that the run was planned with."""
    taught = objectives.registered_identity(spec.objective.kind) if spec.objective else ""
    return (augment.registered_identity(spec.augmentation), taught) == (spec.recipe, spec.objective_code)


def _untrained(
    store: Store, specs: Sequence[RunSpec], dataset: datasets.Dataset, device: torch.device
) -> dict[str, models.Network]:
    """Networks of the teachers' architectures with random weights, for the objectives that listen to such."""
    wanted = {
        teacher
        for spec in specs
        if spec.objective and objectives.kind_of(spec.objective.kind).hears == "untrained"
        for teacher in spec.teachers
    }
    networks = {}
    for teacher in sorted(wanted):
        spec = store.entry(teacher).spec.model_copy(update={"origin": FreshOrigin()})
        networks[teacher] = initial(spec, len(dataset.classes), dataset.side, device).eval()
    return networks


def _origins(store: Store, specs: Sequence[RunSpec], files: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
    """The weights that each run starts from, by the run's id.

    Raises:
        DataError: a file of weights is missing, not safetensors, or another than was planned.
    """
    weights: dict[str, dict[str, Tensor]] = {}
    for spec in specs:
        if spec.origin.kind == "run":
            weights[spec.id] = store.entry(spec.origin.run).weights
        elif spec.origin.kind == "imagenet":
            weights[spec.id] = pretrained.weights(spec.model.name)
        elif spec.origin.kind == "file":
            weights[spec.id] = _read_weights(spec.origin.sha256, files)
    return weights


def _read_weights(sha256: str, files: Mapping[str, str]) -> dict[str, Tensor]:
    if sha256 not in files:
        raise DataError(f"no file is named for the weights with SHA-256 {sha256}; plan the study again")
    path = Path(files[sha256])
    try:
        content = path.read_bytes()
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except (OSError, SafetensorError) as error:
        raise DataError(f"the weights {path} cannot be read ({error}); name a safetensors file") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"the weights {path} are not those that the study was planned with; plan it again")
    return tensors


def load_network(store: Store, run: str, dataset: datasets.Dataset, device: torch.device) -> models.Network:
    """A finished run's network, in eval mode.

    Raises:
        StoreError: the store lacks it or has it damaged.
    """
    entry = store.entry(run)
    network = models.build(entry.spec.model, len(dataset.classes), entry.spec.side or dataset.side, seed=0)
    network.load_state_dict(entry.weights)
    return network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def packaged(run: str) -> Path | None:
    """Where the package has a run that nobody needs to train: the origins of its profiles."""
    return next((folder for folder in all_packaged() if folder.name == run), None)


def all_packaged() -> list[Path]:
    """The folders of all such runs, by seed and id."""
    folders = (Path(str(resources.files("kdnb"))) / "data" / "origins").glob("*/spec.json")
    seeds = {path.parent: json.loads(path.read_text(encoding="utf-8"))["seed"] for path in folders}
    return sorted(seeds, key=lambda folder: (seeds[folder], folder.name))


def tasks(
    study: Study,
    store: Store,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    memory: float | None = None,
    workers: int = 1,
    graphs: bool = False,
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
        folder = packaged(origin.spec.id)
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
            device,
            threads,
            files,
            study.profile.recipes,
            group[0].observed,
            memory,
            workers,
            graphs=graphs,
        )
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
    memory: float | None = None,
    workers: int = 1,
    graphs: bool = False,
    weigh: Callable[[RunSpec], float] = lambda spec: float(spec.train.epochs),
    bar: bool | None = None,
) -> Report:
    """Trains what the study lacks.

    Args:
        executor: where tasks run; None is this process, one after the other.
        threads: of torch in each task.
        memory: bytes that a task may take of its device's memory; groups that need more are trained in passes. None: what is
            free when each begins.
        workers: tasks of the executor that share a device, and with it the memory that is free.
        graphs: record steps as CUDA graphs, where a task's device has them (`kdnb.training.graphs`).
        weigh: the work in a run, in any unit; decides how progress is counted.
        bar: show a progress bar; None decides by whether somebody looks on.

    Returns:
        A report; a run that diverged, and those that needed it, are in its `failed`.

    Raises:
        DataError, StoreError, ProfileError: as `run_task`.
        KdnbError: a worker of the executor died.
    """
    began = time.perf_counter()
    waiting, held = tasks(
        study,
        store,
        data_root=data_root,
        device=device,
        threads=threads,
        memory=memory,
        workers=workers,
        graphs=graphs,
        prepare=True,
    )
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
