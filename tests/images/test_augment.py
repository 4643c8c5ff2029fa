"""Augmentation on a whole batch, held against torchvision's transforms for single images."""

import itertools
import math
import random
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as reference
from torchvision.transforms.autoaugment import _apply_op

from kdnb.errors import ProfileError
from kdnb.images import augment, operations
from kdnb.images.augment import CLEAN, STRONG, WEAK, Draws, Recipe, dial, draw, views
from kdnb.images.counter import Purpose, Stream

PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)
MANY = 40_000
CROP, FLIP, ROTATION = replace(WEAK, flip=0.0, rotation=0.0), Recipe(flip=0.5), Recipe(rotation=15.0)
POLICY, HOLE = Recipe(policy=1.0), Recipe(hole=16 / 224)
AUTOAUGMENT = AutoAugment(AutoAugmentPolicy.CIFAR10)
BLENDS = {"Color", "Contrast", "Sharpness", "AutoContrast"}
"""The operations that torchvision's two sets of kernels round differently."""
RECIPES = st.sampled_from([CLEAN, WEAK, STRONG, dial(0.5)])


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """The reference works on single images, where starting threads costs more than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def photographs(side: int) -> Tensor:
    """The tiles of a photograph, uint8 (N, 3, side, side)."""
    photograph = torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1)
    tiles = photograph.unfold(1, side, side).unfold(2, side, side)
    return tiles.permute(1, 2, 0, 3, 4).reshape(-1, 3, side, side).contiguous()


@pytest.fixture(params=["digits", "photographs"])
def pictures(request: pytest.FixtureRequest, images: Tensor) -> Tensor:
    return images if request.param == "digits" else photographs(32)


def drawn(recipe: Recipe, images: Tensor, epoch: int = 0) -> Draws:
    return draw(recipe, Stream(0), epoch, np.arange(len(images)), images.shape[-1])


def many(recipe: Recipe, side: int = 32) -> Draws:
    return draw(recipe, Stream(0), 0, np.arange(MANY), side)


def apart(one: Tensor, other: Tensor) -> Tensor:
    """By how many levels two batches differ."""
    assert one.shape == other.shape
    return (one.int() - other.int()).abs()


def distance(one: Tensor, other: Tensor) -> float:
    return apart(one, other).float().mean().item()


def share(where: Tensor) -> float:
    return where.float().mean().item()


def share_of_images(where: Tensor) -> float:
    """The share of a batch's images in which it holds anywhere."""
    return share(where.flatten(1).any(dim=1))


def assert_share(observed: np.ndarray, expected: float) -> None:
    """Within five binomial standard errors."""
    error = math.sqrt(expected * (1 - expected) / len(observed))
    assert abs(observed.mean() - expected) <= 5 * error


# -- the reference: one image at a time ------------------------------------------------------------------------------


def cropped(images: Tensor, draws: Draws, size: int) -> Tensor:
    boxes = zip(draws.top.tolist(), draws.left.tolist(), draws.height.tolist(), draws.width.tolist(), strict=True)
    bicubic = InterpolationMode.BICUBIC
    return torch.stack(
        [
            reference.pil_to_tensor(
                reference.resized_crop(reference.to_pil_image(image), *box, [size, size], interpolation=bicubic)
            )
            for image, box in zip(images, boxes, strict=True)
        ]
    )


def flipped(images: Tensor, draws: Draws) -> Tensor:
    return torch.stack([reference.hflip(i) if flip else i for i, flip in zip(images, draws.flip, strict=True)])


def rotated(images: Tensor, draws: Draws) -> Tensor:
    return torch.stack([reference.rotate(i, angle, fill=[0.0]) for i, angle in zip(images, draws.angle, strict=True)])


def operated(image: Tensor, name: str, magnitude: float) -> Tensor:
    return _apply_op(image, name, magnitude, InterpolationMode.NEAREST, [128.0] * 3)


def autoaugmented(images: Tensor, draws: Draws, stages: tuple[int, ...] = (0, 1)) -> Tensor:
    space = AUTOAUGMENT._augmentation_space(10, tuple(images.shape[-2:]))
    changed = []
    for number, image in enumerate(images):
        for stage in stages:
            name, _, level = AUTOAUGMENT.policies[draws.policy[number]][stage]
            magnitudes, signed = space[name]
            magnitude = 0.0 if level is None else float(magnitudes[level])
            if signed and not draws.positive[number, stage]:
                magnitude = -magnitude
            if draws.applied[number, stage]:
                image = operated(image, name, magnitude)
        changed.append(image)
    return torch.stack(changed)


def cut_out(images: Tensor, draws: Draws, length: int) -> Tensor:
    """DeVries & Taylor's loop, but that a hole of an odd side keeps it."""
    pixels, side = images.numpy().copy(), images.shape[-1]
    for image, (row, column) in zip(pixels, draws.hole, strict=True):
        y, x = int(row * side), int(column * side)
        y1, y2 = np.clip(y - length // 2, 0, side), np.clip(y - length // 2 + length, 0, side)
        x1, x2 = np.clip(x - length // 2, 0, side), np.clip(x - length // 2 + length, 0, side)
        image[:, y1:y2, x1:x2] = 0
    return torch.from_numpy(pixels)


# -- what is applied -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 64])
def test_crops_are_pillows(pictures, size):
    draws = drawn(WEAK, pictures)
    difference = apart(augment.apply(pictures, CROP, draws, size), cropped(pictures, draws, size))
    # A sum that lies on a half may round either way, in the rows and again in the columns.
    assert difference.max() <= 2
    assert share(difference > 0) < 1e-3


@PROPERTY
@given(side=st.integers(1, 40), size=st.integers(1, 48), epoch=st.integers(0, 99))
def test_crops_of_any_side_to_any_size_are_pillows_rows_first(side, size, epoch):
    images = photographs(40)[:8, :, :side, :side]
    draws = drawn(WEAK, images, epoch)
    for image, view, top, left, height, width in zip(
        images, augment.apply(images, CROP, draws, size), draws.top, draws.left, draws.height, draws.width, strict=True
    ):
        box = reference.to_pil_image(image[:, top : top + height, left : left + width])
        rows = box.resize((size, int(height)), Image.Resampling.BICUBIC)
        assert apart(view, reference.pil_to_tensor(rows.resize((size, size), Image.Resampling.BICUBIC))).max() <= 2


def test_flips_mirror_left_and_right(pictures):
    draws = drawn(FLIP, pictures)
    assert torch.equal(augment.apply(pictures, FLIP, draws), flipped(pictures, draws))


def test_rotations_are_torchvisions(pictures):
    draws = drawn(ROTATION, pictures)
    differs = augment.apply(pictures, ROTATION, draws) != rotated(pictures, draws)
    assert share(differs.any(dim=1)) <= 1e-3


@pytest.mark.parametrize("name", AUTOAUGMENT._augmentation_space(10, (32, 32)))
def test_an_operation_is_torchvisions_at_every_magnitude(pictures, name):
    magnitudes, signed = AUTOAUGMENT._augmentation_space(10, (32, 32))[name]
    some = pictures[::4]
    for magnitude in np.unique(magnitudes.numpy()).tolist():
        for signed_magnitude in (magnitude, -magnitude)[: 1 + signed]:
            expected = torch.stack([operated(image, name, signed_magnitude) for image in some])
            view = augment._operate(operations.AUTOAUGMENT[name], some, name, signed_magnitude, 1.0)
            assert apart(view, expected).max() <= (1 if name in BLENDS else 0)


@pytest.mark.parametrize("stage", [0, 1])
def test_each_half_of_a_drawn_sub_policy_is_torchvisions(pictures, stage):
    draws = drawn(POLICY, pictures)
    alone = replace(draws, applied=draws.applied & (np.arange(2) == stage))
    view = augment.apply(pictures, POLICY, alone)
    assert apart(view, autoaugmented(pictures, draws, (stage,))).max() <= 1
    assert alone.applied.any()


def test_the_second_half_of_a_sub_policy_works_on_what_the_first_left(pictures):
    draws = drawn(POLICY, pictures)
    first, second = (replace(draws, applied=draws.applied & (np.arange(2) == stage)) for stage in (0, 1))
    between = augment.apply(pictures, POLICY, first)
    whole = augment.apply(pictures, POLICY, draws)
    assert torch.equal(whole, augment.apply(between, POLICY, second))
    assert apart(whole, autoaugmented(between, draws, (1,))).max() <= 1


def test_autoaugment_is_torchvisions_but_for_amplified_rounding(pictures):
    draws = [drawn(POLICY, pictures, epoch) for epoch in range(4)]
    differences = [apart(augment.apply(pictures, POLICY, d), autoaugmented(pictures, d)) for d in draws]
    # One level, rounded otherwise by the first operation, is many after Equalize or Solarize: in 3 % of the images.
    assert share_of_images(torch.cat(differences) > 1) < 0.05


def test_cutout_is_the_published_loop():
    images = photographs(208)[:, :, :1, :1].expand(-1, -1, 224, 224).repeat(50, 1, 1, 1) | 1
    draws = drawn(HOLE, images)
    view = augment.apply(images, HOLE, draws)
    assert torch.equal(view, cut_out(images, draws, 16))
    sizes = (view == 0).all(dim=1).sum(dim=(1, 2))
    assert sizes.max() == 16 * 16
    assert sizes.min() < 16 * 16


# -- as the released code has it: Pillow, one image at a time -----------------------------------------------------------


def released(image: Tensor, name: str, magnitude: float) -> Tensor:
    """The operations that differ, as the widespread copy of AutoAugment in Pillow has them."""
    picture, grey = reference.to_pil_image(image), (128,) * 3
    side = picture.size[0]
    shifts = {
        "ShearX": ((1, magnitude, 0, 0, 1, 0), Image.Resampling.BICUBIC),
        "ShearY": ((1, 0, 0, magnitude, 1, 0), Image.Resampling.BICUBIC),
        "TranslateX": ((1, 0, -magnitude * side, 0, 1, 0), Image.Resampling.NEAREST),
        "TranslateY": ((1, 0, 0, 0, 1, -magnitude * side), Image.Resampling.NEAREST),
    }
    matrix, resample = shifts[name]
    changed = picture.transform(picture.size, Image.Transform.AFFINE, matrix, resample, fillcolor=grey)
    return reference.pil_to_tensor(changed)


@pytest.mark.parametrize("name", ["ShearX", "ShearY"])
@pytest.mark.parametrize("slope", [-0.3, -0.1, 1 / 30, 0.2, 0.3])
def test_released_shears_are_pillows_bicubic_ones(pictures, name, slope):
    expected = torch.stack([released(image, name, slope) for image in pictures[:40]])
    assert torch.equal(operations.RELEASED[name](pictures[:40], slope), expected)
    assert share_of_images(apart(operations.AUTOAUGMENT[name](pictures[:40], slope), expected) > 0) > 0.9


@pytest.mark.parametrize("name", ["TranslateX", "TranslateY"])
@pytest.mark.parametrize("side", [28, 32, 40])
def test_released_translations_go_to_the_nearest_pixel(name, side):
    some, largest = photographs(side)[:20], 150 / 331
    for level in range(1, 10):
        for sign in (-1, 1):
            part = sign * largest * level / 9
            expected = torch.stack([released(image, name, part) for image in some])
            assert torch.equal(operations.RELEASED[name](some, part * side), expected)


def test_released_rotations_take_no_sign_and_solarizing_starts_at_256():
    ours, published = augment._released_magnitudes(32), augment._magnitudes(32)
    changed = {name for name in published if ours[name] != published[name]}
    assert changed == {"Rotate", "Solarize"}
    assert ours["Rotate"] == (published["Rotate"][0], False)
    assert ours["Solarize"][0][0] == 256.0
    assert ours["Solarize"][0][9] == 0.0
    white = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    assert torch.equal(operations.RELEASED["Solarize"](white, 256.0), white)  # the weakest leaves white white
    assert operations.RELEASED["Solarize"](white, 255.0).max() == 0


def test_a_released_strong_view_differs_where_the_copy_does_and_nowhere_else(pictures):
    draws = drawn(STRONG, pictures)
    differs = apart(augment.apply(pictures, STRONG, draws), augment.apply(pictures, augment.STRONG_RELEASED, draws))
    policies = AUTOAUGMENT.policies
    touched = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Solarize"}
    for image, chosen, applied in zip(differs, draws.policy, draws.applied, strict=True):
        names = {name for (name, _, _), on in zip(policies[chosen], applied, strict=True) if on}
        assert names & touched or image.max() == 0
    assert share_of_images(differs > 0) > 0.1


@pytest.mark.parametrize("size", [16, 48, 224])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_whole_images_are_resized_as_by_pillow(pictures, size, interpolation):
    method = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[interpolation]
    expected = torch.stack(
        [reference.pil_to_tensor(reference.to_pil_image(image).resize((size, size), method)) for image in pictures[:16]]
    )
    difference = apart(augment.resized(pictures[:16], size, interpolation), expected)
    # A sum that lies on a half, as many of an enlarged digit do, may round either way, in the rows and again in the columns.
    assert difference.max() <= 2
    assert share(difference > 1) < 0.01
    shown = views(pictures[:16], np.arange(16), CLEAN, Stream(0), 0, size=size, interpolation=interpolation)
    assert torch.equal(shown, augment.resized(pictures[:16], size, interpolation))


@pytest.mark.parametrize("size", [32, 64])
def test_a_weak_view_is_torchvisions(pictures, size):
    draws = drawn(WEAK, pictures)
    difference = apart(
        augment.apply(pictures, WEAK, draws, size), rotated(flipped(cropped(pictures, draws, size), draws), draws)
    )
    assert share(difference > 2) <= 1e-3
    assert share(difference > 0) < 2e-3


@pytest.mark.parametrize("size", [32, 64, 224])
def test_a_strong_view_is_torchvisions(pictures, size):
    some = pictures[: 128 if size < 224 else 64]
    draws = drawn(STRONG, some)
    start = flipped(augment.apply(some, CROP, draws, size), draws)
    expected = cut_out(autoaugmented(start, draws), draws, round(16 / 224 * size))
    difference = apart(augment.apply(some, STRONG, draws, size), expected)
    assert share_of_images(difference > 1) < 0.05


@pytest.mark.parametrize(
    ("whole", "stages"), [(WEAK, (CROP, FLIP, ROTATION)), (STRONG, (CROP, FLIP, POLICY, HOLE))], ids=["weak", "strong"]
)
def test_a_recipe_is_its_stages_one_after_the_other(pictures, whole, stages):
    draws = drawn(whole, pictures)
    view = pictures
    for stage in stages:
        view = augment.apply(view, stage, draws)
        assert not torch.equal(view, pictures)
    assert torch.equal(augment.apply(pictures, whole, draws), view)


# -- how often -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_the_share_of_flips_is_the_recipes(strength):
    assert_share(many(dial(strength)).flip, 0.5 * strength)


@pytest.mark.parametrize("side", [32, 224])
def test_crops_are_drawn_as_by_torchvision(side):
    draws, blank = many(WEAK, side), torch.empty(3, side, side)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        boxes = [RandomResizedCrop.get_params(blank, (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(10_000)]
    top, left, height, width = np.array(boxes).T
    ours, theirs = draws.height * draws.width / side**2, height * width / side**2
    error = math.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
    assert abs(ours.mean() - theirs.mean()) < 5 * error
    for one, other in ((ours, theirs), (draws.width / draws.height, width / height), (draws.top, top)):
        assert stats.ks_2samp(one, other).pvalue > 0.001
    assert stats.ks_2samp(draws.left, left).pvalue > 0.001


@pytest.mark.parametrize("side", [8, 32, 224])
def test_crops_keep_to_their_bounds(side):
    draws = many(WEAK, side)
    half = 0.5  # a side is rounded to a whole pixel
    assert (((draws.height + half) * (draws.width + half)) >= 0.2 * side**2).all()
    for one, other in ((draws.height, draws.width), (draws.width, draws.height)):
        assert ((one - half) / (other + half) <= 4 / 3).all()
    assert min(draws.top.min(), draws.left.min()) == 0
    assert (draws.top + draws.height).max() == (draws.left + draws.width).max() == side


def test_angles_are_uniform_to_fifteen_degrees_either_way():
    angle = many(WEAK).angle
    assert -15 <= angle.min() < -14.9 < 14.9 < angle.max() <= 15
    assert stats.kstest(angle, stats.uniform(-15, 30).cdf).pvalue > 0.001


def test_the_25_sub_policies_are_equally_frequent():
    policy = many(STRONG).policy
    assert set(policy) == set(range(25))
    for number in range(25):
        assert_share(policy == number, 1 / 25)


@pytest.mark.parametrize("number", range(25))
def test_the_operations_of_a_sub_policy_are_applied_as_often_as_published(number):
    draws = many(STRONG)
    chosen = draws.policy == number
    (_, first, _), (_, second, _) = AUTOAUGMENT.policies[number]
    applied = draws.applied[chosen]
    assert_share(applied[:, 0], first)
    assert_share(applied[:, 1], second)
    assert_share(applied.all(axis=1), first * second)


def test_signs_are_even_and_holes_centred_anywhere():
    draws = many(STRONG)
    for stage in (0, 1):
        assert_share(draws.positive[:, stage], 0.5)
    for axis in (0, 1):
        assert stats.kstest(draws.hole[:, axis], "uniform").pvalue > 0.001


def test_the_decisions_on_an_image_are_independent():
    draws = many(replace(STRONG, rotation=15.0))
    probability = np.array([(first, second) for (_, first, _), (_, second, _) in AUTOAUGMENT.policies])
    decisions = [
        draws.height * draws.width,
        np.log(draws.height / draws.width),
        (draws.top + 0.5) / (32 - draws.height + 1),
        (draws.left + 0.5) / (32 - draws.width + 1),
        draws.flip,
        draws.angle,
        draws.policy,
        *(draws.applied - probability[draws.policy]).T,
        *draws.positive.T,
        *draws.hole.T,
    ]
    correlation = np.corrcoef(np.vstack(decisions)) - np.eye(len(decisions))
    assert np.abs(correlation).max() < 5 / math.sqrt(MANY)


# -- what a view depends on ------------------------------------------------------------------------------------------


@PROPERTY
@given(
    picked=st.lists(st.integers(0, 127), min_size=1, max_size=40),
    recipe=RECIPES,
    size=st.sampled_from([None, 24, 64]),
    epoch=st.integers(0, 3),
)
def test_a_view_does_not_depend_on_its_neighbours(images, picked, recipe, size, epoch):
    index = np.arange(1000, 1128)
    full = views(images, index, recipe, Stream(3, 1), epoch, size=size)
    some = views(images[picked], index[picked], recipe, Stream(3, 1), epoch, size=size)
    assert torch.equal(some, full[picked])


@pytest.mark.parametrize("size", [32, 112])  # of 112 pixels, 41 are made at a time
def test_a_view_does_not_depend_on_the_size_of_the_batch(images, size):
    index = np.arange(128)
    full = views(images, index, STRONG, Stream(0), 0, size=size)
    for batch in (1, 7, 50):
        parts = [
            views(images[at : at + batch], index[at : at + batch], STRONG, Stream(0), 0, size=size)
            for at in range(0, 128, batch)
        ]
        assert torch.equal(torch.cat(parts), full)


def test_a_view_does_not_depend_on_how_many_are_made_at_a_time(images, monkeypatch):
    index = np.arange(128)
    for recipe in (WEAK, STRONG, augment.IMAGENET_STRONG):
        full = views(images, index, recipe, Stream(0), 0, size=48)
        for pixels in (1, 3 * 48**2, 10**9):
            monkeypatch.setattr(operations, "PIXELS", pixels)
            assert torch.equal(views(images, index, recipe, Stream(0), 0, size=48), full)


@pytest.mark.parametrize("recipe", [WEAK, STRONG], ids=["weak", "strong"])
def test_a_view_does_not_depend_on_the_number_of_threads(pictures, recipe):
    def seen() -> Tensor:
        return views(pictures, np.arange(len(pictures)), recipe, Stream(0), 0, size=64)

    alone = seen()
    torch.set_num_threads(2)
    try:
        assert torch.equal(seen(), alone)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("recipe", [WEAK, STRONG], ids=["weak", "strong"])
def test_views_change_with_epoch_seed_member_purpose_and_index(images, recipe):
    index = np.arange(128)
    some = views(images, index, recipe, Stream(0), 0)
    others = [
        views(images, index, recipe, Stream(0), 1),
        views(images, index, recipe, Stream(1), 0),
        views(images, index, recipe, Stream(0, 1), 0),
        views(images, index, recipe, Stream(0), 0, purpose=Purpose.VIEW),
        views(images, index + 1, recipe, Stream(0), 0),
    ]
    for other in others:
        assert share_of_images(other != some) > 0.95


def test_augmentation_leaves_every_global_generator_alone(images):
    def states() -> list:
        return [random.getstate(), *np.random.get_state()[1:], torch.get_rng_state().tolist()]  # noqa: NPY002

    before = repr(states())
    for recipe in (WEAK, STRONG, dial(0.5)):
        views(images, np.arange(128), recipe, Stream(0), 0)
    assert repr(states()) == before


@pytest.mark.parametrize("recipe", [CLEAN, WEAK, STRONG], ids=["clean", "weak", "strong"])
def test_the_stored_images_stay_as_they_are(images, recipe):
    stored = images.clone()
    views(images, np.arange(128), recipe, Stream(0), 0)
    assert torch.equal(images, stored)


# -- the dial --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 64])
def test_the_dial_goes_from_clean_to_strong(pictures, size):
    def at(recipe: Recipe) -> Tensor:
        return views(pictures, np.arange(len(pictures)), recipe, Stream(0), 0, size=size)

    assert torch.equal(at(dial(0.0)), at(CLEAN))
    assert torch.equal(at(dial(1.0)), at(STRONG))
    assert not torch.equal(at(CLEAN), at(STRONG))


def test_the_clean_view_is_the_image_itself(pictures):
    assert torch.equal(views(pictures, np.arange(len(pictures)), dial(0.0), Stream(0), 0), pictures)


@pytest.mark.parametrize("seed", range(3))
def test_views_move_away_from_the_clean_image_as_the_dial_turns(pictures, seed):
    turns = [
        distance(views(pictures, np.arange(len(pictures)), dial(s), Stream(seed), 0), pictures)
        for s in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert turns[0] == 0.0
    assert (np.diff(turns) > 2.0).all()


@pytest.mark.parametrize(
    ("turns", "most"),
    [(np.linspace(0, 1, 101), 0.08), (np.linspace(0, 0.01, 11), 0.02), (np.linspace(0.99, 1, 11), 0.02)],
    ids=["all the way", "at clean", "at strong"],
)
def test_a_small_turn_of_the_dial_changes_little(pictures, turns, most):
    at = [views(pictures, np.arange(len(pictures)), dial(turn), Stream(0), 0) for turn in turns]
    steps = [distance(one, other) for one, other in itertools.pairwise(at)]
    whole = distance(views(pictures, np.arange(len(pictures)), STRONG, Stream(0), 0), pictures)
    assert max(steps) < most * whole


@pytest.mark.parametrize("recipe", [dial(0.0), dial(0.5), dial(1.0)], ids=["0", "0.5", "1"])
def test_a_dial_holds_the_draws_that_do_not_depend_on_its_strength(recipe):
    half, strong = many(recipe), many(STRONG)
    assert np.array_equal(half.policy, strong.policy)
    assert np.array_equal(half.positive, strong.positive)
    assert np.array_equal(half.hole, strong.hole)
    assert (half.flip <= strong.flip).all()


def test_a_recipe_is_found_by_its_name():
    named = {"clean": CLEAN, "weak": WEAK, "strong": STRONG, "dial:0": CLEAN, "dial:0.5": dial(0.5), "dial:1": STRONG}
    named["strong-released"] = augment.STRONG_RELEASED
    assert {name: augment.recipe(name) for name in named} == named


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.75])
def test_every_setting_of_a_dial_lies_between_clean_and_strong(strength):
    for field in fields(Recipe):
        ends, between = (getattr(CLEAN, field.name), getattr(STRONG, field.name)), getattr(dial(strength), field.name)
        assert between in ends or min(ends) <= between <= max(ends)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dial:1.5", "1.5"),
        ("dial:-0.1", "-0.1"),
        ("dial:nan", "nan"),
        ("dial:x", "'dial:x'"),
        ("dial:", "'dial:'"),
        ("middling", "'middling'"),
    ],
)
def test_an_unknown_recipe_is_named(name, value):
    with pytest.raises(ProfileError, match=value):
        augment.recipe(name)


# -- what goes in and comes out --------------------------------------------------------------------------------------


@PROPERTY
@given(side=st.integers(1, 48), size=st.none() | st.integers(1, 64), recipe=RECIPES, epoch=st.integers(0, 99))
def test_views_of_any_side_are_uint8_of_the_size_asked_for(side, size, recipe, epoch):
    images = photographs(48)[:40, :, :side, :side]
    view = views(images, np.arange(40), recipe, Stream(0), epoch, size=size)
    assert view.dtype == torch.uint8
    assert view.shape == (40, 3, size or side, size or side)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (torch.zeros(2, 3, 32, 32), "float32"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), "int64"),
        (torch.zeros(2, 3, 32, 24, dtype=torch.uint8), r"\(2, 3, 32, 24\)"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"\(3, 32, 32\)"),
    ],
)
@pytest.mark.parametrize("recipe", [CLEAN, STRONG], ids=["clean", "strong"])
def test_images_of_the_wrong_kind_are_refused_by_name(wrong, named, recipe):
    with pytest.raises(ValueError, match=named):
        views(wrong, np.arange(len(wrong)), recipe, Stream(0), 0)


def test_every_image_needs_a_number():
    with pytest.raises(ValueError, match="8 images need as many numbers, not 1"):
        views(photographs(40)[:8], np.arange(1), WEAK, Stream(0), 0)


@pytest.mark.parametrize(("side", "edge"), [(40, 4), (41, 4), (43, 6), (32, 0)])
def test_the_middle_of_an_image_is_what_torchvision_cuts_out(side, edge):
    images = photographs(side)[:5]
    middle = augment.resized(images, 32, "centre-crop")
    assert torch.equal(middle, images[..., edge : edge + 32, edge : edge + 32])
    assert torch.equal(middle, reference.center_crop(images, [32, 32]))


def test_a_smaller_image_has_no_middle():
    with pytest.raises(ProfileError, match=r"images of side 16 have no middle of side 32; raise dataset\.size"):
        augment.resized(photographs(32)[:1, :, :16, :16], 32, "centre-crop")


def test_the_texts_recipes_have_its_stages_and_no_others():
    """Sec. 5: weak is crop, flip and colour jitter, strong AutoAugment; the code has rotation and Cutout besides."""
    assert augment.recipe("weak-text") == replace(CROP, flip=0.5, jitter=0.4)
    assert augment.recipe("strong-text") == replace(CROP, flip=0.5, policy=1.0)
