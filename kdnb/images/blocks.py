"""A few images at a time, so that what lies between the steps on their pixels stays in a processor's caches."""

from collections.abc import Iterator

from torch import Tensor

PIXELS = 2**19
"""Of the images that a processor works on at a time: 512 of CIFAR's size, 10 of ImageNet's."""


def blocks(images: Tensor, side: int | None = None) -> Iterator[slice]:
    """Slices that cover the images, (N, 3, S, S), in order; one for all on a device where a call costs more than its pixels.

    Args:
        side: of the images that are made of them, where it is larger.
    """
    many = len(images)
    if images.device.type == "cpu":
        many = max(1, PIXELS // max(images.shape[-1], side or 0) ** 2)
    for start in range(0, len(images), many or 1):
        yield slice(start, start + many)
