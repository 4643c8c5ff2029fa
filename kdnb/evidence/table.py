"""From the store to one tidy table: a row for each measure of each run, in each form, on each split and view.

==============  ==================================================================================================
column          meaning
==============  ==================================================================================================
``profile``     whose settings
``seed``        the unit of evidence: fresh teachers, fresh students, fresh streams
``run``         the run's name; of teachers together, their ensemble's. For reading: rows are selected by what follows
``role``        teacher, student, reference, ensemble
``teachers``    the teachers' augmentations in order of place (``weak+strong``), a teacher's own; empty without
``origin``      the teachers' origins, likewise (``A+A``)
``student``     the student's augmentation; empty for others
``objective``   the profile's name of it; ``none`` for a student without teachers, empty for others
``measure``     name of a function of `kdnb.evidence.measures` or `kdnb.evidence.overlap`, or of one that a user registered;
                ``teachers_accuracy``: of the mean of the logits that a student is compared with
``form``        textbook; paper (as its text has it, where that is another); as-released (as its code computes it);
                as-released-sorted (of seeds published earlier, `kdnb.evidence.results.OF_BATCHES`)
``split``       validation; train: the fixed sample of training images; draws: the images of the other draws, clean alone
``view``        of the images: clean, weak, strong, base, any other recipe; ``own``: the run's own augmentation, again
``against``     whom a student is compared with: ``ensemble`` (the mean of its teachers' logits to whole views), ``halves`` (of
                those to the halves it was taught with), a teacher's name. Of an ensemble: ``each-other``, ``rest`` (each
                against the mean of the others); of its attention, which halves its teachers see, ``left+right``
``method``      of an attention map; empty otherwise
``value``       in the unit of the function
==============  ==================================================================================================
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kdnb.errors import IncompleteError, StoreError
from kdnb.evidence import measures, overlap
from kdnb.images.counter import Purpose, Stream
from kdnb.study.grid import Ensemble, Run, Study
from kdnb.study.store import Entry, Store
from kdnb.training.observe import BASE, DRAWS, VIEWS

COLUMNS = (
    "profile", "seed", "run", "role", "teachers", "origin", "student", "objective",
    "measure", "form", "split", "view", "against", "method", "value",
)  # fmt: skip

SPLITS = ("validation", "train")
HALVES = (("left", "right"), ("left", "left"), ("right", "right"))
"""which half of a view the first and the second teacher see"""

SIDE = 32
"""Pixels of the masks that maps are compared on. The released code's are of 224: on published maps, the IoU of two teachers at
32 is 0.003 to 0.009 above that at 224, much alike for all pairs (`tests/evidence/test_overlap.py`)."""

Row = dict[str, Any]

BLANK: Row = dict.fromkeys(COLUMNS, "")


def table(study: Study, store: Store) -> pd.DataFrame:
    """The tidy table of a study.

    Raises:
        IncompleteError: the store lacks a run of the study.
        StoreError: a file of an entry is damaged, an observation is missing, or runs of a seed were measured on images in
            different orders.
    """
    rows: list[Row] = []
    for seed in study.seeds:
        entries = of_seed(study, store, seed)
        about = {"profile": study.profile.name, "seed": seed}
        rows += [about | row for row in measured(study, seed, entries)]
    return pd.DataFrame([BLANK | row for row in rows], columns=list(COLUMNS))


def of_seed(study: Study, store: Store, seed: int) -> dict[str, Entry]:
    """The entries of a seed's runs, by run id. Each file is checked when it is first read, and read once.

    Raises:
        IncompleteError: the store lacks a run.
        StoreError: runs were measured on images in different orders.
    """
    runs = study.of_seed(seed)
    missing = [run for run in runs if not store.has(run.spec.id)]
    if missing:
        raise IncompleteError(
            f"{len(missing)} of {len(runs)} runs of {study.profile.name} are not in {store.root}, the first "
            f"{missing[0].name} of seed {seed}; train them with kdnb run"
        )
    entries = {run.spec.id: store.entry(run.spec.id) for run in runs}
    first = entries[runs[0].spec.id]
    for run in runs[1:]:
        for split in (*SPLITS, *drawn(first)):
            name = f"{split}/labels"
            if not torch.equal(first.predictions[name], entries[run.spec.id].predictions[name]):
                raise StoreError(
                    f"{runs[0].name} and {run.name} were measured on {split} images in another order, so by different "
                    "versions; train them again in a fresh store"
                )
    return entries


def measured(study: Study, seed: int, entries: Mapping[str, Entry]) -> Iterator[Row]:
    """All rows of a seed, but for profile and seed."""
    runs = {run.spec.id: run for run in study.of_seed(seed)}
    for name, run in runs.items():
        yield from (dict(run.columns) | row for row in alone(entries[name]))
        teachers = {runs[teacher].name: entries[teacher] for teacher in run.spec.teachers}
        if teachers:
            yield from (dict(run.columns) | row for row in fidelity(entries[name], teachers))
    attention = Attention(entries)
    for ensemble in study.ensembles(seed):
        yield from (dict(ensemble.columns) | row for row in together(ensemble, entries))
        yield from (dict(ensemble.columns) | row for row in attention.of(ensemble))
    for run in runs.values():
        if run.spec.role == "teacher":
            yield from (dict(run.columns) | row for row in attention.areas(run))
        if run.spec.teachers:
            names = {teacher: runs[teacher].name for teacher in run.spec.teachers}
            yield from (dict(run.columns) | row for row in attention.shared(run, names))


def _row(
    measure: str, value: float, form: str = "textbook", split: str = "validation", view: str = "", **more: str
) -> Row:
    return {"measure": measure, "form": form, "split": split, "view": view, "value": value} | more


def _own(where: Mapping[str, str], of: str, *given: Tensor) -> list[Row]:
    """What users' measures make of a network, or of a student and its teachers."""
    own = [each for each in measures.registered().values() if each.of == of]
    return [_row(each.name, each.value(*given), **where, against=each.against) for each in own]


def _and_own(rows: Sequence[Row], own: str) -> Iterator[Row]:
    """The rows, and those on the run's own view once more under that name."""
    for row in rows:
        yield row
        if row["view"] == own:
            yield row | {"view": "own"}


def observed(entry: Entry, split: str, view: str) -> Tensor:
    """A run's logits on a view, (N, K).

    Raises:
        StoreError: it was not shown this view.
    """
    try:
        return entry.predictions[f"{split}/{view}"]
    except KeyError:
        raise StoreError(
            f"run {entry.spec.id} was not observed on {view} views of {split} images; train it again in a fresh store"
        ) from None


def drawn(entry: Entry) -> tuple[str, ...]:
    """The split of the other draws' images, where the study has draws; none elsewhere"""
    return (DRAWS,) if f"{DRAWS}/clean" in entry.predictions else ()


def seen_views(entry: Entry) -> tuple[str, ...]:
    """clean, weak, strong, and the run's own augmentation where it is another"""
    own = entry.spec.augmentation
    return VIEWS if own in VIEWS else (*VIEWS, own)


# -- one network -----------------------------------------------------------------------------------------------------


def alone(entry: Entry) -> Iterator[Row]:
    """What can be said of one run by itself."""
    own, splits = entry.spec.augmentation, (*SPLITS, *drawn(entry))
    labels = {split: entry.predictions[f"{split}/labels"] for split in splits}
    accuracy: dict[tuple[str, str], float] = {}
    rows: list[Row] = []
    for split in splits:
        views = ("clean",) if split == DRAWS else seen_views(entry)
        for view in (*views, *([BASE] if split == "validation" and own != BASE else [])):
            logits, where = observed(entry, split, view), {"split": split, "view": view}
            accuracy[split, view] = measures.accuracy(logits, labels[split])
            rows.append(_row("accuracy", accuracy[split, view], **where))
            if view == BASE != own:
                continue
            rows.append(_row("entropy", measures.entropy(logits), **where))
            rows += _own(where, "network", logits, labels[split])
            for form, kind in (("textbook", "weighted"), ("as-released", "as-released")):
                error = measures.calibration_error(logits, labels[split], cast(Any, kind))
                rows.append(_row("calibration_error", error, form, **where))
            if split != "train" and view in ("clean", own):
                scaled = measures.scaled_calibration_error(logits, labels[split])
                rows.append(_row("calibration_error_scaled", scaled, **where))
    clean, base = accuracy["validation", "clean"], accuracy["validation", BASE]
    for view in seen_views(entry)[1:]:
        there = accuracy["validation", view]
        rows.append(_row("affinity", measures.affinity(there, clean), view=view))
        rows.append(_row("affinity", measures.affinity(there, clean, "ratio"), "paper", view=view))
        rows.append(_row("affinity", measures.affinity(there, base, "ratio"), "as-released", view=view))
    yield from _and_own(rows, own)
    for view, seen in (("own", own), ("clean", "clean")):
        for split in splits:
            if split != "train":
                gap = measures.train_validation_gap(accuracy["train", seen], accuracy[split, "clean"])
                yield _row("train_validation_gap", gap, split=split, view=view)
    running = [epoch["train_accuracy"] for epoch in entry.log]
    looks = [epoch["validation_accuracy"] for epoch in entry.log]
    yield _row("train_validation_gap", measures.gap_as_released(running, looks), "as-released", view="own")


# -- a student and its teachers --------------------------------------------------------------------------------------


def taught(student: Entry, teachers: Sequence[Entry], split: str, view: str) -> list[Tensor]:
    """What each teacher answers to the whole views that the student is compared on, (N, K) each."""
    return [
        student.predictions[f"teachers/{place}/{split}/{view}"]
        if f"teachers/{place}/{split}/{view}" in student.predictions
        else observed(teacher, split, view)
        for place, teacher in enumerate(teachers)
    ]


def fidelity(student: Entry, teachers: Mapping[str, Entry]) -> Iterator[Row]:
    """How closely a student follows its teachers, together and each, on common views and on its own.

    The paper measures on training images under the student's own views; the released code's forms are there and on clean
    validation images, so that what is due to the form and what to the images can be kept apart.
    """
    own, several = student.spec.augmentation, list(teachers.values())
    rows: list[Row] = []
    for split in (*SPLITS, *drawn(student)):
        labels = student.predictions[f"{split}/labels"]
        for view in ("clean",) if split == DRAWS else seen_views(student):
            ours, theirs = observed(student, split, view), taught(student, several, split, view)
            where, mean = {"split": split, "view": view}, measures.ensemble_logits(theirs)
            shown = view in ("clean", own)
            found = _following(mean, ours, labels, adjusted=shown and split == "validation")
            rows += [_row(name, value, **where, against="ensemble") for name, value in found.items()]
            rows.append(_row("teachers_accuracy", measures.accuracy(mean, labels), **where, against="ensemble"))
            rows += _own(where, "student", mean, ours, labels)
            if view == own or (shown and split == "validation"):
                released = _as_released(split, mean, ours, labels)
                rows += [
                    _row(name, value, "as-released", **where, against="ensemble") for name, value in released.items()
                ]
            if shown and split == "validation" and len(theirs) > 1:
                for name, answers in zip(teachers, theirs, strict=True):
                    each = _following(answers, ours, labels)
                    rows += [_row(measure, value, **where, against=name) for measure, value in each.items()]
            if shown and student.spec.objective and student.spec.objective.sides:
                pairs = zip(several, student.spec.objective.sides, strict=True)
                halves = measures.ensemble_logits([observed(each, split, f"{view}/{side}") for each, side in pairs])
                rows.append(_row("teachers_accuracy", measures.accuracy(halves, labels), **where, against="halves"))
                found = _following(halves, ours, labels)
                rows += [_row(name, value, **where, against="halves") for name, value in found.items()]
    yield from _and_own(rows, own)


def _following(teacher: Tensor, student: Tensor, labels: Tensor, adjusted: bool = False) -> dict[str, float]:
    found = {
        "agreement": measures.agreement(teacher, student),
        "divergence": measures.divergence(teacher, student),
        "mutual_information": measures.mutual_information(teacher, student),
        "error_consistency": measures.error_consistency(teacher, student, labels),
        "agreement_on_errors": measures.agreement_on_errors(teacher, student, labels),
    }
    if adjusted:
        found["adjusted_mutual_information"] = measures.mutual_information(teacher, student, "adjusted")
    return found


def _as_released(split: str, teacher: Tensor, student: Tensor, labels: Tensor) -> dict[str, float]:
    """In the order in which the released loaders give the images, which decides what a batch holds.

    Training images are shuffled and the last, smaller batch is kept; here their order is random, and the same for all runs.
    Augmented validation images come as the released list has them, by class, so that a batch of CIFAR-100's has two or
    three, and the last batch is dropped.
    """
    training = split == "train"
    order = _shuffled(len(labels)) if training else labels.argsort(stable=True)
    teacher, student, drop_last = teacher[order], student[order], not training
    return {
        "agreement": measures.agreement_as_released(teacher, student, drop_last=drop_last),
        "divergence": measures.divergence_as_released(teacher, student, drop_last=drop_last),
        "mutual_information": measures.mutual_information(teacher, student, "as-released", drop_last=drop_last),
        "mutual_information_score": measures.mutual_information(
            teacher, student, "as-released-score", drop_last=drop_last
        ),
    }


def _shuffled(count: int) -> Tensor:
    """A random order of so many images, int64 (N,), of the counter-based generator: the same in every study and seed. (Epoch 0
    of these draws chooses the sample itself, `kdnb.training.inference.sample`.)"""
    draws = Stream(0).uniforms(Purpose.SAMPLE, 1, np.arange(count), 1)[:, 0]
    return torch.from_numpy(draws.argsort(kind="stable"))


# -- several teachers ------------------------------------------------------------------------------------------------


def together(ensemble: Ensemble, entries: Mapping[str, Entry]) -> Iterator[Row]:
    """How good the answers are that several teachers give together, and how alike they answer."""
    teachers = [entries[run.spec.id] for run in ensemble.teachers]
    for split in (*SPLITS, *drawn(teachers[0])):
        labels = teachers[0].predictions[f"{split}/labels"]
        for view in ("clean",) if split == DRAWS else VIEWS:
            answers, where = [observed(teacher, split, view) for teacher in teachers], {"split": split, "view": view}
            yield _row("accuracy", measures.accuracy(measures.ensemble_logits(answers), labels), **where)
            for name, measure in (
                ("agreement", measures.agreement),
                ("mutual_information", measures.mutual_information),
            ):
                yield _row(name, measures.among(measure, answers), **where, against="each-other")
                if len(answers) > 2:
                    yield _row(name, measures.rest_against_each(measure, answers), **where, against="rest")


class Attention:
    """The masks of a seed's runs, each made once."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._masks: dict[tuple[str, str, float], Tensor] = {}

    def heatmaps(self, run: str, name: str) -> Tensor:
        """(M, 32, 32) from 0 to 1, of the map ``<split>/<method>/<view>`` of a run.

        Raises:
            StoreError: it has no such map.
        """
        if name not in self._entries[run].attention:
            raise StoreError(f"run {run} was not observed as {name}; train it again in a fresh store")
        return overlap.heatmaps(self._entries[run].attention[name], SIDE)

    def masks(self, run: str, name: str, threshold: float = overlap.THRESHOLD) -> Tensor:
        """Boolean (M, 32, 32) of the map ``<split>/<method>/<view>`` of a run.

        Raises:
            StoreError: it has no such map.
        """
        key = (run, name, threshold)
        if key not in self._masks:
            self._masks[key] = self.heatmaps(run, name) > threshold
        return self._masks[key]

    def names(self, runs: Sequence[str]) -> list[tuple[str, str, str]]:
        """(split, method, view) of the maps of whole views that all these runs have; one of them may have more, of a view of
        its own"""
        common = set.intersection(*(set(self._entries[run].attention) for run in runs))
        names = (name.split("/") for name in sorted(common))
        return [(parts[0], parts[1], parts[2]) for parts in names if len(parts) == 3]

    def of(self, ensemble: Ensemble) -> Iterator[Row]:
        """How much the teachers' masks overlap, and how much they would by chance; on whole views and on halves."""
        ids = [run.spec.id for run in ensemble.teachers]
        for split, method, view in self.names(ids):
            name, where = f"{split}/{method}/{view}", {"split": split, "view": view, "method": method}
            several = [self.masks(run, name) for run in ids]
            yield _row("attention_iou", overlap.iou(several), **where)
            yield _row("attention_iou", overlap.iou(several, "as-released"), "as-released", **where)
            older = [self.masks(run, name, overlap.THRESHOLD_UNTIL_MAY_2024) for run in ids]
            yield _row("attention_iou", overlap.iou(older, "as-released"), "as-released-0.5", **where)
            yield _row("chance_iou", overlap.chance_iou(several), **where)
            yield _row("excess_iou", overlap.excess_iou(several), **where)
            if len(ids) == 2 and f"{name}/left" in self._entries[ids[0]].attention:
                for sides in HALVES:
                    halves = [self.masks(run, f"{name}/{side}") for run, side in zip(ids, sides, strict=True)]
                    yield _row("attention_iou", overlap.iou(halves), **where, against="+".join(sides))

    def areas(self, run: Run) -> Iterator[Row]:
        """How much of the image a teacher's masks cover."""
        for split, method, view in self.names([run.spec.id]):
            mask = self.masks(run.spec.id, f"{split}/{method}/{view}")
            yield _row("mask_area", float(overlap.area(mask).mean()), split=split, view=view, method=method)

    def shared(self, run: Run, teachers: Mapping[str, str]) -> Iterator[Row]:
        """How much a student's masks overlap with each teacher's, and in the mean; on clean images and its own views."""
        rows = []
        own, method = run.spec.augmentation, "cam-predicted"
        for split in SPLITS:
            for view in dict.fromkeys(("clean", own)):
                name, values = f"{split}/{method}/{view}", []
                if any(name not in self._entries[teacher].attention for teacher in teachers):
                    continue  # a recipe of the student's that no teacher was shown
                mine = self.masks(run.spec.id, name)
                where = {"split": split, "view": view, "method": method}
                for teacher, called in teachers.items():
                    values.append(overlap.iou([mine, self.masks(teacher, name)]))
                    rows.append(_row("attention_iou", values[-1], **where, against=called))
                if len(values) > 1:
                    rows.append(_row("attention_iou", float(np.mean(values)), **where, against="ensemble"))
        yield from _and_own(rows, own)


# -- logs, and looking things up -------------------------------------------------------------------------------------


def curves(study: Study, store: Store) -> pd.DataFrame:
    """The training logs of a study, a row for each epoch of each run: profile, seed, run, epoch (from 1), learning_rate,
    loss, train_accuracy (running, on the views trained on), validation_accuracy (NaN where nobody looked), seconds, and of
    distilled students target_temperature and target_entropy (of the softened answers, in nats).

    Raises:
        IncompleteError, StoreError: as `table`.
    """
    return pd.concat([curves_of(study, seed, of_seed(study, store, seed)) for seed in study.seeds], ignore_index=True)


def curves_of(study: Study, seed: int, entries: Mapping[str, Entry]) -> pd.DataFrame:
    """The `curves` of a seed."""
    rows = []
    for run in study.of_seed(seed):
        about = {"profile": study.profile.name, "seed": seed, "run": run.name}
        rows += [about | epoch | {"epoch": epoch["epoch"] + 1} for epoch in entries[run.spec.id].log]
    return pd.DataFrame(rows)


def select(table: pd.DataFrame, **where: str | int) -> pd.DataFrame:
    """The rows with these values in these columns."""
    chosen = np.ones(len(table), dtype=bool)
    for column, value in where.items():
        chosen &= (table[column] == value).to_numpy()
    return table[chosen]


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the objective ``kd``, of students without teachers, and of what is no student; of teachers, those of the
    default origin, which is the first teacher's."""
    rows = table[table["objective"].isin(("", "kd", "none"))]
    first = table.loc[table["role"] == "teacher", "origin"]
    if first.empty:
        return rows
    alike = {"+".join([first.iloc[0]] * count) for count in range(1, 10)}
    return rows[rows["origin"].isin({"", *alike})]


_VALIDATION = {"split": "validation", "form": "textbook", "view": "clean"}

SHOWN: dict[str, dict[str, str]] = {
    "accuracy": _VALIDATION | {"measure": "accuracy"},
    "gap": _VALIDATION | {"measure": "train_validation_gap", "view": "own"},
    "ECE": _VALIDATION | {"measure": "calibration_error"},
    "affinity": _VALIDATION | {"measure": "affinity", "view": "own", "form": "paper"},
    "agreement": _VALIDATION | {"measure": "agreement", "against": "ensemble"},
    "KL": _VALIDATION | {"measure": "divergence", "against": "ensemble"},
    "MI": _VALIDATION | {"measure": "mutual_information", "against": "ensemble"},
    "κ": _VALIDATION | {"measure": "error_consistency", "against": "ensemble"},
    "IoU": _VALIDATION | {"measure": "attention_iou", "method": "cam-predicted", "role": "ensemble", "against": ""},
    "chance": _VALIDATION | {"measure": "chance_iou", "method": "cam-predicted"},
}
"""The columns of the table that a person reads: one measure each, on clean validation images; affinity and gap on own views.
Measures that users registered come after them, by their names."""


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """A line for each run or ensemble, its mean over seeds of the measures in `SHOWN`."""
    own = {each.name: _VALIDATION | {"measure": each.name} for each in measures.registered().values()}
    columns = {
        title: select(table, **cast(dict[str, Any], where)).groupby("run", sort=False)["value"].mean()
        for title, where in (SHOWN | own).items()
    }
    order = list(dict.fromkeys(table["run"]))
    return pd.DataFrame(columns).reindex(order)
