"""What the paper measures, as pure functions of arrays: the textbook's form by default, the released code's on request.

Throughout, `logits` are (N, K) in any float type, `labels` (N,) class numbers; functions of two networks call them
`teacher` and `student` and take the logits of both on the same views. Several teachers are put together by
`ensemble_logits`. Values are plain floats. Probabilities are computed in double precision from log-softmax, so that
nothing underflows; classes are pooled (micro averages) wherever an average over them would otherwise be possible.

A measure of one's own is a function that `register` names.

Raises, in all functions: ValueError where shapes do not fit, where there is no image, or where a logit is not finite.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from kdnb import registry
from kdnb.errors import ProfileError

BATCH = 128
"""Images in a batch, for the forms that the released code averages over batches."""


def _logits(*several: Tensor) -> list[Tensor]:
    """The same logits in double precision, checked."""
    first = several[0]
    for logits in several:
        if logits.ndim != 2 or logits.shape != first.shape or len(logits) == 0:
            raise ValueError(f"expected logits of one shape (N, K), got {[tuple(each.shape) for each in several]}")
        if not torch.isfinite(logits).all():
            raise ValueError("a logit is not finite: this network diverged")
    return [logits.double() for logits in several]


def _labels(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.shape != logits.shape[:1]:
        raise ValueError(f"{tuple(labels.shape)} labels do not fit logits of shape {tuple(logits.shape)}")
    return labels


def ensemble_logits(teachers: Sequence[Tensor]) -> Tensor:
    """The mean of the teachers' logits: what the paper (sec. 4.2) and its code compare a student with. (N, K)"""
    if not teachers:
        raise ValueError("an ensemble has at least one teacher")
    return torch.stack(_logits(*teachers)).mean(dim=0)


# -- one network -----------------------------------------------------------------------------------------------------


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of images whose largest logit is the true class's, over the whole set; 0 to 1.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1, 1]))
    0.6666666666666666
    """
    (logits,) = _logits(logits)
    return float((logits.argmax(dim=1) == _labels(logits, labels)).double().mean())


def entropy(logits: Tensor) -> float:
    """Mean entropy of the predicted distributions, in nats; 0 to log K."""
    from scipy.stats import entropy as entropy_of

    (logits,) = _logits(logits)
    return float(entropy_of(logits.softmax(dim=1).numpy(), axis=1).mean())


def calibration_error(
    logits: Tensor, labels: Tensor, form: Literal["weighted", "as-released"] = "weighted", bins: int = 10
) -> float:
    """Expected calibration error of the top class: how far accuracy is from confidence, in equal bins of confidence; 0 to 1.

    A bin holds the confidences above its lower and up to its upper edge, so that a confidence of exactly 1 falls into
    the last.

    Args:
        form: ``weighted`` weighs each bin with its share of the images (Guo et al. 2017, eq. 3); ``as-released`` is the
            plain mean over all bins, empty ones counted as 0. The paper's text (eq. H.2) weighs them, of validation images;
            the released code takes augmented *training* images.

    >>> logits = torch.log(torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.25, 0.75]]))
    >>> round(calibration_error(logits, torch.tensor([0, 0, 1, 1])), 6)
    0.0
    """
    counts, bin_confidence, bin_accuracy = reliability(logits, labels, bins)
    gaps = np.abs(bin_accuracy - bin_confidence)
    if form == "weighted":
        return float((gaps * counts).sum() / counts.sum())
    if form == "as-released":
        return float(gaps.mean())
    raise ValueError(f"no form {form!r}; choose weighted or as-released")


def reliability(
    logits: Tensor, labels: Tensor, bins: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """For each bin of confidence: how many images, their mean confidence, their accuracy (0 where empty); (bins,) each."""
    if bins < 1:
        raise ValueError(f"calibration needs at least one bin, not {bins}")
    (logits,) = _logits(logits)
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    correct = (predicted == _labels(logits, labels)).double()
    place = np.clip(np.ceil(confidence.numpy() * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    mean_confidence, mean_correct = (
        np.bincount(place, weights=values.numpy(), minlength=bins) / np.maximum(counts, 1)
        for values in (confidence, correct)
    )
    return counts, mean_confidence, mean_correct


def scaled_calibration_error(logits: Tensor, labels: Tensor, bins: int = 10) -> float:
    """The calibration error that is left after temperature scaling (Guo et al. 2017, section 4.2): what a network's ranking of
    its own confidence is worth, its overall softness aside; 0 to 1.

    The temperature that minimises the cross-entropy is fitted on every second image and applied to the others, and the other
    way round, so that no image is judged with a temperature that it helped to fit.
    """
    (logits,) = _logits(logits)
    labels = _labels(logits, labels)
    scaled = torch.empty_like(logits)
    even = torch.arange(len(logits)) % 2 == 0
    for fitted, judged in ((even, ~even), (~even, even)) if len(logits) > 1 else ((even, even),):
        scaled[judged] = logits[judged] / fitted_temperature(logits[fitted], labels[fitted])
    return calibration_error(scaled, labels, bins=bins)


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature between 0.05 and 20 that minimises the cross-entropy of logits ÷ temperature, which is convex in its
    inverse; by golden-section search."""
    from scipy.optimize import minimize_scalar

    (logits,) = _logits(logits)
    labels = _labels(logits, labels)
    found = minimize_scalar(
        lambda inverse: float(F.cross_entropy(logits * inverse, labels)), bounds=(0.05, 20.0), method="bounded"
    )
    return 1.0 / float(found.x)


def affinity(augmented: float, baseline: float, form: Literal["difference", "ratio"] = "difference") -> float:
    """How much an augmentation keeps the data as a network knows it.

    Three readings are in use. The textbook's (Gontijo-Lopes et al. 2020, section 3.1) is the difference of accuracies of a
    network trained on clean images. The paper's text divides the accuracy of the *student itself* on its augmentation's views
    by that on clean images; the released code divides by its accuracy on ``base`` views, of RandomResizedCrop alone.

    >>> round(affinity(0.6, 0.8), 3), round(affinity(0.6, 0.8, "ratio"), 3)
    (-0.2, 0.75)

    Args:
        augmented: accuracy on augmented validation images, 0 to 1.
        baseline: accuracy of the same network on clean (or ``base``) ones, 0 to 1.
        form: ``difference`` is augmented − baseline, −1 to 1, 0 where the augmentation changes nothing; ``ratio`` is augmented
            ÷ baseline, 1 where it changes nothing, NaN where the baseline is 0.
    """
    if not (0 <= augmented <= 1 and 0 <= baseline <= 1):
        raise ValueError(f"accuracies lie between 0 and 1, not at {augmented} and {baseline}")
    if form == "difference":
        return augmented - baseline
    if form == "ratio":
        return augmented / baseline if baseline > 0 else float("nan")
    raise ValueError(f"no form {form!r}; choose difference or ratio")


def train_validation_gap(training: float, validation: float) -> float:
    """Training accuracy − validation accuracy; −1 to 1, large where a network overfits.

    The textbook's form takes both from the same weights after training, on views of the kind it was trained on and on
    clean validation images. The released code takes the running training accuracy of the best epoch and the best
    validation accuracy: see `gap_as_released`.
    """
    return training - validation


def gap_as_released(running_training: Sequence[float], validation: Sequence[float | None]) -> float:
    """The gap at the epoch that does best on the validation set, of the training log.

    Args:
        running_training: accuracy on the augmented batches as they were trained on, one for each epoch.
        validation: accuracy on validation images after each epoch; None where nobody looked.
    """
    looked = [(value, epoch) for epoch, value in enumerate(validation) if value is not None]
    if not looked or len(running_training) != len(validation):
        raise ValueError("a log needs one training accuracy an epoch, and at least one look at the validation set")
    best, epoch = max(looked, key=lambda pair: (pair[0], -pair[1]))
    return running_training[epoch] - best


# -- two networks: fidelity ------------------------------------------------------------------------------------------


def agreement(teacher: Tensor, student: Tensor) -> float:
    """Share of images on which both have the same top class (top-1 fidelity, Stanton et al. 2021); 0 to 1.

    >>> agreement(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    0.5
    """
    teacher, student = _logits(teacher, student)
    return float((teacher.argmax(dim=1) == student.argmax(dim=1)).double().mean())


def agreement_as_released(
    teacher: Tensor, student: Tensor, batch_size: int = BATCH, *, drop_last: bool = True
) -> float:
    """The same as the mean over batches, in which each batch weighs the same; 0 to 1.

    Args:
        drop_last: leave out images that do not fill a last batch, as the released loader of augmented validation images does.
            That of training images keeps them, so that a smaller last batch weighs as much as a whole one.
    """
    return _mean_over_batches(agreement, teacher, student, batch_size, drop_last)


def agreement_on_errors(teacher: Tensor, student: Tensor, labels: Tensor) -> float:
    """Agreement on the images that both get wrong: here it owes nothing to both being right. 0 to 1.

    NaN where there is no such image.
    """
    teacher, student = _logits(teacher, student)
    labels = _labels(teacher, labels)
    theirs, ours = teacher.argmax(dim=1), student.argmax(dim=1)
    wrong = (theirs != labels) & (ours != labels)
    return float((theirs == ours)[wrong].double().mean())


def error_consistency(teacher: Tensor, student: Tensor, labels: Tensor) -> float:
    """Cohen's κ of being right: agreement on which images are hard, beyond what the two accuracies force.

    (observed − expected) / (1 − expected), Geirhos et al. 2020, eq. 1. 1: the same images; 0: independent; below 0: fewer
    than chance. NaN where both are always right or always wrong and κ is undefined.
    """
    from sklearn.metrics import cohen_kappa_score

    teacher, student = _logits(teacher, student)
    labels = _labels(teacher, labels)
    right = [(logits.argmax(dim=1) == labels).numpy() for logits in (teacher, student)]
    if right[0].all() == right[0].any() and right[1].all() == right[1].any() and right[0][0] == right[1][0]:
        return float("nan")
    return float(cohen_kappa_score(*right))


def divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> float:
    """KL(teacher ‖ student) of the predicted distributions, the mean over images, in nats; 0 where they are equal.

    >>> teacher, student = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    >>> round(divergence(teacher, student), 4)  # 0.5·ln 2 + 0.5·ln(2/3)
    0.1438
    """
    if not temperature > 0:
        raise ValueError(f"a temperature is positive, not {temperature}")
    teacher, student = _logits(teacher, student)
    student, teacher = (F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    # Both sides as logarithms: a probability that underflows to 0 would otherwise make 0·log 0 or log 0.
    return max(0.0, float(F.kl_div(student, teacher, reduction="batchmean", log_target=True)))


def divergence_as_released(
    teacher: Tensor, student: Tensor, batch_size: int = BATCH, *, drop_last: bool = True
) -> float:
    """Ten times the divergence at temperature 1 *of the teacher from the student*, KL(student ‖ teacher), the mean over
    batches. The released function takes the logarithm of its first argument, the teacher, and weighs
    with its second: the other way round than the textbook's fidelity.

    Args:
        drop_last: as `agreement_as_released`.
    """
    return 10.0 * _mean_over_batches(divergence, student, teacher, batch_size, drop_last)


def mutual_information(
    teacher: Tensor,
    student: Tensor,
    form: Literal["plain", "adjusted", "as-released", "as-released-score"] = "plain",
    *,
    drop_last: bool = True,
) -> float:
    """Mutual information of the predicted labels.

    Args:
        form: ``plain`` is that of the joint table of labels over the whole set, in nats, 0 to log K;
            ``adjusted`` is corrected for chance and scaled, 1 for equal partitions, 0 in expectation for independent
            ones (Vinh et al. 2010; arithmetic mean);
            ``as-released`` is scikit-learn's ``mutual_info_classif``, a nearest-neighbour estimator for *continuous*
            features, of the student's label numbers about the teacher's labels, for each batch of 128 and averaged
            (a batch in which the teacher gives every image another label has no value and is left out);
            ``as-released-score`` is the plain form for each batch of 128 and averaged, which a finite batch inflates.
            Both depend on the order of the images: a batch of few classes has less to share.
        drop_last: of the released forms, as `agreement_as_released`.
    """
    from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

    teacher, student = _logits(teacher, student)
    theirs, ours = (logits.argmax(dim=1).numpy() for logits in (teacher, student))
    if form == "plain":
        return max(0.0, float(mutual_info_score(theirs, ours)))
    if form == "adjusted":
        return float(adjusted_mutual_info_score(theirs, ours))
    if form == "as-released-score":
        return _mean_over_batches(mutual_information, teacher, student, BATCH, drop_last)
    if form == "as-released":
        return _mean_over_batches(_mutual_info_classif, teacher, student, BATCH, drop_last)
    raise ValueError(f"no form {form!r}; choose plain, adjusted, as-released or as-released-score")


def _mutual_info_classif(teacher: Tensor, student: Tensor) -> float:
    """As the released code calls it, but with a fixed seed for the noise that the estimator adds."""
    from sklearn.feature_selection import mutual_info_classif

    theirs, ours = (logits.argmax(dim=1).numpy() for logits in (teacher, student))
    if np.unique(theirs).size == len(theirs):
        return float("nan")  # no two images of one label: there is no neighbour to take a distance to
    with warnings.catch_warnings():
        # that there are so many classes for 128 images is what is odd about this form
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return float(mutual_info_classif(ours[:, None], theirs, random_state=0)[0])


def _mean_over_batches(
    measure: Callable[[Tensor, Tensor], float], teacher: Tensor, student: Tensor, batch_size: int, drop_last: bool
) -> float:
    teacher, student = _logits(teacher, student)
    whole = len(teacher) // batch_size * batch_size if drop_last else 0
    taken = whole or len(teacher)  # fewer images than a batch are a batch
    pairs = zip(teacher[:taken].split(batch_size), student[:taken].split(batch_size), strict=True)
    values = np.array([measure(*pair) for pair in pairs])
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


# -- several teachers ------------------------------------------------------------------------------------------------


def among(measure: Callable[[Tensor, Tensor], float], teachers: Sequence[Tensor]) -> float:
    """A measure of two networks, the mean over all pairs of teachers."""
    pairs = [(a, b) for place, a in enumerate(teachers) for b in teachers[place + 1 :]]
    if not pairs:
        raise ValueError("a measure among teachers takes two or more")
    return float(np.mean([measure(a, b) for a, b in pairs]))


def rest_against_each(measure: Callable[[Tensor, Tensor], float], teachers: Sequence[Tensor]) -> float:
    """A measure of the mean logits of all teachers but one and that one, the mean over which is left out; for three or more."""
    if len(teachers) < 3:
        raise ValueError(f"leaving one teacher out takes three or more, not {len(teachers)}")
    values = [
        measure(ensemble_logits([*teachers[:place], *teachers[place + 1 :]]), one) for place, one in enumerate(teachers)
    ]
    return float(np.mean(values))


# -- a measure of one's own ------------------------------------------------------------------------------------------

NAMES = (
    "accuracy", "teachers_accuracy", "entropy", "calibration_error", "calibration_error_scaled", "affinity",
    "train_validation_gap", "agreement", "agreement_on_errors", "divergence", "mutual_information",
    "mutual_information_score", "adjusted_mutual_information", "error_consistency",
    "attention_iou", "chance_iou", "excess_iou", "mask_area",
)  # fmt: skip
"""what the package's measures are called in the table"""


@dataclass(frozen=True)
class OwnMeasure:
    """A measure that a user registered."""

    name: str
    function: Callable[..., Any]
    of: Literal["network", "student"]
    fidelity: Literal[-1, 0, 1]
    """1: more of it is more fidelity, −1: less; 0: it is no measure of fidelity"""
    identity: str
    """what tells it from others of its name"""

    @property
    def against(self) -> str:
        """what the table's column of that name says"""
        return "ensemble" if self.of == "student" else ""

    def value(self, *given: Tensor) -> float:
        """Raises:
        ProfileError: the function fails, or gives no number."""
        try:
            return float(self.function(*(each.clone() for each in given)))
        except Exception as error:
            raise ProfileError(f"the measure {self.name!r} fails: {type(error).__name__}: {error}") from error


_measures = registry.Registry[OwnMeasure | None]("a measure", dict.fromkeys(NAMES), "_")


def register(
    name: str,
    *,
    of: Literal["network", "student"] = "network",
    fidelity: Literal[-1, 0, 1] = 0,
    version: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as the measure `name`, as a decorator::

        @register("same_mistakes", of="student", fidelity=1)
        def same_mistakes(teachers, student, labels):
            theirs, ours = teachers.argmax(dim=1), student.argmax(dim=1)
            return ((theirs == ours) & (ours != labels)).double().mean()

    The table has it for each split and view, as it has the package's. No training is needed for a new one.

    Args:
        of: ``network``: the function takes the logits (N, K) and labels (N,) of each network; ``student``: the mean logits of
            a student's teachers, its own, and labels. It returns a number; NaN where it is not defined.
        fidelity: of a student's, whether more of it is more fidelity (1) or less (−1): it then stands in the specification
            curves of the claims about fidelity; 0 leaves it out of them.
        version: what tells this measure from others of its name; by default the function's source. Published results say it.

    Raises:
        ProfileError: a name of the package, or one that is none; a measure of fidelity that sees one network; a function
            without source and version.
    """
    _measures.require_free(name)
    if of not in ("network", "student") or fidelity not in (-1, 0, 1):
        raise ProfileError(
            f"{name!r} is of {of!r} with fidelity {fidelity!r}; choose network or student, and −1, 0 or 1"
        )
    if fidelity and of == "network":
        raise ProfileError(f"{name!r} sees one network and cannot measure fidelity; register it with of='student'")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        identity = registry.identity(function, name, f"{of} {fidelity}", version)
        _measures.add(name, OwnMeasure(name, function, of, fidelity, identity), identity)
        return function

    return decorate


def registered() -> Mapping[str, OwnMeasure]:
    """The measures that somebody registered, by name."""
    return {name: each for name, each in _measures.own.items() if each is not None}
