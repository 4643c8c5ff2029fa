"""Where weights come from: a run of the store, the package, ImageNet, or a file."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from kdnb.errors import DamageError, DataError, in_one_line
from kdnb.images import datasets
from kdnb.study.store import Store
from kdnb.training import models, objectives
from kdnb.training.spec import FreshOrigin, RunSpec
from kdnb.training.train import initial

StandIn = Callable[[RunSpec, datasets.Dataset, torch.device], models.Network]
"""(a teacher's spec, data set, device) → the network that answers in its place"""


def _untrained(spec: RunSpec, dataset: datasets.Dataset, device: torch.device) -> models.Network:
    """Its architecture, with random weights."""
    return initial(spec.model_copy(update={"origin": FreshOrigin()}), len(dataset.classes), dataset.side, device)


STAND_INS: dict[str, StandIn] = {"untrained": _untrained}
"""by name, which `kdnb.training.objectives.Kind.stand_in` gives"""


def stand_ins(
    store: Store, specs: Sequence[RunSpec], dataset: datasets.Dataset, device: torch.device
) -> dict[str, dict[str, models.Network]]:
    """The networks that answer in teachers' places, by name and the teacher's id, for the objectives that want them."""
    kinds = {spec.id: objectives.kind_of(spec.objective.kind) for spec in specs if spec.objective}
    wanted = {
        (kinds[spec.id].stand_in, teacher) for spec in specs for teacher in spec.teachers if kinds[spec.id].stand_in
    }
    found: dict[str, dict[str, models.Network]] = {}
    for name, teacher in sorted(wanted):
        made = STAND_INS[name](store.entry(teacher).spec, dataset, device).eval()
        found.setdefault(name, {})[teacher] = made
    return found


def origins(store: Store, specs: Sequence[RunSpec], files: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
    """The weights that each run starts from, by the run's id.

    Raises:
        DataError: a file of weights is missing, not safetensors, or another than was planned.
    """
    starts: dict[str, dict[str, Tensor]] = {}
    for spec in specs:
        if spec.origin.kind == "run":
            starts[spec.id] = store.entry(spec.origin.run).weights
        elif spec.origin.kind == "imagenet":
            from kdnb.zoo import pretrained

            starts[spec.id] = pretrained.weights(spec.model.name)
        elif spec.origin.kind == "file":
            starts[spec.id] = _read_weights(spec.origin.sha256, files)
    return starts


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


def network(store: Store, run: str, dataset: datasets.Dataset, device: torch.device) -> models.Network:
    """A finished run's network, in eval mode.

    Raises:
        StoreError: the store lacks it or has it damaged.
    """
    entry = store.entry(run)
    built = models.build(entry.spec.model, len(dataset.classes), entry.spec.side or dataset.side, seed=0)
    try:
        built.load_state_dict(entry.weights)
    except RuntimeError as error:
        raise DamageError(
            f"{entry.folder / 'weights.safetensors'} does not fit the network of its spec ({in_one_line(error)[:200]}); move "
            f"{entry.folder} away, and kdnb run trains it again"
        ) from None
    return built.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def packaged(run: str) -> Path | None:
    """Where the package has a run that nobody needs to train: the origins of its profiles."""
    return next((folder for folder in all_packaged() if folder.name == run), None)


def all_packaged() -> list[Path]:
    """The folders of all such runs, by seed and id."""
    folders = (Path(str(resources.files("kdnb"))) / "data" / "origins").glob("*/spec.json")
    seeds = {path.parent: json.loads(path.read_text(encoding="utf-8"))["seed"] for path in folders}
    return sorted(seeds, key=lambda folder: (seeds[folder], folder.name))
