"""Deletion: a map of what the network uses falls first, and captum's occlusion is the fall of the logit."""

import pytest
import torch
from torch import nn

from kdnb.evidence import deletion
from kdnb.training.models import Network


class Corner(Network):
    """Two classes; the logit of the first is the mean of the upper left quarter of 8 × 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.classifier = nn.Identity(), nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        of = images[:, :, :4, :4].mean(dim=(1, 2, 3))
        return torch.stack([of, torch.zeros_like(of)], dim=1)


@pytest.fixture
def images() -> torch.Tensor:
    return 2 + torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def used() -> torch.Tensor:
    heat = torch.zeros(3, 8, 8)
    heat[:, :4, :4] = 1.0
    return heat


def test_the_curve_begins_with_the_answer_and_ends_with_nothing_left(images: torch.Tensor) -> None:
    curves = deletion.curve(Corner(), images, deletion.falling(used()), steps=4)
    whole = Corner()(images).softmax(dim=1)[:, 0]
    assert curves.shape == (3, 5)
    assert torch.allclose(curves[:, 0], whole)
    assert torch.allclose(curves[:, 1:], torch.tensor(0.5))  # a quarter of the pixels was all that is used


def test_what_is_used_falls_before_chance_and_chance_before_the_reverse(images: torch.Tensor) -> None:
    network, orders = Corner(), deletion.orders({"map": used()}, seed=3)
    areas = {
        name: float(deletion.deletion(deletion.curve(network, images, order)).mean()) for name, order in orders.items()
    }
    assert areas["map"] < areas["random"] < areas["reverse"]


def test_a_random_order_has_every_pixel_once_and_is_the_seeds() -> None:
    order = deletion.at_random(2, 8, seed=1)
    assert order.sort(dim=1).values.tolist() == [list(range(64))] * 2
    assert torch.equal(order, deletion.at_random(2, 8, seed=1))
    assert not torch.equal(order, deletion.at_random(2, 8, seed=2))


def test_occlusion_is_the_fall_of_the_logit_under_each_square(images: torch.Tensor) -> None:
    network = Corner()
    found = deletion.occlusion(network, images, patch=2)
    covered = images.clone()
    covered[:, :, 2:4, 0:2] = 0.0
    assert found.shape == (3, 4, 4)
    assert torch.allclose(found[:, 1, 0], (network(images) - network(covered))[:, 0], atol=1e-6)
    assert found[:, 2:].abs().max() == 0
