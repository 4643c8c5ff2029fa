"""Colour jitter and RandAugment for a whole batch: what chance decides for each image, and the decisions carried out.

ColorJitter
    changes brightness, contrast and saturation, in one of six orders, each by a factor of its own.
RandAugment (Cubuk et al. 2019, 1909.13719)
    carries out two operations, drawn from a list with replacement, at one magnitude. The list and what a magnitude means are
    read off torchvision. The released code's variant draws whether each is carried out, and its magnitude.

`kdnb.images.augment` has the recipes that are made of them.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from kdnb.images import kernels
from kdnb.images.blocks import blocks

OPERATIONS = 2
"""that RandAugment carries out one after the other"""

_BINS = 31
"""of torchvision's scale of magnitudes, 0 to 30"""

_ORDERS = np.array(list(itertools.permutations(range(3))))
"""(6, 3): which of brightness, contrast and saturation comes first, second and third"""


@dataclass(frozen=True)
class Jitter:
    """Of N images."""

    order: NDArray[np.int64]
    """(N,): which of the six orders"""
    factors: NDArray[np.float64]
    """(N, 3): of brightness, contrast and saturation; 1 changes nothing"""


@dataclass(frozen=True)
class Chosen:
    """Of N images, the two operations of each, (N, 2)."""

    operation: NDArray[np.int64]
    """its place in `names`"""
    applied: NDArray[np.bool_]
    """whether it is carried out"""
    level: NDArray[np.float64]
    """its magnitude, as a share of the scale"""
    positive: NDArray[np.bool_]
    """the sign of its magnitude, where it has one"""


def jitter(u: NDArray[np.float64], strength: float) -> Jitter:
    """Factors between 1 − strength and 1 + strength, from uniform draws (N, 4)."""
    return Jitter((u[:, 0] * len(_ORDERS)).astype(np.int64), 1.0 + strength * (2.0 * u[:, 1:4] - 1.0))


def jittered(images: Tensor, decided: Jitter) -> Tensor:
    """The images, uint8 (N, 3, S, S), in other colours. Rounded to whole levels after each change, as torchvision does."""
    views = torch.empty_like(images)
    for part in blocks(images):
        order = _ORDERS[decided.order[part]]
        factors = np.take_along_axis(decided.factors[part], order, axis=1).astype(np.float32)
        kinds, by = (torch.from_numpy(each).to(images.device) for each in (order, factors))
        changed = images[part].float()
        for turn in range(order.shape[1]):
            _change(changed, kinds[:, turn].view(-1, 1, 1, 1), by[:, turn].view(-1, 1, 1, 1))
        views[part] = changed.to(torch.uint8)
    return views


def _change(images: Tensor, kind: Tensor, factor: Tensor) -> None:
    """Moves each image away from another one, or towards it: black for brightness, its mean grey for contrast, itself in grey
    for saturation.

    Args:
        images: float32 (N, 3, S, S) of whole levels, changed in place.
        kind: (N, 1, 1, 1), 0 to 2 for brightness, contrast, saturation.
        factor: (N, 1, 1, 1), what stays of the image.
    """
    grey = kernels.rgb_to_grayscale(images).floor_()
    others = torch.where(kind == 2, grey, (kind == 1) * grey.mean(dim=(1, 2, 3), keepdim=True))
    images.mul_(factor).addcmul_(others, 1.0 - factor).clamp_(0, 255).floor_()


def _augmentation_space(side: int) -> dict[str, tuple[Tensor, bool]]:
    """name → the magnitudes of its bins on images of ``side`` pixels, and whether they take a sign: torchvision's."""
    from torchvision.transforms import RandAugment

    space: dict[str, tuple[Tensor, bool]] = RandAugment()._augmentation_space(_BINS, (side, side))
    return space


@cache
def names() -> tuple[str, ...]:
    """torchvision's 14 operations."""
    return tuple(_augmentation_space(32))


def choose(u: NDArray[np.float64], magnitude: float, spread: float, chance: float, top: float) -> Chosen:
    """Decisions from uniform draws (N, 8).

    Args:
        magnitude: on a scale from 0 to `top`.
        spread: standard deviation of the normal distribution that each magnitude is drawn from; it is cut off at the ends of
            the scale and rounded to a tenth, so that images that share operation and magnitude go through a kernel together.
        chance: that an operation is carried out.
    """
    drawn = np.full((len(u), OPERATIONS), float(magnitude))
    if spread:
        drawn = np.round(np.clip(magnitude + spread * ndtri(u[:, 4:6]), 0.0, top), 1)
    return Chosen(
        operation=(u[:, 0:2] * len(names())).astype(np.int64),
        applied=u[:, 2:4] < chance,
        level=drawn / top,
        positive=u[:, 6:8] >= 0.5,
    )


@cache
def _space(side: int) -> dict[str, tuple[NDArray[np.float64], bool]]:
    return {
        name: (np.atleast_1d(values.numpy().astype(np.float64)), signed)
        for name, (values, signed) in _augmentation_space(side).items()
    }


def strength(name: str, level: float, side: int) -> float:
    """What an operation does at a level from 0 to 1: the slope, pixels, degrees, factor − 1, bits or threshold that its kernel
    takes, without a sign. Between two of torchvision's bins it is interpolated; bits are the nearer bin's."""
    values, _ = _space(side)[name]
    if len(values) == 1:
        return float(values[0])
    place = level * (_BINS - 1)
    return float(values[round(place)] if name == "Posterize" else np.interp(place, np.arange(_BINS), values))


def operated(images: Tensor, decided: Chosen, kernels: Mapping[str, Any]) -> Tensor:
    """The images, uint8 (N, 3, S, S), after their operations.

    Args:
        kernels: name → (images, magnitude) → images, of every one of `names`.
    """
    images, side = images.clone(), int(images.shape[-1])
    for stage in range(OPERATIONS):
        groups: dict[tuple[str, float], list[int]] = {}
        for image in np.flatnonzero(decided.applied[:, stage]).tolist():
            name = names()[decided.operation[image, stage]]
            magnitude = strength(name, float(decided.level[image, stage]), side)
            if _space(side)[name][1] and not decided.positive[image, stage]:
                magnitude = -magnitude
            groups.setdefault((name, magnitude), []).append(image)
        for (name, magnitude), members in groups.items():
            where = torch.tensor(members, device=images.device)
            images[where] = kernels[name](images[where], magnitude)
    return images
