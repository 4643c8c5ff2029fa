"""Training: a lockstep group of networks that see the same batches.

A group is any set of runs with one stream of views (`group_key`): the same data, augmentation, batch size, seed and
member. A batch is augmented once and each teacher answers it once, whatever the number of students and objectives; half
views add one pass for each teacher and side used. Then every learner takes its step. A teacher's own training is a group
of one.

Learners share nothing that one could change for another: a network trained in company is bit-identical to itself trained
alone (on one machine, with one number of threads). Views, order, learning rate and the softness of targets are functions
of the spec, so a checkpoint is weights, the optimiser's momentum and the log, and a resumed run ends as an uninterrupted one.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from kdnb import devices, environment
from kdnb.errors import DivergedError, ProfileError
from kdnb.images import augment
from kdnb.images.counter import Purpose, Stream
from kdnb.images.datasets import Dataset, Split
from kdnb.training import models, objectives, optimiser
from kdnb.training.checkpoint import Checkpoints
from kdnb.training.inference import CHUNK, Normaliser, autocast, chunks, half, logits, sample, teaching_copy, views_of
from kdnb.training.objectives import SIDES, Objective, Side
from kdnb.training.schedule import learning_rate
from kdnb.training.spec import RunSpec

_INIT_SEED = 1_000_003
"""Spreads (seed, member) over the seeds of weights."""

SUMS = 5
"""What a learner adds up over an epoch."""

PREPARED = 50_000
"""At most so many training images decide the softness of targets and the class means."""


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    network: models.Network
    log: list[dict[str, Any]]
    """One entry an epoch: epoch, learning_rate, loss, train_accuracy (running, on the views trained on),
    validation_accuracy (None where nobody looked), seconds (this learner's share of the group's); of a distilled student also
    target_temperature (τ), target_entropy (of the softened answers, in nats), and hard_gradient and soft_gradient (the mean
    norms of the labels' and the teachers' gradients in an image's logits)."""
    made_by: tuple[environment.Provenance, ...] = ()
    """What trained it, as the caller named it: more than one where a training was resumed by another."""


class OnEpoch(Protocol):
    """Called after each epoch of a group with the runs that took part."""

    def __call__(self, epoch: int, runs: Sequence[RunSpec]) -> None: ...


@dataclass(frozen=True)
class _Source:
    """A network that answers, in which mode of its batch-norm layers, and what part of a view it sees."""

    teacher: str
    batch_norm: str
    stand_in: str = ""
    side: Side | None = None


@dataclass
class _Learner:
    """One network on its way."""

    spec: RunSpec
    network: models.Network
    optimiser: torch.optim.Optimizer
    temperature: float | None = None
    """τ of its targets"""
    means: list[Tensor | None] = field(default_factory=list)
    """class means of each teacher, where the objective needs them"""
    epoch: int = 0
    """epochs done"""
    log: list[dict[str, Any]] = field(default_factory=list)
    made_by: list[environment.Provenance] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    """the weights of the best epoch so far, where those are kept"""
    failure: DivergedError | None = None
    sums: Tensor = field(default_factory=lambda: torch.zeros(SUMS))
    """over the images of the epoch so far: loss, images that it had right, entropy of the targets, norms of the labels' and
    of the teachers' gradient"""

    @property
    def device(self) -> torch.device:
        return self.sums.device

    @property
    def sources(self) -> list[_Source]:
        """who answers, teacher by teacher"""
        objective = self.spec.objective
        return _sources(objective, self.spec.teachers) if objective else []

    @property
    def softness(self) -> list[_Source]:
        """whose plain answers its targets are as soft as, where that is matched"""
        objective = self.spec.objective
        if objective is None or not objectives.kind_of(objective.kind).matched:
            return []
        return [_Source(teacher, objective.batch_norm) for teacher in self.spec.teachers]

    def step(self, images: Tensor, labels: Tensor, coin: Tensor, heard: Sequence[Tensor]) -> None:
        """One step, at the optimiser's learning rate; adds to `sums`."""
        with autocast(self.spec, images.device):
            student = self.network(images)
        objective, entropy = self.spec.objective, torch.zeros((), device=images.device)
        hard_norm = soft_norm = entropy
        answers: list[Tensor] = []
        if objective is not None:
            answers = objectives.answers(objective, heard, labels, self.means, coin)
            entropy = objectives.mean_entropy(answers, self.temperature or objective.temperature)
            hard_norm, soft_norm = objectives.gradient_norms(
                student.float(), labels, answers, objective, self.temperature
            )
        loss = objectives.loss(student.float(), labels, answers, objective, self.temperature)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step(self.optimiser)
        right = (student.detach().argmax(dim=1) == labels).sum()
        exact, images_in_batch = self.sums.dtype, len(labels)
        of_batch = [loss.detach() * images_in_batch, right, entropy * images_in_batch, hard_norm, soft_norm]
        self.sums += torch.stack([each.to(exact) for each in of_batch])

    def state(self) -> dict[str, Tensor]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= optimiser.state(self.optimiser, self.network)
        return tensors | {f"best.{name}": tensor for name, tensor in self.best.items()}

    def restore(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        weights = {n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")}
        self.network.load_state_dict(weights)
        self.best = {n.removeprefix("best."): t for n, t in tensors.items() if n.startswith("best.")}
        optimiser.restore(self.optimiser, self.network, tensors)
        self.epoch, self.log = about["epoch"], about["log"]
        code_alone = [(code, "") for code in about.get("code", [""])]  # of checkpoints of version 0.2.0
        self.made_by = [environment.Provenance(*each) for each in about.get("makers", code_alone)]


def _sources(objective: Objective, teachers: Sequence[str]) -> list[_Source]:
    kind = objectives.kind_of(objective.kind)
    if kind.teacher_input == "half":
        pairs = zip(teachers, objective.sides, strict=True)
        return [_Source(teacher, objective.batch_norm, side=side) for teacher, side in pairs]
    if kind.teacher_input == "halves":
        return [_Source(teacher, objective.batch_norm, side=side) for teacher in teachers for side in SIDES]
    return [_Source(teacher, objective.batch_norm, stand_in=kind.stand_in) for teacher in teachers]


def initial(
    spec: RunSpec, classes: int, side: int, device: torch.device, features: Mapping[str, Tensor] | None = None
) -> models.Network:
    """A run's network before training.

    What the seed draws follows from seed and member alone, so that all students of a seed, and a teacher's weak and strong
    version, start from the same.

    Args:
        features: the weights of its origin; the head stays as drawn, unless the origin says pretrained. None where its origin
            is fresh.

    Raises:
        ValueError: an origin without features, or features without an origin.
        DataError: the features are another architecture's.
    """
    if (spec.origin.kind == "fresh") != (features is None):
        raise ValueError(f"a run of the origin {spec.origin.kind!r} is built with {'no ' * (not features)}features")
    network = models.build(spec.model, classes, spec.side or side, spec.seed * _INIT_SEED + spec.member)
    if features is not None:
        imagenet = spec.origin.kind == "imagenet"
        whole = spec.origin.kind == "imagenet" and spec.origin.head == "pretrained"
        without = models.CIFAR_STEM if imagenet and spec.model.name.endswith("-cifar") else frozenset[str]()
        models.start_from(network, features, f"the origin of run {spec.id}", whole=whole, without=without)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def group_key(spec: RunSpec) -> tuple[Any, ...]:
    """Runs with the same key see the same batches and can train in one group."""
    return (
        spec.dataset.hash,
        spec.observed,
        spec.side,
        spec.resize,
        spec.augmentation,
        spec.recipe,
        spec.train.batch_size,
        spec.train.precision,  # in which the teachers answer all
        spec.observe,
        spec.seed,
        spec.member,
        spec.role,
    )


def train(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    teachers: Mapping[str, models.Network],
    device: torch.device,
    *,
    stand_ins: Mapping[str, Mapping[str, models.Network]] | None = None,
    origins: Mapping[str, Mapping[str, Tensor]] | None = None,
    checkpoints: Checkpoints | None = None,
    on_epoch: OnEpoch | None = None,
    provenance: environment.Provenance = environment.UNKNOWN,
    record: bool = False,
) -> dict[str, Trained | DivergedError]:
    """Trains a lockstep group, going on from its checkpoints where there are any.

    Args:
        specs: runs with one `group_key`.
        teachers: the networks of all teachers that the specs name, by run id; left as they are.
        stand_ins: by name and run id, the networks that answer in teachers' places (`kdnb.training.objectives.Kind.stand_in`).
        origins: the features that runs start from, by the run's own id, where their origin is not fresh.
        checkpoints: where the state is kept after each epoch.
        record: record steps as CUDA graphs, where the device is a CUDA device.
        provenance: what trains here and now (`kdnb.environment.provenance`); noted, so that a resumed run names all that
            made it.

    Returns:
        For each run id a `Trained`, or the error of a run whose loss or weights were no longer finite; the others go on
        without it.

    Raises:
        ValueError: runs of different groups, or a network is not given.
        ProfileError: a teacher that cannot see half of an image, or targets whose softness cannot be matched.
    """
    if len({group_key(spec) for spec in specs}) != 1:
        raise ValueError(
            "the runs of a group share data, augmentation, batch size, precision, seed, member and role; these do not"
        )
    learners = [_start(spec, dataset, device, checkpoints, (origins or {}).get(spec.id)) for spec in specs]
    bank = _TeacherBank(
        {"": teachers, **(stand_ins or {})}, {source for each in learners for source in each.sources + each.softness}
    )
    prepare = Normaliser(dataset, device, specs[0])
    images = dataset.train.to(device)
    validate_on = dataset.validation.select(
        sample(len(dataset.validation), specs[0].observe.validate_sample).numpy()
    ).to(device)

    with devices.repeatable():
        _prepare_targets(learners, bank, dataset, prepare, device)
        steps = _Steps(learners, bank, record)
        for epoch in range(max(spec.train.epochs for spec in specs)):
            # Learners may come from checkpoints of different epochs; each joins in where its own training goes on.
            active = [each for each in learners if each.epoch == epoch < each.spec.train.epochs and not each.failure]
            if not active:
                continue
            began = time.perf_counter()
            batches = _batches(images, active[0].spec, epoch, prepare)
            _run_epoch(active, batches, steps, epoch, len(images))
            seconds = (time.perf_counter() - began) / len(active)
            for learner in active:
                learner.log[-1]["seconds"] = round(seconds, 4)
                if provenance not in learner.made_by:
                    learner.made_by.append(provenance)
            whole = [each for each in active if not each.failure]
            accuracies = _validate([each for each in whole if _is_validated(each)], validate_on, prepare)
            for learner in whole:
                _finish_epoch(learner, accuracies.get(learner.spec.id), checkpoints)
            if on_epoch is not None:
                on_epoch(epoch, [learner.spec for learner in active])
    return {each.spec.id: _finished(each) for each in learners}


def _finished(learner: _Learner) -> Trained | DivergedError:
    if learner.failure is None:
        if learner.best:
            learner.network.load_state_dict(learner.best)
        for name, tensor in learner.network.state_dict().items():
            if not torch.isfinite(tensor).all():
                learner.failure = DivergedError(
                    f"run {learner.spec.id} (seed {learner.spec.seed}) diverged in its last epoch: {name} is not finite; "
                    "lower learning_rate"
                )
                break
    return learner.failure or Trained(learner.network.eval(), learner.log, tuple(learner.made_by))


def _start(
    spec: RunSpec,
    dataset: Dataset,
    device: torch.device,
    checkpoints: Checkpoints | None,
    features: Mapping[str, Tensor] | None,
) -> _Learner:
    network = initial(spec, len(dataset.classes), dataset.side, device, features)
    sums = torch.zeros(SUMS, dtype=devices.finest(device), device=device)
    learner = _Learner(spec, network, optimiser.build(network, spec.train), sums=sums)
    saved = checkpoints.load(spec.id) if checkpoints is not None else None
    if saved is not None:
        learner.restore(*saved)
    return learner


class _TeacherBank:
    """The teachers at work: each answers a batch once for everyone."""

    def __init__(
        self,
        networks: Mapping[str, Mapping[str, models.Network]],
        sources: set[_Source],
    ) -> None:
        self._networks: dict[_Source, models.Network] = {}
        copies: dict[tuple[str, str, str], models.Network] = {}
        for source in sorted(sources, key=repr):
            given = networks.get(source.stand_in, {})
            if source.teacher not in given:
                raise ValueError(
                    f"no {source.stand_in} network is given for the teacher {source.teacher}".replace("  ", " ")
                )
            key = (source.teacher, source.batch_norm, source.stand_in)
            if key not in copies:
                copies[key] = teaching_copy(given[source.teacher], source.batch_norm)
            if source.side and not copies[key].any_width:
                raise ProfileError(
                    f"the teacher {source.teacher} cannot see half of an image: a transformer cuts whole ones into "
                    "patches; use a ResNet for objectives that show halves"
                )
            self._networks[source] = copies[key]

    @property
    def networks(self) -> Iterable[models.Network]:
        return self._networks.values()

    def answer(self, source: _Source, images: Tensor, spec: RunSpec) -> Tensor:
        """Logits of a source, of a batch, in the precision of a learner's spec."""
        shown = half(images, source.side) if source.side else images
        with torch.no_grad(), autocast(spec, images.device):
            return self._networks[source](shown).float()

    def over(self, source: _Source, shown: Tensor, prepare: Callable[[Tensor], Tensor], spec: RunSpec) -> Tensor:
        """Logits (N, K) of a source over many uint8 views, in batches of the training's size."""
        return logits(self._networks[source], shown, prepare, spec, side=source.side, batch=spec.train.batch_size)


def _prepare_targets(
    learners: Sequence[_Learner],
    bank: _TeacherBank,
    dataset: Dataset,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device,
) -> None:
    """Finds the softness of targets and the class means, from the training images in views of the learners' kind."""
    matched = [learner for learner in learners if learner.softness]
    if not matched:
        return
    first = matched[0].spec
    index = sample(len(dataset.train), PREPARED)
    split, size = dataset.train.select(index.numpy()), first.train.batch_size
    labels = split.labels.to(device)
    parts: dict[_Source, list[Tensor]] = {source: [] for each in matched for source in each.softness + each.sources}
    for places, images in chunks(split, max(1, CHUNK // size) * size):
        shown = views_of(images.to(device), index[places], first.augmentation, first, "train")
        for source, answered in parts.items():
            answered.append(bank.over(source, shown, prepare, first))
    heard = {source: torch.cat(answered) for source, answered in parts.items()}

    for learner in matched:
        objective = learner.spec.objective
        assert objective is not None  # it is among the matched
        softness = [heard[source] for source in learner.softness]
        entropy = float(objectives.mean_entropy(softness, objective.temperature))
        given = [heard[source] for source in learner.sources]
        if objective.kind == "class-mean":
            learner.means = [objectives.class_means(each, labels, len(dataset.classes)) for each in given]
        answers = objectives.answers(objective, given, labels, learner.means)
        try:
            learner.temperature = objectives.matched_temperature(answers, entropy)
        except ValueError as error:
            raise ProfileError(f"the objective {objective.kind} of run {learner.spec.id}: {error}") from None


def _batches(
    split: Split, spec: RunSpec, epoch: int, prepare: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The epoch's views in its order, their labels, and a coin for each. A last batch of one image is left out: batch
    statistics need two."""
    stream, recipe, size = Stream(spec.seed, spec.member), augment.recipe(spec.augmentation), spec.train.batch_size
    order = stream.permutation(len(split), epoch)
    chunk = max(1, CHUNK // size) * size
    parts = [order[start : start + chunk] for start in range(0, len(order), chunk)]
    for index, images in zip(parts, split.stream(parts), strict=True):
        labels = split.labels[torch.from_numpy(index).to(split.labels.device)]
        shown = augment.views(images, index, recipe, stream, epoch, size=spec.side, interpolation=spec.resize)
        coins = torch.from_numpy(stream.uniforms(Purpose.COIN, epoch, index, 1)[:, 0] < 0.5).to(labels.device)
        for batch, *others in zip(shown.split(size), labels.split(size), coins.split(size), strict=True):
            if len(batch) > 1:
                yield prepare(batch), *others


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches in an epoch, without a last one of a single image."""
    return max(1, images // batch_size + (images % batch_size > 1))


class _Steps:
    """How learners take their steps: one after the other, or, on a CUDA device, recorded and side by side."""

    def __init__(self, learners: Sequence[_Learner], bank: _TeacherBank, record: bool = False) -> None:
        self._bank = bank
        device = learners[0].device
        self._recorder: Callable[..., None] | None = None
        self._rates: dict[str, Tensor] = {}
        if device.type == "cuda":
            # Read from the device at each step, since a recorded step repeats its arguments.
            self._rates = {each.spec.id: torch.zeros((), device=device) for each in learners}
            for each in learners:
                each.optimiser.param_groups[0]["lr"] = self._rates[each.spec.id]
            if record and _is_recordable(learners, bank):
                from kdnb.scale import graphs

                self._recorder = graphs.Recorder(device)

    def over(
        self, active: Sequence[_Learner], batches: Iterator[tuple[Tensor, Tensor, Tensor]], first: int, per_epoch: int
    ) -> int:
        """One step of each learner for each batch, the first of which has the number `first`; how many images they saw."""
        seen = 0
        rates = [
            [learning_rate(each.spec.train, first + number, per_epoch) for each in active]
            for number in range(per_epoch)
        ]
        on_device = torch.tensor(rates, device=active[0].device) if self._rates else None
        for number, (images, labels, coin) in enumerate(batches):
            sources = dict.fromkeys(source for learner in active for source in learner.sources)
            calls = {source: partial(self._bank.answer, source, spec=active[0].spec) for source in sources}
            if on_device is not None:
                torch._foreach_copy_([self._rates[each.spec.id] for each in active], list(on_device[number].unbind()))
            else:
                for learner, rate in zip(active, rates[number], strict=True):
                    learner.optimiser.param_groups[0]["lr"] = rate
            if self._recorder is not None:
                steps = [(each.spec.id, each.sources, each.step) for each in active]
                self._recorder((images, labels, coin), calls, steps)
            else:
                answers = {source: call(images) for source, call in calls.items()}
                for learner in active:
                    learner.step(images, labels, coin, [answers[source] for source in learner.sources])
            seen += len(labels)
        return seen


def _is_recordable(learners: Sequence[_Learner], bank: _TeacherBank) -> bool:
    """Whether all networks and objectives are of the package: in others Python may wait for what the device computes."""
    kinds = [each.spec.objective.kind for each in learners if each.spec.objective is not None]
    networks = [*(each.network for each in learners), *bank.networks]
    return all(kind in objectives.KINDS for kind in kinds) and all(network.recordable for network in networks)


def _run_epoch(
    active: Sequence[_Learner],
    batches: Iterator[tuple[Tensor, Tensor, Tensor]],
    steps: _Steps,
    epoch: int,
    images: int,
) -> None:
    per_epoch = steps_per_epoch(images, active[0].spec.train.batch_size)
    for learner in active:
        learner.network.train()
        learner.sums.zero_()
    seen = steps.over(active, batches, epoch * per_epoch, per_epoch)
    for learner in active:
        loss_sum, right_sum, entropy_sum, hard_sum, soft_sum = learner.sums.tolist()
        rate = learning_rate(learner.spec.train, epoch * per_epoch, per_epoch)
        entry = {
            "epoch": epoch,
            "learning_rate": rate,
            "loss": loss_sum / seen,
            "train_accuracy": right_sum / seen,
            "validation_accuracy": None,
        }
        if learner.spec.objective is not None:
            entry["target_temperature"] = learner.temperature or learner.spec.objective.temperature
            entry["target_entropy"] = entropy_sum / seen
            entry["hard_gradient"], entry["soft_gradient"] = hard_sum / seen, soft_sum / seen
        learner.log.append(entry)
        # A sum that any step made non-finite stays so: one look an epoch is enough and keeps a GPU busy.
        if not torch.isfinite(learner.sums).all():
            learner.failure = DivergedError(
                f"run {learner.spec.id} (seed {learner.spec.seed}) diverged in epoch {epoch + 1}, whose learning rate "
                f"begins at {rate:.4g}: its loss is not finite; lower learning_rate, or raise warmup_epochs or rise"
            )


def best_epoch(log: Sequence[Mapping[str, Any]]) -> int:
    """The first epoch (from 0) of a log with the highest validation accuracy, among those in which somebody looked.

    Raises:
        ValueError: nobody looked.
    """
    looks = [
        (entry["validation_accuracy"], -number)
        for number, entry in enumerate(log)
        if entry["validation_accuracy"] is not None
    ]
    return -max(looks)[1]


def _is_validated(learner: _Learner) -> bool:
    """Whether the epoch that it has just gone through ends with a look."""
    done, spec = learner.epoch + 1, learner.spec
    return done % spec.observe.validate_every == 0 or done == spec.train.epochs


def _validate(learners: Sequence[_Learner], shown: Split, prepare: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """The accuracy of each on the fixed images that a training is looked at with, by run id; images are read once for all."""
    right = {learner.spec.id: torch.zeros((), dtype=torch.int64, device=shown.labels.device) for learner in learners}
    for places, images in chunks(shown) if learners else ():
        labels = shown.labels[places.to(shown.labels.device)]
        for learner in learners:
            answers = logits(learner.network.eval(), images, prepare, learner.spec)
            right[learner.spec.id] += (answers.argmax(dim=1) == labels).sum()
    return {run: int(count) / len(shown) for run, count in right.items()}


def _finish_epoch(learner: _Learner, accuracy: float | None, checkpoints: Checkpoints | None) -> None:
    learner.epoch += 1
    spec = learner.spec
    if accuracy is not None:
        learner.log[-1]["validation_accuracy"] = accuracy
        if spec.train.keep == "best" and best_epoch(learner.log) == len(learner.log) - 1:
            learner.best = {name: tensor.detach().clone() for name, tensor in learner.network.state_dict().items()}
    if checkpoints is not None:
        checkpoints.save(
            spec.id, learner.state(), {"epoch": learner.epoch, "log": learner.log, "makers": learner.made_by}
        )
