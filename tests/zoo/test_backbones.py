"""Networks of other libraries: the same answers as theirs, from two parts, whatever their heads are made of."""

import copy
import sys
import types

import pytest
import torch
import torchvision
from torch import nn

from kdnb.errors import ProfileError
from kdnb.training import maps, models
from kdnb.training.models import Network
from kdnb.training.spec import ModelSpec


def build(name: str, side: int, layer: str = "", seed: int = 0) -> Network:
    return models.build(ModelSpec(name=name, map_layer=layer), classes=10, side=side, seed=seed).eval()


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def theirs(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return torchvision.models.get_model(name, weights=None, num_classes=10).eval()


# -- torchvision's ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side", "layer", "shape", "linear"),
    [
        ("resnet18", 64, "", (512, 2, 2), True),
        ("resnet18", 32, "layer3", (256, 2, 2), False),
        ("shufflenet_v2_x0_5", 64, "", (1024, 2, 2), True),
        ("mobilenet_v2", 64, "", (1280, 2, 2), True),
        ("mobilenet_v3_small", 64, "", (576, 2, 2), False),
        ("efficientnet_b0", 64, "", (1280, 2, 2), True),
        ("regnet_x_400mf", 64, "", (400, 2, 2), True),
        ("densenet121", 64, "", (1024, 2, 2), True),
        ("squeezenet1_1", 64, "", (10, 3, 3), False),
        ("convnext_tiny", 64, "", (768, 2, 2), False),
        ("swin_t", 64, "", (768, 2, 2), True),
        ("vgg11", 64, "", (512, 2, 2), False),
    ],
)
@torch.no_grad()
def test_two_parts_answer_as_the_whole(name, side, layer, shape, linear):
    ours, images = build(f"torchvision:{name}", side, layer), drawn(2, 3, side, side)
    features = ours.features(images)
    assert features.shape == (2, *shape)
    assert isinstance(ours.classifier, nn.Linear) == linear
    expected = theirs(name)(images)
    assert expected.std() > 0
    assert torch.allclose(ours(images), expected, rtol=1e-4, atol=1e-5)
    before = features.clone()
    assert torch.allclose(ours.head(features), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(features, before)


def test_the_map_of_a_32x32_image_is_one_place_and_the_error_names_the_layers_that_have_more():
    with pytest.raises(ProfileError, match=r"no map of more than one place .* at 32×32 .*layer3\.1 \(256, 2, 2\)"):
        build("torchvision:resnet18", 32)


@pytest.mark.parametrize(
    ("name", "side", "layer", "message"),
    [
        ("vit_b_32", 64, "", r"vit_b_32 has no map .* before its head, .*another network, as torchvision:resnet18"),
        ("swin_t", 64, "features", r"'features' of torchvision:swin_t gives no map .*map_layer: permute \(768, 2, 2\)"),
        ("resnet18", 64, "layer5", r"no layer 'layer5' as map_layer; its parts are conv1, .*layer4, avgpool, fc"),
        ("resnet18", 64, "layer3.0.conv1", r"'layer3\.0\.conv1' .* gives no map that all that follows goes through"),
        ("resnet18", 64, "avgpool", r"'avgpool' .* gives no map"),
        ("inception_v3", 32, "", r"takes no images of 32×32 pixels \(Calculated padded input size"),
        ("maxvit_t", 64, "", r"maxvit_t cannot be built for 64×64 pixels \(Input size"),
    ],
)
def test_a_network_without_a_map_is_an_error_that_names_the_choices(name, side, layer, message):
    with pytest.raises(ProfileError, match=message):
        build(f"torchvision:{name}", side, layer)


def test_chance_has_no_part_in_training():
    first = build("torchvision:efficientnet_b0", 64).train()
    second, images = copy.deepcopy(first), drawn(2, 3, 64, 64)
    with torch.random.fork_rng(devices=[]):
        answers = first(images)
        torch.rand(1)
        assert torch.equal(answers, second(images))


@pytest.mark.parametrize("layer", ["", "layer3"])
def test_every_weight_learns_and_stands_in_one_part(layer):
    network = build("torchvision:resnet18", 64, layer).train()
    network(drawn(2, 3, 64, 64)).logsumexp(dim=1).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert weights == sum(parameter.numel() for parameter in theirs("resnet18").parameters())
    assert {key.split(".")[0] for key in network.state_dict()} == {"features", "classifier"}


def test_a_seed_draws_the_weights_and_nothing_global():
    before = torch.get_rng_state()
    first, again, other = (build("torchvision:shufflenet_v2_x0_5", 64, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_half_an_image_is_seen_where_the_network_takes_it():
    assert build("torchvision:shufflenet_v2_x0_5", 64).any_width
    narrow = build("torchvision:alexnet", 96)
    assert not narrow.any_width
    with pytest.raises(RuntimeError, match="size"):
        narrow(drawn(1, 3, 96, 48))  # its last pooling sees less than three columns


# -- maps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["sum", "predicted", "true"])
def test_on_a_linear_head_hirescam_is_the_class_activation_map_without_its_bias(of):
    network, labels = build("torchvision:resnet18", 64), torch.tensor([3, 1])
    assert isinstance(network.classifier, nn.Linear)
    nn.init.zeros_(network.classifier.bias)
    features = network.features(drawn(2, 3, 64, 64)).detach()
    plain = maps.cam(network, features, of, labels)
    whole = copy.deepcopy(network)
    whole.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier)
    assert torch.allclose(maps.cam(whole, features, of, labels), plain, rtol=1e-4, atol=1e-5)


def test_all_maps_of_a_network_with_another_head_have_the_size_of_its_map():
    network = build("torchvision:resnet18", 32, "layer2")
    found = maps.attention_maps(network, drawn(2, 3, 32, 32), torch.tensor([0, 9]))
    assert set(found) == {"cam-sum", "cam-predicted", "cam-true", "grad-cam"}
    assert all(each.shape == (2, 4, 4) and each.isfinite().all() and each.std() > 0 for each in found.values())
    assert not torch.allclose(found["cam-predicted"], found["cam-true"])


# -- timm's ----------------------------------------------------------------------------------------------------------


class Head(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, classes)

    def forward(self, x, pre_logits=False):
        x = self.pool(x).flatten(1)
        return x if pre_logits else self.fc(x)


class DropPath(nn.Module):
    def forward(self, x):
        return x * torch.rand(len(x), 1, 1, 1).round() if self.training else x


class Small(nn.Module):
    """Of timm's form: arguments with defaults, a head with its pooling inside, stochastic depth."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem, self.drop_path = nn.Conv2d(3, 6, 3, stride=4), DropPath()
        self.head = Head(classes)

    def forward(self, x, mask=None):
        x = self.drop_path(self.stem(x)).relu()
        if mask is not None:
            x = x * mask
        return self.head(x)


class Moody(Small):
    """One thing in training, another afterwards."""

    def forward(self, x):
        x = self.stem(x)
        return self.head(x.tanh() if self.training else x)


class Picky(Small):
    """What it does depends on what it sees."""

    def forward(self, x):
        return self.head(self.stem(x) if x.mean() > 0 else self.stem(-x))


MODELS = {"small": Small, "moody": Moody, "picky": Picky}


@pytest.fixture
def timm(monkeypatch):
    fake = types.ModuleType("timm")
    fake.is_model = lambda name: name in MODELS
    fake.list_models = lambda: list(MODELS)
    fake.create_model = lambda name, pretrained, num_classes: MODELS[name](num_classes)
    monkeypatch.setitem(sys.modules, "timm", fake)


@pytest.mark.usefixtures("timm")
def test_a_network_of_timms_is_taken_apart_where_its_head_pools():
    network, images = build("timm:small", 32), drawn(2, 3, 32, 32)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        whole = Small(10).eval()
    assert network.features(images).shape == (2, 6, 8, 8)
    assert torch.equal(network.features(images), whole.stem(images).relu())
    assert isinstance(network.classifier, nn.Linear)
    assert torch.allclose(network(images), whole(images), atol=1e-5)
    assert torch.equal(network.train().features(images), network.features(images))


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "message"),
    [("moody", "timm:moody does other things in training"), ("picky", "the code of timm:picky cannot be taken apart")],
)
def test_a_network_that_changes_its_ways_is_refused(name, message):
    with pytest.raises(ProfileError, match=message):
        build(f"timm:{name}", 32)


@pytest.mark.usefixtures("timm")
def test_an_unknown_network_of_timms_is_named_with_those_near_it():
    with pytest.raises(ProfileError, match=r"timm has no model 'smalls'; near it are small"):
        build("timm:smalls", 32)


def test_without_timm_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ProfileError, match=r"timm:resnet18 needs timm, which is not installed: pip install timm"):
        build("timm:resnet18", 32)
