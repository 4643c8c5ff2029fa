"""What a study would cost on this machine: two batches of each kind of training, timed, times their number."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from kdnb.images.datasets import Dataset
from kdnb.scale import cost
from kdnb.study.grid import Run, Study
from kdnb.training import train
from kdnb.training.inference import Normaliser, logits
from kdnb.training.observe import VIEWS
from kdnb.training.spec import FreshOrigin, ModelSpec, RunSpec

PROBE_BATCHES = 2

PROBE_WORK = 0.5e12
"""Floating-point operations of a timed step on a CPU, at most: large networks are timed on fewer images than a batch has, so
that a plan takes a minute and not hours, nor the memory that their training needs."""


class Estimator:
    """Times each kind of network once, when it is first asked for, and reckons with that."""

    def __init__(self, datasets: Mapping[str, Dataset], device: torch.device) -> None:
        """`datasets` by content hash: the study's own, and those of its origins."""
        self.datasets, self.device = datasets, device
        self._probed: dict[tuple[ModelSpec, int, str, str, int | None], tuple[float, float]] = {}

    def study(self, study: Study, runs: Sequence[Run]) -> float:
        """Seconds to train and observe these runs of a study, one group after the other."""
        specs = {run.spec.id: run.spec for run in study.every_run}
        return sum(self.group([run.spec for run in group], specs) for group in study.groups(runs))

    def group(self, group: Sequence[RunSpec], specs: Mapping[str, RunSpec]) -> float:
        """Seconds of a lockstep group: its networks' steps, its teachers' answers (each once a batch, whatever the number
        of students, and half as much again for each side of a half view), and the observations.

        Args:
            specs: of the teachers, by run id.
        """
        images = len(self._dataset(group[0]).train) * max(spec.train.epochs for spec in group)
        heard = {passed for spec in group for passed in cost.passes(spec)}
        share = sum(
            images * self.probe(specs[teacher])[1] * (0.5 if side else 1.0) for teacher, side, _ in sorted(heard)
        )
        return share + sum(self._network(spec) for spec in group)

    def _dataset(self, spec: RunSpec) -> Dataset:
        return self.datasets[spec.dataset.hash]

    def _network(self, spec: RunSpec) -> float:
        step, image = self.probe(spec)
        dataset = self._dataset(spec)
        validation, settings = len(dataset.validation), spec.observe
        looks = spec.train.epochs / settings.validate_every * min(validation, settings.validate_sample)
        # Of each view: logits of validation and training images, maps, and for Grad-CAM a pass there and back.
        sampled, mapped = min(len(dataset.train), settings.train_sample), min(validation, settings.maps)
        halved = spec.role == "teacher" and cost.sees_halves(
            spec.model, len(dataset.classes), spec.side or dataset.side
        )
        halves = 2.0 if halved else 1.0  # left and right are half an image each
        observed = 0.0 if spec.role == "origin" else halves * (validation + sampled + 8 * mapped)
        others = 0 if spec.role == "origin" or dataset.draws is None else len(dataset.draws)
        steps = spec.train.epochs * train.steps_per_epoch(len(dataset.train), spec.train.batch_size)
        return steps * step + (looks + len(VIEWS) * observed + others) * image

    def probe(self, spec: RunSpec) -> tuple[float, float]:
        """Seconds of a training step (with making its batch), and of a forward pass of one image."""
        settings = spec.train
        key = (spec.model, settings.batch_size, spec.augmentation, settings.precision, spec.side)
        if key not in self._probed:
            self._probed[key] = self._time(spec)
        return self._probed[key]

    def _time(self, spec: RunSpec) -> tuple[float, float]:
        dataset, batch = self._dataset(spec), spec.train.batch_size
        if self.device.type == "cpu":
            once = 3 * cost.forward(spec.model, len(dataset.classes), spec.side or dataset.side)
            batch = max(2, min(batch, int(PROBE_WORK / once)))
        size = min(PROBE_BATCHES * batch, len(dataset.train))
        few = replace(dataset, train=dataset.train.select(range(size)))
        settings = spec.train.model_copy(update={"epochs": 2, "batch_size": batch})  # the first warms up
        changes = {"teachers": (), "objective": None, "origin": FreshOrigin(), "train": settings}
        alone = spec.model_copy(update=changes)
        result = train.train([alone], few, {}, self.device)[alone.id]
        if not isinstance(result, train.Trained):
            raise result
        step = result.log[-1]["seconds"] / train.steps_per_epoch(size, batch) * spec.train.batch_size / batch
        images, prepare = few.train.pixels().to(self.device), Normaliser(few, self.device, spec)
        logits(result.network, images, prepare, alone)
        began = time.perf_counter()
        logits(result.network, images, prepare, alone).cpu()
        return step, (time.perf_counter() - began) / size
