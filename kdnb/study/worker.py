"""What trains a lockstep group: plain data that pickles, and the function that any process of any machine can call with it.

A task that finds a run in the store does nothing for it; one that finds it being trained by another process waits and reads.
Where memory cannot hold all of a group, it is trained in passes (`kdnb.scale.memory`), one after the other, and each pass is in
the store before the next begins.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import torch

from kdnb import devices, environment
from kdnb.errors import DataError, DivergedError, KdnbError, ProfileError
from kdnb.images import augment, datasets
from kdnb.rings import ring
from kdnb.study import weights
from kdnb.study.profile import DatasetConfig
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from kdnb.training import models, objectives
from kdnb.training.observe import observe
from kdnb.training.spec import RunSpec, needed_by
from kdnb.training.train import OnEpoch, Trained, train


@dataclass(frozen=True)
class Task:
    """A lockstep group to train, and where everything is."""

    specs: tuple[RunSpec, ...]
    dataset: DatasetConfig
    """the images that it is trained on"""
    store: str
    data_root: str | None = None
    resources: Resources = field(default_factory=Resources)
    files: tuple[tuple[str, str], ...] = ()
    """(SHA-256, path) of the weights that runs start from"""
    recipes: tuple[str, ...] = ()
    """files that register augmentations and objectives of one's own; another process must run them first"""
    observed: DatasetConfig | None = None
    """the images that it is measured on, where they are others"""
    process: float | None = None
    """bytes that its process may take where it trains on the processor, as a cluster's worker has declared"""

    @property
    def needs(self) -> set[str]:
        """ids of the runs that must be in the store first"""
        return {run for spec in self.specs for run in needed_by(spec)}


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
    """Trains what of the group the store lacks, observes it, and puts it there. Safe in any process.

    Raises:
        DataError: the data set or weights cannot be loaded, or are not those that the specs name.
        StoreError: a run that is needed is not in the store, or the store cannot be written.
        ProfileError: an objective that these teachers cannot serve, or an augmentation that is not the one of the plan.
        KdnbError: a single network needs more memory than there is, or something that the device cannot do.
    """
    began = time.perf_counter()
    _register(task)
    if memory := ring("scale.memory"):
        memory.keep_freed()
    devices.keep_to_cores()
    if threads := task.resources.threads_each:
        torch.set_num_threads(threads)
    device, store = devices.choose(task.resources.device), Store(task.store)
    provenance = environment.provenance(device)
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
            train_pass = _Pass(task, store, dataset, shown, device, provenance, on_epoch)
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
                if memory is not None:
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
    provenance: environment.Provenance
    on_epoch: OnEpoch | None

    def teachers(self, specs: Sequence[RunSpec]) -> dict[str, models.Network]:
        taught_by = {teacher for spec in specs for teacher in spec.teachers}
        return {
            teacher: weights.network(self.store, teacher, self.dataset, self.device) for teacher in sorted(taught_by)
        }

    def __call__(self, specs: Sequence[RunSpec]) -> tuple[list[str], dict[str, str]]:
        """ids of the runs that are in the store now; id → why not, of those that diverged"""
        store, dataset, device = self.store, self.dataset, self.device
        teachers = self.teachers(specs)
        results = train(
            specs,
            dataset,
            teachers,
            device,
            stand_ins=weights.stand_ins(store, specs, dataset, device),
            origins=weights.origins(store, specs, dict(self.task.files)),
            checkpoints=store.checkpoints,
            on_epoch=self.on_epoch,
            provenance=self.provenance,
            record=self.task.resources.graphs,
        )
        failed = {run: str(result) for run, result in results.items() if isinstance(result, DivergedError)}
        finished = {run: result for run, result in results.items() if isinstance(result, Trained)}
        if finished:
            kept = [spec for spec in specs if spec.id in finished]
            networks = {run: result.network for run, result in finished.items()}
            with devices.repeatable():
                observations = observe(networks, kept, self.shown, teachers, device)
            for spec in kept:
                about = environment.describe(device, finished[spec.id].made_by)
                store.write(spec, finished[spec.id], observations[spec.id], about)
        return list(finished), failed


def _passes(task: Task, specs: Sequence[RunSpec], train_pass: _Pass) -> list[list[RunSpec]]:
    """What of a group trains at once: all, where its memory is not short.

    Raises:
        KdnbError: a run by itself needs more memory than there is.
    """
    memory = ring("scale.memory")
    if memory is None:
        return [list(specs)]
    device, store, dataset = train_pass.device, train_pass.store, train_pass.dataset
    by_id = {teacher: store.entry(teacher).spec for spec in specs for teacher in spec.teachers}
    sizes = {each.hash: memory.Sizes.of(each) for each in (dataset, train_pass.shown)}
    given = [task.resources.memory, task.process if device.type == "cpu" else None]
    room = min((each for each in given if each is not None), default=None)
    most = room or memory.capacity(device, task.resources.sharing)
    memory.require(specs, memory.need_of(device.type, by_id, sizes), most)
    if len(specs) == 1:
        return [list(specs)]
    if room is None:
        room = memory.free(device, task.resources.sharing)
    beyond = 0.0
    if device.type == "cuda":
        alone = memory.need_of(device.type, by_id, sizes)
        trial, few = memory.trial_of(max(specs, key=lambda spec: alone([spec])), dataset)
        taken = memory.peak(device, lambda: train([trial], few, train_pass.teachers([trial]), device))
        beyond = memory.beyond_reckoned(trial, few, by_id, taken)
    return memory.split(specs, memory.need_of(device.type, by_id, sizes, beyond, graphs=task.resources.graphs), room)


def _why_not(error: RuntimeError | MemoryError | TypeError, specs: Sequence[RunSpec], device: torch.device) -> str:
    """What to tell a user of an error in a pass; empty where smaller passes may do.

    Raises:
        RuntimeError, TypeError: the error itself, if it is about neither memory nor device.
    """
    if reason := devices.cannot(device, error):
        return reason
    memory = ring("scale.memory")
    if memory is None or not memory.is_used_up(error):
        raise error
    if len(specs) > 1:
        return ""
    return (
        f"the memory of {device} is used up by a single {specs[0].role} ({specs[0].model.name}, batches of "
        f"{specs[0].train.batch_size}): end what else uses it, take fewer --workers, or a smaller batch_size or model"
    )


def _register(task: Task) -> None:
    used = (task.dataset, task.observed or task.dataset)
    if not all(map(_is_registered, task.specs)) or not all(datasets.is_known(each.name) for each in used):
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
