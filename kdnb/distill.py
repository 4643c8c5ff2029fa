"""The paper's loss, and the learning-rate schedules: what training minimises, and how fast."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdnb.spec import DistillSpec, OneCycleSchedule, StepSchedule, TrainSpec


def loss(student: Tensor, labels: Tensor, teachers: Sequence[Tensor], settings: DistillSpec | None) -> Tensor:
    """Mean over teachers of α·CE(y, s) + (1 − α)·T²·KL(softmax(t/T) ‖ softmax(s/T)); plain CE without teachers.

    Each teacher is matched by itself: this is not the divergence to the averaged teacher, though by the convexity of KL
    it lies above it. T² keeps the two terms' gradients of one size as T grows (Hinton et al. 2015).

    Args:
        student: logits (N, K).
        labels: class numbers (N,).
        teachers: logits (N, K) of each teacher on the same views.
        settings: temperature and α; None where there are no teachers.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: teachers without settings, or settings without teachers.
    """
    if bool(teachers) != (settings is not None):
        raise ValueError(f"{len(teachers)} teachers with {settings}: teachers and settings of distillation go together")
    hard = F.cross_entropy(student, labels)
    if settings is None:
        return hard
    temperature = settings.temperature
    log_student = F.log_softmax(student / temperature, dim=1)
    soft = torch.stack(
        [
            F.kl_div(log_student, F.log_softmax(teacher / temperature, dim=1), reduction="batchmean", log_target=True)
            for teacher in teachers
        ]
    ).mean()
    return settings.alpha * hard + (1.0 - settings.alpha) * temperature**2 * soft


def learning_rate(settings: TrainSpec, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (0, 1, …), a pure function of its number: nothing to save, nothing to resume."""
    schedule, peak = settings.schedule, settings.learning_rate
    total = settings.epochs * steps_per_epoch
    if isinstance(schedule, OneCycleSchedule):
        rise = max(1.0, schedule.rise * total)
        if step < rise:
            return peak * (step + 1) / (rise + 1)
        return peak * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1.0, total - rise)))
    epoch = step // steps_per_epoch
    warm = min(1.0, (epoch + 1) / schedule.warmup_epochs) if schedule.warmup_epochs else 1.0
    if isinstance(schedule, StepSchedule):
        return peak * warm * schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)
    return peak * warm * 0.5 * (1.0 + math.cos(math.pi * step / total))
