"""The released pipeline's way of training beside ours: same networks, images, batches and epochs, timed in turn in one run.

    python benchmarks/released.py [--profile cpu] [--images 5000] [--rounds 5] [--workers 2] [--device auto] \\
        [--precision float32] [--csv book/calibration/released-cpu.csv]

The released way is written anew from PyTorch's and torchvision's own parts:

- worker processes make a weak and a strong view of every image, one image at a time, of which one is used;
- networks are trained one after the other, and each student asks its teachers itself, batch by batch;
- as it runs, an epoch ends with a look at all validation images as they are; a student with teachers looks at them once more,
  in both views again, of which it answers one, and so do its teachers.

An epoch of it is timed. What the released code computes of those answers, and its files of images, are left out.

Ours is `kdnb.training.train`: views of a chunk of images at once, all students of one augmentation in lockstep, one answer of
each teacher a batch, and a look at a sample of the validation images every few epochs (`observe.validate_every`). So as many
epochs are timed, and each takes its share. It is timed in this process, and shared out among as many processes as the released
way has for its views, each with its part of the threads, as `kdnb run --workers` does it. The end of a run, where both measure
what they trained, is timed of neither.

Three groups are timed: four teachers; the students of the eight trials; all students of the paper's grid (as `paper-cifar100`
has it) but those of half views, with up to three teachers and both objectives. Networks, images and optimisers are those of
`cpu`. Both ways start from random weights and take the same number of steps an epoch, so they do the same arithmetic but for
what is shared.

With fewer images than `cpu` has, both ways look at fewer validation images, in proportion.

Measured for each, in each round: seconds an epoch of both in training alone and as they run, and of the bare sum of our epochs'
passes (forward, backward and step of each network, one forward of each teacher) on one batch in memory.
Both ways compute in the precision named: float32, as `cpu` and the released code's distilled students do, or bfloat16, for its
other networks train under autocast.
`kdnb.book.measured.released` makes the ratios of them, medians over the rounds with the least and the most. The images are
noise: what they show changes no time.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as Indexed
from torchvision import transforms

from kdnb import devices, environment
from kdnb.book import measured
from kdnb.images.datasets import CIFAR_MEAN, CIFAR_STD, Dataset, Split
from kdnb.scale import memory
from kdnb.study import grid, profile
from kdnb.training import objectives, train
from kdnb.training.inference import Normaliser, autocast
from kdnb.training.spec import FreshOrigin, RunSpec

CLASSES, SIDE, HASH = 100, 32, "0" * 16
TRAINED_ON, LOOKED_AT = 5_000, 10_000
"""images of `cpu`, whose proportion fewer images keep"""
GRID = "paper-cifar100"
"""the profile that has the paper's whole grid"""
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


class Order(Sampler[int]):
    """Of the images of an epoch. The first time it has none, so that a loader's processes start and wait."""

    def __init__(self, images: int, shuffle: bool) -> None:
        self._images, self._shuffle, self._begun = images, shuffle, False

    def __len__(self) -> int:
        return self._images

    def __iter__(self) -> Iterator[int]:
        places = torch.randperm(self._images) if self._shuffle else torch.arange(self._images)
        begun, self._begun = self._begun, True
        return iter(places.tolist() if begun else [])


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
        shown = self._loader(self.dataset.train, batch, WEAK, STRONG, shuffle=True)
        clean = self._loader(self.dataset.validation, batch, PLAIN) if looks else ()
        viewed = self._loader(self.dataset.validation, batch, WEAK, STRONG) if looks and teachers else ()
        began = time.perf_counter()
        for _ in range(spec.train.epochs):
            network.train()
            for weak_views, strong_views, labels in shown:
                views = (strong_views if strong else weak_views).to(self.device)
                with autocast(spec, self.device):
                    with torch.no_grad():
                        answers = [teacher(views).float() for teacher in teachers]
                    logits = network(views).float()
                loss = objectives.loss(logits, labels.to(self.device), answers, spec.objective)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            network.eval()
            with torch.no_grad(), autocast(spec, self.device):
                for views, labels in clean:
                    (network(views.to(self.device)).argmax(dim=1).cpu() == labels).sum().item()
                for weak_views, strong_views, labels in viewed:
                    views = (strong_views if strong else weak_views).to(self.device)
                    for each in (*teachers, network):
                        (each(views).argmax(dim=1).cpu() == labels).sum().item()
        _wait(self.device)
        return time.perf_counter() - began

    def _loader(self, split: Split, batch: int, *made: Callable[..., Tensor], shuffle: bool = False) -> DataLoader[Any]:
        """Its processes are there before any clock starts, and have made no view yet: of few images, either would be a large
        part."""
        kept, order = self.workers > 0, Order(len(split), shuffle)
        loader: DataLoader[Any] = DataLoader(
            Views(split, *made), batch, sampler=order, num_workers=self.workers, persistent_workers=kept
        )
        for _ in loader:
            raise AssertionError("views were made before the clock started")
        return loader


# -- ours ------------------------------------------------------------------------------------------------------------


def grouped(specs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    """Those that train in lockstep together; a teacher is by itself."""
    groups: dict[Any, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(train.group_key(spec), []).append(spec)
    return sorted(groups.values(), key=len, reverse=True)


@dataclass(frozen=True)
class Ours:
    """Trains groups in lockstep, in this process or in those of a pool."""

    bench: "Bench"
    pool: Executor | None = None
    """its processes began with `begin_there`"""

    def __call__(self, specs: Sequence[RunSpec], looks: bool) -> float:
        """Seconds of all of them.

        Args:
            looks: whether the sample of validation images is looked at; else a single one is.
        """
        if not looks:
            specs = [_changed(spec, observe=spec.observe.model_copy(update={"validate_sample": 1})) for spec in specs]
        began = time.perf_counter()
        if self.pool is None:
            for group in grouped(specs):
                self.bench.train(group)
        else:
            for each in [self.pool.submit(train_there, group) for group in grouped(specs)]:
                each.result()
        return time.perf_counter() - began


there: "Bench"
"""what a process of the pool trains with"""


def begin_there(make: "Callable[[], Bench]", threads: int, ready: Barrier) -> None:
    global there
    torch.set_num_threads(threads)
    memory.keep_freed()
    there = make()
    ready.wait()


def train_there(group: list[RunSpec]) -> None:
    there.train(group)


# -- both ------------------------------------------------------------------------------------------------------------


def _changed(spec: RunSpec, **settings: Any) -> RunSpec:
    return spec.model_copy(update=settings)


def _short(spec: RunSpec, epochs: int = 1, **settings: Any) -> RunSpec:
    """As long, from random weights.

    Args:
        settings: of its training, which change.
    """
    return _changed(spec, origin=FreshOrigin(), train=spec.train.model_copy(update={"epochs": epochs} | settings))


def _sides(spec: RunSpec) -> tuple[str, ...]:
    return spec.objective.sides if spec.objective else ()


@dataclass(frozen=True)
class Bench:
    """What both ways train, and with what."""

    settings: profile.Profile
    dataset: Dataset
    device: torch.device
    groups: dict[str, list[RunSpec]]
    """a run of one epoch for each network, by the name of the group"""
    networks: dict[str, Any]
    """the teachers of all students, by run id"""

    @classmethod
    def make(cls, name: str, images: int, precision: str, device: torch.device) -> "Bench":
        """Of a profile, with so many training images."""
        share = images / TRAINED_ON
        names = tuple(str(number) for number in range(CLASSES))
        held_out = noise(round(LOOKED_AT * share), 1)
        dataset = Dataset("noise", names, noise(images, 0), held_out, CIFAR_MEAN, CIFAR_STD)
        settings = profile.load(name)
        sample = max(1, round(settings.observe.validate_sample * share))
        observe = settings.observe.model_copy(update={"validate_sample": sample})
        settings = settings.model_copy(update={"observe": observe, "grid": profile.load(GRID).grid})
        study = grid.build(settings, HASH, settings.seeds[:1], dict.fromkeys(settings.origins, HASH))
        students = [run for run in study.runs if run.spec.role == "student" and not _sides(run.spec)]
        taught_by = {name for run in students for name in run.spec.teachers}
        short = partial(_short, precision=precision)
        teaching = {run.spec.id: short(run.spec) for run in study.runs if run.spec.id in taught_by}
        groups = {
            "teachers": [spec for spec in teaching.values() if spec.member < 3],
            "students of the eight trials": [
                short(run.spec) for run in students if len(run.spec.teachers) == 2 and run.columns["objective"] == "kd"
            ],
            "students of the paper's grid": [short(run.spec) for run in students],
        }
        networks: dict[str, Any] = {
            name: train.initial(spec, CLASSES, SIDE, device).eval().requires_grad_(False)
            for name, spec in teaching.items()
        }
        return cls(settings, dataset, device, groups, networks)

    def train(self, group: Sequence[RunSpec]) -> None:
        """In lockstep, our way."""
        heard = {name: self.networks[name] for spec in group for name in spec.teachers}
        for result in train.train(group, self.dataset, heard, self.device).values():
            if not isinstance(result, train.Trained):
                raise result
        _wait(self.device)

    def bare(self, specs: Sequence[RunSpec]) -> float:
        """Seconds of the passes alone, on one batch in memory, of groups in lockstep."""
        return sum(self._bare(group) for group in grouped(specs))

    def _bare(self, specs: Sequence[RunSpec]) -> float:
        batch = specs[0].train.batch_size
        views = Normaliser(self.dataset, self.device, specs[0])(self.dataset.train.pixels()[:batch].to(self.device))
        labels = self.dataset.train.labels[:batch].to(self.device)
        networks = [train.initial(spec, CLASSES, SIDE, self.device).train() for spec in specs]
        optimisers = [torch.optim.SGD(each.parameters(), lr=0.01, momentum=0.9, fused=True) for each in networks]
        listened = {name for spec in specs for name in spec.teachers}
        sizes = [len(each) for each in torch.arange(len(self.dataset.train)).split(batch)] * specs[0].train.epochs
        began = 0.0
        for number, size in enumerate([batch, *sizes]):
            if number == 1:  # before it memory is taken, which is not timed
                _wait(self.device)
                began = time.perf_counter()
            shown, answers = views[:size], labels[:size]
            with torch.no_grad(), autocast(specs[0], self.device):
                for name in listened:
                    self.networks[name](shown)
            for network, optimiser in zip(networks, optimisers, strict=True):
                with autocast(specs[0], self.device):
                    logits = network(shown)
                loss = F.cross_entropy(logits.float(), answers)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
        _wait(self.device)
        return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description="The released way of training beside ours.")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--images", type=int, default=5000, help="to train on; twice as many to validate on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--workers", type=int, default=2, help="processes: of the released way's views, of ours shared out"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--csv", type=Path, help="also written there after each round, a row for each group")
    asked = parser.parse_args()
    device, threads = devices.choose(asked.device), torch.get_num_threads()
    memory.keep_freed()  # for both ways
    make = partial(Bench.make, asked.profile, asked.images, asked.precision, device)
    bench = make()
    epochs = bench.settings.observe.validate_every
    about = {
        "profile": bench.settings.name,
        "machine": environment.describe(device)["processor"],
        "threads": threads,
        "precision": asked.precision,
        "images": asked.images,
        "validation_images": len(bench.dataset.validation),
        "epochs": epochs,
        "workers": asked.workers,
    }
    rows: list[dict[str, Any]] = []
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(asked.workers + 1)  # they have begun before any clock starts
    begin = (make, max(1, threads // asked.workers), ready)
    with ProcessPoolExecutor(asked.workers, context, begin_there, begin) as pool:
        for _ in range(asked.workers):
            pool.submit(abs, 0)
        ready.wait()
        released = Released(bench.dataset, device, asked.workers)
        ours, shared = Ours(bench), Ours(bench, pool)
        for round_ in range(asked.rounds):
            for name, specs in bench.groups.items():
                longer = [_short(spec, epochs) for spec in specs]
                timed = {
                    "released": released(specs, bench.networks, False),
                    "released_looking": released(specs, bench.networks, True),
                    "ours": ours(longer, False) / epochs,
                    "ours_looking": ours(longer, True) / epochs,
                    "shared": shared(longer, False) / epochs,
                    "shared_looking": shared(longer, True) / epochs,
                    "bare": bench.bare(specs),
                }
                rows.append(about | {"group": name, "networks": len(specs), "round": round_ + 1} | timed)
                print({key: round(value, 2) for key, value in timed.items()}, name, flush=True)
            if asked.csv:
                _write(rows, asked.csv)
    with tempfile.TemporaryDirectory() as folder:
        _write(rows, Path(folder) / f"released-{bench.settings.name}.csv")
        print(measured.released(Path(folder)))


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.5g", lineterminator="\n")


if __name__ == "__main__":
    main()
