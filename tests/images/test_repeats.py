"""Images that stand in a data set twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from kdnb import cli
from kdnb.errors import DataError
from kdnb.images import datasets
from kdnb.images.repeats import repeats
from tests.images.test_datasets import write_tree


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def joined(split, images, labels):
    return replace(
        split,
        images=torch.cat([split.images, images]),
        labels=torch.cat([split.labels, torch.tensor(labels)]),
        names=(*split.names, *(f"again-{number}" for number in range(len(labels)))),
    )


def test_images_in_both_splits_and_in_two_classes_are_counted(few_digits):
    here = repeats(few_digits)
    assert (here.in_both, here.in_two_classes, str(here)) == (0, 0, "")
    images, labels = few_digits.train.images[:3], few_digits.train.labels[:3].tolist()
    twice = replace(few_digits, validation=joined(few_digits.validation, images, labels))
    assert repeats(twice).in_both == 3
    assert repeats(twice).in_two_classes == 0
    assert str(repeats(twice)).endswith("than it looks: again-0, again-1, again-2")
    assert str(replace(repeats(twice), in_both=4)).endswith("again-2, …")
    wrong = [(label + 1) % 10 for label in labels[:1]]
    torn = replace(few_digits, train=joined(few_digits.train, images[:1], wrong))
    assert repeats(torn).in_two_classes == 1
    name = few_digits.train.names[0]
    assert str(repeats(torn)) == f"1 image is in more than one class, so no network can get all right: {name}"


def test_repeats_within_a_class_of_one_split_are_none(few_digits):
    again = replace(
        few_digits,
        train=joined(few_digits.train, few_digits.train.images[:2], few_digits.train.labels[:2].tolist()),
    )
    assert str(repeats(again)) == ""


def test_cifar100_repeats_some_of_its_images(cifar100_root):
    """Known of the data set: some test images are training images, and a few carry two labels."""
    found = repeats(datasets.load("cifar100", root=cifar100_root))
    assert found.in_both > 0
    assert found.in_both < 100


def test_the_plan_reports_them(tmp_path):
    """A folder whose one test image of a class is a training image."""
    tree = {f"{split}/{name}/{number}.png": picture(seed) for split, name, number, seed in SHARED}
    folder = write_tree(tmp_path / "own", tree)
    given = ["plan", "--no-probe", "--set", f"dataset.name=imagefolder:{folder}", "--set", "dataset.size=32"]
    said = CliRunner().invoke(cli.cli, given)
    assert said.exit_code == 0, said.output
    assert (
        "note: 1 validation image is also in training, so validation is easier than it looks: cat/0.png" in said.output
    )


SHARED = [
    ("train", "cat", 0, 0), ("train", "cat", 1, 1), ("train", "dog", 0, 2), ("train", "dog", 1, 3),
    ("test", "cat", 0, 1), ("test", "dog", 0, 4),
]  # fmt: skip


def test_one_class_is_refused(tmp_path):
    tree = {f"{split}/cat/{number}.png": picture(number) for split in ("train", "test") for number in range(2)}
    with pytest.raises(DataError, match="has one class, 'cat'; telling classes apart needs two at least"):
        datasets.load(f"imagefolder:{write_tree(tmp_path / 'own', tree)}", size=32)
