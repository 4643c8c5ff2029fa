"""torchvision's operations on batches of images, imported when the first of them is called.

torchvision brings torch's compiler with it, and the two would take half of the time in which a page or a command starts. What
only reads results needs neither.
"""

from collections.abc import Callable

from torch import Tensor


def __getattr__(name: str) -> Callable[..., Tensor]:
    if name.startswith("__"):  # what tools ask of any module is no operation
        raise AttributeError(name)
    from torchvision.transforms.v2 import functional

    kernel: Callable[..., Tensor] = getattr(functional, name)
    return kernel
