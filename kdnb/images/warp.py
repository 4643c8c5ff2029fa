"""What Pillow's affine transforms do to a picture, for a batch at once: the released code's operations move pixels by them.

A pixel of the view lies where the matrix takes its centre to in the picture. Its value is a blend of the four pixels around
(bilinear) or of sixteen (bicubic, a = −1), edge pixels repeated, cut off to a whole level; what comes from outside is filled.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from kdnb.devices import finest

Matrix = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): the view's (x, y) is the picture's (a·x + b·y + c, d·x + e·y + f), in pixels"""


def warped(
    images: Tensor, matrix: Matrix, interpolation: Literal["bilinear", "bicubic"], fill: tuple[int, int, int]
) -> Tensor:
    """uint8 (N, 3, S, S) to views of the same shape, bit for bit those of ``PIL.Image.Image.transform``."""
    if finest(images.device) != torch.float64:
        return warped(images.cpu(), matrix, interpolation, fill).to(images.device)
    side = images.shape[-1]
    centre = torch.arange(side, device=images.device, dtype=torch.float64) + 0.5
    a, b, c, d, e, f = matrix
    at_x, at_y = (
        each + g for each, g in ((a * centre + b * centre[:, None], c), (d * centre + e * centre[:, None], f))
    )
    inside = (at_x >= 0) & (at_x < side) & (at_y >= 0) & (at_y < side)
    first_x, first_y = (at_x - 0.5).floor(), (at_y - 0.5).floor()
    part_x, part_y = at_x - 0.5 - first_x, at_y - 0.5 - first_y
    taps = (0, 1) if interpolation == "bilinear" else (-1, 0, 1, 2)
    rows = []
    for down in taps:
        row = (first_y + down).clamp(0, side - 1).long()
        columns = [(first_x + right).clamp(0, side - 1).long() for right in taps]
        rows.append(_between([images[..., row, column].double() for column in columns], part_x))
    value = _between(rows, part_y).clamp(0, 255).to(torch.uint8)
    return torch.where(inside, value, torch.tensor(fill, dtype=torch.uint8, device=images.device).view(3, 1, 1))


def _between(taps: list[Tensor], part: Tensor) -> Tensor:
    """The value at a part of the way between the two in the middle."""
    if len(taps) == 2:
        left, right = taps
        return left + (right - left) * part
    before, left, right, after = taps
    return left + part * (
        right - before + part * (2 * (before - left) + right - after + part * (left - before + after - right))
    )


def shear_x(slope: float) -> Matrix:
    """Each row from where `slope` times its height says."""
    return (1.0, slope, 0.0, 0.0, 1.0, 0.0)


def shear_y(slope: float) -> Matrix:
    """Each column from where `slope` times its place says."""
    return (1.0, 0.0, 0.0, slope, 1.0, 0.0)


def shift(x: float, y: float) -> Matrix:
    """From so many pixels further right and down."""
    return (1.0, 0.0, x, 0.0, 1.0, y)


def turn(degrees: float, side: int) -> Matrix:
    """Counter-clockwise about the centre of a square, as ``PIL.Image.Image.rotate``."""
    angle, half = -math.radians(degrees), side / 2
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    return (cos, sin, half - cos * half - sin * half, -sin, cos, half + sin * half - cos * half)
