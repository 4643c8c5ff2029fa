"""What a study would cost on this machine: two batches of each kind of training, timed, times their number."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import torch

from kdnb import models, train
from kdnb.datasets import Dataset
from kdnb.record import VIEWS
from kdnb.spec import ModelSpec, RunSpec
from kdnb.study import Run, Study

PROBE_BATCHES = 2


def work(spec: RunSpec, dataset: Dataset) -> float:
    """Floating-point operations of a run's training, its teachers' not counted: the unit of progress.

    A step costs three forward passes: one forward, two back.
    """
    forward = _flops(spec.model.name, len(dataset.classes), spec.side or dataset.side)
    return 3.0 * forward * len(dataset.train) * spec.train.epochs


@cache
def _flops(model: str, classes: int, side: int) -> int:
    return models.flops(models.build(ModelSpec(name=model), classes, side, seed=0), side)


class Estimator:
    """Times each kind of network once, when it is first asked for, and reckons with that."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        self._probed: dict[tuple[str, int, str, str, int | None], tuple[float, float]] = {}

    def study(self, study: Study, runs: Sequence[Run]) -> float:
        """Seconds to train and record these runs of a study, one group after the other."""
        specs = {run.spec.id: run.spec for run in study.runs}
        return sum(self.group([run.spec for run in group], specs) for group in study.groups(runs))

    def group(self, group: Sequence[RunSpec], specs: Mapping[str, RunSpec]) -> float:
        """Seconds of a lockstep group: its members' steps, its teachers' answers (each once a batch, whatever the number
        of students), and the records.

        Args:
            specs: of the teachers, by run id.
        """
        images = len(self.dataset.train) * max(spec.train.epochs for spec in group)
        heard = {teacher for spec in group for teacher in spec.teachers}
        teaching = sum(images * self.probe(specs[teacher])[1] for teacher in sorted(heard))
        return teaching + sum(self._member(spec) for spec in group)

    def _member(self, spec: RunSpec) -> float:
        step, image = self.probe(spec)
        validation, settings = len(self.dataset.validation), spec.record
        looks = spec.train.epochs / settings.validate_every * min(validation, settings.validate_sample)
        # Of each view: logits of validation and training images, maps, and for Grad-CAM a pass there and back.
        recorded = validation + min(len(self.dataset.train), settings.train_sample) + 4 * min(validation, settings.maps)
        steps = spec.train.epochs * train.steps_per_epoch(len(self.dataset.train), spec.train.batch_size)
        return steps * step + (looks + len(VIEWS) * recorded) * image

    def probe(self, spec: RunSpec) -> tuple[float, float]:
        """Seconds of a training step (with making its batch), and of a forward pass of one image."""
        settings = spec.train
        key = (spec.model.name, settings.batch_size, spec.augmentation, settings.precision, spec.side)
        if key not in self._probed:
            self._probed[key] = self._time(spec)
        return self._probed[key]

    def _time(self, spec: RunSpec) -> tuple[float, float]:
        size = min(PROBE_BATCHES * spec.train.batch_size, len(self.dataset.train))
        few = replace(self.dataset, train=self.dataset.train.select(range(size)))
        settings = spec.train.model_copy(update={"epochs": 2})  # the first warms up
        alone = spec.model_copy(update={"teachers": (), "distill": None, "train": settings})
        result = train.train([alone], few, {}, self.device)[alone.id]
        if not isinstance(result, train.Trained):
            raise result
        step = result.log[-1]["seconds"] / train.steps_per_epoch(size, settings.batch_size)
        images, prepare = few.train.images.to(self.device), train.Normaliser(few, self.device, spec.side)
        train.logits(result.network, images, prepare, alone)
        began = time.perf_counter()
        train.logits(result.network, images, prepare, alone).cpu()
        return step, (time.perf_counter() - began) / size
