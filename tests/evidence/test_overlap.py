"""Maps against the classifier they come from, masks and overlaps against cases by hand, chance and their symmetries."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from torch import Tensor, nn

from kdnb.evidence import overlap, results, table
from kdnb.training import maps as maps_of
from kdnb.training import models
from kdnb.training.models import Network
from kdnb.training.spec import ModelSpec

examples = settings(max_examples=50, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def network() -> Network:
    return models.build(ModelSpec(name="resnet8-w8"), classes=10, side=32, seed=1).eval()


@pytest.fixture(scope="module")
def shown(images: Tensor) -> Tensor:
    """Eight real images, normalised."""
    return images[:8] / 127.5 - 1.0


@pytest.fixture(scope="module")
def features(network: Network, shown: Tensor) -> Tensor:
    with torch.no_grad():
        return network.features(shown)


def close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


# -- maps ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_summed_map_is_the_classifier_as_a_1x1_convolution_summed_over_its_classes(network, features):
    convolution = nn.Conv2d(32, 10, 1)
    convolution.weight.copy_(network.classifier.weight.view(10, 32, 1, 1))
    convolution.bias.copy_(network.classifier.bias)
    assert close(maps_of.cam(network, features, "sum"), convolution(features).sum(dim=1))


@torch.no_grad()
def test_the_summed_map_is_the_sum_of_all_classes_maps(network, features):
    each = [maps_of.cam(network, features, "true", torch.full((8,), label)) for label in range(10)]
    assert close(maps_of.cam(network, features, "sum"), torch.stack(each).sum(dim=0))


@torch.no_grad()
def test_the_map_of_the_true_class_weighs_channels_with_that_classs_weights(network, features):
    labels = torch.arange(8)
    maps = maps_of.cam(network, features, "true", labels)
    for image, label, places in zip(features, labels, maps, strict=True):
        expected = (network.classifier.weight[label].view(-1, 1, 1) * image).sum(dim=0) + network.classifier.bias[label]
        assert close(places, expected)


@torch.no_grad()
def test_the_map_of_the_predicted_class_is_that_of_the_largest_logit(network, features):
    predicted = network.head(features).argmax(dim=1)
    assert close(maps_of.cam(network, features, "predicted"), maps_of.cam(network, features, "true", predicted))


@torch.no_grad()
def test_a_classs_map_averages_to_its_logit_bias_included(network, features):
    labels = torch.arange(8) + 2
    maps = maps_of.cam(network, features, "true", labels)
    assert close(maps.mean(dim=(1, 2)), network.head(features)[torch.arange(8), labels])


@torch.no_grad()
def test_a_coarser_map_is_that_of_a_coarser_feature_map(network, features):
    """Of the same network, which predicts the same."""
    coarse = maps_of.cam(network, F.avg_pool2d(features, 2), "predicted")
    assert coarse.shape == (8, 4, 4)
    assert close(overlap.coarser(maps_of.cam(network, features, "predicted"), 4), coarse)


def test_the_map_of_the_true_class_needs_labels_and_other_maps_are_unknown(network, features):
    with pytest.raises(ValueError, match="needs the labels"):
        maps_of.cam(network, features, "true")
    with pytest.raises(ValueError, match=r"'all'.*sum, predicted and true"):
        maps_of.cam(network, features, "all")


def test_grad_cam_is_the_positive_part_of_the_map_without_bias_over_its_places(network, shown):
    target = torch.arange(8)
    with torch.no_grad():
        maps = maps_of.cam(network, network.features(shown), "true", target)
    expected = F.relu(maps - network.classifier.bias[target].view(-1, 1, 1)) / 64
    ours = maps_of.grad_cam(network, shown, target)
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-7)
    assert 0.01 < (ours > 0).float().mean() < 0.99
    assert not ours.requires_grad


def test_grad_cam_leaves_no_gradient_in_the_network(network, shown):
    fixed = next(network.parameters()).requires_grad_(False)
    maps_of.grad_cam(network, shown, torch.zeros(8, dtype=torch.long))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [parameter for parameter in network.parameters() if not parameter.requires_grad] == [fixed]
    fixed.requires_grad_(True)


def test_grad_cam_keeps_nothing_of_what_comes_before_its_map(network, shown):
    """Of 256 large images, the activations of all layers take gigabytes."""
    kept = []
    hooks = [
        module.register_forward_hook(lambda module, given, made: kept.append(made.requires_grad))
        for module in network.features.modules()
        if not list(module.children())
    ]
    maps_of.grad_cam(network, shown, torch.zeros(8, dtype=torch.long))
    for hook in hooks:
        hook.remove()
    assert len(kept) > 5
    assert not any(kept)


# -- heat and masks --------------------------------------------------------------------------------------------------


def some_maps(seed: int = 0) -> Tensor:
    return 5.0 * torch.randn(6, 8, 8, generator=torch.Generator().manual_seed(seed)) + 2.0


def test_heat_has_the_inputs_size_and_runs_from_zero_to_one_in_each_image():
    heat = overlap.heatmaps(some_maps(), 32)
    assert heat.shape == (6, 32, 32)
    assert heat.amin(dim=(1, 2)).tolist() == [0.0] * 6
    assert heat.amax(dim=(1, 2)).tolist() == pytest.approx([1.0] * 6)


def test_heat_of_a_batch_is_that_of_its_images_one_by_one():
    for place, heat in zip(some_maps(), overlap.heatmaps(some_maps(), 32), strict=True):
        large = F.interpolate(place[None, None], size=(32, 32), mode="bilinear", align_corners=False)[0, 0]
        expected = (large - large.min()) / (large.max() - large.min() + 1e-8)
        assert torch.allclose(heat, expected, atol=1e-6)


def test_maps_are_enlarged_as_pillow_enlarges_an_image():
    place = some_maps()[0]
    large = np.asarray(Image.fromarray(place.numpy()).resize((32, 32), Image.Resampling.BILINEAR))
    expected = (large - large.min()) / (large.max() - large.min())
    assert overlap.heatmaps(place[None], 32)[0].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e4])
def test_a_constant_map_has_finite_heat(value):
    heat = overlap.heatmaps(torch.full((2, 8, 8), value), 32)
    assert heat.isfinite().all()
    assert ((heat >= 0) & (heat <= 1)).all()


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 123.456])
def test_a_constant_map_has_an_empty_mask(value):
    assert not overlap.masks(torch.full((2, 8, 8), value), 32).any()


@examples
@given(
    arrays.arrays(np.float32, (2, 4, 4), elements=st.integers(-9, 9).map(float)).filter(
        lambda maps: (np.ptp(maps, axis=(1, 2)) > 0).all()
    ),
    st.floats(0.5, 20.0),
    st.floats(-10.0, 10.0),
)
def test_a_maps_unit_and_origin_leave_no_trace_in_its_heat(maps, scale, shift):
    maps = torch.from_numpy(maps)
    assert torch.allclose(overlap.heatmaps(scale * maps + shift, 8), overlap.heatmaps(maps, 8), atol=1e-4)


def test_a_mask_holds_the_places_hotter_than_the_threshold_and_not_those_as_hot():
    maps = torch.tensor([[[0.0, 2.0], [1.0, 4.0]]])
    assert overlap.masks(maps, 2, threshold=0.5).tolist() == [[[False, False], [False, True]]]
    assert overlap.masks(maps, 2, threshold=0.25).tolist() == [[[False, True], [False, True]]]
    assert overlap.masks(maps, 2, threshold=0.0).tolist() == [[[False, True], [True, True]]]


def test_masks_are_at_the_papers_threshold_unless_another_is_given():
    maps = some_maps()
    assert torch.equal(overlap.masks(maps, 16), overlap.heatmaps(maps, 16) > 0.4)


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 40.0, float("nan")])
def test_a_threshold_that_leaves_nothing_or_everything_is_an_error(threshold):
    with pytest.raises(ValueError, match=r"lies in \[0, 1\)"):
        overlap.masks(some_maps(), 16, threshold)


def test_area_is_the_share_of_the_image_that_a_mask_covers():
    masks = torch.tensor([[[1, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]], dtype=torch.bool)
    assert overlap.area(masks).tolist() == [0.25, 0.0, 1.0]


# -- overlap ---------------------------------------------------------------------------------------------------------


def strips(*images: str) -> Tensor:
    """Masks of one row each: x is attended to."""
    return torch.tensor([[[place == "x" for place in image]] for image in images])


def thrown(area: float, seed: int, images: int = 200) -> Tensor:
    """Masks of about this area, every pixel by itself."""
    return torch.rand(images, 32, 32, generator=torch.Generator().manual_seed(seed)) < area


@st.composite
def three_masks(draw) -> list[Tensor]:
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return [torch.from_numpy(draw(arrays.arrays(np.bool_, shape))) for _ in range(3)]


FORMS = ["per-image", "as-released"]


def test_iou_is_the_mean_of_the_images_own():
    first, second = strips("xx..", "xxxx"), strips("x...", "x...")
    assert overlap.iou([first, second]) == pytest.approx((1 / 2 + 1 / 4) / 2)


def test_iou_of_three_networks_is_the_intersection_of_all_over_the_union_of_all():
    masks = [strips("xxx.", "xx.."), strips("xx..", "x..."), strips("x..x", ".xx.")]
    assert overlap.iou(masks) == pytest.approx((1 / 4 + 0 / 3) / 2)


def test_iou_as_released_pools_batches_and_weighs_them_with_their_sizes():
    masks = [strips("xx..", "xxxx", "xxx."), strips("x...", "x...", "xxxx")]
    assert overlap.iou(masks, "as-released", batch_size=2) == pytest.approx((2 * (2 / 6) + 1 * (3 / 4)) / 3)
    assert overlap.iou(masks) == pytest.approx((1 / 2 + 1 / 4 + 3 / 4) / 3)


def test_iou_as_released_pools_batches_of_128():
    first, second = strips(*["xx"] * 64, *["x."] * 64, ".x"), strips(*["x."] * 129)
    assert overlap.iou([first, second], "as-released") == pytest.approx((128 * (128 / 192) + 1 * 0) / 129)


@pytest.mark.parametrize("form", FORMS)
def test_networks_that_attend_nowhere_overlap_fully(form):
    nowhere, somewhere = strips("..", ".."), strips("..", "x.")
    assert overlap.iou([nowhere, nowhere], form, batch_size=1) == 1.0
    assert overlap.iou([nowhere, somewhere], form, batch_size=1) == 0.5


@pytest.mark.parametrize("measured", [overlap.iou, overlap.chance_iou, overlap.excess_iou])
def test_an_overlap_is_of_two_or_more_boolean_masks_of_one_shape(measured):
    with pytest.raises(ValueError, match="not of 1"):
        measured([strips("x.")])
    with pytest.raises(ValueError, match=r"one shape.*\(1, 1, 2\).*\(1, 1, 3\)"):
        measured([strips("x."), strips("x..")])
    with pytest.raises(ValueError, match=r"boolean masks.*float32"):
        measured([strips("x."), strips("x.").float()])


@pytest.mark.parametrize("profile", ["cpu", "cpu-imagenet", "cpu-short"])
def test_masks_at_32_overlap_a_little_more_than_at_the_released_224_and_mixed_pairs_part_as_much(profile):
    maps = results.read(results.home() / profile).explorer.maps
    overlaps = {}
    for side in (table.SIDE, 224):
        masks = {name: overlap.masks(kinds["cam-predicted/clean"], side) for name, kinds in maps.items()}
        overlaps[side] = {
            (a, b): overlap.iou([masks[f"T1{a}"], masks[f"T2{b}"]]) for a, b in itertools.product("ws", repeat=2)
        }
    above = {pair: small - overlaps[224][pair] for pair, small in overlaps[32].items()}
    assert all(0.003 < each < 0.009 for each in above.values())
    assert abs(above["w", "s"] + above["s", "w"] - above["w", "w"] - above["s", "s"]) / 2 < 0.001


def test_an_unknown_form_of_iou_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"'pooled'.*per-image or as-released"):
        overlap.iou([strips("x."), strips("x.")], "pooled")


@examples
@given(three_masks(), st.sampled_from(FORMS), st.integers(1, 4))
def test_iou_is_a_share_and_symmetric_and_one_for_equal_masks(masks, form, batch_size):
    first, second, _ = masks
    iou = overlap.iou([first, second], form, batch_size)
    assert 0.0 <= iou <= 1.0
    assert iou == overlap.iou([second, first], form, batch_size)
    assert overlap.iou([first, first], form, batch_size) == 1.0


@examples
@given(three_masks(), st.sampled_from(FORMS))
def test_iou_falls_as_a_mask_grows_where_the_other_is_not(masks, form):
    first, second, more = masks
    grown = second | (more & ~first)
    assert overlap.iou([first, grown], form) <= overlap.iou([first, second], form)


@examples
@given(three_masks(), st.sampled_from(FORMS))
def test_three_networks_overlap_no_more_than_any_two_of_them(masks, form):
    of_three = overlap.iou(masks, form)
    assert all(of_three <= overlap.iou(pair, form) for pair in itertools.combinations(masks, 2))


# -- chance ----------------------------------------------------------------------------------------------------------


def test_chance_is_the_product_of_areas_over_what_independent_masks_cover_together():
    half, quarter = strips("xx.."), strips("...x")
    assert overlap.chance_iou([half, half]) == pytest.approx(0.25 / 0.75)
    assert overlap.chance_iou([half, quarter]) == pytest.approx(0.125 / 0.625)
    assert overlap.chance_iou([half, half, half]) == pytest.approx(0.125 / 0.875)


def test_chance_is_the_mean_of_the_images_own():
    masks = strips("xx..", "xxxx", "....")
    assert overlap.chance_iou([masks, masks]) == pytest.approx((1 / 3 + 1 + 1) / 3)


@pytest.mark.parametrize("areas", [(0.3, 0.3), (0.1, 0.7), (0.5, 0.6, 0.7)])
def test_area_matched_iou_is_zero_for_independent_masks(areas):
    masks = [thrown(area, seed) for seed, area in enumerate(areas)]
    assert overlap.iou(masks) == pytest.approx(overlap.chance_iou(masks), abs=0.005)
    assert overlap.excess_iou(masks) == pytest.approx(0.0, abs=0.005)


def test_larger_independent_masks_overlap_more_by_chance_and_not_beyond_it():
    small, large = ([thrown(area, seed) for seed in (0, 1)] for area in (0.2, 0.8))
    assert overlap.iou(large) > 5 * overlap.iou(small)
    assert overlap.excess_iou(large) == pytest.approx(overlap.excess_iou(small), abs=0.01)


def test_area_matched_iou_is_one_for_equal_masks_and_negative_for_disjoint_ones():
    masks = thrown(0.4, 0)
    assert overlap.excess_iou([masks, masks]) == pytest.approx(1.0)
    assert overlap.excess_iou([masks, ~masks]) < 0.0


def test_masks_that_cover_everything_have_nothing_to_exceed():
    everything = strips("xx", "xx")
    assert overlap.chance_iou([everything, everything]) == 1.0
    assert overlap.excess_iou([everything, everything]) == 0.0
