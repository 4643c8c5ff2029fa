"""Where a network looks: maps (N, h, w) of the places of its last feature map, in any unit.

===================================  ================================================================================
cam-sum, cam-predicted, cam-true     the evidence for all classes, the predicted or the true one; of every network
grad-cam                             the same by its gradient, where it is positive; of every network
===================================  ================================================================================

Some kinds of network give others besides (`Network.own_maps`; those of transformers are in `kdnb.zoo.attention`). Which a
network gives is its `map_methods`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from kdnb.training.models import Network

CamClass = Literal["sum", "predicted", "true"]


def cam(network: Network, maps: Tensor, of: CamClass, labels: Tensor | None = None) -> Tensor:
    """Class activation maps: the classifier applied at each place of the feature map, bias included.

    Where the head is more than a linear layer on the mean, HiResCAM (Draelos & Carin 2020) takes their place: the logit's
    gradient at each place, times the map, summed over channels, times h·w. With such a layer it is the same but for the bias.

    Args:
        network: its `classifier` has weights (K, D), or is a whole head.
        maps: feature maps (N, D, h, w), what ``network.features`` gives.
        of: ``predicted`` and ``true`` take one class's map (Zhou et al. 2016, eq. 2); ``sum`` adds up those of all
            classes, as the paper's released code does.
        labels: true classes (N,), for ``true``.

    Returns:
        (N, h, w). A constant such as the bias does not survive the scaling of `heatmaps`.
    """
    if of == "sum":
        chosen = None
    elif of == "predicted":
        chosen = network.head(maps).argmax(dim=1)
    elif of == "true":
        if labels is None:
            raise ValueError("the map of the true class needs the labels")
        chosen = labels
    else:
        raise ValueError(f"no class activation map of {of!r}; there are sum, predicted and true")
    if not isinstance(network.classifier, nn.Linear):
        return _hires_cam(network, maps, chosen)
    weight, bias = network.classifier.weight, network.classifier.bias
    if chosen is None:
        return torch.einsum("ndhw,d->nhw", maps, weight.sum(dim=0)) + bias.sum()
    return torch.einsum("ndhw,nd->nhw", maps, weight[chosen]) + bias[chosen].view(-1, 1, 1)


def _hires_cam(network: Network, maps: Tensor, chosen: Tensor | None) -> Tensor:
    with torch.enable_grad():
        maps = maps.detach().requires_grad_()
        logits = network.head(maps)
        of = logits if chosen is None else logits.gather(1, chosen.view(-1, 1))
        (slope,) = torch.autograd.grad(of.sum(), maps)
    return (slope * maps).sum(dim=1).detach() * maps[0, 0].numel()


def grad_cam(network: Network, images: Tensor, target: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, eqs 1 and 2) at the last feature map, by captum; (N, h, w), not negative.

    For a network with global average pooling and one linear layer it is the positive part of the class activation map
    without its bias, divided by h·w (ibid., section 3.1): the comparison is a test of both.

    Args:
        images: normalised, (N, 3, S, S).
        target: the class to explain for each image, (N,).
    """
    from captum.attr import LayerGradCam

    with _frozen(network), torch.enable_grad():
        maps: Tensor = LayerGradCam(network, network.features).attribute(images, target, relu_attributions=True)
    return maps.detach().squeeze(1)


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """No gradient of a weight is wanted, so nothing that comes before the feature map is kept for one."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def attention_maps(network: Network, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """All maps of normalised images by method, (N, h, w) each: those of the network's `map_methods`."""
    network.eval()
    with torch.no_grad():
        features = network.features(images)
        predicted = network.head(features).argmax(dim=1)
        maps = {
            "cam-sum": cam(network, features, "sum"),
            "cam-predicted": cam(network, features, "predicted"),
            "cam-true": cam(network, features, "true", labels),
            **network.own_maps(images, predicted),
        }
    maps["grad-cam"] = grad_cam(network, images, predicted)
    assert set(maps) == set(network.map_methods)
    return maps
