"""The state of an unfinished training on disk: one file a run, replaced whole, checked when read.

A file holds the tensors and, in its header, everything else and a digest of the tensors. It is written beside its place
and then renamed over it, so that a process killed at any moment leaves the last whole checkpoint. No pickle.
"""

import hashlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdnb.errors import StoreError


class Checkpoints:
    """A folder of checkpoints, keyed by run id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, run: str) -> Path:
        return self.folder / f"{run}.safetensors"

    def save(self, run: str, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Replaces the run's checkpoint.

        Raises:
            StoreError: it cannot be written.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        header = {"about": json.dumps(about), "digest": digest(tensors)}
        # One name for each process: a file left by one that was killed is overwritten by the next with its number, and
        # cleared with the run's checkpoint.
        temporary = self.folder / f"{run}.{os.getpid()}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, temporary, header)
            os.replace(temporary, self.path(run))
        except (OSError, SafetensorError) as error:
            raise StoreError(f"cannot write the checkpoint {self.path(run)}: {error}") from None

    def load(self, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The run's checkpoint; None where there is none. A damaged one is reported and set aside."""
        path = self.path(run)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            if header["digest"] != digest(tensors):
                raise ValueError("its digest does not fit its content")
            return tensors, json.loads(header["about"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            aside = path.with_suffix(".damaged")
            os.replace(path, aside)
            warnings.warn(
                f"the checkpoint {path} is damaged ({error}): moved to {aside.name}, training again", stacklevel=2
            )
            return None

    def clear(self, run: str) -> None:
        """Removes what belongs to the run, but for what was set aside."""
        for path in self.folder.glob(f"{run}.*"):
            if path.suffix in (".safetensors", ".part"):
                path.unlink(missing_ok=True)


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
