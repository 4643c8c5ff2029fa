"""The store: a spec's id is the name of a folder of safetensors and JSON, written whole and checked when read.

::

    <store>/runs/<id>/spec.json            the recipe
                      weights.safetensors  the network
                      predictions.safetensors, attention.safetensors   see `kdnb.training.observe`
                      log.json, environment.json
                      manifest.json        SHA-256 of each of the files above, written last
    <store>/checkpoints/                   unfinished trainings
    <store>/locks/                         who trains what
    <store>/set-aside/                     damaged entries, with the reason; nothing is deleted
    <store>/datasets/<hash>.json           names of the training images of each data set that was used

An entry is there whole or not at all (`kdnb.atomic`). What is damaged is reported, set aside and trained again; what merely
cannot be read is an error and stays. No pickle is ever loaded.
"""

import hashlib
import json
import os
import re
import stat
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors.torch
from filelock import FileLock, Timeout
from pydantic import ValidationError
from torch import Tensor

from kdnb import atomic
from kdnb.errors import DamageError, StoreError, in_one_line
from kdnb.images.datasets import Dataset
from kdnb.paths import own_folder, user_path
from kdnb.rings import ring
from kdnb.study.profile import explain
from kdnb.training.checkpoint import Checkpoints
from kdnb.training.observe import Observations
from kdnb.training.spec import RunSpec
from kdnb.training.train import Trained

_MANIFEST = "manifest.json"
FILES = (
    "spec.json", "weights.safetensors", "predictions.safetensors", "attention.safetensors", "log.json", "environment.json",
)  # fmt: skip
"""what an entry consists of, beside its manifest"""

_LOGGED = ("epoch", "learning_rate", "loss", "train_accuracy", "seconds")
"""numbers that the log has of every epoch"""


def manifest(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The manifest of files, by its own name."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return {_MANIFEST: json.dumps({"files": hashes}, indent=1).encode()}


def default_root() -> Path:
    """``KDNB_STORE``, else a folder in the user's data."""
    chosen = os.environ.get("KDNB_STORE")
    return user_path(chosen) if chosen else own_folder("data") / "store"


@dataclass(frozen=True)
class Entry:
    """A run in the store. Each file is checked against the manifest when it is first read.

    Raises:
        DamageError: by any of the properties, when the file is missing, is not the one that was written, or does not hold what
            this version writes.
        StoreError: the file is there and cannot be read.
    """

    folder: Path

    @cached_property
    def _manifest(self) -> dict[str, str]:
        try:
            manifest = dict(json.loads(self._content(_MANIFEST))["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamageError(f"{self.folder} has no whole manifest ({error})") from None
        missing = [name for name in FILES if name not in manifest]
        if missing:
            raise DamageError(f"the manifest of {self.folder} does not name {missing[0]}")
        return manifest

    def _content(self, name: str) -> bytes:
        path = self.folder / name
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise DamageError(f"{path} is missing") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); it is left as it is") from None

    def read(self, name: str) -> bytes:
        """A file's content, checked."""
        content = self._content(name)
        if hashlib.sha256(content).hexdigest() != self._manifest[name]:
            raise DamageError(f"{self.folder / name} is not the file that was written: its hash differs")
        return content

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            tensors: dict[str, Tensor] = safetensors.torch.load(self.read(name))
        except safetensors.SafetensorError as error:
            raise self._not_written_here(name, error) from None
        return tensors

    def _observed(self, name: str, *needed: str) -> dict[str, Tensor]:
        tensors = self._tensors(name)
        lacking = [f"it lacks {each}" for each in needed if each not in tensors]
        if wrong := lacking or _misfits(tensors):
            raise self._not_written_here(name, wrong[0])
        return tensors

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise self._not_written_here(name, error) from None

    def _not_written_here(self, name: str, reason: object) -> DamageError:
        return DamageError(f"{self.folder / name} is not what this version writes: {reason}; kdnb run sets it aside")

    def verify(self) -> None:
        """Reads and checks every file.

        Raises:
            DamageError: one is missing or damaged, or the spec is not the one that the folder is named after.
            StoreError: one cannot be read.
        """
        _ = self.log, self.environment
        for name in FILES:
            if not name.endswith(".json"):
                self._tensors(name)
        if self.spec.id != self.folder.name:
            raise DamageError(f"{self.folder} holds the run {self.spec.id}")
        if self.spec.role != "origin":
            _ = self.predictions, self.attention

    @cached_property
    def spec(self) -> RunSpec:
        try:
            return RunSpec.model_validate_json(self.read("spec.json"))
        except ValidationError as error:
            raise self._not_written_here("spec.json", explain(error, RunSpec)) from None

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        return self._tensors("weights.safetensors")

    @cached_property
    def predictions(self) -> dict[str, Tensor]:
        return self._observed("predictions.safetensors", "validation/labels", "train/labels", "train/index")

    @cached_property
    def attention(self) -> dict[str, Tensor]:
        return self._observed("attention.safetensors", "validation/index", "train/index")

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        try:
            log = [dict(epoch) for epoch in self._json("log.json")]
            for epoch in log:
                missing = [name for name in _LOGGED if not isinstance(epoch[name], int | float)]
                if missing or not isinstance(epoch["validation_accuracy"], int | float | None):
                    raise ValueError(f"{[*missing, 'validation_accuracy'][0]} is no number")
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_written_here("log.json", repr(error)) from None
        return log

    @cached_property
    def environment(self) -> dict[str, Any]:
        environment = self._json("environment.json")
        if not isinstance(environment, dict):
            raise self._not_written_here("environment.json", "it is no mapping")
        return environment


class Store:
    """All runs below one folder."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = user_path(root) if root is not None else default_root()

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.root / "checkpoints")

    def _folder(self, run: str) -> Path:
        return self.root / "runs" / run

    def entry(self, run: str) -> Entry:
        """The run's entry.

        Raises:
            StoreError: there is none.
        """
        if not self.has(run):
            raise StoreError(f"the store {self.root} does not hold the run {run}; train it with kdnb run")
        return Entry(self._folder(run))

    def has(self, run: str) -> bool:
        """Whether the store has the run, without reading it: each file is checked when it is first read.

        Raises:
            StoreError: the store cannot be read.
        """
        try:
            return stat.S_ISDIR(self._folder(run).stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise StoreError(f"the store {self.root} cannot be read ({in_one_line(error)})") from None

    def damage(self, run: str) -> str:
        """What is wrong with the run's entry, every file's hash checked; empty where it is whole, or there is none.

        Raises:
            StoreError: a file cannot be read.
        """
        try:
            if self.has(run):
                Entry(self._folder(run)).verify()
        except DamageError as error:
            return str(error)
        return ""

    def whole(self, run: str) -> bool:
        """Whether the store has the run whole, every file's hash checked. It only looks.

        Raises:
            StoreError: a file cannot be read.
        """
        return self.has(run) and not self.damage(run)

    def holds(self, run: str) -> bool:
        """As `whole`, but what the store has damaged is set aside.

        Raises:
            StoreError: a file cannot be read, or the store cannot be written.
        """
        if reason := self.damage(run):
            self._set_aside(run, reason)
        return self.has(run)

    def _set_aside(self, run: str, reason: str) -> None:
        aside = self.root / "set-aside"
        with self.writing():
            place = aside / f"{run}-{uuid.uuid4().hex[:8]}"
            place.mkdir(parents=True)
            try:
                os.replace(self._folder(run), place / run)
            except FileNotFoundError:  # another process was faster
                place.rmdir()
                return
            (place / "reason.txt").write_text(reason + "\n", encoding="utf-8")
        warnings.warn(f"{reason}: moved to {place}, to be trained again", stacklevel=4)

    def write(self, spec: RunSpec, trained: Trained, observations: Observations, environment: dict[str, Any]) -> Entry:
        """Adds a finished run, whole or not at all, and clears its checkpoint.

        Raises:
            StoreError: it cannot be written; the checkpoint is kept.
        """
        weights = {name: t.detach().cpu().contiguous() for name, t in trained.network.state_dict().items()}
        contents = {
            "spec.json": spec.model_dump_json(indent=1).encode(),
            "weights.safetensors": safetensors.torch.save(weights),
            "predictions.safetensors": safetensors.torch.save(_plain(observations.predictions)),
            "attention.safetensors": safetensors.torch.save(_plain(observations.attention)),
            "log.json": json.dumps(trained.log, indent=1).encode(),
            "environment.json": json.dumps(environment, indent=1).encode(),
        }
        try:
            atomic.clear(self._folder(spec.id))  # who holds the claim writes alone
            self._put(spec.id, contents)
        except OSError as error:
            raise StoreError(f"cannot write the run {spec.id} into {self.root}: {error}") from None
        self.checkpoints.clear(spec.id)
        return Entry(self._folder(spec.id))

    def _put(self, run: str, contents: Mapping[str, bytes]) -> None:
        atomic.write_folder(self._folder(run), {**contents, **manifest(contents)}, sync=True)

    def adopt(self, run: str, folder: Path) -> Entry:
        """Copies a whole run from another place, such as an origin that comes with the package; every file is checked.

        Raises:
            StoreError: it is damaged or another run, or it cannot be written.
        """
        source = Entry(folder)
        return self.add(run, {name: source.read(name) for name in FILES})

    def add(self, run: str, contents: Mapping[str, bytes]) -> Entry:
        """Adds the files of a run that was trained elsewhere; one that the store has stays as it is.

        Raises:
            StoreError: they are another run's, or cannot be written.
        """
        try:
            found = RunSpec.model_validate_json(contents["spec.json"]).id
        except ValidationError as error:
            raise StoreError(f"the spec of the run {run} is not one of this version: {error}") from None
        if found != run:
            raise StoreError(f"what is called the run {run} holds the run {found}")
        if not self.has(run):
            with self.writing():
                try:
                    self._put(run, contents)
                except OSError:
                    if not self.has(run):  # else another process was faster
                        raise
        return Entry(self._folder(run))

    def note_dataset(self, dataset: Dataset) -> None:
        """Keeps the names of the training images, so that a drawn subset can be made again without its seed."""
        path = self.root / "datasets" / f"{dataset.hash}.json"
        if path.exists():
            return
        about = {"name": dataset.name, "classes": dataset.classes, "train": dataset.train.names}
        with self.writing():
            atomic.write(path, json.dumps(about, indent=0).encode())

    @contextmanager
    def writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot write into the store {self.root}: {error}; name another: --store or KDNB_STORE"
            ) from None

    @contextmanager
    def claim(self, runs: Sequence[str]) -> Iterator[None]:
        """Holds the runs' locks: of two processes that want the same run, one trains and the other waits.

        Locks are taken in the order of their names, so that two groups that overlap cannot wait for each other. A process
        that is killed loses its locks with its life.

        Raises:
            StoreError: the store cannot be written, or its file system has no locks (`kdnb.scale.locks`).
        """
        folder = self.root / "locks"
        with ExitStack() as held:
            with self.writing():
                folder.mkdir(parents=True, exist_ok=True)
                if locks := ring("scale.locks"):
                    locks.require(folder.absolute())
                for run in sorted(runs):
                    lock = FileLock(folder / f"{run}.lock")
                    try:
                        lock.acquire(timeout=0)
                    except Timeout:
                        warnings.warn(f"another process trains the run {run}; waiting for it", stacklevel=3)
                        lock.acquire()
                    held.callback(lock.release)
            self.refresh()
            yield

    def refresh(self) -> None:
        """Asks the file system anew which runs there are: a machine may remember for a minute that another's were not."""
        with suppress(FileNotFoundError), os.scandir(self.root / "runs") as found:
            next(found, None)


def _misfits(tensors: Mapping[str, Tensor]) -> list[str]:
    """What of a run's observations cannot be: arrays of another type, or without a row for each image of their split."""
    wrong, classes = [], set()
    for name, tensor in tensors.items():
        split, _, rest = re.sub(r"^teachers/\d+/", "", name).partition("/")
        images = tensors.get(f"{split}/labels", tensors.get(f"{split}/index", tensor)).shape[:1]
        numbers = rest in ("labels", "index", "predicted")
        if tensor.is_floating_point() == numbers:
            wrong.append(f"{name} holds {tensor.dtype}")
        elif (
            tensor.ndim < (1 if numbers else 2)
            or (tensor.shape[-1:] if rest == "predicted" else tensor.shape[:1]) != images
        ):
            wrong.append(
                f"{name} has the shape {tuple(tensor.shape)}, and {split} {', '.join(map(str, images))} images"
            )
        elif numbers and tensor.numel() and int(tensor.min()) < 0:
            wrong.append(f"{name} holds {int(tensor.min())}")
        elif not numbers and tensor.ndim == 2:
            classes.add(tensor.shape[1])
    most = max(
        (int(each.max()) for name, each in tensors.items() if name.endswith("/labels") and each.numel()), default=0
    )
    if len(classes) > 1 or any(most >= each for each in classes):
        wrong.append(f"it has labels up to {most}, and answers of {' and '.join(map(str, sorted(classes)))} classes")
    return wrong


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
