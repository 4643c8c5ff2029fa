"""Weak and strong augmentation, and a dial between the clean image and strong, on a whole batch of uint8 images.

The recipes are the paper's, those for CIFAR with sizes scaled with the side of the input:

weak
    RandomResizedCrop (scale 0.2 to 1, bicubic), horizontal flip, rotation by up to 15 degrees, as in the released code. (The
    text has colour jitter in the place of the rotation.)
strong
    the same crop and flip, AutoAugment's CIFAR-10 policy with grey fill 128 (Cubuk et al. 2018), Cutout of one square
    hole, 16 of 224 pixels wide (DeVries & Taylor 2017), black: the released code's stages. (The text has no Cutout.)
strong-released
    strong with the released code's own copy of AutoAugment, which is not the published policy: it rotates one way only, its
    shears are bicubic and its translations round to the nearest pixel where torchvision cuts off. Solarizing starts at 256,
    as in the code of the policy's authors; torchvision starts at 255.
weak-text, strong-text
    the stages that the paper's text (sec. 5) names: crop, flip and colour jitter; crop, flip and AutoAugment. It gives no
    sizes: crops are those above, the jitter's 0.4 is that of the released code for ImageNet.
imagenet-base
    RandomResizedCrop alone (scale 0.08 to 1, bilinear: torchvision's own), by which the released code's affinity divides.
imagenet-weak
    for ImageNet: the same crop, flip, ColorJitter by 0.4 of brightness, contrast and saturation, as in the released code.
imagenet-strong
    imagenet-weak, and then RandAugment as published: two operations, magnitude 10 of 30. The text (sec. 5) has RandAugment on
    ImageNet-LT.
imagenet-strong-released
    the same with the released code's RandAugment, on ImageNet and ImageNet-LT alike: see `kdnb.images.randaugment`.
imagenet-autoaugment
    crop, flip and AutoAugment's ImageNet policy: the text (sec. 5) has AutoAugment on ImageNet, and does not say which policy.
dial:S
    strength S from 0, the clean image, to 1, strong. With the draws held fixed, crop and shears grow and colours fade in
    continuously; a flip and AutoAugment's choices are all-or-nothing, the flip's probability grows with S.

A recipe of one's own is a function that `register` names; it can stand wherever these can.

Each image has draws of its own, keyed by (seed, member, epoch, image index): see `kdnb.images.counter`. Drawing (`draw`) and
applying (`apply`) are separate, so that a test can give the same draws to torchvision's transforms for single images.

Images that got the same operation at the same magnitude are handed to torchvision's kernel together; crops are two
matrix products a batch. The cost of a batch is therefore mostly a fixed number of kernel calls: augment a thousand
images at once rather than a hundred.
"""

import math
import re
import runpy
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdnb import registry
from kdnb.errors import ProfileError
from kdnb.images import operations, randaugment
from kdnb.images.counter import Purpose, Stream
from kdnb.images.operations import Interpolation
from kdnb.images.randaugment import Form

CROP_ATTEMPTS = 10
"""torchvision's RandomResizedCrop draws up to ten boxes and takes the first that fits."""

# Columns of the draws of one image: where each of its decisions is read from.
_CROP_SHAPES = slice(0, 2 * CROP_ATTEMPTS)
_CROP_PLACE = slice(20, 22)
_FLIP, _ANGLE, _POLICY = 22, 23, 24
_PROBABILITIES, _SIGNS, _HOLE = slice(25, 27), slice(27, 29), slice(29, 31)
_COLUMNS = 32
_JITTER, _RANDAUGMENT = slice(32, 36), slice(36, 44)
_MORE_COLUMNS = 44
"""of recipes with colour jitter or RandAugment"""


Whole = Literal["bicubic", "bilinear", "centre-crop"]
"""How whole images get to a size: resampled, or cut out of their middle."""

PolicyFor = Literal["CIFAR10", "IMAGENET"]


@dataclass(frozen=True)
class Recipe:
    """The distribution that an image's view is drawn from."""

    crop_scale: float = 1.0
    """smallest share of the area that a crop may keep"""
    crop_ratio: float = 1.0
    """largest ratio of a crop's sides; the smallest is its inverse"""
    flip: float = 0.0
    """probability of a horizontal flip"""
    rotation: float = 0.0
    """largest angle in degrees, either way"""
    policy: float = 0.0
    """strength of AutoAugment's policy: 0 none, 1 as published"""
    policy_for: PolicyFor = "CIFAR10"
    """which of the published policies"""
    hole: float = 0.0
    """side of the Cutout hole as a share of the image's side"""
    released: bool = False
    """the policy as the released code's copy has it"""
    crop_interpolation: Interpolation = "bicubic"
    """how crops get to the size"""
    jitter: float = 0.0
    """by what share brightness, contrast and saturation may change, either way"""
    randaugment: Form | None = None
    """in which form two operations of RandAugment are drawn, if they are"""

    @property
    def crops(self) -> bool:
        return self.crop_scale < 1.0


CLEAN = Recipe()
WEAK = Recipe(crop_scale=0.2, crop_ratio=4 / 3, flip=0.5, rotation=15.0)
BASE = Recipe(crop_scale=0.2, crop_ratio=4 / 3)
STRONG = Recipe(crop_scale=0.2, crop_ratio=4 / 3, flip=0.5, policy=1.0, hole=16 / 224)
STRONG_RELEASED = replace(STRONG, released=True)
WEAK_TEXT = replace(WEAK, rotation=0.0, jitter=0.4)
STRONG_TEXT = replace(STRONG, hole=0.0)
IMAGENET_BASE = Recipe(crop_scale=0.08, crop_ratio=4 / 3, crop_interpolation="bilinear")
IMAGENET_WEAK = replace(IMAGENET_BASE, flip=0.5, jitter=0.4)
IMAGENET_STRONG = replace(IMAGENET_WEAK, randaugment="published")
IMAGENET_STRONG_RELEASED = replace(IMAGENET_WEAK, randaugment="released")
IMAGENET_AUTOAUGMENT = replace(IMAGENET_BASE, flip=0.5, policy=1.0, policy_for="IMAGENET")


def dial(strength: float) -> Recipe:
    """The recipe at a strength from 0 (the clean image) to 1 (`STRONG`)."""
    if not 0.0 <= strength <= 1.0:
        raise ProfileError(f"a dial's strength lies between 0 and 1, not at {strength}")
    if strength == 1.0:
        return STRONG
    return Recipe(
        crop_scale=1.0 - strength * (1.0 - STRONG.crop_scale),
        crop_ratio=STRONG.crop_ratio**strength,
        flip=strength * STRONG.flip,
        policy=strength,
        hole=strength * STRONG.hole,
    )


_NAMED = {
    "clean": CLEAN,
    "base": BASE,
    "weak": WEAK,
    "strong": STRONG,
    "strong-released": STRONG_RELEASED,
    "weak-text": WEAK_TEXT,
    "strong-text": STRONG_TEXT,
    "imagenet-base": IMAGENET_BASE,
    "imagenet-weak": IMAGENET_WEAK,
    "imagenet-strong": IMAGENET_STRONG,
    "imagenet-strong-released": IMAGENET_STRONG_RELEASED,
    "imagenet-autoaugment": IMAGENET_AUTOAUGMENT,
}
_SYMBOLS = {"clean": "c", "weak": "w", "strong": "s"}


def recipe(name: str) -> "Recipe | OwnRecipe":
    """The recipe of that name: one of the module's description, ``clean``, ``base`` or ``dial:S``, or as `register` was given.

    Raises:
        ProfileError: no such recipe.
    """
    if name.startswith("dial:"):
        with suppress(ValueError):
            return dial(float(name.removeprefix("dial:")))
    return _recipes[name]


def symbol(name: str) -> str:
    """How the names of runs write a recipe: ``w`` for weak, ``s`` for strong, ``c`` for clean, else its name."""
    if name in _recipes.own:
        return _recipes.own[name].symbol
    return _SYMBOLS.get(name, name.replace(":", ""))


# -- a recipe of one's own -------------------------------------------------------------------------------------------

View = Callable[[Tensor, NDArray[np.float64]], Tensor]
"""(uint8 images (N, 3, S, S), uniform draws (N, n)) → uint8 images of the same shape and device"""


@dataclass(frozen=True)
class OwnRecipe:
    """A recipe that a user registered."""

    name: str
    view: View
    draws: int
    """how many uniform draws an image gets"""
    symbol: str
    """how the names of runs write it"""


_recipes = registry.Registry["Any"]("an augmentation", _NAMED, also=", and dial:S with S from 0 to 1")


def register(name: str, *, draws: int, symbol: str | None = None, version: str | None = None) -> Callable[[View], View]:
    """Registers a function as the augmentation recipe `name`, as a decorator:

    >>> @register("darker", draws=1, symbol="d")
    ... def darker(images, draws):
    ...     keep = torch.from_numpy(0.5 + 0.5 * draws[:, 0]).to(images.device, torch.float32)
    ...     return (images * keep.view(-1, 1, 1, 1)).to(torch.uint8)
    >>> recipe("darker").draws
    1

    The function is called with a batch of its own, uint8 (N, 3, S, S) at the side that the network sees, and with draws from
    [0, 1), float64 (N, `draws`), and returns uint8 views of the same shape. All chance must come from the draws and no image
    may look at another: then a view depends on seed, member, epoch and image alone. That is checked when it is first used.

    Args:
        symbol: letters or digits for the names of runs, as ``d`` in ``T1d``; the name itself if none is given.
        version: what tells this recipe from others of its name. By default it is the function's source, so that an edited
            recipe trains anew; what the function calls elsewhere is not part of it: name a version then, and raise it.

    Raises:
        ProfileError: a name or symbol of the package or of another recipe, or one that cannot stand in the names of runs; fewer
            than no draws; a function without source and version.
    """
    if name.startswith("dial"):
        raise ProfileError(f"{name!r} is an augmentation of the package; register yours by another name")
    _recipes.require_free(name)
    written = name if symbol is None else symbol
    if not re.fullmatch("[A-Za-z0-9-]+", written):
        raise ProfileError(f"the symbol {written!r} cannot stand in the names of runs; use letters and digits")
    if written in _SYMBOLS.values() or any(written == own.symbol for own in _recipes.own.values() if own.name != name):
        raise ProfileError(f"the symbol {written!r} of {name!r} belongs to another augmentation; choose another")
    if draws < 0:
        raise ProfileError(
            f"{name!r} cannot have {draws} draws an image; give the number of its uniform draws, 0 or more"
        )

    def decorate(view: View) -> View:
        identity = registry.identity(view, name, draws, version)
        _recipes.add(name, OwnRecipe(name, view, draws, written), identity)
        _checked.discard(name)
        return view

    return decorate


def registered_identity(name: str) -> str:
    """What tells a user's recipe from others of its name, part of the id of every run that is trained with it; empty for a
    recipe of the package."""
    return _recipes.identity(name)


def load_recipes(path: str | Path) -> None:
    """Runs a Python file that registers recipes.

    Raises:
        ProfileError: the file is missing, or fails.
    """
    if not Path(path).is_file():
        raise ProfileError(
            f"no file {path} that registers recipes; a profile's recipes are found from the profile's own folder"
        )
    try:
        runpy.run_path(str(path))
    except ProfileError:
        raise
    except Exception as error:
        raise ProfileError(f"{path}, which should register recipes, fails: {type(error).__name__}: {error}") from None


_checked: set[str] = set()


def _own_views(images: Tensor, own: OwnRecipe, uniforms: NDArray[np.float64]) -> Tensor:
    if own.name not in _checked:
        _check(images[:4], own, uniforms[:4])
        _checked.add(own.name)
    return own.view(images.clone(), uniforms)


def _check(images: Tensor, own: OwnRecipe, uniforms: NDArray[np.float64]) -> None:
    """Raises:
    ProfileError: the views are of another type or shape, or depend on more than the image and its draws."""
    together = own.view(images.clone(), uniforms)
    if together.dtype != torch.uint8 or together.shape != images.shape or together.device != images.device:
        raise ProfileError(
            f"the augmentation {own.name!r} made {together.dtype} {tuple(together.shape)} on {together.device} of "
            f"{images.dtype} {tuple(images.shape)} on {images.device}; it must keep all three"
        )
    for number in range(len(images)):
        alone = own.view(images[number : number + 1].clone(), uniforms[number : number + 1])
        if not torch.equal(alone, together[number : number + 1]):
            raise ProfileError(
                f"the augmentation {own.name!r} makes another view of the same image when it comes alone or again; take all "
                "chance from the draws, and let no image look at another"
            )


@dataclass(frozen=True)
class Draws:
    """What chance decided for each of N images; plain arrays of length N."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    """the crop's box, in pixels"""
    flip: NDArray[np.bool_]
    angle: NDArray[np.float64]
    """degrees, counter-clockwise"""
    policy: NDArray[np.int64]
    """which of AutoAugment's 25 sub-policies"""
    applied: NDArray[np.bool_]
    """(N, 2): whether each of its two operations is applied"""
    positive: NDArray[np.bool_]
    """(N, 2): the sign of its magnitude, where it has one"""
    hole: NDArray[np.float64]
    """(N, 2): centre of the Cutout hole, row and column, as a share of the side"""
    jitter: randaugment.Jitter | None = None
    """of recipes that have it"""
    chosen: randaugment.Chosen | None = None
    """RandAugment's operations, of recipes that have it"""


def draw(
    recipe: Recipe,
    stream: Stream,
    epoch: int,
    index: NDArray[np.int64],
    side: int,
    purpose: Purpose = Purpose.AUGMENT,
) -> Draws:
    """The draws of the images `index` in an epoch; `side` is that of the stored, square image."""
    more = bool(recipe.jitter or recipe.randaugment)
    u = stream.uniforms(purpose, epoch, index, _MORE_COLUMNS if more else _COLUMNS)
    top, left, height, width = _crop_box(recipe, u, side)
    policies = _policies(recipe.policy_for)
    policy = (u[:, _POLICY] * len(policies)).astype(np.int64)
    probability = np.array([[p for _, p, _ in pair] for pair in policies])
    return Draws(
        top=top,
        left=left,
        height=height,
        width=width,
        flip=u[:, _FLIP] < recipe.flip,
        angle=(2.0 * u[:, _ANGLE] - 1.0) * recipe.rotation,
        policy=policy,
        applied=(u[:, _PROBABILITIES] < probability[policy]) & (recipe.policy > 0),
        positive=u[:, _SIGNS] >= 0.5,
        hole=u[:, _HOLE],
        jitter=randaugment.jitter(u[:, _JITTER], recipe.jitter) if recipe.jitter else None,
        chosen=randaugment.choose(u[:, _RANDAUGMENT], recipe.randaugment) if recipe.randaugment else None,
    )


def _crop_box(recipe: Recipe, u: NDArray[np.float64], side: int) -> tuple[NDArray[np.int64], ...]:
    """torchvision's RandomResizedCrop.get_params, for all images at once; the whole image where no attempt fits."""
    shapes = u[:, _CROP_SHAPES].reshape(len(u), CROP_ATTEMPTS, 2)
    area = side * side * (recipe.crop_scale + (1.0 - recipe.crop_scale) * shapes[..., 0])
    ratio = np.exp((2.0 * shapes[..., 1] - 1.0) * math.log(recipe.crop_ratio))
    widths, heights = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (widths > 0) & (widths <= side) & (heights > 0) & (heights <= side)
    first, any_fits, row = fits.argmax(axis=1), fits.any(axis=1), np.arange(len(u))
    width = np.where(any_fits, widths[row, first], side).astype(np.int64)
    height = np.where(any_fits, heights[row, first], side).astype(np.int64)
    place = u[:, _CROP_PLACE]
    top = (place[:, 0] * (side - height + 1)).astype(np.int64)
    left = (place[:, 1] * (side - width + 1)).astype(np.int64)
    return top, left, height, width


def views(
    images: Tensor,
    index: NDArray[np.int64],
    recipe: Recipe | OwnRecipe,
    stream: Stream,
    epoch: int,
    *,
    size: int | None = None,
    purpose: Purpose = Purpose.AUGMENT,
    interpolation: Whole = "bicubic",
) -> Tensor:
    """Augmented views of `images`, uint8 of shape (N, 3, S, S), whose numbers in the data set are `index`.

    Returns uint8 of shape (N, 3, size, size), S where no `size` is given, on the device of `images`.

    Args:
        interpolation: how whole images get to the size; crops do as the recipe says.

    Raises:
        ProfileError: a recipe of one's own that breaks its rules (`register`).
    """
    if len(index) != len(images):
        raise ValueError(f"{len(images)} images need as many numbers, not {len(index)}")
    if isinstance(recipe, OwnRecipe):
        uniforms = stream.uniforms(purpose, epoch, index, recipe.draws)
        return _own_views(resized(images, size, interpolation), recipe, uniforms)
    return apply(images, recipe, draw(recipe, stream, epoch, index, images.shape[-1], purpose), size, interpolation)


def apply(
    images: Tensor, recipe: Recipe, draws: Draws, size: int | None = None, interpolation: Whole = "bicubic"
) -> Tensor:
    """The views that `draws` decide; see `views` for the shapes."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise ValueError(f"expected uint8 images of shape (N, C, S, S), got {images.dtype} {tuple(images.shape)}")
    size = size or images.shape[-1]
    if recipe.crops:
        images = _resized_crop(images, draws, size, recipe.crop_interpolation)
    images = resized(images, size, interpolation)
    if recipe.flip:
        images = torch.where(operations.on_device(draws.flip, images).view(-1, 1, 1, 1), images.flip(-1), images)
    if recipe.rotation:
        images = operations.rotated(images, draws.angle)
    if draws.jitter is not None:
        images = randaugment.jittered(images, draws.jitter)
    if draws.chosen is not None:
        images = randaugment.operated(images, draws.chosen)
    if recipe.policy:
        images = _autoaugment(images, draws, recipe)
    if recipe.hole:
        images = _cutout(images, draws, round(recipe.hole * size))
    return images


def resized(images: Tensor, size: int | None, interpolation: Whole = "bicubic") -> Tensor:
    """The whole images, uint8 (N, 3, S, S), at another side, antialiased, or their middle; as they are at None or S.

    Raises:
        ProfileError: the middle of a smaller image.
    """
    if size is None or size == images.shape[-1]:
        return images
    if interpolation == "centre-crop":
        edge = round((images.shape[-1] - size) / 2)
        if size > images.shape[-1]:
            raise ProfileError(
                f"images of side {images.shape[-1]} have no middle of side {size}; raise dataset.size, or set resize: bicubic"
            )
        return images[..., edge : edge + size, edge : edge + size]
    nowhere, whole = np.zeros(len(images), dtype=np.int64), np.full(len(images), images.shape[-1])
    return operations.resized_boxes(images, nowhere, nowhere, whole, whole, size, interpolation)


# -- crop ------------------------------------------------------------------------------------------------------------


def _resized_crop(images: Tensor, draws: Draws, size: int, interpolation: Interpolation) -> Tensor:
    return operations.resized_boxes(images, draws.top, draws.left, draws.height, draws.width, size, interpolation)


# -- AutoAugment -----------------------------------------------------------------------------------------------------

Operation = tuple[str, float, int | None]
"""name, probability, magnitude's bin"""

Magnitudes = dict[str, tuple[list[float] | float, bool]]
"""name → the magnitudes of its bins, and whether they take a sign"""

_GEOMETRIC = frozenset({"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"})


def _published(name: PolicyFor = "CIFAR10") -> Any:
    """torchvision's AutoAugment, off which a policy and the magnitudes, which are the same for all, are read."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    return AutoAugment(AutoAugmentPolicy[name])


@cache
def _policies(name: PolicyFor = "CIFAR10") -> list[tuple[Operation, Operation]]:
    """The 25 sub-policies."""
    policies: list[tuple[Operation, Operation]] = _published(name).policies
    return policies


@cache
def _magnitudes(side: int) -> Magnitudes:
    space = _published()._augmentation_space(10, (side, side))
    return {name: (values.tolist(), signed) for name, (values, signed) in space.items()}


@cache
def _released_magnitudes(side: int) -> Magnitudes:
    """Those of the released code's copy: rotations without a sign, thresholds from 256 down."""
    magnitudes = _magnitudes(side)
    rotations, _ = magnitudes["Rotate"]
    return magnitudes | {"Rotate": (rotations, False), "Solarize": (np.linspace(256.0, 0.0, 10).tolist(), False)}


def _autoaugment(images: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    images = images.clone()
    kernels = operations.AUTOAUGMENT | operations.RELEASED if recipe.released else operations.AUTOAUGMENT
    magnitudes = _released_magnitudes(images.shape[-1]) if recipe.released else _magnitudes(images.shape[-1])
    for stage in (0, 1):
        for (name, magnitude), members in _groups(draws, stage, magnitudes, _policies(recipe.policy_for)).items():
            where = torch.tensor(members, device=images.device)
            images[where] = _operate(kernels[name], images[where], name, magnitude, recipe.policy)
    return images


def _groups(
    draws: Draws, stage: int, magnitudes: Magnitudes, policies: Sequence[tuple[Operation, Operation]]
) -> dict[tuple[str, float], list[int]]:
    """Which images get which operation, at which magnitude, in the first or second stage."""
    groups: dict[tuple[str, float], list[int]] = {}
    for image in np.flatnonzero(draws.applied[:, stage]).tolist():
        name, _, level = policies[draws.policy[image]][stage]
        values, signed = magnitudes[name]
        magnitude = values[level] if isinstance(values, list) and level is not None else 0.0
        if signed and not draws.positive[image, stage]:
            magnitude = -magnitude
        groups.setdefault((name, magnitude), []).append(image)
    return groups


def _operate(kernel: operations.Kernel, images: Tensor, name: str, magnitude: float, strength: float) -> Tensor:
    if name in _GEOMETRIC:
        return kernel(images, magnitude * strength)
    changed = kernel(images, magnitude)
    return (
        changed if strength == 1.0 else torch.lerp(images.float(), changed.float(), strength).round_().to(torch.uint8)
    )


# -- Cutout ----------------------------------------------------------------------------------------------------------


def _cutout(images: Tensor, draws: Draws, length: int) -> Tensor:
    """One black square, its centre anywhere in the image, cut off at the edges."""
    side = images.shape[-1]
    first = operations.on_device((draws.hole * side).astype(np.int64) - length // 2, images)
    pixel = torch.arange(side, device=images.device)
    within = (pixel >= first.unsqueeze(2)) & (pixel < first.unsqueeze(2) + length)
    hole = within[:, 0].unsqueeze(2) & within[:, 1].unsqueeze(1)
    return images.masked_fill(hole.unsqueeze(1), 0)
