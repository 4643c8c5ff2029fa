"""Colour jitter and RandAugment for a whole batch: what chance decides for each image, and the decisions carried out.

ColorJitter
    changes brightness, contrast and saturation, in one of six orders, each by a factor of its own.
RandAugment (Cubuk et al. 2019, 1909.13719)
    carries out two operations, drawn from a list with replacement. ``published``: the list and what a magnitude means are
    read off torchvision, at magnitude 10 of 30. ``released``: that of the paper's released code
    (``data_loader/DataLoaderImageNet.py``), with another list and other meanings, each operation with probability 0.5 and at
    a magnitude drawn from 10 ± 0.5 and cut off at 10, the end of its scale.

`kdnb.images.augment` has the recipes that are made of them.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from kdnb.images import operations
from kdnb.images.operations import blocks

Form = Literal["published", "released"]

STAGES = 2
"""operations that RandAugment carries out one after the other"""

_BINS = 31
"""of torchvision's scale of magnitudes, 0 to 30"""

_PUBLISHED_LEVEL = 10 / 30
_RELEASED_CHANCE = 0.5
_RELEASED_SPREAD = 0.05
"""standard deviation of a level, as a share of the scale"""

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

    form: Form
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
    grey = operations.kernel("rgb_to_grayscale")(images).floor_()
    others = torch.where(kind == 2, grey, (kind == 1) * grey.mean(dim=(1, 2, 3), keepdim=True))
    images.mul_(factor).addcmul_(others, 1.0 - factor).clamp_(0, 255).floor_()


def _augmentation_space(side: int) -> dict[str, tuple[Tensor, bool]]:
    """name → the magnitudes of its bins on images of ``side`` pixels, and whether they take a sign: torchvision's."""
    from torchvision.transforms import RandAugment

    space: dict[str, tuple[Tensor, bool]] = RandAugment()._augmentation_space(_BINS, (side, side))
    return space


@cache
def names(form: Form) -> tuple[str, ...]:
    """The operations, each as likely as another: torchvision's 14, or the released code's 15, each twice, since those that
    move pixels are bilinear or bicubic by chance."""
    if form == "published":
        return tuple(_augmentation_space(32))
    return tuple(
        f"{name}/{way}" if name in operations.MOVED else name for name in _RELEASED for way in ("bilinear", "bicubic")
    )


def choose(u: NDArray[np.float64], form: Form) -> Chosen:
    """Decisions from uniform draws (N, 8).

    Levels of the released form below the end are moved to the middle of their tenth of a magnitude, so that images that share
    operation and magnitude go through a kernel together.
    """
    level = np.full((len(u), STAGES), _PUBLISHED_LEVEL)
    if form == "released":
        drawn = np.clip(1.0 + _RELEASED_SPREAD * ndtri(u[:, 4:6]), 0.0, 1.0)
        level = np.where(drawn < 1.0, (np.floor(100 * drawn) + 0.5) / 100, 1.0)
    return Chosen(
        form=form,
        operation=(u[:, 0:2] * len(names(form))).astype(np.int64),
        applied=u[:, 2:4] < (1.0 if form == "published" else _RELEASED_CHANCE),
        level=level,
        positive=u[:, 6:8] >= 0.5,
    )


@cache
def _space(side: int) -> dict[str, tuple[NDArray[np.float64], bool]]:
    return {
        name: (np.atleast_1d(values.numpy().astype(np.float64)), signed)
        for name, (values, signed) in _augmentation_space(side).items()
    }


# -- the released form -------------------------------------------------------------------------------------------------

_COLOURED: Callable[[float, int], float] = lambda level, side: 1.8 * level - 0.9  # noqa: E731
"""factor − 1: colours only grow, since levels lie near 1"""

_RELEASED: dict[str, Callable[[float, int], float]] = {
    "AutoContrast": lambda level, side: 0.0,
    "Equalize": lambda level, side: 0.0,
    "Invert": lambda level, side: 0.0,
    "Rotate": lambda level, side: 30.0 * level,
    "Posterize": lambda level, side: int(4 * level),
    "Solarize": lambda level, side: int(256 * level),
    "SolarizeAdd": lambda level, side: int(110 * level),
    "Color": _COLOURED,
    "Contrast": _COLOURED,
    "Brightness": _COLOURED,
    "Sharpness": _COLOURED,
    "ShearX": lambda level, side: 0.3 * level,
    "ShearY": lambda level, side: 0.3 * level,
    "TranslateX": lambda level, side: 0.45 * level * side,
    "TranslateY": lambda level, side: 0.45 * level * side,
}
"""what each does at a level from 0 to 1: degrees, bits, threshold, what is added, factor − 1, slope, pixels"""


# -- both forms --------------------------------------------------------------------------------------------------------


def strength(form: Form, name: str, level: float, side: int) -> tuple[float, bool]:
    """What an operation does at a level from 0 to 1 (the slope, pixels, degrees, factor − 1, bits or threshold that its kernel
    takes), and whether it has a sign. Between two of torchvision's bins it is interpolated; bits are the nearer bin's."""
    if form == "released":
        plain = name.partition("/")[0]
        return _RELEASED[plain](level, side), plain in operations.MOVED
    values, signed = _space(side)[name]
    if len(values) == 1:
        return float(values[0]), signed
    place = level * (_BINS - 1)
    return float(values[round(place)] if name == "Posterize" else np.interp(place, np.arange(_BINS), values)), signed


def operated(images: Tensor, decided: Chosen) -> Tensor:
    """The images, uint8 (N, 3, S, S), after their operations."""
    kernels = operations.RANDAUGMENT[decided.form]
    images, side, known = images.clone(), int(images.shape[-1]), names(decided.form)
    for stage in range(STAGES):
        groups: dict[tuple[str, float], list[int]] = {}
        for image in np.flatnonzero(decided.applied[:, stage]).tolist():
            name = known[decided.operation[image, stage]]
            magnitude, signed = strength(decided.form, name, float(decided.level[image, stage]), side)
            if signed and not decided.positive[image, stage]:
                magnitude = -magnitude
            groups.setdefault((name, magnitude), []).append(image)
        for (name, magnitude), members in groups.items():
            where = torch.tensor(members, device=images.device)
            images[where] = kernels[name](images[where], magnitude)
    return images
