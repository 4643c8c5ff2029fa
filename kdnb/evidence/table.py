"""From the store to one tidy table: a row for each measure of each run, in each form and on each view.

=============  ===================================================================================================
column         meaning
=============  ===================================================================================================
``profile``    whose settings
``seed``       the unit of evidence: fresh teachers, fresh students, fresh streams
``run``        ``T1w``, ``T1w_T2s_Ss``, ``Sw``, ``reference``; ``T1w_T2s`` for a measure of the teachers together
``role``       teacher, student, reference, ensemble
``ensemble``   letters of the teachers (``ws``), empty without
``student``    letter of the student's augmentation, empty for teachers
``measure``    name of a function of `kdnb.evidence.measures` or `kdnb.evidence.overlap`; ``teachers_accuracy``: of the mean of the logits that
               a student is compared with
``form``       textbook, or as-released (what the paper's code computes); see the function for what differs
``view``       of the validation images: clean, weak, strong; ``own``: the kind of view the run was trained on, of
               training images for ``train_accuracy`` and the gap
``against``    whom a student is compared with: ``ensemble`` (mean of the teachers' logits) or one teacher's name
``method``     of an attention map; empty otherwise
``value``      in the unit of the function
=============  ===================================================================================================
"""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kdnb.evidence import overlap as attention, measures
from kdnb.errors import IncompleteError, StoreError
from kdnb.training.observe import VIEWS
from kdnb.study.store import Entry, Store
from kdnb.study.grid import Run, Study

COLUMNS = (
    "profile", "seed", "run", "role", "ensemble", "student", "measure", "form", "view", "against", "method", "value",
)  # fmt: skip

Row = dict[str, Any]

_BLANK: Row = dict.fromkeys(COLUMNS, "")


def table(study: Study, store: Store) -> pd.DataFrame:
    """The tidy table of a study.

    Raises:
        IncompleteError: the store lacks a run of the study.
        StoreError: a file of an entry is damaged, or runs of a seed were measured on images in different orders.
    """
    _require_whole(study, store)
    rows: list[Row] = []
    for seed in dict.fromkeys(run.seed for run in study.runs):
        runs = {run.name: run for run in study.runs if run.seed == seed}
        entries = {name: store.entry(run.spec.id) for name, run in runs.items()}
        _require_same_images(entries)
        rows += [{"profile": study.profile.name, "seed": seed} | row for row in _seed(runs, entries)]
    return pd.DataFrame([_BLANK | row for row in rows], columns=list(COLUMNS))


def _require_same_images(entries: dict[str, Entry]) -> None:
    """Runs are compared image by image."""
    (first, one), *others = entries.items()
    for name, other in others:
        for part in ("validation", "train"):
            if not torch.equal(one.predictions[f"{part}/labels"], other.predictions[f"{part}/labels"]):
                raise StoreError(
                    f"{first} and {name} were measured on {part} images in another order, so by different versions; train "
                    "them again in a fresh store"
                )


def _seed(runs: dict[str, Run], entries: dict[str, Entry]) -> Iterator[Row]:
    for name, run in runs.items():
        about = {
            "run": name,
            "role": run.spec.role,
            "ensemble": run.ensemble,
            "student": name[-1] if run.spec.role == "student" else "",
        }
        yield from (about | row for row in alone(entries[name]))
        teachers = name.split("_")[:-1]
        if teachers:
            yield from (about | row for row in fidelity(entries[name], {t: entries[t] for t in teachers}))
    masks: dict[str, dict[str, Tensor]] = {}
    for ensemble in dict.fromkeys(run.ensemble for run in runs.values() if len(run.ensemble) > 1):
        teachers = [f"T{member}{letter}" for member, letter in enumerate(ensemble, start=1)]
        for teacher in teachers:
            if teacher not in masks:
                masks[teacher] = entry_masks(entries[teacher])
        about = {"run": "_".join(teachers), "role": "ensemble", "ensemble": ensemble}
        yield from (about | row for row in together([entries[teacher] for teacher in teachers]))
        yield from (about | row for row in overlap([masks[teacher] for teacher in teachers]))
    for teacher, by_name in masks.items():
        about = {"run": teacher, "role": "teacher"}
        for name, mask in by_name.items():
            method, view = name.split("/")
            area = float(attention.area(mask).mean())
            yield about | _row("mask_area", area, view=view, method=method)


def _row(measure: str, value: float, form: str = "textbook", view: str = "", **more: str) -> Row:
    return {"measure": measure, "form": form, "view": view, "value": value} | more


def alone(entry: Entry) -> Iterator[Row]:
    """What can be said of one run by itself."""
    answers, log = entry.predictions, entry.log
    labels, train_labels = answers["validation/labels"], answers["train/labels"]
    own = entry.spec.augmentation if entry.spec.augmentation in VIEWS else "clean"
    accuracy = {view: measures.accuracy(answers[f"validation/{view}"], labels) for view in VIEWS}
    for view in VIEWS:
        logits = answers[f"validation/{view}"]
        yield _row("accuracy", accuracy[view], view=view)
        yield _row("entropy", measures.entropy(logits), view=view)
        yield _row("calibration_error", measures.calibration_error(logits, labels), view=view)
        yield _row("calibration_error", measures.calibration_error(logits, labels, "as-released"), "as-released", view)
        if view != "clean":
            yield _row("affinity", measures.affinity(accuracy[view], accuracy["clean"]), view=view)
            if accuracy["clean"] > 0:
                ratio = measures.affinity(accuracy[view], accuracy["clean"], "as-released")
                yield _row("affinity", ratio, "as-released", view)
    for name, view in (("own", own), ("clean", "clean")):
        training = measures.accuracy(answers[f"train/{view}"], train_labels)
        yield _row("train_accuracy", training, view=name)
        gap = measures.train_validation_gap(training, accuracy["clean"])
        yield _row("train_validation_gap", gap, view=name)
    running = [epoch["train_accuracy"] for epoch in log]
    looks = [epoch["validation_accuracy"] for epoch in log]
    yield _row("train_validation_gap", measures.gap_as_released(running, looks), "as-released", "own")


def fidelity(student: Entry, teachers: dict[str, Entry]) -> Iterator[Row]:
    """How closely a student follows its teachers, together and each; the views are those of `VIEWS` and ``own``.

    The released code measures fidelity on the student's own kind of view, so its forms are there, and on clean images to
    tell what is due to the form and what to the view.
    """
    labels = student.predictions["validation/labels"]
    for view in VIEWS:
        ours = student.predictions[f"validation/{view}"]
        theirs = {
            name: student.predictions.get(f"teachers/{place}/{view}", teacher.predictions[f"validation/{view}"])
            for place, (name, teacher) in enumerate(teachers.items())
        }
        own = view == student.spec.augmentation
        mean = measures.ensemble_logits(list(theirs.values()))
        rows = [_row(name, value, view=view) for name, value in _following(mean, ours, labels).items()]
        rows.append(_row("teachers_accuracy", measures.accuracy(mean, labels), view=view))
        if own or view == "clean":
            rows += [_row(name, value, "as-released", view) for name, value in _as_released(mean, ours, labels).items()]
        for row in rows:
            yield row | {"against": "ensemble"}
            if own:
                yield row | {"against": "ensemble", "view": "own"}
        for name, taught in theirs.items() if len(theirs) > 1 else ():
            for measure, value in _following(taught, ours, labels).items():
                yield _row(measure, value, view=view, against=name)


def _following(teacher: Tensor, student: Tensor, labels: Tensor) -> dict[str, float]:
    return {
        "agreement": measures.agreement(teacher, student),
        "divergence": measures.divergence(teacher, student),
        "mutual_information": measures.mutual_information(teacher, student),
        "adjusted_mutual_information": measures.mutual_information(teacher, student, "adjusted"),
        "error_consistency": measures.error_consistency(teacher, student, labels),
        "agreement_on_errors": measures.agreement_on_errors(teacher, student, labels),
    }


def _as_released(teacher: Tensor, student: Tensor, labels: Tensor) -> dict[str, float]:
    """In the order of the released lists of validation images, which is by class: a batch of CIFAR-100's has two or three."""
    order = labels.argsort(stable=True)
    teacher, student = teacher[order], student[order]
    return {
        "agreement": measures.agreement_as_released(teacher, student),
        "divergence": measures.divergence_as_released(teacher, student),
        "mutual_information": measures.mutual_information(teacher, student, "as-released"),
        "mutual_information_score": measures.mutual_information(teacher, student, "as-released-score"),
    }


def together(teachers: list[Entry]) -> Iterator[Row]:
    """How good the answers are that several teachers give together."""
    for view in VIEWS:
        answers = measures.ensemble_logits([teacher.predictions[f"validation/{view}"] for teacher in teachers])
        yield _row("accuracy", measures.accuracy(answers, teachers[0].predictions["validation/labels"]), view=view)


def entry_masks(entry: Entry, threshold: float = attention.THRESHOLD, side: int = 32) -> dict[str, Tensor]:
    """``<method>/<view>`` → boolean masks (M, side, side) of a run's attention maps."""
    return {
        name: attention.masks(maps, side, threshold)
        for name, maps in sorted(entry.attention.items())
        if name not in ("index", "labels")
    }


def overlap(masks: list[dict[str, Tensor]]) -> Iterator[Row]:
    """How much the masks of several runs overlap, and how much they would by chance."""
    for name in masks[0]:
        method, view = name.split("/")
        several = [each[name] for each in masks]
        where = {"view": view, "method": method}
        yield _row("attention_iou", attention.iou(several), **where)
        yield _row("attention_iou", attention.iou(several, "as-released"), "as-released", **where)
        yield _row("chance_iou", attention.chance_iou(several), **where)
        yield _row("excess_iou", attention.excess_iou(several), **where)


def curves(study: Study, store: Store) -> pd.DataFrame:
    """The training logs of a study, a row for each epoch of each run: profile, seed, run, epoch (from 1), learning_rate,
    loss, train_accuracy (running, on the views trained on), validation_accuracy (NaN where nobody looked), seconds.

    Raises:
        IncompleteError, StoreError: as `table`.
    """
    _require_whole(study, store)
    rows = [
        {"profile": study.profile.name, "seed": run.seed, "run": run.name} | epoch | {"epoch": epoch["epoch"] + 1}
        for run in study.runs
        for epoch in store.entry(run.spec.id).log
    ]
    return pd.DataFrame(rows)


def _require_whole(study: Study, store: Store) -> None:
    missing = [run for run in study.runs if not store.holds(run.spec.id)]
    if missing:
        raise IncompleteError(
            f"{len(missing)} of {len(study.runs)} runs of {study.profile.name} are not in {store.root}, the first "
            f"{missing[0].name} of seed {missing[0].seed}; train them with kdnb run"
        )


def select(table: pd.DataFrame, **where: str | int) -> pd.DataFrame:
    """The rows with these values in these columns."""
    chosen = np.ones(len(table), dtype=bool)
    for column, value in where.items():
        chosen &= (table[column] == value).to_numpy()
    return table[chosen]


SHOWN = {
    "accuracy": {"measure": "accuracy", "view": "clean", "form": "textbook"},
    "gap": {"measure": "train_validation_gap", "view": "own", "form": "textbook"},
    "ECE": {"measure": "calibration_error", "view": "clean", "form": "textbook"},
    "agreement": {"measure": "agreement", "view": "clean", "form": "textbook", "against": "ensemble"},
    "KL": {"measure": "divergence", "view": "clean", "form": "textbook", "against": "ensemble"},
    "MI": {"measure": "mutual_information", "view": "clean", "form": "textbook", "against": "ensemble"},
    "κ": {"measure": "error_consistency", "view": "clean", "form": "textbook", "against": "ensemble"},
    "IoU": {"measure": "attention_iou", "view": "clean", "form": "textbook", "method": "cam-predicted"},
    "chance": {"measure": "chance_iou", "view": "clean", "form": "textbook", "method": "cam-predicted"},
}
"""The columns of the table that a person reads: one measure each, on clean validation images."""


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """A line for each run or ensemble, its mean over seeds of the measures in `SHOWN`."""
    columns = {
        title: select(table, **cast(dict[str, Any], where)).groupby("run", sort=False)["value"].mean()
        for title, where in SHOWN.items()
    }
    order = list(dict.fromkeys(table["run"]))
    return pd.DataFrame(columns).reindex(order)
