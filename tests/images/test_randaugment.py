"""The recipes for ImageNet on a whole batch, held against torchvision's transforms for single images."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, ColorJitter, InterpolationMode, RandAugment
from torchvision.transforms import functional as reference
from torchvision.transforms.autoaugment import _apply_op
from torchvision.transforms.v2 import functional as newer

from kdnb.images import augment, randaugment
from kdnb.images.augment import IMAGENET_STRONG, IMAGENET_STRONG_RELEASED, IMAGENET_WEAK, draw, views
from kdnb.images.counter import Stream

MANY = 20_000
BLENDS = {"Color", "Contrast", "Sharpness", "AutoContrast"}
"""The operations that torchvision's two sets of kernels round differently."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def photographs(side: int = 64) -> Tensor:
    photograph = torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1)
    tiles = photograph.unfold(1, side, side).unfold(2, side, side)
    return tiles.permute(1, 2, 0, 3, 4).reshape(-1, 3, side, side).contiguous()[:60]


def drawn(recipe, images, epoch=0):
    return draw(recipe, Stream(0), epoch, np.arange(len(images)), images.shape[-1])


def many(recipe):
    return draw(recipe, Stream(0), 0, np.arange(MANY), 32)


def apart(one, other):
    return (one.int() - other.int()).abs()


# -- the reference: one image at a time --------------------------------------------------------------------------------

CHANGES = (newer.adjust_brightness, newer.adjust_contrast, newer.adjust_saturation)


def jittered(images, draws):
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    changed = []
    for image, order, factors in zip(images, draws.jitter.order, draws.jitter.factors, strict=True):
        for kind in orders[order]:
            image = CHANGES[kind](image, float(factors[kind]))
        changed.append(image)
    return torch.stack(changed)


def operated(image, name, magnitude):
    return _apply_op(image, name, magnitude, InterpolationMode.NEAREST, [0.0] * 3)


def randaugmented(images, draws, magnitude_of):
    """`magnitude_of`: (a list of magnitudes over torchvision's bins, a level) → the magnitude"""
    space = RandAugment()._augmentation_space(31, tuple(images.shape[-2:]))
    changed = []
    for number, image in enumerate(images):
        for stage in (0, 1):
            name = list(space)[draws.chosen.operation[number, stage]]
            values, signed = space[name]
            magnitude = magnitude_of(values, draws.chosen.level[number, stage]) if values.ndim else 0.0
            if signed and not draws.chosen.positive[number, stage]:
                magnitude = -magnitude
            if draws.chosen.applied[number, stage]:
                image = operated(image, name, magnitude)
        changed.append(image)
    return torch.stack(changed)


# -- what is applied ---------------------------------------------------------------------------------------------------


def test_crops_are_pillows_bilinear_ones():
    images = photographs()
    crop = replace(IMAGENET_WEAK, flip=0.0, jitter=0.0)
    draws = drawn(crop, images)
    boxes = zip(draws.top.tolist(), draws.left.tolist(), draws.height.tolist(), draws.width.tolist(), strict=True)
    expected = torch.stack(
        [
            reference.pil_to_tensor(reference.resized_crop(reference.to_pil_image(image), *box, [48, 48]))
            for image, box in zip(images, boxes, strict=True)
        ]
    )
    assert apart(augment.apply(images, crop, draws, 48), expected).max() <= 1


def test_jittered_colours_are_torchvisions_one_after_the_other():
    images = photographs()
    draws = drawn(IMAGENET_WEAK, images)
    difference = apart(randaugment.jittered(images, draws.jitter), jittered(images, draws))
    assert difference.max() <= 3  # a level more or less in one change is stretched by the next
    assert (difference > 0).float().mean() < 0.02


@pytest.mark.parametrize("kind", range(3))
def test_a_single_change_of_colour_is_torchvisions(kind):
    images = photographs()
    factors = np.ones((len(images), 3))
    factors[:, kind] = np.linspace(0.6, 1.4, len(images))
    draws = replace(drawn(IMAGENET_WEAK, images), jitter=randaugment.Jitter(np.zeros(len(images), int), factors))
    difference = apart(randaugment.jittered(images, draws.jitter), jittered(images, draws))
    assert difference.max() <= 1  # a sum that is all but a whole number is cut off to it or to the one below
    assert (difference > 0).float().mean() < 0.02


def test_the_jitter_is_drawn_as_by_torchvision():
    draws = many(IMAGENET_WEAK).jitter
    bounds = ColorJitter(0.4, 0.4, 0.4)
    for kind, (low, high) in enumerate((bounds.brightness, bounds.contrast, bounds.saturation)):
        assert stats.kstest(draws.factors[:, kind], stats.uniform(low, high - low).cdf).pvalue > 0.001
    assert bounds.hue is None
    assert stats.chisquare(np.bincount(draws.order, minlength=6)).pvalue > 0.001


def test_randaugment_is_torchvisions_at_magnitude_ten():
    images = photographs()
    draws = drawn(IMAGENET_STRONG, images)
    assert draws.chosen.applied.all()
    expected = randaugmented(images, draws, lambda values, level: float(values[10]))
    difference = apart(augment.apply(images, augment.CLEAN, replace(draws, jitter=None)), expected)
    assert (difference > 2).flatten(1).float().mean(dim=1).gt(0.01).float().mean() < 0.05


@pytest.mark.parametrize("name", randaugment.names("published"))
@pytest.mark.parametrize("level", [1 / 3, 0.93, 1.0])
@pytest.mark.parametrize("positive", [True, False])
def test_an_operation_is_torchvisions_at_any_level(name, level, positive):
    images = photographs()[:12]
    values, signed = RandAugment()._augmentation_space(31, (64, 64))[name]
    if not values.ndim:
        magnitude = 0.0
    elif name == "Posterize":
        magnitude = float(8 - round(round(level * 30) / 7.5))  # 8 bits to 4
    else:
        magnitude = float(values[0]) + level * float(values[-1] - values[0])
    sign = -1.0 if signed and not positive else 1.0
    chosen = only("published", name, level, positive)
    expected = torch.stack([operated(image, name, sign * magnitude) for image in images])
    difference = apart(randaugment.operated(images, chosen), expected)
    if name in BLENDS:
        assert difference.max() <= 1
    else:  # a pixel whose source lies between two may come from either
        assert (difference > 0).float().mean() < 0.005
    touched = randaugment.operated(images, replace(chosen, applied=np.zeros((12, 2), bool)))
    assert torch.equal(touched, images)


def only(form, name, level, positive=True, images=12):
    """One operation of each image."""
    return randaugment.Chosen(
        form=form,
        operation=np.full((images, 2), randaugment.names(form).index(name)),
        applied=np.tile([True, False], (images, 1)),
        level=np.full((images, 2), level),
        positive=np.full((images, 2), positive),
    )


# -- as the released code has it: Pillow, one image at a time ----------------------------------------------------------


def released(image: Tensor, name: str, magnitude: float, positive: bool) -> Tensor:
    """What the released loader of ImageNet does at a magnitude of its scale, which ends at 10."""
    picture, level, sign = reference.to_pil_image(image), magnitude / 10, 1 if positive else -1
    name, _, way = name.partition("/")
    moved = {"resample": getattr(Image.Resampling, way.upper(), None), "fillcolor": (124, 116, 104)}
    affine = Image.Transform.AFFINE
    slope, pixels, factor = sign * 0.3 * level, sign * 0.45 * level * picture.width, 1.8 * level + 0.1
    threshold, added = int(256 * level), int(110 * level)
    changed = {
        "AutoContrast": lambda: ImageOps.autocontrast(picture),
        "Equalize": lambda: ImageOps.equalize(picture),
        "Invert": lambda: ImageOps.invert(picture),
        "Rotate": lambda: picture.rotate(sign * 30 * level, **moved),
        "Posterize": lambda: ImageOps.posterize(picture, int(4 * level)),
        "Solarize": lambda: ImageOps.solarize(picture, threshold),
        "SolarizeAdd": lambda: picture.point([min(255, i + added) if i < 128 else i for i in range(256)] * 3),
        "Color": lambda: ImageEnhance.Color(picture).enhance(factor),
        "Contrast": lambda: ImageEnhance.Contrast(picture).enhance(factor),
        "Brightness": lambda: ImageEnhance.Brightness(picture).enhance(factor),
        "Sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(factor),
        "ShearX": lambda: picture.transform(picture.size, affine, (1, slope, 0, 0, 1, 0), **moved),
        "ShearY": lambda: picture.transform(picture.size, affine, (1, 0, 0, slope, 1, 0), **moved),
        "TranslateX": lambda: picture.transform(picture.size, affine, (1, 0, pixels, 0, 1, 0), **moved),
        "TranslateY": lambda: picture.transform(picture.size, affine, (1, 0, 0, 0, 1, pixels), **moved),
    }[name]()
    return reference.pil_to_tensor(changed)


@pytest.mark.parametrize("name", dict.fromkeys(randaugment.names("released")))
@pytest.mark.parametrize("magnitude", [8.45, 9.75, 10])
@pytest.mark.parametrize("positive", [True, False])
def test_a_released_operation_is_pillows(name, magnitude, positive):
    images = photographs()[:12]
    expected = torch.stack([released(image, name, magnitude, positive) for image in images])
    chosen = only("released", name, magnitude / 10, positive)
    difference = apart(randaugment.operated(images, chosen), expected)
    assert difference.max() <= (2 if name in BLENDS else 0)


def test_the_released_list_has_fifteen_operations_and_the_ways_of_moving_pixels_are_even():
    names = randaugment.names("released")
    plain = [name.partition("/")[0] for name in names]
    assert len(set(plain)) == 15
    assert {plain.count(name) for name in plain} == {2}
    assert [name.partition("/")[2] for name in names].count("bicubic") == 5


def test_at_the_released_magnitude_ten_solarizing_does_nothing_and_colours_only_grow():
    images = photographs()[:12]
    assert torch.equal(randaugment.operated(images, only("released", "Solarize", 1.0)), images)
    levels = np.unique(many(IMAGENET_STRONG_RELEASED).chosen.level)
    assert all(randaugment.strength("released", "Color", level, 32)[0] > 0 for level in levels.tolist())


def test_the_released_form_draws_whether_and_how_much_and_ends_at_ten():
    chosen = many(IMAGENET_STRONG_RELEASED).chosen
    assert abs(chosen.applied.mean() - 0.5) < 5 * 0.5 / np.sqrt(chosen.applied.size)
    magnitudes = chosen.level * 10
    assert magnitudes.max() == 10
    assert abs((magnitudes == 10).mean() - 0.5) < 0.01
    for quantile in (9.0, 9.5, 9.8):
        share = (magnitudes < quantile).mean()
        assert abs(share - stats.norm(10, 0.5).cdf(quantile)) < 0.01
    published = many(IMAGENET_STRONG).chosen
    assert published.applied.all()
    assert np.unique(published.level).tolist() == [10 / 30]


@pytest.mark.parametrize("recipe", [IMAGENET_STRONG, IMAGENET_STRONG_RELEASED], ids=["published", "released"])
def test_operations_and_signs_are_even(recipe):
    chosen = many(recipe).chosen
    for stage in (0, 1):
        counts = np.bincount(chosen.operation[:, stage], minlength=len(randaugment.names(chosen.form)))
        assert stats.chisquare(counts).pvalue > 0.001
        assert abs(chosen.positive[:, stage].mean() - 0.5) < 5 * 0.5 / np.sqrt(MANY)
    decisions = [*chosen.operation.T, *chosen.positive.T, *many(recipe).jitter.factors.T, many(recipe).jitter.order]
    correlation = np.corrcoef(np.vstack(decisions)) - np.eye(len(decisions))
    assert np.abs(correlation).max() < 5 / np.sqrt(MANY)


def test_the_strong_view_is_the_weak_one_and_then_two_operations():
    images = photographs()
    draws = drawn(IMAGENET_STRONG, images)
    weak = augment.apply(images, IMAGENET_WEAK, draws_without_operations(draws), 48)
    strong = augment.apply(images, IMAGENET_STRONG, draws, 48)
    assert torch.equal(randaugment.operated(weak, draws.chosen), strong)
    assert not torch.equal(weak, strong)


def draws_without_operations(draws):
    return replace(draws, chosen=None)


def test_autoaugment_for_imagenet_is_torchvisions_policy_of_that_name():
    images = photographs()
    plain = replace(augment.IMAGENET_AUTOAUGMENT, crop_scale=1.0, flip=0.0)
    draws = drawn(plain, images)
    published = AutoAugment(AutoAugmentPolicy.IMAGENET)
    space = published._augmentation_space(10, (64, 64))
    expected = []
    for image, chosen, applied, positive in zip(images, draws.policy, draws.applied, draws.positive, strict=True):
        for (name, _, level), on, sign in zip(published.policies[chosen], applied, positive, strict=True):
            values, signed = space[name]
            magnitude = float(values[level]) if level is not None else 0.0
            if on:
                magnitude *= 1 if sign or not signed else -1
                image = _apply_op(image, name, magnitude, InterpolationMode.NEAREST, [128.0] * 3)
        expected.append(image)
    difference = apart(augment.apply(images, plain, draws), torch.stack(expected))
    assert (difference > 2).flatten(1).float().mean(dim=1).gt(0.01).float().mean() < 0.05


# -- what a view depends on --------------------------------------------------------------------------------------------

NAMED = ("imagenet-weak", "imagenet-strong", "imagenet-strong-released", "imagenet-autoaugment")


@pytest.mark.parametrize("name", NAMED)
def test_a_view_depends_on_the_image_and_its_number_alone(name):
    images, recipe = photographs(), augment.recipe(name)
    index = np.arange(500, 500 + len(images))
    whole = views(images, index, recipe, Stream(3, 1), 2, size=48)
    picked = [7, 3, 50]
    assert torch.equal(views(images[picked], index[picked], recipe, Stream(3, 1), 2, size=48), whole[picked])
    other = views(images, index, recipe, Stream(3, 1), 3, size=48)
    assert (other != whole).flatten(1).any(dim=1).float().mean() > 0.95


def test_crops_and_flips_are_those_of_the_other_recipes_of_one_stream():
    """The first columns of draws are everybody's: more of them leave those as they are."""
    index = np.arange(100)
    one, other = (
        draw(recipe, Stream(0), 0, index, 32) for recipe in (replace(IMAGENET_WEAK, jitter=0.0), IMAGENET_STRONG)
    )
    for field in ("top", "left", "height", "width", "flip"):
        assert np.array_equal(getattr(one, field), getattr(other, field))
