"""The state of an unfinished training on disk: one file a run, replaced whole, checked when read.

A file holds the tensors and, in its header, everything else and a digest of the tensors. A process killed at any moment leaves
the last whole checkpoint (`kdnb.atomic`). No pickle.
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

from kdnb import atomic
from kdnb.errors import DamageError, StoreError, in_one_line


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
        try:
            with atomic.file(self.path(run)) as unfinished:
                save_file(tensors, unfinished, header)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"cannot write the checkpoint {self.path(run)}: {error}") from None

    def read(self, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The run's checkpoint; None where there is none.

        Raises:
            DamageError: it is not what was written.
            StoreError: it cannot be read, which says nothing of what is in it.
        """
        path = self.path(run)
        try:
            if not atomic.readable(path):
                return None
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            if header["digest"] != digest(tensors):
                raise ValueError("its digest does not fit its content")
            return tensors, json.loads(header["about"])
        except OSError as error:
            raise StoreError(
                f"the checkpoint {path} cannot be read ({in_one_line(error)}); it is left as it is"
            ) from None
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DamageError(f"the checkpoint {path} is damaged ({error})") from None

    def load(self, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """As `read`, but a damaged checkpoint is reported and set aside, and there is none.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            return self.read(run)
        except DamageError as error:
            path = self.path(run)
            aside = path.with_suffix(".damaged")
            os.replace(path, aside)
            warnings.warn(f"{error}: moved to {aside.name}, training again", stacklevel=2)
            return None

    def clear(self, run: str) -> None:
        """Removes what belongs to the run, but for what was set aside."""
        self.path(run).unlink(missing_ok=True)
        atomic.clear(self.path(run))


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
