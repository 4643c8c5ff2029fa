"""Profiles: the package's own, a user's file, single settings, and mistakes that are named."""

import pytest

from kdnb.errors import ProfileError
from kdnb.study import profile as profiles
from kdnb.study.cell import Cell, Teacher


def test_the_profiles_of_the_package_are_those_of_the_design():
    assert profiles.names() == ["cpu", "cpu-lt", "cpu-scratch", "cpu-text", "smoke"]


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_of_the_package_is_valid_and_has_the_papers_trials(name):
    profile = profiles.load(name)
    assert profile.name == name
    cells = set(profile.cells)
    origin = profile.origin
    pairs = [("weak", "weak"), ("strong", "strong")] + [("strong", "weak")] * (name != "cpu-scratch")
    for pair in pairs:
        teachers = tuple(Teacher(place, each, origin) for place, each in enumerate(pair, start=1))
        assert {Cell(teachers, student, "kd") for student in ("weak", "strong")} <= cells
    assert {Cell((), student, "none") for student in ("weak", "strong")} <= cells


def test_a_users_own_file_works_where_a_name_does_and_has_the_eight_trials(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndataset: {name: digits}\nseeds: [3]\n"
        "teacher: &network\n  model: {name: resnet8-w8}\n  train: {epochs: 1, schedule: {kind: one-cycle}}\n"
        "student: *network\n"
    )
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
        ("grid=[{teachers: [[feeble]]}]", r"no augmentation 'feeble'"),
        ("grid=[{teachers: [[{augmentation: weak, origin: Z}]]}]", r"no origin 'Z'; choose from fresh, A, B"),
        ("grid=[{teachers: [[weak]], objectives: [kdd]}]", r"no objective 'kdd'; choose from kd, zscore"),
        ("grid=[{teachers: [[weak]], objectives: [half-LR]}]", r"names 2 sides and a row has 1 teachers"),
        ("grid=[]", r"the grid has no student"),
        ("seeds=[1, 1]", r"seeds: .*1 stands there twice"),
        ("objectives.kd.batch_norm=frozen", r"batch_norm: .*'eval' or 'train', got 'frozen'"),
        ("objectives.kd.sides=[left, right]", r"kind half names a side for each teacher"),
        ("epochs", r"'epochs' is not of the form path=value"),
        ("name.x=1", r"name is a value"),
        ("seeds=[1", r"not YAML"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_its_value(override, message):
    with pytest.raises(ProfileError, match=message):
        profiles.load("smoke", [override])


def test_an_unknown_profile_is_an_error_that_lists_the_names():
    with pytest.raises(ProfileError, match="no profile 'gpux'; choose from cpu, cpu-lt, cpu-scratch, cpu-text, smoke"):
        profiles.load("gpux")
