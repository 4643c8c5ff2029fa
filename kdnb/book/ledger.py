"""How much each difference between text, tables and released code moves a result: the numbers of the ledger, computed.

`kdnb.evidence.paper.Difference.size` names them in braces, as ``{affinity:+.3f}``.
"""

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from kdnb.errors import IncompleteError
from kdnb.evidence import paper
from kdnb.evidence.estimands import PAIRS, PURE
from kdnb.evidence.paper import Difference
from kdnb.evidence.results import Results
from kdnb.evidence.table import plain, select

NOT_MEASURED = "not measured"

Number = Callable[[Results], float]


def size(entry: Difference, found: Results) -> str:
    """How much it moves, in these results; that these do not say it, where they lack what it needs."""
    try:
        return entry.size.format_map(_Numbers(found))
    except IncompleteError as lacking:
        return f"not measured in these results: {lacking}"


class _Numbers(dict[str, float]):
    def __init__(self, found: Results) -> None:
        self._found = found

    def __missing__(self, name: str) -> float:
        return _Shown(NUMBERS[name](self._found))


class _Shown(float):
    def __format__(self, how: str) -> str:
        return super().__format__(how or "g").replace("-", "−")


def _effect(claim: str, what: str, found: Results) -> float:
    """Of a declared claim, the mean over seeds."""
    rows = select(found.effects, claim=claim, what=what)
    if rows.empty:
        raise IncompleteError(f"{claim}: {what}")
    return float(rows["effect"].mean())


def _trials(measure: str, where: Mapping[str, str], found: Results) -> float:
    """The mean of a measure over the eight trials and all seeds."""
    asked = {"form": "textbook", "split": "validation", "view": "clean", "against": "", **where}
    rows = select(plain(found.table), role="student", measure=measure, **asked)
    rows = rows[rows["teachers"].isin(PAIRS)]
    if rows.empty:
        raise IncompleteError(f"{measure}, {asked['form']}, of the eight trials")
    return float(rows["value"].mean())


def _more(measure: str, one: Mapping[str, str], other: Mapping[str, str], found: Results) -> float:
    """One way of measuring − another, mean over the eight trials and all seeds."""
    return _trials(measure, one, found) - _trials(measure, other, found)


def _threshold(found: Results) -> float:
    def overlap(form: str) -> float:
        where = {"split": "train", "view": "clean", "method": "cam-sum", "against": ""}
        rows = select(plain(found.table), role="ensemble", measure="attention_iou", form=form, **where)
        if rows.empty:
            raise IncompleteError(f"attention IoU, {form}")
        return float(rows["value"].mean())

    return overlap("as-released") - overlap("as-released-0.5")


def _best_epoch(found: Results) -> float:
    students = select(found.curves, role="student").dropna(subset="validation_accuracy")
    if students.empty:
        raise IncompleteError("learning curves of students")
    looks = students.sort_values("epoch").groupby(["seed", "run"])["validation_accuracy"]
    return float((looks.max() - looks.last()).mean())


def _halves(measure: str) -> "pd.Series[float]":
    """Half images − whole ones, in each of the paper's trials."""
    parts = [paper.trials(each, "h")[measure] - paper.trials(each)[measure] for each in paper.MEASURED]
    return pd.concat(parts)


def _best_of_two(found: Results) -> float:
    printed = select(paper.best(), dataset="imagenet-lt", method="two teachers: T1s T2w Ss")["accuracy"].item()
    return float(printed - paper.trials("imagenet-lt").loc[("strong+weak", "strong"), "accuracy"])


_OWN_TRAINING = {"split": "train", "view": "own"}
_RELEASED = {"form": "as-released"}
_ENSEMBLE = {"against": "ensemble"}

NUMBERS: Mapping[str, Number] = {
    "alpha_accuracy": partial(_effect, "K6", "α = 0.2 − α = 0.6: accuracy"),
    "alpha_agreement": partial(_effect, "K6", "α = 0.2 − α = 0.6: agreement"),
    "affinity": partial(_more, "affinity", _RELEASED | {"view": "own"}, {"form": "paper", "view": "own"}),
    "ece_clean": partial(_effect, "K9", "calibration error, common clean validation images"),
    "ece_released": partial(_effect, "K9", "calibration error as released, augmented training images"),
    "ece_bins": partial(_more, "calibration_error", _OWN_TRAINING | _RELEASED, _OWN_TRAINING),
    "kl": partial(_trials, "divergence", _ENSEMBLE),
    "kl_released": partial(_trials, "divergence", _ENSEMBLE | _RELEASED),
    "mi": partial(_trials, "mutual_information", _ENSEMBLE),
    "mi_released": partial(_trials, "mutual_information", _ENSEMBLE | _RELEASED),
    "maps_sum": partial(_effect, "K4", "the same by maps cam-sum"),
    "maps_predicted": partial(_effect, "K4", "attention IoU, mixed − pure teachers, clean training images"),
    "threshold": _threshold,
    "own_training": partial(_effect, "K1", "agreement, own training views, as the paper"),
    "common_clean": partial(_effect, "K1", "agreement, common clean validation images"),
    "origins": partial(_effect, "K5", "teachers of two origins − of one: attention IoU, clean training images"),
    "best": _best_epoch,
    "gap": partial(_more, "train_validation_gap", _RELEASED | {"view": "own"}, {"view": "own"}),
    "halves_trials": lambda found: len(_halves("agreement")),
    "halves_agreement_rises": lambda found: int((_halves("agreement") > 0).sum()),
    "halves_gap_rises": lambda found: int((_halves("train_validation_gap") > 0).sum()),
    "halves_gap": lambda found: float(_halves("train_validation_gap").mean()),
    "datasets": lambda found: len(paper.DATASETS),
    "strongest_pure": lambda found: sum(
        paper.trials(each)["affinity"].idxmin() == (PURE[0], "strong") for each in paper.DATASETS
    ),
    "g5": _best_of_two,
}
"""name → what it is in these results; those of the paper's tables need none"""
