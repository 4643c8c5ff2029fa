"""Compact transformers against their paper and a plain rewriting; maps of their attention against slow reckonings."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradientXActivation
from torch import Tensor, nn

from kdnb import cli
from kdnb.evidence import overlap
from kdnb.scale import cost
from kdnb.scale.cost import Sizes
from kdnb.study import grid, weights
from kdnb.study import profile as profiles
from kdnb.study.store import Entry
from kdnb.training import maps, models
from kdnb.training.models import Network
from kdnb.training.spec import ModelSpec
from kdnb.zoo import attention
from kdnb.zoo.transformers import Transformer

NAMES = ("vit-tiny", "cct-2-3x2")
CONVOLUTIONAL = ("cam-sum", "cam-predicted", "cam-true", "grad-cam")
OF_ATTENTION = ("rollout", "attention-last", "attention-gradient")


def build(name: str, classes: int = 10, side: int = 32) -> Transformer:
    """A network whose tokens attend unevenly, as those of a trained one, and whose answers hang on it."""
    network = models.build(ModelSpec(name=name), classes, side, seed=1).eval()
    assert isinstance(network, Transformer)
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draws)
    return network


@pytest.fixture(scope="module", params=NAMES)
def network(request) -> Transformer:
    return build(request.param)


@pytest.fixture(scope="module")
def shown(images: Tensor) -> Tensor:
    """Three real images, normalised."""
    return images[:3] / 127.5 - 1.0


# -- compact transformers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "thousands"), [("cct-2-3x2", 284), ("cct-4-3x2", 482)])
def test_a_compact_transformer_has_as_many_weights_as_hassani_et_al_report(name, thousands):
    """Of CIFAR-10's ten classes (table of their repository)."""
    network = models.build(ModelSpec(name=name), classes=10, side=32, seed=0)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1000) == thousands


@pytest.mark.parametrize(("name", "blocks", "millions"), [("cct-2-3x2", 2, 33), ("cct-4-3x2", 4, 46)])
def test_a_compact_transformer_takes_the_operations_that_hassani_et_al_report(name, blocks, millions):
    """They count multiplications, and leave out those of queries with keys and of attention with values."""
    operations = models.flops(models.build(ModelSpec(name=name), classes=10, side=32, seed=0), 32)
    of_attention = blocks * 2 * 64 * 64 * 128
    assert round((operations / 2 - of_attention) / 1e6) == millions


def plainly(network: Network, image: Tensor, depth: int) -> Tensor:
    """The paper's network on one image, token by token, from the weights alone: logits (K,)."""
    w = dict(network.state_dict())

    def norm(token: Tensor, name: str) -> Tensor:
        centred = token - token.mean()
        return centred / (centred.square().mean() + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(token: Tensor, name: str) -> Tensor:
        return w[f"{name}.weight"] @ token + w.get(f"{name}.bias", torch.zeros(()))

    places = image[None]
    for layer in ("0", "3"):
        places = F.conv2d(places, w[f"features.tokenizer.{layer}.weight"], padding=1).relu()
        places = F.pad(places, (1, 1, 1, 1))  # after ReLU a maximum with nought changes nothing
        rows = range(0, places.shape[2] - 2, 2)
        places = torch.stack(
            [torch.stack([places[:, :, r : r + 3, c : c + 3].amax(dim=(2, 3)) for c in rows], dim=-1) for r in rows], -2
        )
    row = range(places.shape[2])
    tokens = [places[0, :, r, c] for r in row for c in row]
    tokens = [token + position for token, position in zip(tokens, w["features.position"][0], strict=True)]
    for block in (f"features.blocks.{number}" for number in range(depth)):
        triples = [linear(norm(token, f"{block}.norm1"), f"{block}.attention.queries_keys_values") for token in tokens]
        queries, keys, values = (torch.stack([t.split(128)[part] for t in triples]) for part in range(3))
        taken = []
        for query in queries:
            heads = []
            for head in (slice(0, 64), slice(64, 128)):
                scores = torch.exp(keys[:, head] @ query[head] / 8.0)
                heads.append((scores / scores.sum()) @ values[:, head])
            taken.append(torch.cat(heads))
        tokens = [
            norm(token + linear(each, f"{block}.attention.out"), f"{block}.norm2")
            for token, each in zip(tokens, taken, strict=True)
        ]
        tokens = [token + linear(F.gelu(linear(token, f"{block}.mlp.0")), f"{block}.mlp.2") for token in tokens]
    tokens = [norm(token, "features.norm") for token in tokens]
    counts = torch.exp(torch.cat([linear(token, "classifier.pool") for token in tokens]))
    pooled = sum(count * token for count, token in zip(counts, tokens, strict=True)) / counts.sum()
    return linear(pooled, "classifier.linear")


@pytest.mark.parametrize(("name", "depth"), [("cct-2-3x2", 2), ("cct-4-3x2", 4)])
@torch.no_grad()
def test_a_compact_transformer_answers_as_one_that_is_written_out(name, depth, shown):
    network = build(name)
    ours = network(shown[:1])[0]
    assert ours.std() > 0.1
    assert torch.allclose(ours, plainly(network, shown[0], depth), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("side", "grid"), [(32, 8), (28, 7), (30, 8), (64, 16)])
@torch.no_grad()
def test_a_compact_transformer_has_a_token_for_four_by_four_pixels(side, grid):
    network = models.build(ModelSpec(name="cct-2-3x2"), classes=10, side=side, seed=0)
    assert network.features(torch.zeros(1, 3, side, side)).shape == (1, 128, grid, grid)


def test_a_compact_transformer_starts_as_it_was_released():
    network = models.build(ModelSpec(name="cct-4-3x2"), classes=10, side=32, seed=0)
    spread = {name: float(tensor.detach().square().mean().sqrt()) for name, tensor in network.named_parameters()}
    assert spread["features.position"] == pytest.approx(0.2, rel=0.03)
    assert spread["features.blocks.3.attention.queries_keys_values.weight"] == pytest.approx(0.02, rel=0.03)
    assert spread["features.tokenizer.3.weight"] == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)
    assert not any(network.classifier.linear.bias)


def test_training_a_transformer_draws_nothing(shown):
    network = build("cct-2-3x2").train()
    before = torch.get_rng_state()
    network(shown).sum().backward()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is not None for parameter in network.parameters())


# -- what its attention says -----------------------------------------------------------------------------------------


class Watched(nn.Module):
    """The network with each attention, and its pooling, handed through a module of its own, for captum to look at."""

    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.seen = nn.ModuleList(nn.Identity() for _ in range(len(network.features.blocks) + 1))

    def forward(self, images: Tensor) -> Tensor:
        features, head = self.network.features, self.network.classifier
        tokens = features.tokens(images)
        for block, seen in zip(features.blocks, self.seen, strict=False):
            tokens = block(tokens, seen(block.weights(tokens)))
        tokens = features.norm(tokens)
        if isinstance(head, nn.Linear):
            counts = torch.full(tokens.shape[:2], 1 / tokens.shape[1]) + 0.0 * tokens.sum(dim=2)
            return head((self.seen[-1](counts)[:, None] @ tokens)[:, 0])
        counts = head.pool(tokens)[:, :, 0].softmax(dim=1)
        return head.linear((self.seen[-1](counts)[:, None] @ tokens)[:, 0])


@torch.no_grad()
def test_the_attention_is_the_one_that_the_network_answers_by(network, shown):
    features, attentions = network.features.explained(shown)
    assert torch.allclose(features, network.features(shown), atol=1e-4)
    assert torch.allclose(network.pooled(features, network.pooling(features)), network(shown), rtol=1e-4, atol=1e-4)
    for rows in (*attentions, network.pooling(features)):
        assert (rows > 0).all()
        assert torch.allclose(rows.sum(dim=-1), torch.ones(rows.shape[:-1]), atol=1e-5)


@torch.no_grad()
def test_rollout_follows_every_path_from_the_pooling_back_to_the_images_places(network, shown):
    """As matrices of one image after the other: the identity added, rows brought to one, multiplied in order."""
    features = network.features(shown)
    found = attention.rollout(network, shown)
    for number, place in enumerate(found):
        flow = np.eye(64)
        for heads in network.attentions(shown)[number].double().numpy():
            kept = sum(heads) / len(heads) + np.eye(64)
            flow = (kept / kept.sum(axis=1, keepdims=True)) @ flow
        counts = network.pooling(features)[number].double().numpy()
        expected = np.array([sum(counts[token] * flow[token, source] for token in range(64)) for source in range(64)])
        assert place.numpy().ravel() == pytest.approx(expected, rel=1e-3)
        assert float(place.sum()) == pytest.approx(1.0, rel=1e-4)


@torch.no_grad()
def test_the_last_attention_of_a_mean_is_what_tokens_receive_and_of_a_compact_one_its_pooling(shown):
    plain, compact = build("vit-tiny"), build("cct-2-3x2")
    received = torch.zeros(3, 64)
    for head in range(3):
        for taking in range(64):
            received += plain.attentions(shown)[:, -1, head, taking] / (3 * 64)
    assert torch.allclose(attention.last_attention(plain, shown).flatten(1), received, rtol=1e-3)
    tokens = compact.features(shown).flatten(2).transpose(1, 2)
    counts = F.softmax(tokens @ compact.classifier.pool.weight[0] + compact.classifier.pool.bias, dim=1)
    assert torch.allclose(attention.last_attention(compact, shown).flatten(1), counts, rtol=1e-3)


def test_gradient_attention_multiplies_captums_gradients_times_attention(network, shown):
    target, watched = torch.tensor([1, 7, 3]), Watched(network)
    weighed = [LayerGradientXActivation(watched, seen).attribute(shown, target).detach() for seen in watched.seen]
    found = attention.gradient_attention(network, shown, target)
    for number, place in enumerate(found):
        relevance = np.eye(64)
        for block in weighed[:-1]:
            relevance = relevance + np.mean(np.maximum(block[number].double().numpy(), 0), axis=0) @ relevance
        expected = np.maximum(weighed[-1][number].double().numpy(), 0) @ relevance
        assert expected.std() > 0
        assert place.numpy().ravel() == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_the_gradient_of_an_attention_is_how_much_the_logit_changes_with_it(shown):
    """One weight of the first block, moved by hand."""
    network = build("cct-2-3x2").double()
    image = shown[:1].double()

    def logit(change: float) -> float:
        with torch.no_grad():
            tokens = network.features.tokens(image)
            for number, block in enumerate(network.features.blocks):
                weights = block.weights(tokens)
                if number == 0:
                    weights[0, 1, 5, 9] += change
                tokens = block(tokens, weights)
            places = network.features.norm(tokens).transpose(1, 2).unflatten(2, (8, 8))
            return float(network.head(places)[0, 4])

    watched = Watched(network)
    found = LayerGradientXActivation(watched, watched.seen[0]).attribute(image, 4).detach()[0, 1, 5, 9]
    with torch.no_grad():
        own = network.attentions(image)[0, 0, 1, 5, 9]
    assert float(found / own) == pytest.approx((logit(1e-5) - logit(-1e-5)) / 2e-5, rel=1e-4)


def test_where_attention_moves_nothing_its_gradient_map_of_a_mean_is_grad_cam(shown):
    network, target = build("vit-tiny"), torch.tensor([0, 4, 9])
    for block in network.features.blocks:
        nn.init.zeros_(block.attention.out.weight)
    found = attention.gradient_attention(network, shown, target)
    assert torch.allclose(found, maps.grad_cam(network, shown, target), rtol=1e-3, atol=1e-6)


def test_a_frozen_network_gives_the_same_maps_and_keeps_no_gradient(network, shown):
    frozen, target = copy.deepcopy(network).requires_grad_(False), torch.tensor([1, 2, 3])
    found = attention.gradient_attention(frozen, shown, target)
    assert torch.allclose(found, attention.gradient_attention(network, shown, target))
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_uniform_attention_says_nothing(shown):
    network = build("cct-2-3x2")
    for block in network.features.blocks:
        nn.init.zeros_(block.attention.queries_keys_values.weight)
    nn.init.zeros_(network.classifier.pool.weight)
    even = torch.full((3, 8, 8), 1 / 64)
    assert torch.allclose(attention.last_attention(network, shown), even)
    assert torch.allclose(attention.rollout(network, shown), even)


# -- on the path of class maps ---------------------------------------------------------------------------------------


def test_which_maps_a_network_gives_is_its_own_to_say(network, shown):
    residual = models.build(ModelSpec(name="resnet8-w8"), 10, 32, 0)
    assert residual.map_methods == CONVOLUTIONAL
    assert network.map_methods == (*CONVOLUTIONAL, *OF_ATTENTION)
    for each in (residual, network):
        found = maps.attention_maps(each, shown, torch.tensor([0, 1, 2]))
        assert set(found) == set(each.map_methods)
        assert {tuple(place.shape) for place in found.values()} == {(3, 8, 8)}


def test_maps_of_attention_are_not_negative_and_make_masks_as_class_maps_do(network, shown):
    found = maps.attention_maps(network, shown, torch.tensor([0, 1, 2]))
    for method in OF_ATTENTION:
        assert (found[method] >= 0).all()
        masks = overlap.masks(found[method], 32)
        assert 0 < float(overlap.area(masks).mean()) < 1
        shared = overlap.iou([masks, overlap.masks(found["cam-predicted"], 32)])
        assert 0 <= shared < 1
        assert overlap.iou([masks, masks]) == 1


def test_the_gradient_map_is_of_the_predicted_class_and_differs_between_classes(network, shown):
    predicted = network(shown).argmax(dim=1)
    found = maps.attention_maps(network, shown, torch.tensor([0, 1, 2]))["attention-gradient"]
    assert torch.allclose(found, attention.gradient_attention(network, shown, predicted))
    others = attention.gradient_attention(network, shown, (predicted + 1) % 10)
    assert not torch.allclose(found, others, rtol=0.1)


# -- the profile -----------------------------------------------------------------------------------------------------


def test_a_seed_of_the_profile_takes_less_than_an_hour_at_150_gflops_beside_its_origin():
    profile = profiles.load("cpu-vit")
    study = grid.build(profile, "a" * 16, profile.seeds[:1], {"A": "b" * 16})
    assert [run.name for run in study.every_run if run.spec.role == "origin"] == ["origin-A"]
    sizes = {"a" * 16: Sizes(5_000, 10_000, 100, 32), "b" * 16: Sizes(45_000, 10_000, 100, 32)}
    alone = replace(study, origins=())
    assert 0.8 < cost.of_study(alone, sizes).hours(0.15) < 1.0


def test_the_origin_of_the_profile_comes_with_the_package(cifar100_root):
    study = grid.plan(profiles.load("cpu-vit"), root=cifar100_root).study
    folder = weights.packaged(study.origins[0].spec.id)
    assert folder is not None
    entry = Entry(folder)
    entry.verify()
    assert entry.spec == study.origins[0].spec
    assert entry.log[-1]["validation_accuracy"] > 0.3


def test_the_profile_runs_from_its_origin_to_a_table_of_maps(tmp_path):
    """Two epochs, two images a class, eight pixels a side: the path, not the result."""
    settings = (
        "dataset={name: digits-2}",
        "origins.A.dataset={name: digits-2-rest}",
        "origins.A.train.epochs=2",
        "teacher.train.epochs=2",
        "student.train.epochs=2",
        "side=8",
        "reference=false",
        "grid=[{teachers: [[weak, strong]], students: [strong]}]",
        "observe={maps: 20, train_sample: 20, validate_sample: 20}",
    )
    chosen = [
        "--profile",
        "cpu-vit",
        "--store",
        str(tmp_path),
        *(part for each in settings for part in ("--set", each)),
    ]
    cli.main(["run", *chosen])
    cli.main(["table", *chosen, "--csv", str(tmp_path / "table.csv")])
    table = pd.read_csv(tmp_path / "table.csv").fillna("")
    teachers = table[(table["measure"] == "attention_iou") & (table["role"] == "ensemble")]
    assert set(teachers["method"]) == {*CONVOLUTIONAL, *OF_ATTENTION}
    assert teachers["value"].between(0, 1).all()
    assert set(teachers["against"]) == {""}  # no halves
    assert table[(table["measure"] == "accuracy") & (table["role"] == "student")]["value"].between(0, 1).all()
