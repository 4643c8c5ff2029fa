"""The profiles of the paper, held against what the paper and its released code say: every value with its source.

The tables below are written from the paper (arXiv 2405.00739v1) and from its code (cb0a7c5), not from the profiles.
"""

import math
from dataclasses import dataclass
from importlib import resources
from typing import Any

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

    warm: int = 8
    """eighths of the full rate that the first epoch has"""
    falls: tuple[int, ...] = ()
    """the first epoch, from 0, of each tenth"""
    cosine: int | None = None
    """epochs of half a period; None: steps"""
    early: int = 0
    """epochs by which a cosine is ahead"""

    def of(self, epochs: int) -> list[float]:
        rates = []
        for epoch in range(epochs):
            rate = 0.1 * min(1.0, (self.warm + epoch) / 8)
            if self.cosine is None:
                rate /= 10 ** sum(epoch >= fall for fall in self.falls)
            else:
                rate *= (1 + math.cos(math.pi * (epoch + self.early) / self.cosine)) / 2
            rates.append(rate)
        return rates


APP_A, SEC_5, EQUATIONS = "app. A", "sec. 5", "eq. 6 to 8"
MAIN, TRAINER, SCRIPTS = "main.py", "trainer.py", "scripts"
CIFAR_LOADER, IMAGENET_LOADER = "data_loader/DataLoaderCIFAR.py", "data_loader/DataLoaderImageNet.py"
NAMES = "checkpoint names in main.py and ECE/calculate_ece.py"
OURS = "ours: neither says"

ALL = ("T1w", "T1s", "T2w", "T2s")
SIX = (*ALL, "T3w", "T3s")
NAMED = {"T1w": 61, "T2w": 61, "T1s": 80, "T2s": 45, "T3w": 45, "T3s": 45}

Settings = dict[str, tuple[Any, str]]
"""setting → its value and where it is from"""

EVERYWHERE: Settings = {
    "batch": (128, APP_A),
    "peak": (0.1, APP_A),
    "momentum": (0.9, APP_A),
    "weight decay": (0, MAIN),
    "nesterov": (False, OURS),
    "teachers of": (OWN, SEC_5),
    "base": ("base", "data_loader/DataLoaderCIFAR_affinity.py"),
}
LARGE: Settings = EVERYWHERE | {"networks": (("resnet50", "resnet18"), SEC_5), "side": (224, CIFAR_LOADER)}
TEXT: Settings = LARGE | {
    "temperature": (10, APP_A),
    "weight": (0.2, APP_A),
    "mix": ("sum", EQUATIONS),
    "resize": ("bicubic", OURS),
    "weak": ("weak-text", SEC_5),
    "strong": ("strong-text", SEC_5),
    "head": ("fresh", MAIN),
    "keeps": ("last", OURS),
    "teaching": ("eval", OURS),
    "precisions": (("float32",) * 3, OURS),
}
RELEASED: Settings = LARGE | {
    "temperature": (3, SCRIPTS),
    "weight": (0.6, SCRIPTS),
    "mix": ("alpha", TRAINER),
    "resize": ("bilinear", CIFAR_LOADER),
    "weak": ("weak", CIFAR_LOADER),
    "strong": ("strong-released", CIFAR_LOADER),
    "head": ("fresh", MAIN),
    "keeps": ("best", TRAINER),
    "teaching": ("train", TRAINER),
    "precisions": (("bfloat16", "float32", "bfloat16"), TRAINER),
}
OF_IMAGENET: Settings = {
    "side": (224, IMAGENET_LOADER),
    "head": ("pretrained", MAIN),
    "weak": ("imagenet-weak", IMAGENET_LOADER),
    "base": ("imagenet-base", "data_loader/DataLoaderImageNet_affinity.py"),
}
IMAGENET_RELEASED: Settings = {
    "resize": ("centre-crop", IMAGENET_LOADER),
    "strong": ("imagenet-strong-released", IMAGENET_LOADER),
}
GPU: Settings = EVERYWHERE | {
    "networks": (("resnet50-cifar", "resnet18-cifar"), OURS),
    "side": (None, OURS),
    "temperature": (3, SCRIPTS),
    "weight": (0.6, SCRIPTS),
    "mix": ("alpha", TRAINER),
    "resize": ("bicubic", OURS),
    "weak": ("weak", CIFAR_LOADER),
    "strong": ("strong", OURS),
    "keeps": ("last", OURS),
    "teaching": ("eval", OURS),
    "precisions": (("bfloat16",) * 3, OURS),
    "teacher epochs": (dict.fromkeys(ALL, 60), APP_A),
    "teacher rates": (Rates(1, (25, 40)), f"{APP_A}, {MAIN}"),
}
STEPS_OF_TEXT, STEPS_OF_SCRIPTS = f"{APP_A}; warm-up and factor {MAIN}", f"{SCRIPTS}, {MAIN}; early by {TRAINER}"

SETTINGS: dict[tuple[str, str], Settings] = {
    ("paper-cifar100", "text"): TEXT
    | {
        "teacher epochs": (dict.fromkeys(SIX, 60), APP_A),
        "teacher rates": (Rates(1, (25, 40, 60)), STEPS_OF_TEXT),
        "student epochs": (200, APP_A),
        "student rates": (Rates(1, (190, 195)), STEPS_OF_TEXT),
    },
    ("paper-cifar100", "released"): RELEASED
    | {
        "teacher epochs": (NAMED, NAMES),
        "teacher rates": (Rates(2, (24, 39, 59)), STEPS_OF_SCRIPTS),
        "student epochs": (200, SCRIPTS),
        "student rates": (Rates(2, (189, 194)), STEPS_OF_SCRIPTS),
    },
    ("paper-cifar100-imb100", "text"): TEXT
    | {
        "teacher epochs": (dict.fromkeys(SIX, 60), APP_A),
        "teacher rates": (Rates(1, (25, 40, 60)), STEPS_OF_TEXT),
        "student epochs": (175, APP_A),
        "student rates": (Rates(1, (160, 165, 170)), STEPS_OF_TEXT),
    },
    ("paper-cifar100-imb100", "released"): RELEASED
    | {
        "teacher epochs": (NAMED, NAMES),
        "teacher rates": (Rates(2, (24, 39, 59)), STEPS_OF_SCRIPTS),
        "teachers of": (BALANCED, NAMES),
        "student epochs": (175, SCRIPTS),
        "student rates": (Rates(2, (159, 164, 169)), STEPS_OF_SCRIPTS),
        "alone epochs": ({"Sw": 90, "Ss": 75}, NAMES),
    },
    ("paper-cifar100-imb100", "released-script"): RELEASED
    | {
        "teacher epochs": (dict.fromkeys(SIX, 61), "script/script_cifar100_imb-T.sh"),
        "teacher rates": (Rates(2, (54, 64)), "script/script_cifar100_imb-T.sh"),
        "student epochs": (175, SCRIPTS),
        "student rates": (Rates(2, (159, 164, 169)), STEPS_OF_SCRIPTS),
        "alone epochs": ({"Sw": 90, "Ss": 75}, NAMES),
    },
    ("paper-imagenet", "text"): TEXT
    | OF_IMAGENET
    | {
        "strong": ("imagenet-autoaugment", SEC_5),
        "teacher epochs": (dict.fromkeys(ALL, 60), APP_A),
        "teacher rates": (Rates(cosine=30), APP_A),
        "student epochs": (60, APP_A),
        "student rates": (Rates(cosine=60), APP_A),
    },
    ("paper-imagenet", "released"): RELEASED
    | OF_IMAGENET
    | IMAGENET_RELEASED
    | {
        "teacher epochs": (dict.fromkeys(ALL, 30), NAMES),
        "teacher rates": (Rates(cosine=30, early=1), f"T_max of {APP_A} and script_ImageNet-T.sh (weak)"),
        "student epochs": (60, "script_ImageNet.sh"),
        "student rates": (Rates(cosine=60, early=1), "script_ImageNet.sh; no warm-up in main.py with a cosine"),
    },
    ("paper-imagenet-lt", "text"): TEXT
    | OF_IMAGENET
    | {
        "strong": ("imagenet-strong", SEC_5),
        "teacher epochs": (dict.fromkeys(ALL, 30), APP_A),
        "teacher rates": (Rates(1, (35, 50)), STEPS_OF_TEXT),
        "student epochs": (165, APP_A),
        "student rates": (Rates(1, (150, 155, 160)), STEPS_OF_TEXT),
    },
    ("paper-imagenet-lt", "released"): RELEASED
    | OF_IMAGENET
    | IMAGENET_RELEASED
    | {
        "teacher epochs": (dict.fromkeys(ALL, 60), NAMES),
        "teacher rates": (Rates(2, (34, 49)), "script_ImageNet_LT-T.sh"),
        "student epochs": (165, SCRIPTS),
        "student rates": (Rates(2, (149, 154, 159)), STEPS_OF_SCRIPTS),
    },
    ("gpu", "balanced"): GPU | {"student epochs": (200, APP_A), "student rates": (Rates(1, (190, 195)), STEPS_OF_TEXT)},
    ("gpu", "long-tail"): GPU
    | {"student epochs": (175, APP_A), "student rates": (Rates(1, (160, 165, 170)), STEPS_OF_TEXT)},
}

HASH, BALANCED_HASH = "0" * 16, "b" * 16
OF_THE_PAPER = [key for key in SETTINGS if key[0] != "gpu"]
EVERY = pytest.mark.parametrize(("name", "reading"), SETTINGS, ids="/".join)
EVERY_OF_THE_PAPER = pytest.mark.parametrize(("name", "reading"), OF_THE_PAPER, ids="/".join)


def load(name, reading):
    return profiles.load(name, [f"recipe={reading}"])


def specs(name, reading):
    study = grid.build(load(name, reading), HASH, origin_hashes={"own": "c" * 16}, teacher_hash=BALANCED_HASH)
    return {run.name: run.spec for run in study.runs}


def said(name, reading):
    return {setting: value for setting, (value, _) in SETTINGS[name, reading].items()}


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
        if name.startswith("paper-") or name == "gpu"
        for reading in (profiles.load(name).recipe, *profiles.load(name).readings)
    }
    assert shipped == set(SETTINGS)


@EVERY
def test_training_is_the_papers(name, reading):
    says = said(name, reading)
    for each, spec in specs(name, reading).items():
        train = spec.train
        assert (train.batch_size, train.learning_rate, train.momentum) == (
            says["batch"],
            says["peak"],
            says["momentum"],
        )
        assert (train.nesterov, train.weight_decay) == (says["nesterov"], says["weight decay"])
        assert train.keep == says["keeps"], each
        assert (spec.side, spec.resize, spec.observe.base) == (says["side"], says["resize"], says["base"])


@EVERY
def test_teachers_are_the_papers(name, reading):
    says = said(name, reading)
    teachers = {each: spec for each, spec in specs(name, reading).items() if spec.role == "teacher"}
    assert {each: spec.train.epochs for each, spec in teachers.items()} == says["teacher epochs"]
    for each, spec in teachers.items():
        assert rates(spec) == pytest.approx(says["teacher rates"].of(spec.train.epochs), rel=1e-12, abs=1e-12), each
        assert (spec.model.name, spec.train.precision) == (says["networks"][0], says["precisions"][0])
        assert spec.augmentation == says["weak" if each.endswith("w") else "strong"]
        if name != "gpu":
            assert (spec.origin.kind, spec.origin.head) == ("imagenet", says["head"])
        balanced = says["teachers of"] == BALANCED
        assert spec.dataset.hash == (BALANCED_HASH if balanced else HASH)
        assert (spec.observed and spec.observed.hash) == (HASH if balanced else None)


@EVERY
def test_students_are_the_papers(name, reading):
    says = said(name, reading)
    students = {each: spec for each, spec in specs(name, reading).items() if spec.role == "student"}
    alone = says.get("alone epochs", {})
    for each, spec in students.items():
        assert spec.train.epochs == alone.get(each, says["student epochs"]), each
        assert rates(spec) == pytest.approx(says["student rates"].of(spec.train.epochs), rel=1e-12, abs=1e-12), each
        assert spec.train.precision == says["precisions"][1 if spec.teachers else 2], each
        assert (spec.model.name, spec.origin.kind, spec.dataset.hash) == (says["networks"][1], "fresh", HASH)
        assert spec.augmentation in (says["weak"], says["strong"])
        if spec.objective is not None:
            objective = spec.objective
            assert (objective.temperature, objective.alpha) == (says["temperature"], says["weight"])
            assert (objective.mix, objective.batch_norm) == (says["mix"], says["teaching"])


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_released_cosine_begins_without_warm_up_one_epoch_on(role):
    """Epoch 0 of 60: .0999, of 30: .0997."""
    first = {spec.role: learning_rate(spec.train, 0, 7) for spec in specs("paper-imagenet", "released").values()}
    assert first[role] == pytest.approx({"teacher": 0.0997, "student": 0.0999}[role], abs=5e-5)


def test_the_texts_teachers_of_imagenet_go_down_and_up_again():
    """T_max 30 in 60 epochs (app. A)."""
    found = rates(specs("paper-imagenet", "text")["T1w"])
    assert (found[0], found[30]) == (0.1, 0.0)
    assert found[31:] == pytest.approx(found[1:30][::-1])


@EVERY_OF_THE_PAPER
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


@EVERY_OF_THE_PAPER
def test_two_readings_share_no_run(name, reading):
    text = profiles.load(name).recipe
    if reading != text:
        ids = [{spec.id for each, spec in specs(name, which).items()} for which in (text, reading)]
        assert not ids[0] & ids[1]


@EVERY_OF_THE_PAPER
def test_the_reading_is_part_of_the_profile(name, reading):
    assert load(name, reading).recipe == reading


@pytest.mark.parametrize("name", sorted({name for name, _ in OF_THE_PAPER}))
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
    for name in sorted({name for name, _ in OF_THE_PAPER}):
        text = (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
        body = text[text.index("\nname:") :].split("\n")
        for setting in ("epochs:", "batch_size:", "learning_rate:", "momentum:", "weight_decay:", "schedule:", "side:"):
            lines = [line for line in body if line.strip().startswith(setting)]
            assert lines
            assert all("# [" in line or "early: true" in line for line in lines), (name, setting)


@pytest.mark.parametrize("name", sorted({name for name, _ in OF_THE_PAPER}))
def test_the_texts_steps_are_told_from_the_codes_warm_up_and_factor(name):
    text = (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8").split("\nreadings:")[0]
    for line in text.split("\n"):
        if "kind: step" in line:
            assert line.endswith("# [app. A] steps; [code] rest")


def test_no_header_says_that_the_epochs_of_checkpoints_are_known_for_cifar_alone():
    for name in {name for name, _ in OF_THE_PAPER}:
        text = (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
        assert "known for CIFAR alone" not in text


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


def test_students_without_teachers_may_have_epochs_of_their_own(mine):
    runs = grid.build(profiles.load(mine(epochs_of={"Sw": 7})), HASH).runs
    assert {run.name for run in runs if run.spec.train.epochs == 7} == {"Sw"}


@pytest.mark.parametrize(
    ("changes", "override", "message"),
    [
        ({}, "recipe=text", r"mine\.yaml has no reading 'text' of its recipe; choose from one, other"),
        ({"readings": {}, "recipe": ""}, "recipe=text", r"it has one alone: leave recipe out"),
        ({"recipe": ""}, "seeds=[1]", r"names the one that its own values are, as recipe: text"),
        ({"readings": {"other": 3}}, "recipe=other", r"the reading 'other' does not hold a mapping"),
        ({"readings": {"other": {"seeds.x": 3}}}, "recipe=other", r"seeds\.x of the reading 'other': seeds is a value"),
        ({"readings": {"other": {"student.epochs": 3}}}, "recipe=other", r"student\.epochs: Extra inputs"),
        ({"epochs_of": {"T3w": 3}}, "seeds=[1]", r"'T3w' is not among it; choose from Ss, Sw, T1s, T1w, T2s, T2w"),
        ({"augmentations": {"weak": "feeble"}}, "seeds=[1]", r"no augmentation 'feeble'"),
    ],
)
def test_a_reading_that_cannot_be_is_named(mine, changes, override, message):
    with pytest.raises(ProfileError, match=message):
        profiles.load(mine(**changes), [override])
