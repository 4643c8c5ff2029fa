"""What changes when one thing is changed on purpose, and what a control shows."""

from collections.abc import Mapping

from kdnb.book import figures
from kdnb.book.exhibits.exhibit import Exhibit, exhibit
from kdnb.errors import IncompleteError
from kdnb.evidence.estimands import PURE
from kdnb.evidence.results import Results
from kdnb.evidence.table import select

_WEAK, _STRONG = PURE


def _objectives(found: Results, name: str, rows: Mapping[str, tuple[str, str]], caption: str) -> Exhibit:
    drawn = figures.by_objective(found.table, rows)
    alt = f"Validation accuracy and agreement with the teachers of students: {', '.join(rows)}."
    return Exhibit(name, drawn, caption, alt)


@exhibit
def class_mean(found: Results) -> Exhibit:
    """Students that heard about each image, beside students that heard about its class."""
    rows = {
        "weak teachers, each image": (_WEAK, "kd"),
        "weak teachers, class mean": (_WEAK, "class-mean"),
        "strong teachers, each image": (_STRONG, "kd"),
        "strong teachers, class mean": (_STRONG, "class-mean"),
    }
    caption = (
        "The teachers' answer about this very image, and in its place their mean answer about its class, as soft as "
        "the other on average. What moves between two rows of the same teachers is what was said of the image itself: class "
        "averages lower fidelity, and say less. "
        "Agreement is with the teachers' real answers."
    )
    return _objectives(found, "class-mean", rows, caption)


@exhibit
def alpha(found: Results) -> Exhibit:
    """Accuracy and agreement of a strong student of weak teachers as the weight of the labels turns."""
    where = {
        "role": "student",
        "teachers": _WEAK,
        "student": "strong",
        "form": "textbook",
        "split": "validation",
        "view": "clean",
    }
    default = found.profile.objectives["kd"].alpha
    weights = {"kd": default} | {
        name: objective.alpha for name, objective in found.profile.objectives.items() if name.startswith("alpha-")
    }
    rows = select(found.table, **where)
    rows = rows[rows["objective"].isin(list(weights))]
    origin = found.table.loc[found.table["role"] == "teacher", "origin"].iloc[0]
    rows = rows[rows["origin"] == f"{origin}+{origin}"]
    accuracy = select(rows, measure="accuracy", against="")
    agreement = select(rows, measure="agreement", against="ensemble")
    points = accuracy.merge(
        agreement[["seed", "objective", "value"]], on=["seed", "objective"], suffixes=("", "_agreement")
    )
    points = points.assign(
        alpha=points["objective"].map(weights), accuracy=points["value"], agreement=points["value_agreement"]
    )
    if points["alpha"].nunique() < 2:
        raise IncompleteError("the grid has no second α; add an objective such as alpha-0.2: {alpha: 0.2}")
    caption = (
        "The same strong student of the same weak teachers, as the labels weigh more (right) and the teachers less. "
        "Only the loss changes: fidelity is set, and accuracy responds."
    )
    drawn = figures.dose(points[["alpha", "seed", "accuracy", "agreement"]])
    return Exhibit("alpha", drawn, caption, "Accuracy and agreement against α, a line for each seed.")


@exhibit
def halves(found: Results) -> Exhibit:
    """Teachers that see whole images, different halves, and the same half."""
    rows = {
        "whole images": (_WEAK, "kd"),
        "left and right half": (_WEAK, "half-LR"),
        "both the left half": (_WEAK, "half-LL"),
        "both the right half": (_WEAK, "half-RR"),
    }
    caption = (
        "Students of two weak teachers that saw, while they taught, whole images, different halves, or the same half. "
        "Agreement is with the teachers' answers about whole images. Different halves make the teachers diverge, and together "
        "they are the whole image; the same half twice is neither. So the second row differs from the third and fourth in "
        "two things."
    )
    return _objectives(found, "halves", rows, caption)


@exhibit
def matching(found: Results) -> Exhibit:
    """Vanilla distillation beside logits standardised first."""
    rows = {
        "weak teachers, vanilla": (_WEAK, "kd"),
        "weak teachers, z-score": (_WEAK, "zscore"),
        "strong teachers, vanilla": (_STRONG, "kd"),
        "strong teachers, z-score": (_STRONG, "zscore"),
    }
    caption = (
        "Students that match their teachers' logits, and students that match them after both were standardised, with "
        "targets as soft on average. The paper (sec. 6.3) says that agreement falls from the first row to the "
        "second, and the train–validation gap, too, in most cases."
    )
    return _objectives(found, "matching", rows, caption)


@exhibit
def controls(found: Results) -> Exhibit:
    """A student of real teachers beside students of answers that know less."""
    rows = {
        "two weak teachers": (_WEAK, "kd"),
        "one weak teacher": ("weak", "kd"),
        "class-mean answers": (_WEAK, "class-mean"),
        "smoothed labels": (_WEAK, "label-smoothing"),
        "untrained teachers": (_WEAK, "untrained"),
        "answers to other images": (_WEAK, "shuffled"),
        "no teacher": ("", "none"),
    }
    caption = (
        "Students that saw the same views in the same order and differ in what they learn from beside the labels. All "
        "targets are as soft on average as the real teachers'. What lies between the first row and smoothed labels is "
        "content; what lies between smoothed labels and no teacher is softness."
    )
    drawn = figures.by_objective(found.table, rows, measures=(("accuracy", ""),))
    return Exhibit("controls", drawn, caption, f"Validation accuracy of students taught by: {', '.join(rows)}.")
