"""Two batches of the paper's own training, on this machine: the rate that a plan can be given.

    python benchmarks/paper.py [--profile paper-cifar100] [--recipe released] [--batch 4] [--device auto]

A teacher (ResNet-50 at 224 pixels) and a student of two teachers (ResNet-18) really train, two batches to warm up and two that
are timed, on noise, from random weights: neither changes what a step costs. Says seconds, TFLOP/s and peak memory of each, and
the hours of a whole seed at the student's rate.
"""

import argparse
import resource
from dataclasses import replace

import torch

from kdnb import devices, environment
from kdnb.images.datasets import CIFAR_MEAN, CIFAR_STD, Dataset, Split
from kdnb.scale import cost
from kdnb.scale.cost import Sizes
from kdnb.study import grid, profile
from kdnb.training import train
from kdnb.training.spec import FreshOrigin, RunSpec

HASH = "0" * 16
BATCHES = 2


def noise(count: int, classes: int) -> Dataset:
    """Images of random bytes at 32 pixels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(count) % classes, tuple(str(number) for number in range(count)))
    return Dataset("noise", tuple(str(number) for number in range(classes)), split, split, CIFAR_MEAN, CIFAR_STD, HASH)


def memory(device: torch.device) -> float:
    """The highest so far, in GB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def timed(spec: RunSpec, by_id: dict[str, RunSpec], dataset: Dataset, device: torch.device) -> tuple[float, float]:
    """Seconds of two batches after two that warm up, and TFLOP/s."""
    networks = {
        teacher: train.initial(by_id[teacher].model_copy(update={"origin": FreshOrigin()}), 100, 32, device).eval()
        for teacher in spec.teachers
    }
    (result,) = train.train([spec], dataset, networks, device).values()
    if not isinstance(result, train.Trained):
        raise result
    seconds = result.log[-1]["seconds"]
    of = cost.of_group([spec], by_id, {HASH: replace(Sizes.of(dataset), validation=0)})
    return seconds, (of.teachers + of.students + of.answers) / spec.train.epochs / seconds / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description="Two batches of the paper's own training, timed.")
    parser.add_argument("--profile", default="paper-cifar100")
    parser.add_argument("--recipe", default="text")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    device = devices.choose(asked.device)
    settings = profile.load(asked.profile, [f"recipe={asked.recipe}"])
    study = grid.build(settings, HASH, settings.seeds[:1], teacher_hash=HASH)
    by_id = {run.spec.id: run.spec for run in study.every_run}
    dataset = noise(BATCHES * asked.batch, 100)
    print(f"{settings.name}, {settings.recipe}, batches of {asked.batch}, {environment.describe(device)['processor']}")
    rate = float("nan")
    for name in ("T1s", "T1s_T2w_Ss"):
        spec = next(run.spec for run in study.runs if run.name == name)
        brief = spec.train.model_copy(update={"epochs": 2, "batch_size": asked.batch})
        spec = spec.model_copy(update={"train": brief, "origin": FreshOrigin()})
        seconds, rate = timed(spec, by_id, dataset, device)
        print(
            f"{name:<12} {seconds:7.2f} s for two batches, {rate:8.3f} TFLOP/s, peak {memory(device):.1f} GB",
            flush=True,
        )
    whole = cost.of_study(study, {HASH: Sizes(50_000, 10_000, 100, 32)})
    print(f"a seed on CIFAR-100: {whole.flop / 1e15:,.0f} PFLOP, {whole.hours(rate):,.0f} hours at the student's rate")


if __name__ == "__main__":
    main()
