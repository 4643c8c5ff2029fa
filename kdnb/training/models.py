"""A name becomes a network in two parts: `features`, whose output is a spatial map, and a head that pools and classifies.

==========================  ==========================================================================================
name                        network
==========================  ==========================================================================================
``resnet8-w<W>``            for CPUs: stem with stride 2, three stages of one basic block with W, 2W and 4W channels,
                            last map 8×8 on a 32×32 input. W = 16: 12 MFLOP forward; W = 32: 47 MFLOP
``resnet20``, ``resnet56``  the CIFAR ResNets of He et al. 2016, section 4.2 (projection shortcuts)
``resnet18``, ``resnet50``  torchvision's, ImageNet stem (stride 4 before the first stage)
``resnet18-cifar``          ResNet-18 with a 3×3 stem of stride 1 and no pooling, for 32×32 images
``resnet50-cifar``          ResNet-50, likewise
``vit-tiny``                a small vision transformer on patches of an eighth of the side, mean-pooled (no class token)
``cct-2-3x2``               a compact convolutional transformer of 2 blocks (Hassani et al. 2021): two convolutions make
                            tokens, one for 4×4 pixels, pooled by learned weights. 71 MFLOP on a 32×32 input
``cct-4-3x2``               the same with 4 blocks: 100 MFLOP
``torchvision:<NAME>``      any classifier of torchvision.models, random weights, without dropout and stochastic depth
``timm:<NAME>``             any of timm's, likewise, where timm is installed
==========================  ==========================================================================================

The map of a library's network is the last before its head, or the output of its layer `map_layer` (`kdnb.zoo.backbones`).

With global average pooling and one linear layer, the class activation map needs no hook: it is the classifier applied
at each place of the map (`kdnb.training.maps`).
"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdnb.errors import DataError
from kdnb.training.spec import ModelSpec


class Network(nn.Module):
    """`features` to a map of shape (N, D, h, w), its mean over places, one linear `classifier`."""

    features: nn.Module
    classifier: nn.Module
    any_width = True
    """whether it takes images that are not square, such as half of one"""
    recordable = True
    """whether its steps may be recorded as a CUDA graph: in a library's network Python may wait for what the device computes"""

    @property
    def map_methods(self) -> tuple[str, ...]:
        """The attention maps that it gives, by the names that `kdnb.training.maps.attention_maps` has them under."""
        return ("cam-sum", "cam-predicted", "cam-true", "grad-cam")

    def own_maps(self, images: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """The maps that networks of its kind alone give, by method, (N, h, w) each, of images (N, 3, S, S) and their predicted
        classes (N,)."""
        return {}

    def head(self, maps: Tensor) -> Tensor:
        """Logits (N, K) of feature maps (N, D, h, w)."""
        return self.classifier(maps.mean(dim=(2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of normalised images (N, 3, S, S)."""
        return self.head(self.features(images))


def build(spec: ModelSpec, classes: int, side: int, seed: int) -> Network:
    """The network, its weights drawn by `seed` without touching the global random state.

    Raises:
        ProfileError: it takes no images of that side, or, of a library's network, it is not there or its map is not found.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every accelerator too
        if ":" in spec.name:
            from kdnb.zoo import backbones

            return backbones.Backbone(backbones.take(spec.name, spec.map_layer, classes, side))
        if match := re.fullmatch(r"resnet8-w([1-9]\d*)", spec.name):
            network: Network = _resnet8(int(match[1]), classes)
        elif spec.name in ("resnet20", "resnet56"):
            network = _cifar_resnet((int(spec.name.removeprefix("resnet")) - 2) // 6, classes)
        elif spec.name in ("resnet18", "resnet50", "resnet18-cifar", "resnet50-cifar"):
            return _torchvision_resnet(spec, classes)
        else:
            from kdnb.zoo import transformers

            return transformers.build(spec.name, side, classes)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def flops(network: Network, side: int) -> int:
    """Floating-point operations of one forward pass of one image (a multiplication and an addition count as two)."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    device = next(network.parameters()).device
    training = network.training
    network.eval()
    # Of the kernels for attention on a CPU, the plain one alone is counted.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, 3, side, side, device=device))
    network.train(training)
    return int(counter.get_total_flops())


# -- residual networks -----------------------------------------------------------------------------------------------


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class Projection(nn.Module):
    """A strided 1×1 convolution, as every stride-th place and then a convolution of stride 1.

    The same function, but it keeps clear of a kernel of oneDNN that writes out of bounds for strided 1×1 convolutions
    of fewer than 16 channels in the channels-last layout (oneDNN issue 6035, seen as heap corruption in training).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.project = _convolution(inputs, outputs, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x[:, :, :: self.stride, :: self.stride])


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, projected where the shape changes.

    What a batch-norm layer returns is changed in place, which its backward pass allows: on a processor a step of a ResNet-8
    takes a twelfth less time, and its results are the same to the last bit.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = nn.Identity() if same else Projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        summed = self.second(F.relu(self.first(x), inplace=True))
        summed += self.shortcut(x)
        return F.relu(summed, inplace=True)


class ResNet(Network):
    """A 3×3 stem and stages of basic blocks, each stage given as (channels, blocks, stride)."""

    def __init__(self, stem: int, stem_stride: int, stages: list[tuple[int, int, int]], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, stem, 3, stem_stride), nn.ReLU(inplace=True)]
        inputs = stem
        for channels, blocks, stride in stages:
            for block in range(blocks):
                layers.append(BasicBlock(inputs, channels, stride if block == 0 else 1))
                inputs = channels
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)


def _resnet8(width: int, classes: int) -> ResNet:
    # Work is cheap where maps are small: half of the operations are in the last stage, and most of the weights.
    return ResNet(width, 2, [(width, 1, 1), (2 * width, 1, 2), (4 * width, 1, 1)], classes)


def _cifar_resnet(blocks: int, classes: int) -> ResNet:
    return ResNet(16, 1, [(16, blocks, 1), (32, blocks, 2), (64, blocks, 2)], classes)


class TorchvisionResNet(Network):
    """torchvision's network, taken apart before its pooling; state keys are `features.*` and `classifier.*`."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        children = dict(network.named_children())
        head = children.pop("fc")
        assert isinstance(head, nn.Linear)
        children.pop("avgpool")
        self.features = nn.Sequential()
        for name, child in children.items():
            self.features.add_module(name, child)
        self.classifier = nn.Linear(head.in_features, classes)


def _torchvision_resnet(spec: ModelSpec, classes: int) -> TorchvisionResNet:
    import torchvision

    name, _, stem = spec.name.partition("-")
    network = getattr(torchvision.models, name)(weights=None)
    if stem == "cifar":
        network.conv1 = nn.Conv2d(3, network.conv1.out_channels, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    return TorchvisionResNet(network, classes)


# -- what a network starts from --------------------------------------------------------------------------------------


CIFAR_STEM = frozenset({"features.conv1.weight"})
"""what a network with a stem for 32×32 images cannot take over from one with ImageNet's"""


def start_from(
    network: Network,
    weights: Mapping[str, Tensor],
    source: str,
    *,
    whole: bool = False,
    without: frozenset[str] = frozenset(),
) -> None:
    """Loads the features of `weights` into the network; its head stays as it is.

    Args:
        weights: a network's state, keys ``features.*``; a head among them is ignored.
        source: what the weights are called in an error.
        whole: load the head too, ``classifier.*``, which must be of as many classes.
        without: names that stay as they are, whatever `weights` has.

    Raises:
        DataError: they are another architecture's, or not finite.
    """
    parts = ("features.", "classifier.") if whole else ("features.",)
    own, given = (
        {name: tensor for name, tensor in state.items() if name.startswith(parts) and name not in without}
        for state in (network.state_dict(), weights)
    )
    for name in sorted({*own, *given}):
        if name not in given or name not in own:
            raise DataError(
                f"{source} is of another architecture: {name} is {'missing' if name in own else 'too much'}"
            )
        if given[name].shape != own[name].shape:
            raise DataError(
                f"{source} is of another architecture: {name} is {tuple(given[name].shape)}, not {tuple(own[name].shape)}"
            )
        if not torch.isfinite(given[name].float()).all():
            raise DataError(f"{source} holds a weight that is not finite, in {name}; it is of a network that diverged")
    network.load_state_dict(given, strict=False)
