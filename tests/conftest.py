"""What tests share: real images, and folders that belong to no user."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdnb.images import datasets
from kdnb.images.datasets import Dataset
from kdnb.study import grid, worker
from kdnb.study.profile import DatasetConfig, NetworkConfig, Profile
from kdnb.training.spec import OneCycleSchedule, TrainSpec

HANGS = 900
"""Seconds after which a process is taken to hang: on a machine that is busy with much else, to start one takes minutes."""

SHARED = Path(__file__).parents[2] / "shared" / "data"


def cache_of(factory: pytest.TempPathFactory) -> Path:
    """One for all workers of a run, so that CIFAR-100 is decoded once."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"


@pytest.fixture(autouse=True)
def _folders_of_their_own(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch) -> None:
    """No test reads or writes the user's cache, data or store."""
    for name in ("KDNB_DATA", "KDNB_STORE"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("KDNB_CACHE", str(cache_of(tmp_path_factory)))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """scikit-learn's scanned digits, 599 to train on and 1,198 to validate."""
    return datasets.load("digits")


@pytest.fixture(scope="session")
def few_digits(digits: Dataset) -> Dataset:
    """70 of them to train on (two batches of 32 and a short one) and 90 to validate."""
    few = Dataset(
        "digits-few",
        digits.classes,
        digits.train.select(range(70)),
        digits.validation.select(range(90)),
        digits.mean,
        digits.std,
    )
    return Dataset(**{**vars(few), "hash": datasets.content_hash(few)})


@pytest.fixture(scope="module")
def some_digits(digits: Dataset) -> Iterator[Dataset]:
    """What ``digits`` loads in a module that trains whole studies in this process: 240 to train on and 360 to validate, so
    that the studies take a quarter of the time."""
    few = replace(digits, train=digits.train.select(range(240)), validation=digits.validation.select(range(360)))
    few = replace(few, hash=datasets.content_hash(few))
    worker._dataset.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "_digits", lambda: few)
        yield few
    worker._dataset.cache_clear()


@pytest.fixture(scope="session")
def cifar100_root() -> Path:
    """The folder with the real CIFAR-100 in a zip file."""
    root = Path(os.environ.get("KDNB_TEST_CIFAR100", SHARED))
    if not (root / "cifar100.zip").is_file():
        pytest.skip(f"needs the real images: no cifar100.zip in {root}; name its folder in KDNB_TEST_CIFAR100")
    return root


@pytest.fixture(scope="session")
def images(digits: Dataset) -> torch.Tensor:
    """128 real images of digits in three channels that differ, uint8 (128, 3, 32, 32)."""
    grey = digits.train.images[:128]
    return torch.stack([grey[:, 0], 255 - grey[:, 1], grey[:, 2].flip(-1)], dim=1)


LETTERS = {"w": "weak", "s": "strong"}


def grid_of(ensembles=("", "ww", "ss"), students=("w", "s")) -> list[dict]:
    """Rows of a grid from letters, as short as tests want them: ``ws`` is a weak and a strong teacher."""
    teachers = [[LETTERS[letter] for letter in letters] for letters in ensembles]
    return [{"teachers": teachers, "students": [LETTERS[letter] for letter in students]}]


def small_profile(*, ensembles=("", "ww", "ss"), students=("w", "s"), **changes) -> Profile:
    """The smallest study that has everything: four teachers, a reference, six students, two epochs."""
    network = NetworkConfig(
        model={"name": "resnet8-w8"},
        train=TrainSpec(epochs=2, batch_size=32, learning_rate=0.05, schedule=OneCycleSchedule()),
    )
    settings = {
        "name": "tiny",
        "dataset": DatasetConfig(name="digits"),
        "seeds": (0,),
        "teacher": network,
        "student": network,
        "grid": grid_of(ensembles, students),
        "observe": {"maps": 40, "train_sample": 50, "validate_sample": 60},
    }
    return Profile.model_validate(settings | changes)


@pytest.fixture(scope="session")
def small_study(few_digits: Dataset) -> grid.Study:
    return grid.build(small_profile(), few_digits.hash)


@pytest.fixture(params=["022", "002", "077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The modes that new files lack."""
    mask = int(request.param, 8)
    before = os.umask(mask)
    yield mask
    os.umask(before)


def modes(folder: Path, kind: Callable[[int], bool]) -> dict[Path, int]:
    """Of all that is below a folder and of a kind, as `stat.S_ISREG`."""
    found = {path.relative_to(folder): path.stat().st_mode for path in folder.rglob("*")}
    return {path: stat.S_IMODE(mode) for path, mode in found.items() if kind(mode)}


def everything(folder: Path) -> dict[Path, tuple[bytes, int, int]]:
    """Content, mode and time of a folder and of all that is below it."""
    found = {path: path.stat() for path in (folder, *folder.rglob("*"))}
    return {
        path: (path.read_bytes() if path.is_file() else b"", about.st_mode, about.st_mtime_ns)
        for path, about in found.items()
    }
