"""What a study would cost on this machine: two batches of each kind of training, timed, times their number."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import torch

from kdnb.images.datasets import Dataset
from kdnb.study.grid import Run, Study
from kdnb.training import models, train
from kdnb.training.answers import Normaliser, logits
from kdnb.training.objectives import KINDS
from kdnb.training.observe import VIEWS
from kdnb.training.spec import FreshOrigin, ModelSpec, RunSpec

PROBE_BATCHES = 2


def work(spec: RunSpec, dataset: Dataset) -> float:
    """Floating-point operations of a run's training, its teachers' not counted: the unit of progress.

    A step costs three forward passes: one forward, two back.
    """
    forward = _flops(spec.model.name, len(dataset.classes), spec.side or dataset.side)
    return 3.0 * forward * len(dataset.train) * spec.train.epochs


def parts(study: Study, classes: int, side: int) -> dict[str, float]:
    """Floating-point operations of a seed's trainings for each training image, by what they are for: the steps of teachers (and
    reference), the steps of students, and the answers that teachers give to students, each once for a group.

    A seed costs their sum times the number of training images, and any number of seeds as many times that. Operations of a
    convolutional network grow with the square of the side.

    Args:
        classes, side: of the data set; a spec with a side of its own keeps it.
    """
    specs = {run.spec.id: run.spec for run in study.every_run}
    found = {"teachers": 0.0, "students": 0.0, "answers": 0.0}
    for group in study.groups(study.of_seed(study.seeds[0])):
        own, answers = _group_parts([run.spec for run in group], specs, classes, side)
        found["students" if group[0].spec.role == "student" else "teachers"] += own
        found["answers"] += answers
    return found


def _group_parts(
    group: Sequence[RunSpec], specs: Mapping[str, RunSpec], classes: int, side: int
) -> tuple[float, float]:
    """For each training image: a group's own steps, and its teachers' answers."""

    def forward(spec: RunSpec) -> float:
        return float(_flops(spec.model.name, classes, spec.side or side))

    epochs = max(spec.train.epochs for spec in group)
    heard = {passed for spec in group for passed in passes(spec)}
    answers = sum(forward(specs[teacher]) * (0.5 if half else 1.0) for teacher, half, _ in sorted(heard))
    return sum(3.0 * forward(spec) * spec.train.epochs for spec in group), answers * epochs


def speed_up(study: Study, workers: int, classes: int, side: int) -> float:
    """How many times faster than one worker so many equal ones are at best: groups are not divided, and a group waits for
    those of its teachers. Weighs groups by their operations; 1 for one worker, and never more than `workers`."""
    specs = {run.spec.id: run.spec for run in study.every_run}
    groups = [[run.spec for run in group] for group in study.groups(study.runs)]
    costs = [sum(_group_parts(group, specs, classes, side)) for group in groups]
    trained = {spec.id for group in groups for spec in group}
    needs = [{each for spec in group for each in spec.teachers} & trained for group in groups]
    return sum(costs) / makespan(costs, [{spec.id for spec in group} for group in groups], needs, workers)


def makespan(costs: Sequence[float], makes: Sequence[set[str]], needs: Sequence[set[str]], workers: int) -> float:
    """When the last task is done, if each free worker takes the first task whose needs are there, as `execute` hands them out.

    Args:
        costs: of each task, in any unit of time.
        makes, needs: what each task makes, and what must be made before it begins.

    Raises:
        ValueError: a task needs what no task makes.

    >>> makespan([2, 2, 1], [{"a"}, {"b"}, {"c"}], [set(), set(), {"a", "b"}], workers=2)
    3.0
    """
    waiting, made, now = list(range(len(costs))), set[str](), 0.0
    running: list[tuple[float, int]] = []  # when each ends, and which it is
    while waiting or running:
        for task in [each for each in waiting if needs[each] <= made][: workers - len(running)]:
            waiting.remove(task)
            running.append((now + costs[task], task))
        if not running:
            raise ValueError(f"no task makes what {len(waiting)} tasks need")
        now, done = min(running)
        running.remove((now, done))
        made |= makes[done]
    return now


RUNTIME = 0.8e9
"""bytes that Python, torch and what they load take before anything is trained"""


def memory(group: Sequence[RunSpec], specs: Mapping[str, RunSpec], dataset: Dataset) -> float:
    """Bytes that a lockstep group needs, reckoned and rounded up by a fifth: the images, each network's weights, gradients and
    momentum, its teachers' weights, and what one step at a time keeps for its way back.

    Args:
        specs: of the teachers, by run id.
        dataset: the group's.
    """
    classes = len(dataset.classes)
    taught_by = {teacher for spec in group for teacher in spec.teachers}
    sizes = {spec: _sizes(spec.model.name, classes, spec.side or dataset.side) for spec in group}
    learners = sum(3 * parameters for parameters, _ in sizes.values())
    teachers = sum(
        _sizes(specs[each].model.name, classes, specs[each].side or dataset.side)[0] for each in sorted(taught_by)
    )
    step = max(2 * spec.train.batch_size * kept for spec, (_, kept) in sizes.items())
    images = (len(dataset.train) + len(dataset.validation)) * 3 * dataset.side**2
    return 1.2 * (RUNTIME + images + 4 * (learners + teachers + step))


@cache
def _sizes(model: str, classes: int, side: int) -> tuple[int, int]:
    """A network's parameters, and the numbers that its layers put out for one image."""
    network, kept = models.build(ModelSpec(name=model), classes, side, seed=0).eval(), 0

    def count(module: torch.nn.Module, inputs: object, output: object) -> None:
        nonlocal kept
        kept += output.numel() if isinstance(output, torch.Tensor) else 0

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    return sum(parameter.numel() for parameter in network.parameters()), kept


def passes(spec: RunSpec) -> set[tuple[str, str, bool]]:
    """What the teachers of a run must answer in each batch: (teacher, side or empty, whether it is untrained)."""
    if spec.objective is None:
        return set()
    hears = KINDS[spec.objective.kind].hears
    sides = spec.objective.sides or ("",) * len(spec.teachers)
    return {(teacher, side, hears == "untrained") for teacher, side in zip(spec.teachers, sides, strict=True)}


@cache
def _flops(model: str, classes: int, side: int) -> int:
    return models.flops(models.build(ModelSpec(name=model), classes, side, seed=0), side)


class Estimator:
    """Times each kind of network once, when it is first asked for, and reckons with that."""

    def __init__(self, datasets: Mapping[str, Dataset], device: torch.device) -> None:
        """`datasets` by content hash: the study's own, and those of its origins."""
        self.datasets, self.device = datasets, device
        self._probed: dict[tuple[str, int, str, str, int | None], tuple[float, float]] = {}

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
        heard = {passed for spec in group for passed in passes(spec)}
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
        halves = 2.0 if spec.role == "teacher" else 1.0  # left and right are half an image each
        observed = 0.0 if spec.role == "origin" else halves * (validation + sampled + 8 * mapped)
        steps = spec.train.epochs * train.steps_per_epoch(len(dataset.train), spec.train.batch_size)
        return steps * step + (looks + len(VIEWS) * observed) * image

    def probe(self, spec: RunSpec) -> tuple[float, float]:
        """Seconds of a training step (with making its batch), and of a forward pass of one image."""
        settings = spec.train
        key = (spec.model.name, settings.batch_size, spec.augmentation, settings.precision, spec.side)
        if key not in self._probed:
            self._probed[key] = self._time(spec)
        return self._probed[key]

    def _time(self, spec: RunSpec) -> tuple[float, float]:
        dataset = self._dataset(spec)
        size = min(PROBE_BATCHES * spec.train.batch_size, len(dataset.train))
        few = replace(dataset, train=dataset.train.select(range(size)))
        settings = spec.train.model_copy(update={"epochs": 2})  # the first warms up
        changes = {"teachers": (), "objective": None, "origin": FreshOrigin(), "train": settings}
        alone = spec.model_copy(update=changes)
        result = train.train([alone], few, {}, self.device)[alone.id]
        if not isinstance(result, train.Trained):
            raise result
        step = result.log[-1]["seconds"] / train.steps_per_epoch(size, settings.batch_size)
        images, prepare = few.train.images.to(self.device), Normaliser(few, self.device, spec)
        logits(result.network, images, prepare, alone)
        began = time.perf_counter()
        logits(result.network, images, prepare, alone).cpu()
        return step, (time.perf_counter() - began) / size
