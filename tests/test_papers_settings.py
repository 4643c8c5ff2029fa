"""The profiles of the paper, held against what the paper and its released code say: every value, in both readings.

The tables below are written from the book's notes on the paper (arXiv 2405.00739v1) and on its code, not from the profiles.
"""

import math
from dataclasses import dataclass, field
from importlib import resources

import pytest
import yaml

from kdnb.errors import ProfileError
from kdnb.evidence import paper
from kdnb.study import grid
from kdnb.study import profile as profiles
from kdnb.training.schedule import learning_rate

EIGHT = ("weak+weak", "strong+weak", "weak+strong", "strong+strong")
BALANCED, OWN = "balanced", "own"


@dataclass(frozen=True)
class Rates:
    """The learning rate of each epoch, in words."""

    warm: int
    """eighths of the full rate that the first epoch has"""
    falls: tuple[int, ...] = ()
    """the first epoch, from 0, of each tenth"""
    cosine: float | None = None
    """epochs of half a period; None: steps"""

    def of(self, epochs: int) -> list[float]:
        rates = []
        for epoch in range(epochs):
            rate = 0.1 * min(1.0, (self.warm + epoch) / 8)
            if self.cosine is None:
                rate /= 10 ** sum(epoch >= fall for fall in self.falls)
            else:
                rate *= (1 + math.cos(math.pi * (epoch + self.warm - 1) / self.cosine)) / 2
            rates.append(rate)
        return rates


@dataclass(frozen=True)
class Says:
    """One profile in one reading."""

    teacher_epochs: dict[str, int]
    teacher_rates: Rates
    student_epochs: int
    student_rates: Rates
    temperature: float
    weight: float
    mix: str
    """sum: equations 6 to 8; alpha: as the scripts"""
    resize: str
    recipes: tuple[str, str]
    """weak and strong"""
    keeps: str
    """which epoch of a student"""
    teaching: str
    """the mode of the teachers' batch norm"""
    precisions: tuple[str, str, str] = ("float32",) * 3
    """of teachers, distilled students, students alone"""
    teachers_of: str = OWN
    head: str = "fresh"
    model: tuple[str, str] = field(default=("resnet50", "resnet18"))


TEXT = {
    "temperature": 10, "weight": 0.2, "mix": "sum", "resize": "bicubic", "recipes": ("weak", "strong"), "keeps": "last",
    "teaching": "eval",
}  # fmt: skip
RELEASED = {
    "temperature": 3, "weight": 0.6, "mix": "alpha", "resize": "bilinear", "recipes": ("weak", "strong-released"),
    "keeps": "best", "teaching": "train", "precisions": ("bfloat16", "float32", "bfloat16"),
}  # fmt: skip
IMAGENET_TEXT = TEXT | {"recipes": ("imagenet-weak", "imagenet-strong"), "head": "pretrained"}
IMAGENET_RELEASED = RELEASED | {"recipes": ("imagenet-weak", "imagenet-strong-released"), "head": "pretrained"}
ALL = ("T1w", "T1s", "T2w", "T2s")
CIFAR = (*ALL, "T3w", "T3s")
NAMED = {"T1w": 61, "T2w": 61, "T1s": 80, "T2s": 45, "T3w": 45, "T3s": 45}

SAYS = {
    ("paper-cifar100", "text"): Says(
        dict.fromkeys(CIFAR, 60), Rates(1, (25, 40, 60)), 200, Rates(1, (190, 195)), **TEXT
    ),
    ("paper-cifar100", "released"): Says(NAMED, Rates(2, (24, 39, 59)), 200, Rates(2, (189, 194)), **RELEASED),
    ("paper-cifar100-imb100", "text"): Says(
        dict.fromkeys(CIFAR, 60), Rates(1, (25, 40, 60)), 175, Rates(1, (160, 165, 170)), **TEXT
    ),
    ("paper-cifar100-imb100", "released"): Says(
        NAMED, Rates(2, (24, 39, 59)), 175, Rates(2, (159, 164, 169)), **RELEASED, teachers_of=BALANCED
    ),
    ("paper-cifar100-imb100", "released-script"): Says(
        dict.fromkeys(CIFAR, 61), Rates(2, (54, 64)), 175, Rates(2, (159, 164, 169)), **RELEASED
    ),
    ("paper-imagenet", "text"): Says(
        dict.fromkeys(ALL, 60), Rates(1, cosine=60), 60, Rates(1, cosine=60), **IMAGENET_TEXT
    ),
    ("paper-imagenet", "released"): Says(
        dict.fromkeys(ALL, 60), Rates(2, cosine=60), 60, Rates(2, cosine=60), **IMAGENET_RELEASED
    ),
    ("paper-imagenet-lt", "text"): Says(
        dict.fromkeys(ALL, 30), Rates(1, cosine=30), 165, Rates(1, (150, 155, 160)), **IMAGENET_TEXT
    ),
    ("paper-imagenet-lt", "released"): Says(
        dict.fromkeys(ALL, 30), Rates(2, cosine=30), 165, Rates(2, (149, 154, 159)), **IMAGENET_RELEASED
    ),
}

HASH, BALANCED_HASH = "0" * 16, "b" * 16
EVERY = pytest.mark.parametrize(("name", "reading"), SAYS, ids="/".join)


def load(name, reading):
    return profiles.load(name, [f"recipe={reading}"])


def specs(name, reading):
    study = grid.build(load(name, reading), HASH, teacher_hash=BALANCED_HASH)
    return {run.name: run.spec for run in study.runs}


def rates(spec, steps=7):
    """Of each epoch; within one the rate stands still."""
    found = []
    for epoch in range(spec.train.epochs):
        within = {learning_rate(spec.train, epoch * steps + step, steps) for step in range(steps)}
        assert len(within) == 1
        found += within
    return found


def test_every_reading_of_every_profile_of_the_paper_is_compared():
    shipped = {
        (name, reading)
        for name in profiles.names()
        if name.startswith("paper-")
        for reading in (profiles.load(name).recipe, *profiles.load(name).readings)
    }
    assert shipped == set(SAYS)


@EVERY
def test_teachers_are_the_papers(name, reading):
    says, runs = SAYS[name, reading], specs(name, reading)
    teachers = {each: spec for each, spec in runs.items() if spec.role == "teacher"}
    assert {each: spec.train.epochs for each, spec in teachers.items()} == says.teacher_epochs
    for each, spec in teachers.items():
        assert rates(spec) == pytest.approx(says.teacher_rates.of(spec.train.epochs), rel=1e-12), each
        assert (spec.train.batch_size, spec.train.learning_rate, spec.train.momentum) == (128, 0.1, 0.9)
        assert (spec.train.nesterov, spec.train.weight_decay, spec.train.keep) == (False, 0, "last")
        assert (spec.model.name, spec.train.precision) == (says.model[0], says.precisions[0])
        assert spec.augmentation == says.recipes["ws".index(each[-1])]
        assert (spec.origin.kind, spec.origin.head) == ("imagenet", says.head)
        balanced = says.teachers_of == BALANCED
        assert spec.dataset.hash == (BALANCED_HASH if balanced else HASH)
        assert (spec.observed and spec.observed.hash) == (HASH if balanced else None)


@EVERY
def test_students_are_the_papers(name, reading):
    says, runs = SAYS[name, reading], specs(name, reading)
    students = {each: spec for each, spec in runs.items() if spec.role == "student"}
    for each, spec in students.items():
        assert spec.train.epochs == says.student_epochs
        assert rates(spec) == pytest.approx(says.student_rates.of(says.student_epochs), rel=1e-12), each
        assert (spec.train.batch_size, spec.train.learning_rate, spec.train.momentum) == (128, 0.1, 0.9)
        assert (spec.train.nesterov, spec.train.weight_decay, spec.train.keep) == (False, 0, says.keeps)
        assert spec.train.precision == says.precisions[1 if spec.teachers else 2], each
        assert (spec.model.name, spec.origin.kind, spec.dataset.hash) == (says.model[1], "fresh", HASH)
        assert spec.augmentation in says.recipes
        if spec.objective is not None:
            objective = spec.objective
            assert (objective.temperature, objective.alpha, objective.mix) == (
                says.temperature,
                says.weight,
                says.mix,
            )
            assert objective.batch_norm == says.teaching


@EVERY
def test_images_are_the_papers(name, reading):
    for spec in specs(name, reading).values():
        assert (spec.side, spec.resize) == (224, SAYS[name, reading].resize)


@EVERY
def test_the_eight_trials_are_there_plain_and_as_its_experiments_have_them(name, reading):
    profile = load(name, reading)
    study = grid.build(profile, HASH)
    pairs = {
        (run.columns["teachers"], run.columns["student"], run.columns["objective"])
        for run in study.runs
        if len(run.spec.teachers) == 2
    }
    measured = name.removeprefix("paper-") in paper.MEASURED
    objectives = ("kd", "half-LR", "zscore") if measured else ("kd",)
    assert pairs == {(t, s, o) for t in EIGHT for s in ("weak", "strong") for o in objectives}
    best = paper.best()
    listed = set(best[best["dataset"] == name.removeprefix("paper-")]["method"])
    others = {run.columns["teachers"] for run in study.runs if len(run.spec.teachers) in (1, 3)}
    assert ("one teacher: Tw Ss" in listed) == ("weak" in others)
    assert ("three teachers: T1s T2w T3w Ss" in listed) == ("strong+weak+weak" in others)


@EVERY
def test_two_readings_share_no_run(name, reading):
    text = profiles.load(name).recipe
    if reading != text:
        ids = [{spec.id for each, spec in specs(name, which).items()} for which in (text, reading)]
        assert not ids[0] & ids[1]


@EVERY
def test_the_reading_is_part_of_the_profile(name, reading):
    assert load(name, reading).recipe == reading


@pytest.mark.parametrize("name", sorted({name for name, _ in SAYS}))
def test_the_header_gives_the_papers_own_accuracies(name):
    text = (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    dataset = name.removeprefix("paper-")
    accuracy = paper.trials(dataset)["accuracy"]
    for value in (accuracy.min(), accuracy.max()):
        assert f"{value:.4f}".removeprefix("0") in text
    best = paper.best().set_index(["method", "dataset"])["accuracy"]
    for kind in ("one teacher", "three teachers"):
        for (method, of), value in best.items():
            if method.startswith(kind) and of == dataset:
                assert f"{value:.4f}".removeprefix("0") in text


def test_every_value_of_a_profile_of_the_paper_has_its_source_beside_it():
    """A value's line, or the line that its block opens with, names one of the sources."""
    for name in sorted({name for name, _ in SAYS}):
        text = (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
        body = text[text.index("\nname:") :].split("\n")
        for setting in ("epochs:", "batch_size:", "learning_rate:", "momentum:", "weight_decay:", "schedule:", "side:"):
            lines = [line for line in body if line.strip().startswith(setting)]
            assert lines
            assert all("# [" in line or "early: true" in line for line in lines), (name, setting)


# -- readings in anybody's file ----------------------------------------------------------------------------------------

MINE = {
    "name": "mine",
    "dataset": {"name": "digits"},
    "seeds": [3],
    "recipe": "one",
    "teacher": {"model": {"name": "resnet8-w8"}, "train": {"epochs": 1, "schedule": {"kind": "one-cycle"}}},
    "student": {"model": {"name": "resnet8-w8"}, "train": {"epochs": 1, "schedule": {"kind": "one-cycle"}}},
    "readings": {"other": {"student.train.epochs": 5, "epochs_of": {"T1w": 4}}},
}


@pytest.fixture
def mine(tmp_path):
    def write(**changes):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(MINE | changes))
        return str(path)

    return write


def test_a_reading_changes_what_it_names_and_single_settings_come_after_it(mine):
    own, other = profiles.load(mine()), profiles.load(mine(), ["recipe=other"])
    assert (own.student.train.epochs, other.student.train.epochs) == (1, 5)
    assert own.teacher == other.teacher
    later = profiles.load(mine(), ["student.train.epochs=7", "recipe=other"])
    assert (later.student.train.epochs, later.recipe) == (7, "other")
    teachers = {run.name: run.spec.train.epochs for run in grid.build(other, HASH).runs if run.spec.role == "teacher"}
    assert teachers == {"T1w": 4, "T2w": 1, "T1s": 1, "T2s": 1}


@pytest.mark.parametrize(
    ("changes", "override", "message"),
    [
        ({}, "recipe=text", r"mine\.yaml has no reading 'text' of its recipe; choose from one, other"),
        ({"readings": {}, "recipe": ""}, "recipe=text", r"it has one alone: leave recipe out"),
        ({"recipe": ""}, "seeds=[1]", r"names the one that its own values are, as recipe: text"),
        ({"readings": {"other": 3}}, "recipe=other", r"the reading 'other' does not hold a mapping"),
        ({"readings": {"other": {"seeds.x": 3}}}, "recipe=other", r"seeds\.x of the reading 'other': seeds is a value"),
        ({"readings": {"other": {"student.epochs": 3}}}, "recipe=other", r"student\.epochs: Extra inputs"),
        ({"epochs_of": {"T3w": 3}}, "seeds=[1]", r"no teacher 'T3w' for epochs_of; choose from T1s, T1w, T2s, T2w"),
        ({"augmentations": {"weak": "feeble"}}, "seeds=[1]", r"no augmentation 'feeble'"),
    ],
)
def test_a_reading_that_cannot_be_is_named(mine, changes, override, message):
    with pytest.raises(ProfileError, match=message):
        profiles.load(mine(**changes), [override])
