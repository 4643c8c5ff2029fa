"""Every network's shape, size, cost and seed, and the two places where it is built differently from its textbook."""

import math
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
import torchvision

from kdnb.errors import ProfileError
from kdnb.training import models
from kdnb.training.models import Network
from kdnb.training.names import NAMES
from kdnb.training.spec import ModelSpec
from tests.conftest import HANGS


def build(name: str, seed: int = 0, side: int = 32) -> Network:
    return models.build(ModelSpec(name=name), classes=10, side=side, seed=seed)


def parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def same_weights(first: Network, second: Network) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


# -- the registry ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_every_name_builds_a_network_whose_logits_are_the_head_of_its_features(name):
    network = build(name).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = network(images)
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    assert torch.allclose(logits, network.head(network.features(images)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet8-w8", (32, 8, 8)),
        ("resnet8-w16", (64, 8, 8)),
        ("resnet20", (64, 8, 8)),
        ("resnet18-cifar", (512, 4, 4)),
        ("resnet18", (512, 1, 1)),
        ("vit-tiny", (96, 8, 8)),
        ("cct-2-3x2", (128, 8, 8)),
    ],
)
@torch.no_grad()
def test_the_last_map_of_a_32x32_image(name, shape):
    assert build(name).eval().features(torch.zeros(1, 3, 32, 32)).shape == (1, *shape)


@torch.no_grad()
def test_the_head_is_one_linear_layer_on_the_mean_over_places():
    network = build("resnet8-w8")
    maps = torch.randn(3, 32, 8, 8)
    pooled = F.adaptive_avg_pool2d(maps, 1).flatten(1)
    assert torch.allclose(network.head(maps), network.classifier(pooled), atol=1e-6)


def test_a_vision_transformer_needs_a_side_that_eight_patches_divide():
    assert build("vit-tiny", side=64).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 10)
    with pytest.raises(ProfileError, match="30 pixels"):
        build("vit-tiny", side=30)


# -- size and cost ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_a_resnet8_has_the_weights_and_operations_counted_by_hand(width):
    stages = {256: (18, 4), 64: (18 + 36 + 2 + 72 + 144 + 8, 12 + 24)}  # places: weights by W², by W in normalisation
    weights = 27 * width + 2 * width + sum(w * width**2 + n * width for w, n in stages.values()) + 40 * width + 10
    multiplications = 27 * width * 256 + sum(w * width**2 * places for places, (w, _) in stages.items()) + 40 * width
    network = build(f"resnet8-w{width}")
    assert parameters(network) == weights
    assert models.flops(network, 32) == 2 * multiplications


@pytest.mark.parametrize(("name", "low", "high"), [("resnet8-w16", 11.5e6, 12.5e6), ("resnet8-w32", 46e6, 48e6)])
def test_the_networks_for_cpus_cost_about_12_and_47_million_operations(name, low, high):
    assert low < models.flops(build(name), 32) < high


@pytest.mark.parametrize(("name", "millions"), [("resnet20", 0.27), ("resnet56", 0.85)])
def test_the_cifar_resnets_have_as_many_weights_as_he_et_al_report(name, millions):
    assert parameters(build(name)) / 1e6 == pytest.approx(millions, abs=0.01)


def test_a_torchvision_resnet_differs_in_size_only_by_its_classes():
    published = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["num_params"]
    assert parameters(build("resnet18")) == published - 513 * 1000 + 513 * 10


def test_counting_operations_leaves_the_network_as_it_was():
    network = build("resnet8-w8").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    models.flops(network, 32)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


# -- seeds -----------------------------------------------------------------------------------------------------------

SEEDED = ["resnet8-w8", "resnet20", "resnet18-cifar", "vit-tiny", "cct-2-3x2"]


@pytest.mark.parametrize("name", SEEDED)
def test_a_seed_draws_the_weights_whatever_was_drawn_before(name):
    first = build(name, seed=3)
    torch.rand(5)
    assert same_weights(first, build(name, seed=3))
    assert not same_weights(first, build(name, seed=4))


@pytest.mark.parametrize("name", SEEDED)
def test_building_leaves_the_global_random_state_alone(name):
    before = torch.get_rng_state()
    build(name, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_building_leaves_the_random_state_of_accelerators_alone(monkeypatch):
    reseeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseeded.append)
    build("resnet8-w8", seed=5)
    assert reseeded == []


def test_convolutions_start_with_the_variance_that_keeps_gradients_of_one_size():
    weight = build("resnet8-w64").features[4].first[0].weight
    assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.01)


# -- torchvision's networks ------------------------------------------------------------------------------------------


@torch.no_grad()
def test_with_torchvisions_weights_the_network_is_torchvisions():
    theirs = torchvision.models.resnet18(num_classes=10)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    theirs.train()(images)
    ours = build("resnet18", side=64).eval()
    weights = theirs.state_dict()
    ours.classifier.load_state_dict({"weight": weights.pop("fc.weight"), "bias": weights.pop("fc.bias")})
    ours.features.load_state_dict(weights)
    assert torch.allclose(ours(images), theirs.eval()(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18-cifar", "resnet50-cifar"])
def test_the_stem_for_small_images_neither_strides_nor_pools(name):
    features = build(name).features
    assert (features.conv1.kernel_size, features.conv1.stride) == ((3, 3), (1, 1))
    assert features.maxpool(torch.ones(1, 64, 32, 32)).shape == (1, 64, 32, 32)


# -- projection shortcuts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [8, 7])
@torch.no_grad()
def test_a_projection_is_a_strided_1x1_convolution(side):
    projection = models.Projection(4, 6, stride=2)
    convolution, normalisation = projection.project
    images = torch.randn(5, 4, side, side, generator=torch.Generator().manual_seed(0))
    expected = normalisation(F.conv2d(images, convolution.weight, stride=2))
    assert projection(images).shape == (5, 6, 4, 4)
    assert torch.allclose(projection(images), expected, atol=1e-5)


TRAINING = """
import torch
from kdnb.training import models
from kdnb.training.spec import ModelSpec

network = models.build(ModelSpec(name="resnet8-w8"), 10, 32, 0).to(memory_format=torch.channels_last)
optimiser = torch.optim.SGD(network.parameters(), 0.05)
for _ in range(20):
    images = torch.randn(23, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    loss = torch.nn.functional.cross_entropy(network(images), torch.randint(10, (23,)))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
assert loss.isfinite()
"""


def test_training_narrow_networks_in_odd_batches_writes_in_bounds():
    checked = os.environ | {"MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", TRAINING], env=checked, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
