"""What networks see and what they answer: the same in training and in observing."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from kdnb.images import augment
from kdnb.images.counter import Purpose, Stream
from kdnb.images.datasets import Dataset, Split
from kdnb.training import models
from kdnb.training.objectives import Side
from kdnb.training.spec import RunSpec

CHUNK = 1024
"""Images augmented at once: enough that a kernel call costs little an image, few enough to stay small."""

FORWARD = 256
"""Images in a forward pass without a step: more only leave the processor's caches."""


class Normaliser:
    """uint8 images to what networks see: at their side, (x/255 − mean) / std, channels last, on a device."""

    def __init__(self, dataset: Dataset, device: torch.device, spec: RunSpec) -> None:
        self._side, self._resize = spec.side, spec.resize
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (dataset.mean, dataset.std))
        self._scale, self._shift = 1.0 / (255.0 * std), -mean / std

    def __call__(self, images: Tensor) -> Tensor:
        # views come at the side already, clean images may not
        images = augment.resized(images, self._side, interpolation=self._resize)
        return torch.addcmul(self._shift, images.float(), self._scale).contiguous(memory_format=torch.channels_last)


def half(images: Tensor, side: Side) -> Tensor:
    """The left or right half of images (N, 3, S, S) as it is, (N, 3, S, S // 2); an odd side loses its middle column."""
    width = images.shape[-1]
    part = images[..., : width // 2] if side == "left" else images[..., width - width // 2 :]
    return part.contiguous(memory_format=torch.channels_last)


def teaching_copy(teacher: models.Network, batch_norm: str) -> models.Network:
    """A copy that teaches in a mode: `eval`, or `train`, in which batch-norm layers use the statistics of the batch and
    keep updating their own, as the released code's teachers do."""
    return copy.deepcopy(teacher).requires_grad_(False).train(batch_norm == "train")


def sample(size: int, count: int) -> Tensor:
    """`count` of `size` numbers, or all, sorted; always the same ones."""
    if count >= size:
        return torch.arange(size)
    draws = Stream(0).uniforms(Purpose.SAMPLE, 0, np.arange(size), 1)[:, 0]
    return torch.from_numpy(np.sort(np.argsort(draws, kind="stable")[:count]))


def views(split: Split, numbers: Tensor, view: str, spec: RunSpec, part: str, device: torch.device) -> Tensor:
    """The views of a whole split, as `views_of`, on the device.

    Args:
        numbers: of the split's images in the data set, (N,).
    """
    return torch.cat(
        [views_of(images.to(device), numbers[places], view, spec, part) for places, images in chunks(split)]
    )


def views_of(images: Tensor, numbers: Tensor, view: str, spec: RunSpec, part: str) -> Tensor:
    """The views that networks of a seed are measured on, uint8 (N, 3, S, S): the same for all of them, and never among those
    that any was trained on.

    Args:
        images: uint8, on the device.
        numbers: of these images in the data set, (N,): an image's view depends on its number.
        view: the name of an augmentation.
        part: validation or train; epoch 0 of the purpose VIEW is the validation images', epoch 1 the training images'.
    """
    return augment.views(
        images,
        numbers.numpy(),
        augment.recipe(view),
        Stream(spec.seed),
        int(part == "train"),
        size=spec.side,
        purpose=Purpose.VIEW,
        interpolation=spec.resize,
    )


def chunks(split: Split, size: int = CHUNK) -> Iterator[tuple[Tensor, Tensor]]:
    """A split in its order, so many images at a time: their places in it, (n,), and the images, uint8 (n, 3, S, S)."""
    places = torch.arange(len(split)).split(size)
    return zip(places, split.stream([each.numpy() for each in places]), strict=True)


def logits(
    network: models.Network,
    images: Tensor,
    prepare: Callable[[Tensor], Tensor],
    spec: RunSpec,
    *,
    side: Side | None = None,
    batch: int = FORWARD,
) -> Tensor:
    """float32 logits (N, K) of uint8 images, in the mode that the network is in.

    Args:
        side: show only this half of each image.
        batch: images in a pass, which matters to batch norm in train mode.
    """
    with torch.inference_mode(), autocast(spec, images.device):
        shown = (prepare(part) for part in images.split(batch))
        return torch.cat([network(half(part, side) if side else part).float() for part in shown])


def autocast(spec: RunSpec, device: torch.device) -> torch.autocast:
    """The precision that a run's networks answer in."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=spec.train.precision == "bfloat16")
