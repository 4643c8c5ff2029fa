"""A data set that a user registered: planned, cut into subsets and draws, and trained like any other."""

import pytest
import torch

from kdnb.errors import DataError, ProfileError
from kdnb.images import datasets
from kdnb.images.datasets import Dataset, Draws
from kdnb.images.readers import Split
from kdnb.study import execute, grid
from kdnb.study.profile import DatasetConfig
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from tests.conftest import small_profile


@pytest.fixture
def patterns(monkeypatch):
    """Two classes of 40 images that a mean colour tells apart."""
    monkeypatch.setattr(datasets._whole, "own", {})

    @datasets.register("patterns")
    def load(root):
        draw = torch.Generator().manual_seed(0)

        def split(count):
            labels = torch.arange(2).repeat_interleave(count)
            images = torch.randint(0, 128, (2 * count, 3, 32, 32), generator=draw, dtype=torch.uint8)
            images += 100 * labels.view(-1, 1, 1, 1).to(torch.uint8)
            return Split(images, labels, tuple(f"{label}/{number}" for number, label in enumerate(labels.tolist())))

        return Dataset("patterns", ("dark", "light"), split(40), split(10), (0.5,) * 3, (0.25,) * 3)

    return load


@pytest.mark.usefixtures("patterns")
def test_its_subsets_and_draws_come_with_it():
    whole, few, rest = (datasets.load(name) for name in ("patterns", "patterns-8", "patterns-8-rest"))
    assert (len(whole.train), len(few.train), len(rest.train)) == (80, 16, 64)
    assert set(few.train.names) | set(rest.train.names) == set(whole.train.names)
    draw = datasets.load("patterns-8", draws=Draws(3, 10, number=1))
    assert (len(draw.train), len(draw.draws)) == (16, 32)
    assert datasets.is_known("patterns-8")
    assert not datasets.is_known("other-8")


@pytest.mark.usefixtures("patterns")
def test_it_is_trained_like_any_other(tmp_path):
    profile = small_profile(reference=False).model_copy(update={"dataset": DatasetConfig(name="patterns-20")})
    plan = grid.plan(profile)
    report = execute.execute(plan.study, Store(tmp_path), Resources("cpu"), bar=False)
    report.require_complete()
    assert report.trained == len(plan.study.runs)


def test_names_of_the_package_and_unknown_ones_are_refused():
    with pytest.raises(ProfileError, match="'digits' is a data set of the package"):
        datasets.register("digits")
    with pytest.raises(
        DataError, match=r"no data set 'nowhere-3'; choose from digits, cifar100, .* or register your own"
    ):
        datasets.load("nowhere-3")
