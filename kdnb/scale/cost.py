"""What a study costs wherever it is run: arithmetic, memory and disk, reckoned from its specs and the sizes of its images.

Nothing is trained or timed, so that a study can be planned for a machine that is elsewhere, and images that are not here.
`kdnb.scale.estimate` times what this machine does.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from kdnb.errors import ProfileError
from kdnb.images.datasets import Dataset
from kdnb.study.grid import Study
from kdnb.training import models
from kdnb.training.inference import CHUNK
from kdnb.training.objectives import SIDES, kind_of
from kdnb.training.observe import DIAL_IMAGES, VIEWS
from kdnb.training.spec import ModelSpec, RunSpec

FLOAT = 4
"""bytes"""

WINDOW = 2 * CHUNK
"""images that are decoded of a streamed data set at a time: what is asked for, and as much ahead"""


@dataclass(frozen=True)
class Sizes:
    """What a data set's size decides."""

    train: int
    validation: int
    """images"""
    classes: int
    side: int
    """of an image as it is stored, in pixels"""
    streamed: bool = False
    """whether images stay on disk"""
    draws: int = 0
    """images of the other draws, which a finished network answers to once"""

    @classmethod
    def of(cls, dataset: Dataset) -> "Sizes":
        """Of a data set that is here."""
        others = len(dataset.draws) if dataset.draws is not None else 0
        sizes = len(dataset.train), len(dataset.validation), len(dataset.classes), dataset.side
        return cls(*sizes, dataset.streamed, others)

    @classmethod
    def parse(cls, text: str, side: int, streamed: bool = False) -> "Sizes":
        """Of one that is not: ``TRAIN,VALIDATION,CLASSES``, as 50000,10000,100.

        Raises:
            ProfileError: not three whole numbers above 0.
        """
        numbers = [part.strip() for part in text.split(",")]
        if len(numbers) != 3 or not all(re.fullmatch("[1-9][0-9]{0,11}", number) for number in numbers):
            raise ProfileError(f"{text!r} are no sizes; write TRAIN,VALIDATION,CLASSES, as 50000,10000,100")
        train, validation, classes = map(int, numbers)
        return cls(train, validation, classes, side, streamed)


@dataclass(frozen=True)
class Cost:
    """Of a study, all its seeds together."""

    teachers: float
    """floating-point operations of training teachers, references and origins"""
    students: float
    """of training students, their teachers' answers aside"""
    answers: float
    """of the teachers' answers while students learn"""
    looking: float
    """of looks at the validation images while training, and of observing finished networks"""
    memory: float
    """bytes on the device of the group that needs most, the images among them"""
    images: float
    """bytes of the images of that group alone, which lie in the device's memory and in that of its machine; of streamed ones,
    those that are decoded at a time"""
    disk: float
    """bytes that the finished runs take in the store"""

    @property
    def flop(self) -> float:
        """of everything"""
        return self.teachers + self.students + self.answers + self.looking

    def hours(self, rate: float) -> float:
        """On one device at `rate` TFLOP/s, one group after the other."""
        return self.flop / (rate * 1e12) / 3600


def work(spec: RunSpec, dataset: Dataset) -> float:
    """Floating-point operations of a run's training, its teachers' not counted: the unit of progress.

    A step costs three forward passes: one forward, two back.
    """
    once = forward(spec.model, len(dataset.classes), spec.side or dataset.side)
    return 3.0 * once * len(dataset.train) * spec.train.epochs


def passes(spec: RunSpec) -> set[tuple[str, str, str]]:
    """What the teachers of a run must answer in each batch: (teacher, side or empty, who stands in for it or empty)."""
    if spec.objective is None:
        return set()
    kind = kind_of(spec.objective.kind)
    if kind.teacher_input == "halves":
        return {(teacher, side, "") for teacher in spec.teachers for side in SIDES}
    sides = spec.objective.sides or ("",) * len(spec.teachers)
    return {(teacher, side, kind.stand_in) for teacher, side in zip(spec.teachers, sides, strict=True)}


@cache
def forward(model: ModelSpec, classes: int, side: int) -> int:
    """Floating-point operations of a forward pass of one image through that network."""
    return models.flops(models.build(model, classes, side, seed=0), side)


@cache
def sees_halves(model: ModelSpec, classes: int, side: int) -> bool:
    """Whether that network answers to halves of images too."""
    return models.build(model, classes, side, seed=0).any_width


def of_study(study: Study, sizes: Mapping[str, Sizes]) -> Cost:
    """The cost of all runs of a study.

    Args:
        sizes: by content hash, of the study's images and of those of its origins and teachers.
    """
    by_id = {run.spec.id: run.spec for run in study.every_run}
    return together([of_group([run.spec for run in group], by_id, sizes) for group in study.groups()])


def together(costs: Sequence[Cost]) -> Cost:
    """Of groups that are trained one after the other.

    Raises:
        ValueError: there are none.
    """
    largest = max(costs, key=lambda each: each.memory)
    total = {
        name: sum(getattr(each, name) for each in costs)
        for name in ("teachers", "students", "answers", "looking", "disk")
    }
    return Cost(**total, memory=largest.memory, images=largest.images)


def of_group(group: Sequence[RunSpec], by_id: Mapping[str, RunSpec], sizes: Mapping[str, Sizes]) -> Cost:
    """The cost of a lockstep group.

    Args:
        by_id: the specs of its teachers, by run id.
        sizes: as for `of_study`.
    """
    first = group[0]
    images, shown = sizes[first.dataset.hash], sizes[(first.observed or first.dataset).hash]
    epochs = max(spec.train.epochs for spec in group)
    heard = {passed for spec in group for passed in passes(spec)}
    training = sum(3.0 * _forward(spec, images) * images.train * spec.train.epochs for spec in group)
    answers = sum(
        _forward(by_id[teacher], images) * images.train * epochs * (0.5 if side else 1.0)
        for teacher, side, _ in sorted(heard)
    )
    students = first.role == "student"
    side = first.side or images.side
    at_once = min(images.train, WINDOW) if images.streamed else images.train
    held = float(at_once * 3 * images.side**2)
    return Cost(
        teachers=0.0 if students else training,
        students=training if students else 0.0,
        answers=answers,
        looking=sum(_forward(spec, images) * _looks(spec, images, shown) for spec in group),
        memory=held + _working(group, by_id, images, shown, side),
        images=held,
        disk=sum(_disk(spec, shown) for spec in group),
    )


RUNTIME = 0.8e9
"""bytes that Python, torch and what they load take before anything is trained"""


SAFE = 1.2
"""times what is reckoned, to be asked for"""


def of_worker(group: Sequence[RunSpec], by_id: Mapping[str, RunSpec], sizes: Mapping[str, Sizes]) -> float:
    """Bytes that a process needs to train a group without a device of its own, and to hold what is observed until it is
    written, rounded up by a fifth; arguments as for `of_group`."""
    needed = of_group(group, by_id, sizes)
    return SAFE * (RUNTIME + needed.memory + needed.disk)


def speed_up(study: Study, workers: int, sizes: Mapping[str, Sizes]) -> float:
    """How many times faster than one worker so many equal ones are at best: groups are not divided, and a group waits for
    those of its teachers. Weighs groups by their operations; 1 for one worker, and never more than `workers`."""
    by_id = {run.spec.id: run.spec for run in study.every_run}
    groups = [[run.spec for run in group] for group in study.groups(study.runs)]
    costs = [of_group(group, by_id, sizes).flop for group in groups]
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


def _forward(spec: RunSpec, images: Sizes) -> float:
    return float(forward(spec.model, images.classes, spec.side or images.side))


def _looks(spec: RunSpec, images: Sizes, shown: Sizes) -> float:
    """Images that go through a network outside its training."""
    settings = spec.observe
    looks = spec.train.epochs / settings.validate_every * min(images.validation, settings.validate_sample)
    if spec.role == "origin":
        return looks
    sampled, mapped = min(shown.train, settings.train_sample), min(shown.validation, settings.maps)
    about = _network(spec.model, images.classes, spec.side or images.side)
    halves = 2.0 if spec.role == "teacher" and about.halves else 1.0  # left and right are half an image each
    return looks + len(VIEWS) * halves * (shown.validation + sampled + 8 * mapped) + shown.draws


def _working(group: Sequence[RunSpec], by_id: Mapping[str, RunSpec], images: Sizes, shown: Sizes, side: int) -> float:
    """Bytes beside the images: networks, one network's step, and views, at the worst moment."""
    classes, pixels = images.classes, 3 * side**2
    networks = 0.0
    for spec in group:
        copies = 3 + (spec.train.optimiser == "adamw")  # weights, gradients, momentum; of adamw a second moment
        copies += spec.train.keep == "best"  # the best epoch's weights
        networks += copies * FLOAT * _network(spec.model, classes, side).weights
    for teacher in {teacher for spec in group for teacher in spec.teachers}:
        networks += 2 * FLOAT * _network(by_id[teacher].model, classes, side).weights  # and its teaching copy
    step = max(
        spec.train.batch_size
        * _network(spec.model, classes, side).kept
        * (0.5 if spec.train.precision == "bfloat16" else 1.0)
        for spec in group
    )
    made = min(CHUNK, images.train) * pixels * (1 + 2 * FLOAT)  # uint8, and float before and after resampling
    mapped = (len(VIEWS) + 2) * min(shown.validation, group[0].observe.maps)  # views of one's own, and the base view
    observed = max(mapped, min(shown.validation, DIAL_IMAGES, group[0].observe.validate_sample)) * pixels
    return networks + max(step, observed) + made


def _disk(spec: RunSpec, shown: Sizes) -> float:
    """Bytes of a finished run."""
    about = _network(spec.model, shown.classes, spec.side or shown.side)
    weights = FLOAT * about.weights
    if spec.role == "origin":
        return weights
    settings = spec.observe
    own = spec.augmentation not in VIEWS
    views = len(VIEWS) + own
    sampled = min(shown.train, settings.train_sample)
    rows = views * (shown.validation + sampled) + shown.validation + shown.draws  # base views of the validation images
    maps = views * 2 * min(shown.validation, sampled, settings.maps)
    if spec.role == "teacher" and about.halves:
        rows += 2 * len(VIEWS) * (shown.validation + sampled)
        maps += 2 * len(VIEWS) * 2 * min(shown.validation, sampled, settings.maps)
    if spec.objective and (own or spec.objective.batch_norm == "train"):
        taught = views if spec.objective.batch_norm == "train" else 1
        rows += len(spec.teachers) * taught * (shown.validation + sampled)
    return weights + FLOAT * (rows * shown.classes + maps * about.methods * about.places)


@dataclass(frozen=True)
class _Network:
    weights: int
    """numbers in its state"""
    kept: float
    """bytes that a training step keeps of each image for its backward pass, in float32"""
    places: int
    """of its map"""
    methods: int
    """of attention maps that it gives"""
    halves: bool
    """whether it is shown halves of images too"""


@cache
def _network(model: ModelSpec, classes: int, side: int) -> _Network:
    """Counted on a device without memory."""
    network = models.build(model, classes, side, seed=0).to("meta").train()
    weights = sum(tensor.numel() for tensor in network.state_dict().values())
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = network.features(torch.zeros(2, 3, side, side, device="meta"))
        network.head(maps)
    size = sum(each.nbytes() for each in kept.values()) / 2
    places = int(maps.shape[-1] * maps.shape[-2])
    return _Network(weights, size, places, len(network.map_methods), network.any_width)
