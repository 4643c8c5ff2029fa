"""How fast a network learns: the learning rate of each step, a pure function of its number, so that resuming needs no state."""

import math

from kdnb.training.spec import OneCycleSchedule, StepSchedule, TrainSpec


def learning_rate(settings: TrainSpec, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (0, 1, …).

    The released code steps its scheduler *before* each epoch, so epoch e has the rate meant for e + 1: warm-up, where there is
    one, starts at 2/8, and each fall comes one epoch early. A schedule with ``early`` does the same.
    """
    schedule, peak = settings.schedule, settings.learning_rate
    total = settings.epochs * steps_per_epoch
    if isinstance(schedule, OneCycleSchedule):
        rise = max(1.0, schedule.rise * total)
        if step < rise:
            return peak * (step + 1) / (rise + 1)
        return peak * 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1.0, total - rise)))
    epoch = step // steps_per_epoch + schedule.early
    warm = min(1.0, (epoch + 1) / schedule.warmup_epochs) if schedule.warmup_epochs else 1.0
    if isinstance(schedule, StepSchedule):
        return peak * warm * schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)
    span = schedule.period or settings.epochs
    done = epoch / span if schedule.per_epoch else step / (span * steps_per_epoch)
    return peak * warm * 0.5 * (1.0 + math.cos(math.pi * done))
