"""What the training loop costs beside the bare network, augmentation beside a training step, and bfloat16 beside float32.

    make bench          or      python benchmarks/training.py [--profile cpu] [--rounds 7]

Three questions, each answered with things timed in turn within one run, round by round, so that a machine whose speed
drifts shifts both sides:

1. overhead: an epoch of the real loop (augmentation, order, log, checkpoint and all) over a bare loop of the same
   network on a batch that already lies in memory (forward, backward, step). Bound: 1.25.
2. augmentation: making the views of a batch over the bare training step. Bound: 0.15.
3. bfloat16: the bare loop in bfloat16 over the same in float32, of the teachers' and the students' network. It has no bound,
   for it depends on whether the device has it in hardware.

The images are random bytes: neither kernels nor networks are faster or slower for what images show, but for Equalize
and AutoContrast, which do more work on them than on flat images. So no data set is needed.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from kdnb import devices, environment
from kdnb.images import augment
from kdnb.images.counter import Stream
from kdnb.images.datasets import CIFAR_MEAN, CIFAR_STD, Dataset, Split
from kdnb.scale import cost
from kdnb.study import grid
from kdnb.study.profile import load
from kdnb.training import models, optimiser, train
from kdnb.training.checkpoint import Checkpoints
from kdnb.training.inference import CHUNK, Normaliser, autocast
from kdnb.training.spec import FreshOrigin, RunSpec


def random_images(count: int, classes: int, seed: int) -> Split:
    """Images of noise in blocks of 4×4, so that they have edges and flat places."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images = coarse.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return Split(images, labels, tuple(str(number) for number in range(count)))


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """How long a call takes, what it started on the device included."""
    _wait(device)
    began = time.perf_counter()
    function()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bare_loop(spec: RunSpec, dataset: Dataset, device: torch.device) -> Callable[[], None]:
    """An epoch's number of steps of the same network on one batch."""
    network = train.initial(spec, len(dataset.classes), dataset.side, device).train()
    settings = spec.train
    stepper = optimiser.build(network, settings.model_copy(update={"learning_rate": 0.01}))
    batch = Normaliser(dataset, device, spec)(dataset.train.pixels()[: settings.batch_size].to(device))
    labels = dataset.train.labels[: settings.batch_size].to(device)
    steps = train.steps_per_epoch(len(dataset.train), settings.batch_size)

    def loop() -> None:
        for _ in range(steps):
            with autocast(spec, device):
                logits = network(batch)
            loss = F.cross_entropy(logits.float(), labels)
            stepper.zero_grad(set_to_none=True)
            loss.backward()
            stepper.step()

    return loop


def report(name: str, ratios: list[float], bound: float | None = None) -> None:
    median, against = statistics.median(ratios), "" if bound is None else f"   bound {bound}"
    print(f"{name:<44} {median:6.3f}   [{min(ratios):.3f}, {max(ratios):.3f}]{against}", flush=True)


def measure(name: str, spec: RunSpec, dataset: Dataset, device: torch.device, rounds: int) -> None:
    """Both ratios for one run, and the rate of the bare loop."""
    one = spec.model_copy(update={"train": spec.train.model_copy(update={"epochs": 1})})
    numbers, images = np.arange(len(dataset.train)), dataset.train.pixels().to(device)
    recipe = augment.recipe(spec.augmentation)
    bare = bare_loop(spec, dataset, device)

    def real() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train.train([one], dataset, {}, device, checkpoints=Checkpoints(Path(folder)))

    def make_views() -> None:
        for start in range(0, len(numbers), CHUNK):
            chunk = slice(start, start + CHUNK)
            augment.views(images[chunk], numbers[chunk], recipe, Stream(0, 1), 0)

    for warmed_up in (bare, real, make_views):
        warmed_up()
    times = [[seconds(function, device) for function in (bare, real, make_views)] for _ in range(rounds)]
    report(f"{name} ({spec.augmentation}): epoch / bare loop", [epoch / loop for loop, epoch, _ in times], 1.25)
    report(f"{name} ({spec.augmentation}): augmentation / bare steps", [made / loop for loop, _, made in times], 0.15)
    step = statistics.median(loop for loop, _, _ in times) / train.steps_per_epoch(len(numbers), spec.train.batch_size)
    rate = cost.work(one, dataset) / len(numbers) * spec.train.batch_size / step / 1e9
    network = models.build(spec.model, len(dataset.classes), dataset.side, 0)
    print(
        f"  {spec.model.name}: {models.flops(network, 32) / 1e6:.1f} MFLOP forward, {1000 * step:.0f} ms a step of "
        f"{spec.train.batch_size} images, {rate:.0f} GFLOP/s"
    )


def compare_precisions(name: str, spec: RunSpec, dataset: Dataset, device: torch.device, rounds: int) -> None:
    """The ratio of the bare loops in both precisions."""
    exact, short = (
        bare_loop(spec.model_copy(update={"train": spec.train.model_copy(update={"precision": each})}), dataset, device)
        for each in ("float32", "bfloat16")
    )
    for warmed_up in (exact, short):
        warmed_up()
    times = [(seconds(exact, device), seconds(short, device)) for _ in range(rounds)]
    report(f"{name} ({spec.model.name}): bfloat16 / float32 steps", [second / first for first, second in times])


def main() -> None:
    parser = argparse.ArgumentParser(description="Overhead of the training loop and cost of augmentation.")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=4096, help="in an epoch")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = devices.choose(arguments.device)
    profile = load(arguments.profile)
    classes = 100
    dataset = Dataset(
        "noise",
        tuple(str(number) for number in range(classes)),
        random_images(arguments.images, classes, 0),
        random_images(128, classes, 1),
        CIFAR_MEAN,
        CIFAR_STD,
    )
    # an origin changes where a network starts, not what a step costs
    runs = {
        run.name: run.spec.model_copy(update={"origin": FreshOrigin()})
        for run in grid.build(profile, "0" * 16, [0], dict.fromkeys(profile.origins, "0" * 16)).runs
    }
    print(f"profile {profile.name}, {environment.describe(device)['processor']}, {torch.get_num_threads()} threads")
    print(f"{'ratio':<44} median   [least, most]")
    for name in ("T1w", "T1s"):
        measure(name, runs[name], dataset, device, arguments.rounds)
    for name in ("T1w", "Sw"):
        compare_precisions(name, runs[name], dataset, device, arguments.rounds)


if __name__ == "__main__":
    main()
