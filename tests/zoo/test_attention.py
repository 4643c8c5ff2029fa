"""A transformer's attention against the blocks that it comes from, and its Grad-CAM against its class activation map."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdnb.training import maps, models
from kdnb.training.spec import ModelSpec
from kdnb.zoo import attention
from kdnb.zoo.transformers import Transformer


@pytest.fixture(scope="module")
def transformer() -> Transformer:
    network = models.build(ModelSpec(name="vit-tiny"), classes=10, side=32, seed=1).eval()
    assert isinstance(network, Transformer)
    return network


@pytest.fixture(scope="module")
def shown(images: Tensor) -> Tensor:
    """Eight real images, normalised."""
    return images[:8] / 127.5 - 1.0


def close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_grad_cam_is_the_positive_part_of_the_map_without_bias_over_its_places(transformer, shown):
    target = torch.arange(8)
    with torch.no_grad():
        true = maps.cam(transformer, transformer.features(shown), "true", target)
    expected = F.relu(true - transformer.classifier.bias[target].view(-1, 1, 1)) / 64
    assert torch.allclose(maps.grad_cam(transformer, shown, target), expected, rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_attention_weights_are_one_distribution_for_each_token_block_and_head(transformer, shown):
    weights = transformer.attentions(shown)
    assert weights.shape == (8, 6, 3, 64, 64)
    assert (weights > 0).all()
    assert close(weights.sum(dim=-1), torch.ones(8, 6, 3, 64))


@torch.no_grad()
def test_the_attention_weights_are_those_that_make_the_features(transformer, shown):
    encoder = transformer.features
    tokens = encoder.tokens(shown)
    for block, weights in zip(encoder.blocks, transformer.attentions(shown).unbind(dim=1), strict=True):
        values = block.attention.queries_keys_values(block.norm1(tokens)).chunk(3, dim=-1)[2]
        mixed = torch.cat([w @ v for w, v in zip(weights.unbind(1), values.chunk(3, dim=-1), strict=True)], dim=-1)
        tokens = tokens + block.attention.out(mixed)
        tokens = tokens + block.mlp(block.norm2(tokens))
    assert close(encoder.norm(tokens).transpose(1, 2).unflatten(2, (8, 8)), encoder(shown))


@torch.no_grad()
def test_rollout_multiplies_the_blocks_attention_half_of_it_identity_and_averages_the_output_tokens(transformer, shown):
    found = attention.rollout(transformer, shown[:2])
    for weights, places in zip(transformer.attentions(shown[:2]).numpy(), found.numpy(), strict=True):
        blocks = [(block.mean(axis=0) + np.eye(64)) / 2 for block in weights]
        expected = np.linalg.multi_dot(blocks[::-1]).mean(axis=0)
        assert places.ravel() == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_rollout_spreads_one_unit_of_attention_over_each_image(transformer, shown):
    found = attention.rollout(transformer, shown)
    assert found.shape == (8, 8, 8)
    assert (found > 0).all()
    assert close(found.sum(dim=(1, 2)), torch.ones(8))
    assert found.std() > 1e-5


@torch.no_grad()
def test_rollout_of_uniform_attention_is_uniform(shown):
    network = models.build(ModelSpec(name="vit-tiny"), classes=10, side=32, seed=2).eval()
    for block in network.features.blocks:
        nn.init.zeros_(block.attention.queries_keys_values.weight)
        nn.init.zeros_(block.attention.queries_keys_values.bias)
    assert close(attention.rollout(network, shown), torch.full((8, 8, 8), 1 / 64))
