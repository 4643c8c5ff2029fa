"""Profiles: the package's own, a user's file, single settings, and mistakes that are named."""

import json
from importlib import resources
from pathlib import Path

import pytest

from kdnb.errors import ProfileError
from kdnb.evidence import results
from kdnb.study import grid
from kdnb.study import profile as profiles
from kdnb.study.cell import Cell, Teacher

MINE = """name: mine
dataset: {name: digits}
seeds: [3]
teacher: &network
  model: {name: resnet8-w8}
  train: {epochs: 1, schedule: {kind: one-cycle}}
student: *network
"""


def test_the_profiles_of_the_package_are_those_of_the_design():
    assert profiles.names() == [
        "cpu", "cpu-25000", "cpu-bfloat16", "cpu-draws", "cpu-fit", "cpu-imagenet", "cpu-lt", "cpu-peers", "cpu-primed",
        "cpu-rerun", "cpu-scratch", "cpu-short", "cpu-short-adamw", "cpu-text", "cpu-vit", "gpu", "paper-cifar100",
        "paper-cifar100-imb100", "paper-imagenet", "paper-imagenet-lt", "smoke",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in profiles.names() if not name.startswith("cpu-short")])
def test_every_profile_of_the_package_is_valid_and_has_the_papers_trials(name):
    profile = profiles.load(name, ["recipe=students"] if name == "cpu-imagenet" else [])
    assert profile.name == name
    cells = set(profile.cells)
    origin = profile.origin
    pairs = [("weak", "weak"), ("strong", "strong")] + [("strong", "weak")] * (name not in ("cpu-scratch", "cpu-fit"))
    for pair in pairs:
        teachers = tuple(Teacher(place, each, origin) for place, each in enumerate(pair, start=1))
        assert {Cell(teachers, student, "kd") for student in ("weak", "strong")} <= cells
    assert {Cell((), student, "none") for student in ("weak", "strong")} <= cells


def test_teachers_of_a_short_training_are_those_of_cpu_but_for_their_epochs():
    short, whole = (
        grid.build(settings, "0" * 16, settings.seeds, dict.fromkeys(settings.origins, "1" * 16))
        for settings in map(profiles.load, ("cpu-short", "cpu"))
    )
    assert [run.spec for run in short.origins] == [run.spec for run in whole.origins if run.name == "origin-A"]
    assert {run.spec.role for run in short.runs} == {"teacher"}
    teachers = {(run.spec.seed, run.name): run.spec for run in whole.runs if run.spec.role == "teacher"}
    for run in short.runs:
        as_long = run.spec.model_copy(update={"train": run.spec.train.model_copy(update={"epochs": 40})})
        assert as_long == teachers[run.spec.seed, run.name]
    assert len(short.runs) == 4 * len(whole.profile.seeds)


def test_teachers_of_a_short_training_by_adamw_have_the_start_of_one_profile_and_the_training_of_another():
    start, training, both = map(profiles.load, ("cpu-short", "cpu-imagenet", "cpu-short-adamw"))
    own = {"name", "about", "teacher"}
    assert both.model_dump(exclude=own) == start.model_dump(exclude=own)
    assert both.teacher == start.teacher.model_copy(update={"train": training.teacher.train})


def test_a_rerun_and_one_in_bfloat16_have_the_runs_of_cpu():
    """The former's are those of `cpu` themselves, the latter's but for their precision."""
    whole, again, short = (
        grid.build(settings, "0" * 16, (2, 3), dict.fromkeys(settings.origins, "1" * 16))
        for settings in map(profiles.load, ("cpu", "cpu-rerun", "cpu-bfloat16"))
    )
    there = {(run.spec.seed, run.name): run.spec for run in whole.runs}
    assert all(run.spec == there[run.spec.seed, run.name] for run in again.runs)
    assert [run.name for run in short.runs] == [run.name for run in again.runs]
    for run in short.runs:
        train = run.spec.train.model_copy(update={"precision": "float32"})
        same = run.spec.model_copy(update={"train": train})
        assert same.model_dump(exclude={"teachers"}) == there[run.spec.seed, run.name].model_dump(exclude={"teachers"})
    assert len(again.runs) == 2 * (4 + 2 + 8 + 1)  # teachers, students alone, the eight trials, the reference


PUBLISHED = Path(__file__).parents[2] / "book" / "results"


@pytest.mark.parametrize(
    "name",
    [each for each in profiles.names() if (PUBLISHED / each / "study.json").is_file() and each != results.STAND_IN],
)
def test_the_profile_of_a_published_study_still_has_its_settings(name):
    found, profile = results.read(PUBLISHED / name), profiles.load(name)
    assert profile.name == found.profile.name
    assert found.settings == results.settings(profile, found.about["dataset"]["hash"], {})


@pytest.mark.parametrize(
    "name", ["cpu", "cpu-bfloat16", "cpu-imagenet", "cpu-rerun", "cpu-short", "cpu-short-adamw", "cpu-vit"]
)
def test_the_profile_of_a_published_study_still_gives_its_runs(name):
    """Of those whose origins come with the package, with a spec that says which images they saw."""
    found, specs = results.read(PUBLISHED / name), resources.files("kdnb") / "data" / "origins"
    origins = {
        origin: json.loads((specs / about["id"] / "spec.json").read_text(encoding="utf-8"))["dataset"]["hash"]
        for origin, about in found.about["origins"].items()
    }
    study = grid.build(profiles.load(name), found.about["dataset"]["hash"], found.seeds, origins)
    for seed, about in found.about["seeds"].items():
        ids = {run.name: run.spec.id for run in study.of_seed(seed)}
        assert ids == {run: told["id"] for run, told in about["runs"].items()}


def test_a_file_that_extends_another_changes_adds_and_leaves_out(tmp_path):
    (tmp_path / "mine.yaml").write_text(MINE + "objectives: {kd: {alpha: 0.4}, hard: {alpha: 0.9}}\nreference: false\n")
    (tmp_path / "other.yaml").write_text(
        "extends: mine.yaml\nobjectives: {kd: {temperature: 2}, hard: null, soft: {alpha: 0}}\nreference: null\n"
    )
    base, other = (profiles.load(str(tmp_path / f"{name}.yaml")) for name in ("mine", "other"))
    assert other.objectives.keys() == {"kd", "soft"}
    assert (other.objectives["kd"].alpha, other.objectives["kd"].temperature) == (0.4, 2)
    assert (base.reference, other.reference) == (False, True)
    assert other.teacher == base.teacher


def test_a_users_own_file_works_where_a_name_does_and_has_the_eight_trials(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    profile = profiles.load(str(path))
    assert profile.seeds == (3,)
    assert len(profile.cells) == 10


def test_overrides_change_single_settings_and_nothing_that_shares_their_text():
    changes = ["objectives.kd.alpha=0.25", "seeds=[4, 5]", "student.train.epochs=3"]
    profile, shipped = profiles.load("smoke", changes), profiles.load("smoke")
    assert (profile.objectives["kd"].alpha, profile.seeds, profile.student.train.epochs) == (0.25, (4, 5), 3)
    assert profile.teacher == shipped.teacher
    assert profile.origins == shipped.origins  # which YAML's alias gives the same recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("teacher.train.epoch=2", r"teacher\.train\.epoch: Extra inputs.*choose from epochs, batch_size"),
        (
            "student.train.schedule={kind: one-cycle, warmup_epochs: 5}",
            r"one-cycle\.warmup_epochs: .*choose from kind, rise",
        ),
        ("student.train.epochs=0", r"student\.train\.epochs: .*greater than or equal to 1, got 0"),
        ("student.train.epochs=many", r"student\.train\.epochs: .*valid integer.*got 'many'"),
        ("teacher.model.name=resnet9000", r"no model 'resnet9000'; choose from resnet8-w8, .*, vit-tiny"),
        ("grid=[{teachers: [[feeble]]}]", r"no augmentation 'feeble'"),
        ("grid=[{teachers: [[{augmentation: weak, origin: Z}]]}]", r"no origin 'Z'; choose from fresh, A, B"),
        ("grid=[{teachers: [[weak]], objectives: [kdd]}]", r"no objective 'kdd'; choose from kd, zscore"),
        ("grid=[{teachers: [[weak]], objectives: [half-LR]}]", r"names 2 sides and a row has 1 teachers"),
        ("grid=[]", r"the grid has no network"),
        ("seeds=[1, 1]", r"seeds: .*1 stands there twice"),
        ("objectives.kd.batch_norm=frozen", r"batch_norm: .*'eval' or 'train', got 'frozen'"),
        ("objectives.kd.sides=[left, right]", r"kind half names a side for each teacher"),
        ("epochs", r"'epochs' is not of the form path=value"),
        ("name.x=1", r"name is a value"),
        ("seeds=[1", r"not YAML"),
        ("student.train.epochs=1:30", r"student\.train\.epochs: .*got '1:30'"),  # YAML 1.1: 90
        ("student.train.epochs=yes", r"student\.train\.epochs: .*got 'yes'"),  # YAML 1.1: true, and so 1
        ("student.train.epochs=true", r"epochs is a number, not True"),
        ("seeds=[true, false]", r"^smoke: the whole: seeds holds numbers, not True$"),
        ("epochs_of={T1w: true}", r"epochs_of holds numbers, not True"),
        ("recipe=[true]", r"recipe: .*valid string, got \[True\]"),
        ("seeds=[a: b]", r"seeds\.0: .*valid integer, got \{'a': 'b'\}"),
        ("dataset={name: imagefolder:/a: b}", r"not YAML .*; put text that holds ': ' into quotation marks"),
        ("student.train={epochs: 2, epochs: 3}", r"'epochs' stands there twice"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_its_value(override, message):
    with pytest.raises(ProfileError, match=message):
        profiles.load("smoke", [override])


@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("student.train.epochs=010", lambda profile: profile.student.train.epochs, 10),  # YAML 1.1: 8
        ("student.train.learning_rate=5e-2", lambda profile: profile.student.train.learning_rate, 0.05),
        ("student.train.nesterov=no", lambda profile: profile.student.train.nesterov, False),
        ("dataset.name=imagefolder:/data/set #1", lambda profile: profile.dataset.name, "imagefolder:/data/set #1"),
        ("about=2024-05-01", lambda profile: profile.about, "2024-05-01"),
    ],
)
def test_what_is_typed_is_what_is_used(override, where, value):
    found = where(profiles.load("smoke", [override]))
    assert (type(found), found) == (type(value), value)


def test_a_key_that_a_file_gives_twice_is_an_error_and_a_merge_is_not(tmp_path):
    text = (tmp_path / "mine.yaml").write_text
    text(MINE + "name: again\n")
    with pytest.raises(ProfileError, match=r"mine\.yaml is not YAML that can be used: 'name' stands there twice"):
        profiles.load(str(tmp_path / "mine.yaml"))
    text(MINE.replace("student: *network", "student: {<<: *network, model: {name: resnet8-w4}}"))
    assert profiles.load(str(tmp_path / "mine.yaml")).student.model.name == "resnet8-w4"


def test_an_unknown_profile_is_an_error_that_lists_the_names():
    with pytest.raises(ProfileError, match=r"no profile 'gpux'; choose from cpu, cpu-25000, .*, smoke, or give"):
        profiles.load("gpux")
