"""The released pipeline's way of training beside ours: same networks, images, batches and epochs, timed in turn in one run.

    python benchmarks/released.py [--profile cpu] [--images 5000] [--rounds 5] [--workers 2] [--device auto] \\
        [--csv book/calibration/released-cpu.csv]

The released way is written anew from PyTorch's and torchvision's own parts:

- worker processes make a weak and a strong view of every image, one image at a time, of which one is used;
- networks are trained one after the other, and each student asks its teachers itself, batch by batch;
- as it runs, all validation images are looked at twice an epoch, clean and augmented.

An epoch of it is timed.

Ours is `kdnb.training.train`: views of a chunk of images at once, all students of one augmentation in lockstep, one answer of
each teacher a batch, and a look at a sample of the validation images every few epochs (`observe.validate_every`). So as many
epochs are timed, and each takes its share.

Three groups are timed: the teachers; the students of the eight trials; all students of the grid that have no teacher or learn
from some by the plain objective. Both ways start from random weights and take the same number of steps an epoch, so they do the
same arithmetic but for what is shared.

With fewer images than `cpu` has, both ways look at fewer validation images, in proportion.

Measured for each, in each round: seconds an epoch of both in training alone and as they run, and of the bare sum of our epochs'
passes (forward, backward and step of each network, one forward of each teacher) on one batch in memory.
`kdnb.book.measured.released` makes the ratios of them, medians over the rounds with the least and the most. The images are
noise: what they show changes no time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Indexed
from torchvision import transforms

from kdnb import environment
from kdnb.book import measured
from kdnb.images.datasets import CIFAR_MEAN, CIFAR_STD, Dataset, Split
from kdnb.study import grid, profile
from kdnb.training import objectives, train
from kdnb.training.answers import Normaliser
from kdnb.training.spec import FreshOrigin, RunSpec

CLASSES, SIDE, HASH = 100, 32, "0" * 16
TRAINED_ON, LOOKED_AT = 5_000, 10_000
"""images of `cpu`, whose proportion fewer images keep"""
HOLE = 8
"""pixels of the side of the square that a strong view lacks"""


def noise(count: int, seed: int) -> Split:
    """Blocks of 4×4 pixels, so that images have edges and flat places."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (count, 3, SIDE // 4, SIDE // 4), generator=generator, dtype=torch.uint8)
    images = coarse.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    return Split(images, torch.arange(count) % CLASSES, tuple(str(number) for number in range(count)))


# -- the released way ------------------------------------------------------------------------------------------------


def cut_out(view: Tensor) -> Tensor:
    """A normalised view (3, S, S) without a square."""
    top, left = torch.randint(0, SIDE - HOLE, (2,)).tolist()
    view[:, top : top + HOLE, left : left + HOLE] = 0
    return view


PLAIN = transforms.Compose([transforms.ToTensor(), transforms.Normalize(CIFAR_MEAN, CIFAR_STD)])
CROPPED = [transforms.RandomResizedCrop(SIDE, scale=(0.2, 1.0)), transforms.RandomHorizontalFlip()]
WEAK = transforms.Compose([*CROPPED, transforms.RandomRotation(15), PLAIN])
STRONG = transforms.Compose(
    [*CROPPED, transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10), PLAIN, transforms.Lambda(cut_out)]
)


class Views(Indexed[Any]):
    """Views of an image by each of some transforms, and its label."""

    def __init__(self, split: Split, *made: Callable[..., Tensor]) -> None:
        self._images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in split.pixels()]
        self._labels, self._made = split.labels.tolist(), made

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> Any:
        return *(make(self._images[number]) for make in self._made), self._labels[number]


@dataclass(frozen=True)
class Released:
    """Trains networks as the released scripts do."""

    dataset: Dataset
    device: torch.device
    workers: int

    def __call__(self, specs: Sequence[RunSpec], teachers: dict[str, nn.Module], looks: bool) -> float:
        """Seconds of all of them.

        Args:
            looks: whether validation images are looked at.
        """
        return sum(self._train(spec, [teachers[each] for each in spec.teachers], looks) for spec in specs)

    def _train(self, spec: RunSpec, teachers: list[nn.Module], looks: bool) -> float:
        batch, strong = spec.train.batch_size, spec.augmentation == "strong"
        network = train.initial(spec, CLASSES, SIDE, self.device)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        own = STRONG if strong else WEAK
        shown = self._loader(self.dataset.train, batch, WEAK, STRONG, shuffle=True, drop_last=True)
        held_out = [self._loader(self.dataset.validation, batch, made) for made in (PLAIN, own)] if looks else []
        began = time.perf_counter()
        for _ in range(spec.train.epochs):
            network.train()
            for weak_views, strong_views, labels in shown:
                views = (strong_views if strong else weak_views).to(self.device)
                with torch.no_grad():
                    answers = [teacher(views) for teacher in teachers]
                loss = objectives.loss(network(views), labels.to(self.device), answers, spec.objective)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            network.eval()
            for loader in held_out:
                with torch.no_grad():
                    for views, labels in loader:
                        (network(views.to(self.device)).argmax(dim=1).cpu() == labels).sum().item()
        _wait(self.device)
        return time.perf_counter() - began

    def _loader(self, split: Split, batch: int, *made: Callable[..., Tensor], **order: Any) -> DataLoader[Any]:
        """Its processes are there before any clock starts: of few images, their start would be a large part."""
        kept = self.workers > 0
        loader: DataLoader[Any] = DataLoader(
            Views(split, *made), batch, num_workers=self.workers, persistent_workers=kept, **order
        )
        if kept:
            iter(loader)
        return loader


# -- ours ------------------------------------------------------------------------------------------------------------


def grouped(specs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    """Those that train in lockstep together; a teacher is by itself."""
    groups: dict[Any, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(train.group_key(spec), []).append(spec)
    return list(groups.values())


def ours(
    specs: Sequence[RunSpec], teachers: dict[str, Any], dataset: Dataset, device: torch.device
) -> tuple[float, float]:
    """Seconds of training alone, and of all with the looks at validation images, of groups in lockstep."""
    alone, began = 0.0, time.perf_counter()
    for group in grouped(specs):
        heard = {name: teachers[name] for spec in group for name in spec.teachers}
        for result in train.train(group, dataset, heard, device).values():
            if not isinstance(result, train.Trained):
                raise result
            alone += sum(epoch["seconds"] for epoch in result.log)
    _wait(device)
    return alone, time.perf_counter() - began


def bare(specs: Sequence[RunSpec], teachers: dict[str, Any], dataset: Dataset, device: torch.device) -> float:
    """Seconds of the passes alone, on one batch in memory, of groups in lockstep."""
    return sum(_bare(group, teachers, dataset, device) for group in grouped(specs))


def _bare(specs: Sequence[RunSpec], teachers: dict[str, Any], dataset: Dataset, device: torch.device) -> float:
    batch = specs[0].train.batch_size
    views = Normaliser(dataset, device, specs[0])(dataset.train.pixels()[:batch].to(device))
    labels = dataset.train.labels[:batch].to(device)
    networks = [train.initial(spec, CLASSES, SIDE, device).train() for spec in specs]
    optimisers = [torch.optim.SGD(each.parameters(), lr=0.01, momentum=0.9, fused=True) for each in networks]
    listened = {(spec.augmentation, name) for spec in specs for name in spec.teachers}
    steps = specs[0].train.epochs * train.steps_per_epoch(len(dataset.train), batch)
    began = 0.0
    for step in range(1 + steps):
        if step == 1:  # the first, in which memory is taken, is not timed
            _wait(device)
            began = time.perf_counter()
        with torch.no_grad():
            for _, name in listened:
                teachers[name](views)
        for network, optimiser in zip(networks, optimisers, strict=True):
            loss = F.cross_entropy(network(views), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description="The released way of training beside ours.")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--images", type=int, default=5000, help="to train on; twice as many to validate on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="processes that make views, in the released way")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--csv", type=Path, help="also written there, a row for each group and round")
    asked = parser.parse_args()
    device = environment.choose_device(asked.device)
    names = tuple(str(number) for number in range(CLASSES))
    share = asked.images / TRAINED_ON
    held_out = noise(round(LOOKED_AT * share), 1)
    dataset = Dataset("noise", names, noise(asked.images, 0), held_out, CIFAR_MEAN, CIFAR_STD)
    settings = profile.load(asked.profile)
    sample = max(1, round(settings.observe.validate_sample * share))
    settings = settings.model_copy(update={"observe": settings.observe.model_copy(update={"validate_sample": sample})})
    study = grid.build(settings, HASH, settings.seeds[:1], dict.fromkeys(settings.origins, HASH))

    epochs = settings.observe.validate_every

    def short(spec: RunSpec, epochs: int = 1) -> RunSpec:
        return spec.model_copy(
            update={"origin": FreshOrigin(), "train": spec.train.model_copy(update={"epochs": epochs})}
        )

    plain = {
        run.name: run
        for run in study.runs
        if run.spec.role == "student" and (run.spec.objective is None or run.columns["objective"] == "kd")
    }
    taught_by = {name for run in plain.values() for name in run.spec.teachers}
    teaching = {run.spec.id: short(run.spec) for run in study.runs if run.spec.id in taught_by}
    groups = {
        "teachers": list({spec.id: spec for spec in teaching.values()}.values()),  # from random weights, some are one
        "students of the eight trials": [
            short(run.spec)
            for run in plain.values()
            if len(run.spec.teachers) == 2 and set(run.columns["origin"].split("+")) == {settings.origin}
        ],
        "all plain students of the grid": [short(run.spec) for run in plain.values()],
    }
    networks: dict[str, Any] = {
        name: train.initial(spec, CLASSES, SIDE, device).eval().requires_grad_(False) for name, spec in teaching.items()
    }
    released = Released(dataset, device, asked.workers)
    about = {
        "profile": settings.name,
        "machine": environment.describe(device)["processor"],
        "threads": torch.get_num_threads(),
        "images": asked.images,
        "validation_images": len(held_out),
        "epochs": epochs,
        "workers": asked.workers,
    }
    rows = []
    for name, specs in groups.items():
        for round_ in range(asked.rounds):
            theirs = {"released": released(specs, networks, False), "released_looking": released(specs, networks, True)}
            timed = ours([short(spec, epochs) for spec in specs], networks, dataset, device)
            both = {name: seconds / epochs for name, seconds in zip(("ours", "ours_looking"), timed, strict=True)}
            alone = {"bare": bare(specs, networks, dataset, device)}
            rows.append(about | {"group": name, "networks": len(specs), "round": round_ + 1} | theirs | both | alone)
            print({key: round(value, 2) for key, value in (theirs | both | alone).items()}, name, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = asked.csv or Path(folder) / f"released-{settings.name}.csv"
        pd.DataFrame(rows).to_csv(path, index=False, float_format="%.5g", lineterminator="\n")
        print(measured.released(path.parent))


if __name__ == "__main__":
    main()
