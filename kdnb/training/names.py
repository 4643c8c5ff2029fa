"""What a network may be called; `kdnb.training.models` builds it."""

import re

from kdnb.errors import ProfileError

NAMES = (
    "resnet8-w8", "resnet8-w16", "resnet8-w32", "resnet8-w64", "resnet20", "resnet56",
    "resnet18", "resnet50", "resnet18-cifar", "resnet50-cifar", "vit-tiny", "cct-2-3x2", "cct-4-3x2",
)  # fmt: skip
"""The package's own; ``resnet8-w<W>`` takes any width."""

LIBRARIES = ("torchvision", "timm")
"""whose classifiers are called ``torchvision:NAME`` and ``timm:NAME``"""


def check(name: str) -> None:
    """Whether a network is called that.

    Raises:
        ProfileError: none is; it lists those there are. timm's are looked up when the network is built.
    """
    library, _, own = name.partition(":")
    if library == "torchvision" and own:
        import torchvision

        known = torchvision.models.list_models(module=torchvision.models)
        if own not in known:
            raise ProfileError(f"torchvision has no classifier {own!r}; choose from {', '.join(known)}")
    elif library == "timm" and own:
        return  # which there are, timm alone knows, and a spec can be read without it
    elif name not in NAMES and not re.fullmatch(r"resnet8-w[1-9]\d*", name):
        others = " or ".join(f"{each}:NAME" for each in LIBRARIES)
        raise ProfileError(f"no model {name!r}; choose from {', '.join(NAMES)}, or a library's by {others}")
