"""What is done to the pixels of a batch, once it is decided what: crops, turns, AutoAugment's and RandAugment's operations.

Each is held against Pillow or torchvision, pixel by pixel. torchvision brings torch's compiler with it, and the two would take
half of the time in which a page or a command starts: its kernels are imported when the first of them is called.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnb.images import warp

Interpolation = Literal["bilinear", "bicubic"]

FILL = 128
"""the grey that AutoAugment fills with what an operation uncovers"""

PIXELS = 2**19
"""Of the images that a processor works on at a time: 512 of CIFAR's size, 10 of ImageNet's."""


def blocks(images: Tensor, side: int | None = None) -> Iterator[slice]:
    """Slices that cover the images, (N, 3, S, S), in order, so that what lies between the steps on their pixels stays in a
    processor's caches; one for all on a device where a call costs more than its pixels.

    Args:
        side: of the images that are made of them, where it is larger.
    """
    many = len(images)
    if images.device.type == "cpu":
        many = max(1, PIXELS // max(images.shape[-1], side or 0) ** 2)
    for start in range(0, len(images), many or 1):
        yield slice(start, start + many)


def kernel(name: str) -> Callable[..., Tensor]:
    """torchvision's operation of that name, on batches."""
    from torchvision.transforms.v2 import functional

    found: Callable[..., Tensor] = getattr(functional, name)
    return found


def on_device(array: NDArray[Any], like: Tensor) -> Tensor:
    """An array of numbers on the device of a tensor."""
    return torch.from_numpy(array).to(like.device)


# -- crops and turns -------------------------------------------------------------------------------------------------


def resized_boxes(
    images: Tensor,
    top: NDArray[np.int64],
    left: NDArray[np.int64],
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    size: int,
    interpolation: Interpolation = "bicubic",
) -> Tensor:
    """Resampling is separable: one matrix of weights a row and one a column of each image, rounded between, as in the uint8
    kernels of Pillow and torch."""
    side = images.shape[-1]
    views = torch.empty((*images.shape[:2], size, size), dtype=torch.uint8, device=images.device)
    for part in blocks(images, size):
        across = _weights(on_device(left[part], images), on_device(width[part], images), side, size, interpolation)
        down = _weights(on_device(top[part], images), on_device(height[part], images), side, size, interpolation)
        rows = torch.matmul(images[part].float(), across.transpose(1, 2).unsqueeze(1)).add_(0.5).floor_().clamp_(0, 255)
        views[part] = torch.matmul(down.unsqueeze(1), rows).add_(0.5).floor_().clamp_(0, 255)
    return views


def _weights(start: Tensor, length: Tensor, side: int, size: int, interpolation: Interpolation) -> Tensor:
    """(N, size, side): how much each pixel of a row adds to each pixel of the crop ``start : start + length``.

    The antialiased filters, bicubic with a = −0.5, edges renormalised, as Pillow has them.
    """
    scale = length.float() / size
    stretch = scale.clamp(min=1.0).view(-1, 1, 1)
    centre = (torch.arange(size, device=start.device) + 0.5) * scale[:, None]
    pixel = (torch.arange(side, device=start.device) - start[:, None]).unsqueeze(1)
    distance = ((pixel + 0.5 - centre.unsqueeze(2)) / stretch).abs()
    if interpolation == "bilinear":
        weights = (1.0 - distance).clamp(min=0.0)
    else:
        near = (1.5 * distance - 2.5) * distance * distance + 1.0
        far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
        weights = torch.where(distance < 1.0, near, torch.where(distance < 2.0, far, 0.0))
    weights = weights * ((pixel >= 0) & (pixel < length.view(-1, 1, 1)))
    return weights / weights.sum(dim=2, keepdim=True)


def rotated(images: Tensor, angle: NDArray[np.float64]) -> Tensor:
    """torchvision's rotation about the centre, nearest pixel, black outside; an angle for each image."""
    side = images.shape[-1]
    radians = np.deg2rad(angle)
    cos, sin = (on_device(f(radians).astype(np.float32), images) for f in (np.cos, np.sin))
    axis = torch.arange(side, device=images.device) + (0.5 - 0.5 * side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    at_x = cos.view(-1, 1, 1) * x - sin.view(-1, 1, 1) * y
    at_y = sin.view(-1, 1, 1) * x + cos.view(-1, 1, 1) * y
    column, row = (at_x + (0.5 * side - 0.5)).round_().long(), (at_y + (0.5 * side - 0.5)).round_().long()
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    source = (row.clamp_(0, side - 1) * side + column.clamp_(0, side - 1)).flatten(1)
    turned = images.flatten(2).gather(2, source.unsqueeze(1).expand(-1, images.shape[1], -1))
    return turned.view_as(images) * inside.unsqueeze(1)


# -- AutoAugment's and RandAugment's ---------------------------------------------------------------------------------

Kernel = Callable[[Tensor, float], Tensor]
"""(uint8 images, magnitude) → uint8 images"""


def _affine(
    images: Tensor, *, shift: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0), fill: int = FILL
) -> Tensor:
    """Shears hold the corner (0, 0) fixed, as in the policy's original code; for a translation the centre is idle. Pixels
    are those of the nearest neighbour, which is torchvision's default, for rotations too."""
    return kernel("affine")(
        images,
        angle=0.0,
        translate=list(shift),
        scale=1.0,
        shear=[math.degrees(math.atan(s)) for s in shear],
        fill=fill,
        center=[0, 0] if any(shear) else None,
    )


AUTOAUGMENT: dict[str, Kernel] = {
    "ShearX": lambda images, m: _affine(images, shear=(m, 0.0)),
    "ShearY": lambda images, m: _affine(images, shear=(0.0, m)),
    "TranslateX": lambda images, m: _affine(images, shift=(int(m), 0)),
    "TranslateY": lambda images, m: _affine(images, shift=(0, int(m))),
    "Rotate": lambda images, m: kernel("rotate")(images, m, fill=FILL),
    "Brightness": lambda images, m: kernel("adjust_brightness")(images, 1.0 + m),
    "Color": lambda images, m: kernel("adjust_saturation")(images, 1.0 + m),
    "Contrast": lambda images, m: kernel("adjust_contrast")(images, 1.0 + m),
    "Sharpness": lambda images, m: kernel("adjust_sharpness")(images, 1.0 + m),
    "Posterize": lambda images, m: kernel("posterize")(images, int(m)),
    "Solarize": lambda images, m: kernel("solarize")(images, m),
    "AutoContrast": lambda images, m: kernel("autocontrast")(images),
    "Equalize": lambda images, m: kernel("equalize")(images),
    "Invert": lambda images, m: kernel("invert")(images),
}


RELEASED: dict[str, Kernel] = {
    "ShearX": lambda images, m: warp.warped(images, warp.shear_x(m), "bicubic", (FILL,) * 3),
    "ShearY": lambda images, m: warp.warped(images, warp.shear_y(m), "bicubic", (FILL,) * 3),
    "TranslateX": lambda images, m: _affine(images, shift=(round(m), 0)),
    "TranslateY": lambda images, m: _affine(images, shift=(0, round(m))),
    "Solarize": lambda images, m: images if m > 255.0 else kernel("solarize")(images, m),
}


_BLACK: dict[str, Kernel] = {
    "Identity": lambda images, m: images,
    "ShearX": lambda images, m: _affine(images, shear=(m, 0.0), fill=0),
    "ShearY": lambda images, m: _affine(images, shear=(0.0, m), fill=0),
    "TranslateX": lambda images, m: _affine(images, shift=(int(m), 0), fill=0),
    "TranslateY": lambda images, m: _affine(images, shift=(0, int(m)), fill=0),
    "Rotate": lambda images, m: kernel("rotate")(images, m, fill=0),
}
"""torchvision's RandAugment: black where the policy has grey"""

_MEAN = (124, 116, 104)
"""ImageNet's mean colour, which the released RandAugment fills with what an operation uncovers"""

MOVED: dict[str, Callable[[float, int], warp.Matrix]] = {
    "Rotate": warp.turn,
    "ShearX": lambda slope, side: warp.shear_x(slope),
    "ShearY": lambda slope, side: warp.shear_y(slope),
    "TranslateX": lambda pixels, side: warp.shift(pixels, 0.0),
    "TranslateY": lambda pixels, side: warp.shift(0.0, pixels),
}
"""its operations that move pixels, as (magnitude, side) → matrix"""


def _moved(name: str, way: Any) -> Kernel:
    return lambda images, m: warp.warped(images, MOVED[name](m, int(images.shape[-1])), way, _MEAN)


def _added(images: Tensor, more: float) -> Tensor:
    """Levels below 128 raised by so many, to 255 at most."""
    return torch.where(images < 128, (images.int() + int(more)).clamp(max=255).to(torch.uint8), images)


RANDAUGMENT: Mapping[Literal["published", "released"], Mapping[str, Kernel]] = {
    "published": AUTOAUGMENT | _BLACK,
    "released": AUTOAUGMENT
    | {"Solarize": RELEASED["Solarize"], "SolarizeAdd": _added}
    | {f"{name}/{way}": _moved(name, way) for name in MOVED for way in ("bilinear", "bicubic")},
}
