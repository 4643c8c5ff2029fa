"""How fast images come from disk, beside a plain torchvision ImageFolder and DataLoader on the same files.

    python benchmarks/streaming.py [--folder PATH] [--images 4096] [--workers 0 1 2] [--rounds 5] [--device auto] \\
        [--csv book/calibration/streaming.csv]

Four things are timed in turn within each round, so that a machine whose speed drifts shifts all of them:

1. squares: images decoded and cut to squares of 256 pixels. torchvision: Resize(256), CenterCrop(256); ours: a streamed data
   set in the order of an epoch.
2. views: of the recipe imagenet-weak at 224 pixels. torchvision: its transforms for single images, in the workers; ours: the
   squares, and views of a whole part at once on the device.

`kdnb.book.measured.streaming` has the median of images a second, and of the ratio of ours to torchvision's. Both have the
same number of workers, and shuffle; neither trains. Every image is decoded once before, which also reads the files into the
system's memory.

Without a folder, CIFAR-100's images are written as JPEGs whose shorter side has 224 pixels: real pictures, but smaller files
than ImageNet's.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from kdnb import devices, environment
from kdnb.book import measured
from kdnb.images import augment
from kdnb.images.counter import Stream
from kdnb.images.datasets import Split, load
from kdnb.training.inference import CHUNK

SQUARE, SIDE, BATCH = 256, 224, 128
RECIPE = "imagenet-weak"

SQUARES = transforms.Compose([transforms.Resize(SQUARE), transforms.CenterCrop(SQUARE), transforms.PILToTensor()])
VIEWS = transforms.Compose(
    [
        transforms.RandomResizedCrop(SIDE),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.4, 0.4, 0.4),
        transforms.PILToTensor(),
    ]
)


def write_photographs(folder: Path, images: int, root: str | None) -> None:
    """Training images of CIFAR-100 in their classes as JPEGs, and one of each class to validate."""
    whole = load("cifar100", root=root)
    classes = len(whole.classes)
    for part, split, count in (("train", whole.train, images), ("val", whole.validation, classes)):
        order = np.argsort(np.arange(len(split)) % (len(split) // classes), kind="stable")  # class after class
        for place in order[:count].tolist():
            label = whole.classes[int(split.labels[place])]
            path = folder / part / label / f"{place}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(split.pixels()[place].permute(1, 2, 0).numpy())
            wide = SIDE + place % 3 * 75  # as wide as 4:3 at most
            picture.resize((wide, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


def torchvision_epoch(folder: Path, transform: Callable[..., object], workers: int, device: torch.device) -> int:
    """One epoch of the plain loader; the number of images."""
    loader: DataLoader[tuple[torch.Tensor, torch.Tensor]] = DataLoader(
        ImageFolder(folder / "train", transform), BATCH, shuffle=True, num_workers=workers
    )
    return sum(len(images.to(device)) for images, _ in loader)


def our_epoch(split: Split, workers: int, make_views: bool) -> int:
    """One epoch of the streamed split; the number of images."""
    os.environ["KDNB_DECODERS"] = str(workers)
    stream, recipe = Stream(0, 1), augment.recipe(RECIPE)
    order = stream.permutation(len(split), 0)
    parts = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    seen = 0
    for index, images in zip(parts, split.stream(parts), strict=True):
        shown = augment.views(images, index, recipe, stream, 0, size=SIDE) if make_views else images
        seen += len(shown)
    return seen


def rate(epoch: Callable[[], int], device: torch.device) -> float:
    """Images a second."""
    began = time.perf_counter()
    seen = epoch()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return seen / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description="Images a second from disk, ours beside torchvision's.")
    parser.add_argument("--folder", help="PATH/train/<class>/* and PATH/val/<class>/*; none: CIFAR-100 is written")
    parser.add_argument("--data-root", help="where CIFAR-100 lies")
    parser.add_argument("--images", type=int, default=4096, help="how many are written")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--csv", type=Path, help=f"also written there; the book's is {measured.STREAMING}")
    asked = parser.parse_args()
    device = devices.choose(asked.device)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(asked.folder or temporary)
        if not asked.folder:
            write_photographs(folder, asked.images, asked.data_root)
        began = time.perf_counter()
        dataset = load(f"imagefolder:{folder}", size=SQUARE, streamed=True)
        split = dataset.train.to(device)
        print(f"{len(split)} images known after {time.perf_counter() - began:.1f} s", flush=True)
        about = {
            "machine": environment.describe(device)["processor"],
            "threads": torch.get_num_threads(),
            "images": len(split),
        }
        rows = []
        for workers in asked.workers:
            kinds: dict[str, tuple[Callable[[], int], Callable[[], int]]] = {
                kind: (
                    partial(torchvision_epoch, folder, made, workers, device),
                    partial(our_epoch, split, workers, views),
                )
                for kind, made, views in (("squares", SQUARES, False), ("views", VIEWS, True))
            }
            for round_ in range(asked.rounds):
                for kind, (theirs, ours) in kinds.items():
                    rates = {"torchvision": rate(theirs, device), "ours": rate(ours, device)}
                    rows.append(about | {"workers": workers, "kind": kind, "round": round_ + 1} | rates)
                    print(workers, kind, {name: round(value) for name, value in rates.items()}, flush=True)
        path = asked.csv or Path(temporary) / measured.STREAMING
        pd.DataFrame(rows).to_csv(path, index=False, float_format="%.5g", lineterminator="\n")
        print(measured.streaming(path.parent))


if __name__ == "__main__":
    main()
