"""What a trained network leaves behind: its answers and its attention maps, from which every measure is computed.

No measure is baked in, so a new definition of one needs no training. Arrays, by name:

predictions
    ``validation/<view>``, ``train/<view>``: logits, float32 (N, K), for the views clean, weak and strong;
    ``validation/labels``, ``train/labels``: int64 (N,); ``train/index``: which training images, int64 (N,).
    A student whose teachers teach in `train` mode also keeps ``teachers/<place>/<view>``: what they answered the
    validation views in that mode, batch by batch of 128 in order.
attention
    ``<method>/<view>``: maps of the fixed sample of validation images, float32 (M, h, w), for the methods cam-sum,
    cam-predicted, cam-true, grad-cam (of the predicted class) and, for transformers, rollout; ``index``, ``labels``: (M,).

Views of an image are the same for all networks of a seed, and never among those that any was trained on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdnb import attention, augment
from kdnb.counter import Purpose, Stream
from kdnb.datasets import Dataset, Split
from kdnb.models import Network, VisionTransformer
from kdnb.spec import RunSpec
from kdnb.train import CHUNK, FORWARD, Normaliser, autocast, logits, sample, teaching_copy

VIEWS = ("clean", "weak", "strong")
METHODS = ("cam-sum", "cam-predicted", "cam-true", "grad-cam")
TEACHING_BATCH = 128


@dataclass(frozen=True)
class Record:
    """The arrays of one run; the module's description names them."""

    predictions: dict[str, Tensor]
    attention: dict[str, Tensor]


def record(
    networks: Mapping[str, Network],
    specs: Sequence[RunSpec],
    dataset: Dataset,
    teachers: Mapping[str, Network],
    device: torch.device,
) -> dict[str, Record]:
    """The records of several runs of one seed, by run id: each view is made once and shown to all.

    Args:
        networks: the trained networks by run id.
        specs: of these runs, with one seed and the same `record` settings.
        teachers: the networks of all teachers that the specs name, by run id.
    """
    prepare = Normaliser(dataset, device, specs[0].side)
    settings = specs[0].record
    mapped = sample(len(dataset.validation), settings.maps)
    trained_on = sample(len(dataset.train), settings.train_sample)
    parts = {"validation": dataset.validation, "train": dataset.train.select(trained_on.numpy())}
    results = {spec.id: Record({}, {}) for spec in specs}
    for view in VIEWS:
        for part, split in parts.items():
            numbers = trained_on if part == "train" else torch.arange(len(split))
            shown = views(split, numbers, view, specs[0], part, device)
            for spec in specs:
                answers = logits(networks[spec.id], shown, prepare, spec)
                results[spec.id].predictions[f"{part}/{view}"] = answers.cpu()
                if part == "validation":
                    results[spec.id].predictions.update(_taught(spec, shown, view, teachers, prepare))
        split = dataset.validation.select(mapped.numpy())
        shown = views(split, mapped, view, specs[0], "validation", device)
        for spec in specs:
            results[spec.id].attention.update(_maps(networks[spec.id], shown, split.labels, view, prepare))
    for result in results.values():
        for part, split in parts.items():
            result.predictions[f"{part}/labels"] = split.labels.clone()
        result.predictions["train/index"] = trained_on.clone()
        result.attention["index"] = mapped.clone()
        result.attention["labels"] = dataset.validation.labels[mapped]
    return results


def views(split: Split, numbers: Tensor, view: str, spec: RunSpec, part: str, device: torch.device) -> Tensor:
    """The views that networks of a seed are measured on, uint8 (N, 3, S, S).

    Args:
        numbers: of the split's images in the data set, (N,): an image's view depends on its number.
        view: the name of an augmentation: clean, weak, strong, or ``dial:S``.
        part: validation or train; epoch 0 of the purpose VIEW is the validation images', epoch 1 the training images'.
    """
    recipe, epoch, stream = augment.recipe(view), int(part == "train"), Stream(spec.seed)
    return torch.cat(
        [
            augment.views(images.to(device), index.numpy(), recipe, stream, epoch, size=spec.side, purpose=Purpose.VIEW)
            for images, index in zip(split.images.split(CHUNK), numbers.split(CHUNK), strict=True)
        ]
    )


@torch.inference_mode()
def _taught(
    spec: RunSpec, shown: Tensor, view: str, teachers: Mapping[str, Network], prepare: Normaliser
) -> dict[str, Tensor]:
    if spec.distill is None or spec.distill.batch_norm == "eval":
        return {}
    answers = {}
    for place, teacher in enumerate(spec.teachers):
        network = teaching_copy(teachers[teacher], spec.distill.batch_norm)
        batches = shown.split(TEACHING_BATCH)
        with autocast(spec, shown.device):
            answers[f"teachers/{place}/{view}"] = torch.cat([network(prepare(b)).float().cpu() for b in batches])
    return answers


def _maps(network: Network, shown: Tensor, labels: Tensor, view: str, prepare: Normaliser) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {}
    for images, true in zip(shown.split(FORWARD), labels.split(FORWARD), strict=True):
        for name, maps in attention_maps(network, prepare(images), true.to(images.device)).items():
            parts.setdefault(f"{name}/{view}", []).append(maps.cpu())
    return {name: torch.cat(maps) for name, maps in parts.items()}


def attention_maps(network: Network, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """All maps of normalised images by method, (N, h, w) each."""
    network.eval()
    with torch.no_grad():
        features = network.features(images)
        predicted = network.head(features).argmax(dim=1)
        maps = {
            "cam-sum": attention.cam(network, features, "sum"),
            "cam-predicted": attention.cam(network, features, "predicted"),
            "cam-true": attention.cam(network, features, "true", labels),
        }
        if isinstance(network, VisionTransformer):
            maps["rollout"] = attention.rollout(network, images)
    maps["grad-cam"] = attention.grad_cam(network, images, predicted)
    return maps
