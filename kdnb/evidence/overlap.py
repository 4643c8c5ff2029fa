"""How much the attention of several networks overlaps: masks made of their maps, and the masks' intersection over union.

Maps are small, (N, h, w), in any unit; `heatmaps` brings them to the input's size and to [0, 1]; `masks` thresholds
them; `iou` compares. All are pure functions.

The released code's masks are 224 pixels wide, as its inputs are; the table's are 32 (`kdnb.evidence.table.SIDE` says what that
moves).
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

THRESHOLD = 0.4
"""A place is attended to where its heat exceeds this: the released code's since 3 May 2024. The paper's text names none."""

THRESHOLD_UNTIL_MAY_2024 = 0.5
"""The released code's before 3 May 2024."""

EPSILON = 1e-8
"""Keeps the scaling of a constant map finite, as released."""


def coarser(maps: Tensor, places: int) -> Tensor:
    """Maps (N, h, w) averaged to (N, places, places).

    Class activation maps are linear in the feature map, so these are what the same network would show if its last feature
    map had so many places.
    """
    return F.adaptive_avg_pool2d(maps.float().unsqueeze(1), places).squeeze(1)


def heatmaps(maps: Tensor, side: int) -> Tensor:
    """Maps (N, h, w) resized to (N, side, side), bilinear without aligned corners, each scaled to [0, 1];
    a constant map to 0."""
    maps = maps.float()
    maps = maps - maps.amin(
        dim=(1, 2), keepdim=True
    )  # resizing a constant other than 0 leaves rounding errors to scale
    large = F.interpolate(maps.unsqueeze(1), size=(side, side), mode="bilinear", align_corners=False).squeeze(1)
    low, high = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
    return (large - low) / (high - low + EPSILON)


def masks(maps: Tensor, side: int, threshold: float = THRESHOLD) -> Tensor:
    """Boolean (N, side, side): where the heat exceeds the threshold.

    Args:
        side: 32 in the table, 224 in the released code.

    Raises:
        ValueError: the threshold is not in [0, 1).
    """
    if not 0.0 <= threshold < 1.0:
        raise ValueError(f"a mask's threshold lies in [0, 1), not at {threshold}")
    return heatmaps(maps, side) > threshold


def area(mask: Tensor) -> Tensor:
    """Share of the image that each mask (N, H, W) covers, (N,), from 0 to 1."""
    return mask.float().mean(dim=(1, 2))


def iou(
    several: Sequence[Tensor], form: Literal["per-image", "as-released"] = "per-image", batch_size: int = 128
) -> float:
    """Intersection over union of the masks of two or more networks on the same images.

    Args:
        several: one boolean (N, H, W) for each network; the intersection of all over the union of all.
        form: ``per-image`` is the mean over images of each image's IoU; ``as-released`` pools intersection and union
            over batches and averages the batches' IoUs, weighted with their sizes.
        batch_size: of the pooled form.

    Returns:
        From 0 (disjoint) to 1 (equal). An image or batch in which nobody attends anywhere counts as 1: the masks agree.

    Raises:
        ValueError: fewer than two networks, or masks of different shapes.
    """
    if form == "per-image":
        return float(iou_per_image(several).mean())
    both, either = _overlap(several)
    if form == "as-released":
        both, either = (torch.stack([part.sum() for part in pixels.split(batch_size)]) for pixels in (both, either))
        sizes = torch.tensor([len(part) for part in several[0].split(batch_size)], dtype=torch.float64)
    else:
        raise ValueError(f"no form {form!r}; choose per-image or as-released")
    ratio = torch.where(either > 0, both / either.clamp(min=1), 1.0).cpu().double()
    return float((ratio * sizes).sum() / sizes.sum())


def iou_per_image(several: Sequence[Tensor]) -> Tensor:
    """Of each image, the intersection of all masks over their union; float64 (N,), 0 to 1. See `iou`.

    >>> first = torch.tensor([[[True, True], [False, False]]])
    >>> second = torch.tensor([[[True, False], [True, False]]])
    >>> iou_per_image([first, second])  # one pixel of three
    tensor([0.3333], dtype=torch.float64)
    """
    both, either = _overlap(several)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).cpu().double()


def chance_iou(several: Sequence[Tensor]) -> float:
    """The IoU that masks of these areas would have if each lay independently of the others: area-matched chance.

    For each image, the product of the areas over 1 − the product of what they leave free; the mean over images. For
    masks thrown down pixel by pixel this is the IoU's expectation but for a term that vanishes with their size.

    >>> half = torch.tensor([[[True, True], [False, False]]])
    >>> round(chance_iou([half, half]), 4)  # 1/4 over 3/4
    0.3333

    Raises:
        ValueError: as `iou`.
    """
    _overlap(several)
    areas = torch.stack([area(mask) for mask in several]).double()
    both, either = areas.prod(dim=0), 1.0 - (1.0 - areas).prod(dim=0)
    return float(torch.where(either > 0, both / either.clamp(min=1e-12), 1.0).mean())


def excess_iou(several: Sequence[Tensor]) -> float:
    """IoU beyond area-matched chance, (IoU − chance) / (1 − chance): 0 for independent masks, 1 for equal ones.

    Where chance is 1 (all masks cover everything) there is nothing to exceed, and the value is 0.
    """
    chance = chance_iou(several)
    return (iou(several) - chance) / (1.0 - chance) if chance < 1.0 else 0.0


def _overlap(several: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Pixels in which all, and in which any, attend: two counts (N,)."""
    if len(several) < 2 or len(several[0]) == 0:
        raise ValueError(
            f"an overlap is of two or more networks' masks of some images, not of {len(several)} networks'"
        )
    if len({mask.shape for mask in several}) != 1 or any(mask.dtype != torch.bool for mask in several):
        shapes = ", ".join(f"{mask.dtype} {tuple(mask.shape)}" for mask in several)
        raise ValueError(f"expected boolean masks of one shape, got {shapes}")
    stacked = torch.stack(tuple(several))
    return stacked.all(dim=0).sum(dim=(1, 2)), stacked.any(dim=0).sum(dim=(1, 2))
