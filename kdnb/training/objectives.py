"""What a student minimises: each objective by its kind, small and pure, with its source.

All of them are one formula. A teacher's *answer* to an image is a row of logits; the objective may put another in its
place; the student matches the softened answer::

    α · CE(y, s)  +  (1 − α) · T² · mean over teachers of KL( softmax(answer / τ) ‖ softmax(f(s) / T_s) )

=====================  ==========================================================================================
kind                   what the student matches
=====================  ==========================================================================================
``kd``                 each teacher's logits; τ = T_s = T (Hinton et al. 2015; the paper's released scripts)
``half``               each teacher's logits on one half of the view, left or right (the paper, app. C, "hKD")
``halves-different``   likewise, by a coin for each image and step: one teacher's left and the other's right, or the reverse
``halves-both``        the mean of each teacher's two predictions, at T, on the left half and on the right
``halves-same``        by the same coin: all teachers' left, or all teachers' right
``zscore``             standardised logits, the student's too: f = `standardised`, T_s = τ (Sun et al. 2024, eqs 8, 9)
``zscore-equal``       the same with each image's term times τσ/T, so that it pulls as hard as ``kd`` (`equal_pull`)
``class-mean``         the teacher's mean answer over the training images of the image's class: nothing about the image
``shuffled``           the teacher's answer to another image of the batch: neither image nor class
``untrained``          the answer of a network with the teacher's architecture and random weights
``label-smoothing``    the label alone, smoothed (Szegedy et al. 2016): no teacher
=====================  ==========================================================================================

The last four are controls. An equal temperature is not an equal softness, so wherever the answers are of another kind
than the teacher's logits, τ is the temperature at which the *mean entropy* of the targets is that of ``kd``
(`matched_temperature`). It is found before training from the training images in views of the student's kind, follows
from the spec alone, and is noted in the log. The weight T² stays that of ``kd``, so that the teachers pull about as hard.

The three ways of showing halves by a coin have the same expected gradient, since each teacher answers to each half equally
often: with *different* halves the teachers diverge and see the whole image together, with *both* they do not diverge, with
*same* they see half of it together.

A kind of one's own is a function that `register` names; an objective can be of it wherever it can be of these.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from kdnb import registry
from kdnb.devices import doubled
from kdnb.errors import ProfileError
from kdnb.training.strict import Strict

Side = Literal["left", "right"]

SIDES: tuple[Side, Side] = ("left", "right")


def _kind_name(name: str) -> str:
    try:
        kind_of(name)
    except ProfileError as error:
        raise ValueError(str(error)) from None
    return name


class Objective(Strict):
    """What a student with teachers minimises; the table above has the kinds."""

    kind: Annotated[str, AfterValidator(_kind_name)] = "kd"
    """kd: each teacher's answers; zscore: standardised logits, zscore-equal: with the pull of kd; half: answers to half of
    each view; halves-different, halves-both, halves-same: to halves by a coin; class-mean, shuffled, untrained,
    label-smoothing: controls; or one that a user registered"""
    mix: Literal["alpha", "sum"] = "alpha"
    """alpha: α·CE + (1 − α)·T²·KL, as the released scripts; sum: CE + T²·soft cross-entropy, as the paper's equations 6–8"""
    temperature: float = Field(3.0, gt=0)
    """divides the logits of teachers and student, so that small probabilities count for more"""
    alpha: float = Field(0.6, ge=0, le=1)
    """share of the labels in the loss; the rest is the teachers'"""
    sides: tuple[Side, ...] = ()
    """for half: which half of the view each teacher sees"""
    batch_norm: Literal["eval", "train"] = "eval"
    """The mode of the teachers' batch-norm layers while they teach: `train` is what the released code does."""

    @model_validator(mode="after")
    def _sides_belong_to_halves(self) -> "Objective":
        if bool(self.sides) != (self.kind == "half"):
            raise ValueError(
                "an objective of kind half names a side for each teacher, as sides: [left, right]; others none"
            )
        return self


Answer = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(a teacher's logits (N, K), labels (N,), class means (K, K) or None) → the logits (N, K) that stand in their place."""


def _as_it_is(logits: Tensor, labels: Tensor, means: Tensor | None) -> Tensor:
    return logits


def standardised(logits: Tensor) -> Tensor:
    """Each row with mean 0 and standard deviation 1 (Sun et al. 2024, algorithm 1); (N, K)."""
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + 1e-7)


def class_means(logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The logarithm of a teacher's mean prediction over the images of each class, (K, K); a class without images gets its
    own label."""
    exact = doubled(logits)
    labels = labels.to(exact.device)
    sums = torch.zeros(classes, classes, dtype=torch.float64, device=exact.device)
    sums.index_add_(0, labels, exact.softmax(dim=1))
    counts = labels.bincount(minlength=classes).unsqueeze(1)
    means = torch.where(counts > 0, sums / counts.clamp(min=1), torch.eye(classes, device=exact.device).double())
    return means.clamp(min=1e-12).log().float().to(logits.device)


def _of_the_class(logits: Tensor, labels: Tensor, means: Tensor | None) -> Tensor:
    if means is None:
        raise ValueError("the class-mean objective needs the class means")
    return means[labels]


def _of_another_image(logits: Tensor, labels: Tensor, means: Tensor | None) -> Tensor:
    return logits.roll(1, dims=0)  # the order of a batch is random, and no image gets its own answer


def _of_the_label(logits: Tensor, labels: Tensor, means: Tensor | None) -> Tensor:
    return F.one_hot(labels, logits.shape[1]).to(logits.dtype)


@dataclass(frozen=True)
class Kind:
    """What tells one kind of objective from another."""

    answer: Answer
    teacher_input: Literal["whole", "half", "halves"] = "whole"
    """what a teacher sees of a view; halves: both, the left one first"""
    stand_in: str = ""
    """which network answers in each teacher's place, by its name in `kdnb.study.weights.STAND_INS`; empty: the teacher"""
    standardises: bool = False
    """both sides' logits"""
    equal_pull: bool = False
    """the standardised term times `equal_pull`"""
    matched: bool = True
    """whether its softness is found by matching that of ``kd``"""


KINDS: Mapping[str, Kind] = {
    "kd": Kind(_as_it_is, matched=False),
    "half": Kind(_as_it_is, teacher_input="half", matched=False),
    "halves-different": Kind(_as_it_is, teacher_input="halves", matched=False),
    "halves-both": Kind(_as_it_is, teacher_input="halves", matched=False),
    "halves-same": Kind(_as_it_is, teacher_input="halves", matched=False),
    "zscore": Kind(_as_it_is, standardises=True),
    "zscore-equal": Kind(_as_it_is, standardises=True, equal_pull=True),
    "class-mean": Kind(_of_the_class),
    "shuffled": Kind(_of_another_image, matched=False),  # the same answers, so the same softness
    "untrained": Kind(_as_it_is, stand_in="untrained"),
    "label-smoothing": Kind(_of_the_label),
}


def kind_of(name: str) -> Kind:
    """The kind of that name: one of the module's description, or as `register` was given.

    Raises:
        ProfileError: no such kind.
    """
    return _kinds[name]


# -- a kind of one's own ---------------------------------------------------------------------------------------------

OwnAnswer = Callable[[Tensor, Tensor], Tensor]
"""(a teacher's logits (N, K), labels (N,)) → the logits (N, K) that stand in their place"""


_kinds = registry.Registry("a kind of objective", KINDS)


def register(
    name: str, *, standardises: bool = False, matched: bool = True, version: str | None = None
) -> Callable[[OwnAnswer], OwnAnswer]:
    """Registers a function as the kind of objective `name`, as a decorator:

    >>> @register("corrected")
    ... def corrected(logits, labels):
    ...     top, truth = logits.max(dim=1, keepdim=True), logits.gather(1, labels[:, None])
    ...     return logits.scatter(1, top.indices, truth).scatter(1, labels[:, None], top.values)
    >>> kind_of("corrected").matched
    True

    The function is called in each step, for each teacher, with float32 logits (N, K) of the batch and class numbers (N,), and
    returns the logits that the student is to match, of the same shape, device and type. All else is the formula in the
    module's description. It must give the same answer to the same logits, and finite ones; that is checked in each step
    but for chance, which is checked when it is first used.

    Args:
        standardises: both sides' logits, as ``zscore``.
        matched: soften the answers to the mean entropy of those of ``kd``; False takes the objective's own temperature.
        version: what tells this kind from others of its name, part of the ids of runs. By default it is the function's source,
            so that an edited kind trains anew; what the function calls elsewhere is not part of it: name a version then.

    Raises:
        ProfileError: a name of the package, or one that cannot stand in a profile; a function without source and version.
    """
    _kinds.require_free(name)

    def decorate(answer: OwnAnswer) -> OwnAnswer:
        kind = Kind(_checked(name, answer), standardises=standardises, matched=matched)
        _kinds.add(name, kind, registry.identity(answer, name, (standardises, matched), version))
        return answer

    return decorate


def _checked(name: str, answer: OwnAnswer) -> Answer:
    """The function, which is asked twice the first time, and raises ProfileError where it breaks a rule."""
    asked = False

    def checked(logits: Tensor, labels: Tensor, means: Tensor | None) -> Tensor:
        nonlocal asked
        given = answer(logits.clone(), labels.clone())
        if given.shape != logits.shape or given.dtype != logits.dtype or given.device != logits.device:
            raise ProfileError(
                f"the objective {name!r} made {given.dtype} {tuple(given.shape)} on {given.device} of {logits.dtype} "
                f"{tuple(logits.shape)} on {logits.device}; it must keep all three"
            )
        if logits.isfinite().all() and not given.isfinite().all():
            raise ProfileError(f"the objective {name!r} gave logits that are not finite; use −100 for no chance at all")
        if not asked and not torch.equal(given, answer(logits.clone(), labels.clone())):
            raise ProfileError(
                f"the objective {name!r} gives another answer to the same logits; take nothing from a generator"
            )
        asked = True
        return given

    return checked


def registered_identity(name: str) -> str:
    """What tells a user's kind of objective from others of its name; empty for a kind of the package."""
    return _kinds.identity(name)


def answers(
    objective: Objective,
    teachers: Sequence[Tensor],
    labels: Tensor,
    means: Sequence[Tensor | None] = (),
    coin: Tensor | None = None,
) -> list[Tensor]:
    """The logits that a student is to match, one (N, K) for each teacher.

    Args:
        teachers: what each teacher answered to what it sees (whole views, halves; an untrained network's answers); of the
        kinds that
            hear both halves, each teacher's answers to the left and to the right, one after the other.
        means: each teacher's `class_means`, for that kind.
        coin: of each image, which half the first teacher is shown, True for the left, (N,); for the kinds that hear both.

    Raises:
        ValueError: a kind that needs class means or a coin is not given them.
    """
    kind = kind_of(objective.kind)
    if kind.teacher_input == "halves":
        return _of_halves(objective, list(zip(teachers[::2], teachers[1::2], strict=True)), coin)
    given = [kind.answer(t, labels, m) for t, m in zip(teachers, means or [None] * len(teachers), strict=True)]
    return [standardised(each) for each in given] if kind.standardises else given


def _of_halves(objective: Objective, halves: Sequence[tuple[Tensor, Tensor]], coin: Tensor | None) -> list[Tensor]:
    """What stands for each teacher's answer, of its logits on the left and on the right half."""
    own = objective.temperature
    if objective.kind == "halves-both":
        # log of the mean prediction, as logits that have it at the objective's temperature
        softened = [[(side / own).log_softmax(dim=1) for side in sides] for sides in halves]
        return [own * (torch.logaddexp(left, right) - math.log(2)) for left, right in softened]
    if coin is None:
        raise ValueError(f"the objective {objective.kind} needs a coin for each image")
    other = ~coin if objective.kind == "halves-different" else coin
    return [
        torch.where((coin if place % 2 == 0 else other)[:, None], left, right)
        for place, (left, right) in enumerate(halves)
    ]


def equal_pull(student: Tensor, temperature: float, own: float) -> Tensor:
    """What the z-score term of each image is multiplied with to pull as hard as ``kd``: τσ/T, with σ the deviation of the
    student's logits that `standardised` divides by, and no gradient; (N,). The term's gradient in the logits is then (1 −
    α)·T·(q − p) up to the projection that standardising brings, with q and p the softened predictions of student and teacher.

    Args:
        student: logits (N, K).
        temperature: τ, of the standardised logits.
        own: T, the objective's own.
    """
    return (student.std(dim=1) + 1e-7).detach() * (temperature / own)


def loss(
    student: Tensor,
    labels: Tensor,
    answers: Sequence[Tensor],
    objective: Objective | None,
    temperature: float | None = None,
) -> Tensor:
    """The formula in the module's description, the sum of its two `terms`; plain cross-entropy without teachers."""
    hard, soft = terms(student, labels, answers, objective, temperature)
    return hard if soft is None else hard + soft


def terms(
    student: Tensor,
    labels: Tensor,
    answers: Sequence[Tensor],
    objective: Objective | None,
    temperature: float | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The loss in its two parts, as they are added: the labels', and the teachers', None without teachers.

    Each teacher is matched by itself: this is not the divergence to the averaged teacher, though by the convexity of KL
    it lies above it. With ``mix: sum`` it is CE + T² · soft cross-entropy, the paper's equations 6 to 8.

    Args:
        student: logits (N, K).
        labels: class numbers (N,).
        answers: as `answers` gives them.
        objective: None where there are no teachers.
        temperature: τ of the answers; None takes the objective's own.

    Returns:
        Two scalars, in nats.

    Raises:
        ValueError: teachers without an objective, or an objective without teachers.
    """
    if bool(answers) != (objective is not None):
        raise ValueError(f"{len(answers)} teachers with the objective {objective}: one does not go without the other")
    hard = F.cross_entropy(student, labels)
    if objective is None:
        return hard, None
    own, tau = objective.temperature, temperature or objective.temperature
    kind = kind_of(objective.kind)
    if kind.standardises:
        log_student = F.log_softmax(standardised(student) / tau, dim=1)
    else:
        log_student = F.log_softmax(student / own, dim=1)
    log_targets = [F.log_softmax(answer / tau, dim=1) for answer in answers]
    pull = equal_pull(student, tau, own) if kind.equal_pull else None
    if objective.mix == "sum":
        soft = torch.stack([_mean(-(target.exp() * log_student).sum(dim=1), pull) for target in log_targets]).mean()
        return hard, own**2 * soft
    if pull is None:
        matched = [F.kl_div(log_student, target, reduction="batchmean", log_target=True) for target in log_targets]
    else:
        each = [F.kl_div(log_student, target, reduction="none", log_target=True) for target in log_targets]
        matched = [_mean(divergence.sum(dim=1), pull) for divergence in each]
    return objective.alpha * hard, (1.0 - objective.alpha) * own**2 * torch.stack(matched).mean()


def _mean(of_images: Tensor, weights: Tensor | None) -> Tensor:
    return (of_images if weights is None else of_images * weights).mean()


def gradient_norms(
    student: Tensor,
    labels: Tensor,
    answers: Sequence[Tensor],
    objective: Objective,
    temperature: float | None = None,
) -> tuple[Tensor, Tensor]:
    """How hard the labels and the teachers pull: the sums over images of the norms of the two `terms`' gradients in an
    image's logits, as if it stood in a batch alone. Arguments as for `loss`; the logits' own graph is left as it is."""
    logits = student.detach().requires_grad_()
    parts = terms(logits, labels, answers, objective, temperature)
    hard, soft = (torch.autograd.grad(part, logits, retain_graph=True)[0] for part in parts if part is not None)
    return hard.norm(dim=1).sum() * len(labels), soft.norm(dim=1).sum() * len(labels)


def mean_entropy(answers: Sequence[Tensor], temperature: float) -> Tensor:
    """Of softmax(answer / temperature), the mean over images and teachers, in nats; a scalar on the answers' device."""
    logs = [F.log_softmax(answer / temperature, dim=1) for answer in answers]
    return torch.stack([-(each.exp() * each).sum(dim=1).mean() for each in logs]).mean()


def matched_temperature(answers: Sequence[Tensor], entropy: float) -> float:
    """The temperature at which the softened answers have this mean entropy, by bisection; entropy grows with temperature.

    Args:
        answers: logits, (N, K) each.
        entropy: in nats, above 0 and below log K.

    Raises:
        ValueError: no temperature between 1e-4 and 1e4 gives it.
    """
    answers = [doubled(answer) for answer in answers]
    low, high = math.log(1e-4), math.log(1e4)
    reached = [float(mean_entropy(answers, math.exp(edge))) for edge in (low, high)]
    if not reached[0] < entropy < reached[1]:
        raise ValueError(
            f"no temperature gives targets of mean entropy {entropy:.4g}: these answers reach {reached[0]:.4g} to "
            f"{reached[1]:.4g} nats; choose another temperature for the objective"
        )
    for _ in range(60):
        middle = 0.5 * (low + high)
        if float(mean_entropy(answers, math.exp(middle))) < entropy:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))
