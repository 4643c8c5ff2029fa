"""What a network may be called; `kdnb.training.models` builds it."""

import re

from kdnb.errors import ProfileError

NAMES = (
    "resnet8-w8", "resnet8-w16", "resnet8-w32", "resnet8-w64", "resnet20", "resnet56",
    "resnet18", "resnet50", "resnet18-cifar", "resnet50-cifar", "vit-tiny",
)  # fmt: skip
"""The package's own; ``resnet8-w<W>`` takes any width."""


def check(name: str) -> None:
    """Whether a network is called that.

    Raises:
        ProfileError: none is; it lists those there are.
    """
    if name not in NAMES and not re.fullmatch(r"resnet8-w[1-9]\d*", name):
        raise ProfileError(f"no model {name!r}; choose from {', '.join(NAMES)}")
