"""Training: a lockstep group of networks that see the same batches.

A group is any set of runs with one stream of views (`group_key`): the same data, augmentation, batch size, seed and
member. A batch is augmented once and each teacher answers once, whatever the number of students; then every member
takes its step. A teacher's own training is a group of one.

Members share nothing that one could change for another: a network trained in company is bit-identical to itself trained
alone (on one machine, with one number of threads). Views, order and learning rate are functions of seed, epoch and
index, so a checkpoint is weights, momentum and the log, and a resumed run ends as an uninterrupted one.
"""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from kdnb import augment, distill, models
from kdnb.checkpoint import Checkpoints
from kdnb.counter import Purpose, Stream
from kdnb.datasets import Dataset, Split
from kdnb.errors import DivergedError
from kdnb.spec import RunSpec

CHUNK = 1024
"""Images augmented at once: enough that a kernel call costs little an image, few enough to stay small."""

FORWARD = 256
"""Images in a forward pass without a step: more only leave the processor's caches."""

_INIT_SEED = 1_000_003
"""Spreads (seed, member) over the seeds of weights."""


class Normaliser:
    """uint8 images to what networks see: at their side, (x/255 − mean) / std, channels last, on a device."""

    def __init__(self, dataset: Dataset, device: torch.device, side: int | None = None) -> None:
        self._side = side
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (dataset.mean, dataset.std))
        self._scale, self._shift = 1.0 / (255.0 * std), -mean / std

    def __call__(self, images: Tensor) -> Tensor:
        images = augment.resized(images, self._side)  # views come at the side already, clean images may not
        return torch.addcmul(self._shift, images.float(), self._scale).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    network: models.Network
    log: list[dict[str, Any]]
    """One entry an epoch: epoch, learning_rate, loss, train_accuracy (running, on the views trained on),
    validation_accuracy (None where nobody looked), seconds (this member's share of the group's)."""
    code: tuple[str, ...] = ()
    """The code it was trained with, as the caller named it: more than one where a training was resumed with another."""


class OnEpoch(Protocol):
    """Called after each epoch of a group with the members that took part."""

    def __call__(self, epoch: int, members: Sequence[RunSpec]) -> None: ...


@dataclass
class _Member:
    """One network on its way."""

    spec: RunSpec
    network: models.Network
    optimiser: torch.optim.SGD
    epoch: int = 0
    """epochs done"""
    log: list[dict[str, Any]] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    failure: DivergedError | None = None

    def step(
        self, images: Tensor, labels: Tensor, teachers: Sequence[Tensor], learning_rate: float
    ) -> tuple[Tensor, Tensor]:
        """One step of SGD; the loss and the number of images it had right, both still on the device."""
        self.optimiser.param_groups[0]["lr"] = learning_rate
        with autocast(self.spec, images.device):
            logits = self.network(images)
        loss = distill.loss(logits.float(), labels, teachers, self.spec.distill)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()

    def state(self) -> dict[str, Tensor]:
        tensors = {f"weights.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            momentum = self.optimiser.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        weights = {n.removeprefix("weights."): t for n, t in tensors.items() if n.startswith("weights.")}
        self.network.load_state_dict(weights)
        for name, parameter in self.network.named_parameters():
            if f"momentum.{name}" in tensors:
                buffer = torch.empty_like(parameter)  # in the parameter's memory format, on its device
                buffer.copy_(tensors[f"momentum.{name}"])
                self.optimiser.state[parameter]["momentum_buffer"] = buffer
        self.epoch, self.log, self.code = about["epoch"], about["log"], about.get("code", [""])


def initial(spec: RunSpec, classes: int, side: int, device: torch.device) -> models.Network:
    """The untrained network of a run: its weights follow from seed and member alone, so that all students of a seed, and
    a teacher's weak and strong version, start from the same."""
    network = models.build(spec.model, classes, spec.side or side, spec.seed * _INIT_SEED + spec.member)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def group_key(spec: RunSpec) -> tuple[Any, ...]:
    """Runs with the same key see the same batches and can train in one group."""
    return (
        spec.dataset.hash,
        spec.side,
        spec.augmentation,
        spec.train.batch_size,
        spec.train.precision,  # in which the teachers answer all
        spec.record,
        spec.seed,
        spec.member,
        spec.role == "reference",
    )


def train(
    specs: Sequence[RunSpec],
    dataset: Dataset,
    teachers: Mapping[str, models.Network],
    device: torch.device,
    *,
    checkpoints: Checkpoints | None = None,
    on_epoch: OnEpoch | None = None,
    code: str = "",
) -> dict[str, Trained | DivergedError]:
    """Trains a lockstep group, going on from its checkpoints where there are any.

    Args:
        specs: runs with one `group_key`.
        teachers: the networks of all teachers that the specs name, by run id; left as they are.
        checkpoints: where the state is kept after each epoch.
        code: what the running code is called (`kdnb.environment.code`); noted, so that a resumed run tells all that made it.

    Returns:
        For each run id a `Trained`, or the error of a run whose loss was no longer finite; the others go on without it.

    Raises:
        ValueError: runs of different groups, or a teacher is not given.
    """
    if len({group_key(spec) for spec in specs}) != 1:
        raise ValueError(
            "the runs of a group share data, augmentation, batch size, precision, seed and member; these do not"
        )
    missing = {teacher for spec in specs for teacher in spec.teachers} - set(teachers)
    if missing:
        raise ValueError(f"no network is given for the teachers {sorted(missing)}")
    members = [_start(spec, dataset, device, checkpoints) for spec in specs]
    prepare = Normaliser(dataset, device, specs[0].side)
    train_images, train_labels = dataset.train.images.to(device), dataset.train.labels.to(device)
    look_at = _look(dataset.validation, specs[0], device)
    classroom = _Classroom(teachers)

    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        for epoch in range(max(spec.train.epochs for spec in specs)):
            # Members may come from checkpoints of different epochs; each joins in where its own training goes on.
            active = [m for m in members if m.epoch == epoch < m.spec.train.epochs and m.failure is None]
            if not active:
                continue
            began = time.perf_counter()
            batches = _batches(train_images, train_labels, active[0].spec, epoch, prepare)
            _run_epoch(active, batches, classroom, epoch, len(train_labels))
            seconds = (time.perf_counter() - began) / len(active)
            for member in active:
                member.log[-1]["seconds"] = round(seconds, 4)
                if code not in member.code:
                    member.code.append(code)
                if member.failure is None:
                    _finish_epoch(member, prepare, look_at, checkpoints)
            if on_epoch is not None:
                on_epoch(epoch, [member.spec for member in active])
    return {m.spec.id: m.failure or Trained(m.network.eval(), m.log, tuple(m.code)) for m in members}


def _start(spec: RunSpec, dataset: Dataset, device: torch.device, checkpoints: Checkpoints | None) -> _Member:
    network = initial(spec, len(dataset.classes), dataset.side, device)
    settings = spec.train
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    member = _Member(spec, network, optimiser)
    saved = checkpoints.load(spec.id) if checkpoints is not None else None
    if saved is not None:
        member.restore(*saved)
    return member


class _Classroom:
    """The teachers at work: each answers a batch once, whoever asks."""

    def __init__(self, teachers: Mapping[str, models.Network]) -> None:
        self._given = teachers
        self._ready: dict[tuple[str, str], models.Network] = {}

    def answers(self, active: Sequence[_Member], images: Tensor) -> dict[tuple[str, str], Tensor]:
        """Logits of each teacher that somebody listens to, by (run id, mode of its batch-norm layers)."""
        wanted = dict.fromkeys(
            (t, m.spec.distill.batch_norm) for m in active if m.spec.distill for t in m.spec.teachers
        )
        with torch.no_grad(), autocast(active[0].spec, images.device):
            return {key: self._teacher(key)(images).float() for key in wanted}

    def _teacher(self, key: tuple[str, str]) -> models.Network:
        if key not in self._ready:
            self._ready[key] = teaching_copy(self._given[key[0]], key[1])
        return self._ready[key]


def teaching_copy(teacher: models.Network, batch_norm: str) -> models.Network:
    """A copy that teaches in a mode: `eval`, or `train`, in which batch-norm layers use the statistics of the batch and
    keep updating their own, as the released code's teachers do."""
    return copy.deepcopy(teacher).requires_grad_(False).train(batch_norm == "train")


def _batches(
    images: Tensor, labels: Tensor, spec: RunSpec, epoch: int, prepare: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's views in its order. A last batch of one image is left out: batch statistics need two."""
    stream, recipe, size = Stream(spec.seed, spec.member), augment.recipe(spec.augmentation), spec.train.batch_size
    order = stream.permutation(len(images), epoch)
    chunk = max(1, CHUNK // size) * size
    for start in range(0, len(order), chunk):
        index = order[start : start + chunk]
        where = torch.from_numpy(index).to(images.device)
        views = augment.views(images[where], index, recipe, stream, epoch, size=spec.side)
        for batch, batch_labels in zip(views.split(size), labels[where].split(size), strict=True):
            if len(batch) > 1:
                yield prepare(batch), batch_labels


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches in an epoch, without a last one of a single image."""
    return max(1, images // batch_size + (images % batch_size > 1))


def _run_epoch(
    active: Sequence[_Member],
    batches: Iterator[tuple[Tensor, Tensor]],
    classroom: _Classroom,
    epoch: int,
    images: int,
) -> None:
    device = next(active[0].network.parameters()).device
    exact = torch.float32 if device.type == "mps" else torch.float64  # which has no double precision
    sums = [torch.zeros(2, dtype=exact, device=device) for _ in active]
    seen = 0
    per_epoch = steps_per_epoch(images, active[0].spec.train.batch_size)
    for member in active:
        member.network.train()
    for number, (batch, labels) in enumerate(batches):
        answers = classroom.answers(active, batch)
        for member, total in zip(active, sums, strict=True):
            settings = member.spec.distill
            heard = [answers[teacher, settings.batch_norm] for teacher in member.spec.teachers] if settings else []
            rate = distill.learning_rate(member.spec.train, epoch * per_epoch + number, per_epoch)
            loss, right = member.step(batch, labels, heard, rate)
            total += torch.stack([loss.to(exact) * len(labels), right.to(exact)])
        seen += len(labels)
    for member, total in zip(active, sums, strict=True):
        loss_sum, right_sum = total.tolist()
        rate = distill.learning_rate(member.spec.train, epoch * per_epoch, per_epoch)
        member.log.append(
            {
                "epoch": epoch,
                "learning_rate": rate,
                "loss": loss_sum / seen,
                "train_accuracy": right_sum / seen,
                "validation_accuracy": None,
            }
        )
        # A sum that any step made non-finite stays so: one look an epoch is enough and keeps a GPU busy.
        if not torch.isfinite(total).all():
            member.failure = DivergedError(
                f"run {member.spec.id} (seed {member.spec.seed}) diverged in epoch {epoch + 1}, whose learning rate "
                f"begins at {rate:.4g}: its loss is not finite; lower learning_rate, or raise warmup_epochs or rise"
            )


def _look(validation: Split, spec: RunSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """The fixed images that a training is looked at with."""
    index = sample(len(validation), spec.record.validate_sample)
    return validation.images[index].to(device), validation.labels[index].to(device)


def sample(size: int, count: int) -> Tensor:
    """`count` of `size` numbers, or all, sorted; always the same ones."""
    if count >= size:
        return torch.arange(size)
    draws = Stream(0).uniforms(Purpose.SAMPLE, 0, np.arange(size), 1)[:, 0]
    return torch.from_numpy(np.sort(np.argsort(draws, kind="stable")[:count]))


def _finish_epoch(
    member: _Member,
    prepare: Callable[[Tensor], Tensor],
    look_at: tuple[Tensor, Tensor],
    checkpoints: Checkpoints | None,
) -> None:
    member.epoch += 1
    spec = member.spec
    if member.epoch % spec.record.validate_every == 0 or member.epoch == spec.train.epochs:
        images, labels = look_at
        right = logits(member.network, images, prepare, spec).argmax(dim=1) == labels
        member.log[-1]["validation_accuracy"] = int(right.sum()) / len(right)
    if checkpoints is not None:
        checkpoints.save(spec.id, member.state(), {"epoch": member.epoch, "log": member.log, "code": member.code})


def logits(network: models.Network, images: Tensor, prepare: Callable[[Tensor], Tensor], spec: RunSpec) -> Tensor:
    """float32 logits (N, K) of uint8 images, the network in eval mode (and left so)."""
    network.eval()
    with torch.inference_mode(), autocast(spec, images.device):
        return torch.cat([network(prepare(batch)).float() for batch in images.split(FORWARD)])


def autocast(spec: RunSpec, device: torch.device) -> torch.autocast:
    """The precision that a run's networks answer in."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=spec.train.precision == "bfloat16")
