"""Does a map show what the network uses? Its most important pixels are erased first, and the answer's probability is followed.

Erasing pixels in the order of a map: Samek et al. 2017, *Evaluating the visualization of what a deep neural network has
learned*. The area under the curve as a number: Petsiuk et al. 2018, *RISE*, "deletion". A pixel is erased by the data set's
mean colour, which is 0 in a normalised image. A fall no faster than that of a random order says that the map does not show what
is used.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from kdnb.images.counter import Stream
from kdnb.training.models import Network

STEPS = 16
"""erased so many parts of an image, one after the other"""

PATCH = 4
"""side of the square that occlusion covers, in pixels of 32: as wide as one place of a map of 8 × 8"""


def falling(heats: Tensor) -> Tensor:
    """The pixels of heats (N, S, S), the hottest first: (N, S·S). Of equal ones the first in the image comes first.

    >>> falling(torch.tensor([[[0.1, 0.9], [0.5, 0.9]]]))
    tensor([[1, 3, 2, 0]])
    """
    return heats.flatten(1).argsort(dim=1, descending=True, stable=True)


def at_random(images: int, side: int, seed: int) -> Tensor:
    """A random order of the pixels of each image, (N, S·S), by the seed's stream."""
    return torch.from_numpy(np.stack([Stream(seed).permutation(side * side, image) for image in range(images)]))


def curve(network: Network, images: Tensor, order: Tensor, steps: int = STEPS) -> Tensor:
    """The probability of the class that a network predicts for the whole image, as its pixels are erased.

    Args:
        images: normalised, (N, 3, S, S).
        order: which pixels go first, (N, S·S).
        steps: how many equal parts the pixels are erased in.

    Returns:
        (N, steps + 1), from 0 to 1: nothing erased first, everything last.
    """
    network.eval()
    flat, places = images.flatten(2), order.shape[1]
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(places).expand_as(order).contiguous())
    found = []
    with torch.no_grad():
        predicted = network(images).argmax(dim=1, keepdim=True)
        for step in range(steps + 1):
            left = flat * (rank >= round(places * step / steps)).unsqueeze(1)
            found.append(network(left.view_as(images)).softmax(dim=1).gather(1, predicted))
    return torch.cat(found, dim=1)


def deletion(curves: Tensor) -> Tensor:
    """The area under each curve (N, steps + 1) by trapezoids, over the share that is erased: (N,), from 0 to 1. The lower, the
    sooner the answer is lost.

    >>> deletion(torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.0, 0.0]]))
    tensor([0.5000, 0.2500])
    """
    return torch.trapezoid(curves, dim=1) / (curves.shape[1] - 1)


def occlusion(network: Network, images: Tensor, patch: int = PATCH) -> Tensor:
    """How much the predicted class's logit falls when a square is covered, for squares side by side, by captum: a map that asks
    the network, where an activation map reads it (Zeiler & Fergus 2014).

    Args:
        images: normalised, (N, 3, S, S); a square is covered by 0.
        patch: side of a square, in pixels; it divides S.

    Returns:
        (N, S/patch, S/patch), in logits.
    """
    from captum.attr import Occlusion

    network.eval()
    with torch.no_grad():
        predicted = network(images).argmax(dim=1)
        square = (3, patch, patch)
        fall: Tensor = Occlusion(network).attribute(images, square, strides=square, target=predicted, baselines=0)
    return fall[:, 0, ::patch, ::patch]


def orders(heats: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The orders to compare, (N, S·S) each: every map's own, that of the first in reverse, and a random one."""
    own = {name: falling(heat) for name, heat in heats.items()}
    first = next(iter(own.values()))
    side = round(first.shape[1] ** 0.5)
    return own | {"reverse": first.flip(1), "random": at_random(len(first), side, seed)}
