"""One network read along random directions: what maps summed over all classes show where heads are fresh.

Such a map reads the features along Σₖ wₖ, the sum of the head's rows. The gradient of cross-entropy, and of distillation, with
respect to the logits sums to zero over classes, so that of Σₖ wₖ is zero: training leaves the direction where the head's random
weights put it, and weight decay only shortens it.
"""

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from kdnb.study import weights
from kdnb.training import models
from kdnb.training.spec import ModelSpec

DIRECTIONS = 12
"""How many random directions a reader can choose from."""

READ = 8
"""Images that are read along them."""


def maps(images: Tensor, dataset: Mapping[str, Any], model: ModelSpec) -> dict[str, Tensor]:
    """Maps of the packaged origin that such teachers start from; direction n is that of the n-th fresh head.

    Args:
        images: uint8 (N, 3, S, S), of which the first `READ` are read.
        dataset: ``name``, ``classes``, ``mean`` and ``std``, as study.json has them.
        model: the teachers' network.

    Returns:
        ``direction n`` → float32 (at most `READ`, h, w); nothing where the package has no origin of such teachers and images,
        or where their head is more than one linear layer.
    """
    side, classes = images.shape[-1], len(dataset["classes"])
    network = _origin(dataset["name"], classes, side, model)
    if network is None or not isinstance(network.classifier, torch.nn.Linear):
        return {}
    mean, std = (torch.tensor(dataset[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        features = network.features((images[:READ] / 255 - mean) / std)
    read = {}
    for number in range(1, DIRECTIONS + 1):
        head = models.build(model, classes, side, seed=number).classifier
        assert isinstance(head, torch.nn.Linear)
        read[f"direction {number}"] = torch.einsum("ndhw,d->nhw", features, head.weight.detach().sum(dim=0))
    return read


def _origin(name: str, classes: int, side: int, model: ModelSpec) -> models.Network | None:
    for folder in weights.all_packaged():
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        if ModelSpec.model_validate(spec["model"]) == model and spec["dataset"]["name"].startswith(name):
            network = models.build(model, classes, side, seed=0)
            models.start_from(network, safetensors.torch.load_file(folder / "weights.safetensors"), str(folder))
            return network.eval()
    return None
