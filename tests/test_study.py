"""Profiles, grids and ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdnb.evidence import results
from kdnb.study import grid as study
from kdnb.errors import ProfileError
from kdnb.training.spec import DatasetId, RunSpec
from tests.conftest import small_profile

HASH = "0123456789abcdef"


def names(profile):
    return [run.name for run in study.build(profile, HASH, seeds=[0]).runs]


def test_the_full_grid_is_six_teachers_and_thirty_students_a_seed():
    runs = study.build(small_profile(ensembles=study.ALL_ENSEMBLES), HASH).runs
    roles = [run.spec.role for run in runs]
    assert (roles.count("teacher"), roles.count("reference"), roles.count("student")) == (6, 1, 30)
    assert len({run.spec.id for run in runs}) == len({run.name for run in runs}) == 37


def test_runs_are_named_as_in_the_paper():
    profile = small_profile(ensembles=("", "s", "ws"), reference=False)
    assert names(profile) == [
        "T1s", "T1w", "T2s", "Sw", "T1s_Sw", "T1w_T2s_Sw", "Ss", "T1s_Ss", "T1w_T2s_Ss",
    ]  # fmt: skip


def test_a_student_names_its_teachers_in_order_and_its_own_augmentation():
    runs = {run.name: run.spec for run in study.build(small_profile(ensembles=("ws",)), HASH).runs}
    spec = runs["T1w_T2s_Ss"]
    assert spec.teachers == (runs["T1w"].id, runs["T2s"].id)
    assert (spec.augmentation, runs["T1w"].augmentation, runs["T2s"].augmentation) == ("strong", "weak", "strong")
    assert (runs["T1w"].member, runs["T2s"].member, spec.member) == (1, 2, 0)


def test_students_of_one_augmentation_form_one_group_and_every_teacher_its_own():
    grid = study.build(small_profile(ensembles=study.ALL_ENSEMBLES), HASH)
    assert sorted(len(group) for group in grid.groups()) == [1] * 7 + [15] * 2


def test_an_id_is_the_same_on_every_machine():
    """Literal on purpose: whoever changes what an id is made of orphans every store, and should mean to."""
    runs = {run.name: run.spec for run in study.build(small_profile(), HASH).runs}
    assert (runs["T1w"].id, runs["T1s_T2s_Ss"].id) == ("1d392478c619ba7d", "60bb4ad6315eda0f")


def test_where_ones_own_images_lie_is_no_part_of_a_study():
    here, there = (
        small_profile(dataset={"name": f"imagefolder:{path}", "size": 32, "train_list": f"{path}.txt"})
        for path in ("/home/me/pets", "pets")
    )
    ids = [[run.spec.id for run in study.build(profile, HASH).runs] for profile in (here, there)]
    assert ids[0] == ids[1]
    assert results.settings(here, HASH) == results.settings(there, HASH)
    assert results.settings(here, HASH) != results.settings(here, "f" * 16)


@given(st.sampled_from(["seed", "member", "augmentation", "epochs", "hash", "temperature"]))
def test_every_part_of_a_recipe_changes_the_id(part):
    spec = next(run.spec for run in study.build(small_profile(), HASH).runs if run.name == "T1w_T2w_Sw")
    changed = {
        "seed": {"seed": 1},
        "member": {"member": 1},
        "augmentation": {"augmentation": "dial:0.5"},
        "epochs": {"train": spec.train.model_copy(update={"epochs": 3})},
        "hash": {"dataset": DatasetId(name="digits", hash="f" * 16)},
        "temperature": {"distill": spec.distill.model_copy(update={"temperature": 4.0})},
    }[part]
    assert spec.model_copy(update=changed).id != spec.id


def test_a_spec_survives_json():
    for run in study.build(small_profile(), HASH).runs:
        again = RunSpec.model_validate_json(run.spec.model_dump_json())
        assert again == run.spec
        assert again.id == run.spec.id


def test_a_spec_is_frozen_and_forbids_unknown_keys():
    spec = study.build(small_profile(), HASH).runs[0].spec
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1
    with pytest.raises(ValidationError, match="Extra inputs"):
        RunSpec.model_validate(spec.model_dump() | {"colour": "red"})


def test_a_student_with_teachers_needs_the_settings_of_its_distillation():
    spec = next(run.spec for run in study.build(small_profile(), HASH).runs if run.name == "T1w_T2w_Sw")
    with pytest.raises(ValidationError, match="needs the settings of its distillation"):
        RunSpec.model_validate(spec.model_dump() | {"distill": None})
    with pytest.raises(ValidationError, match="a teacher has no teachers"):
        RunSpec.model_validate(spec.model_dump() | {"role": "teacher"})


@pytest.mark.parametrize("name", study.profile_names())
def test_every_profile_of_the_package_is_valid_and_has_the_cells_that_the_claims_need(name):
    profile = study.load_profile(name)
    assert profile.name == name
    assert {"T1w_T2w_Sw", "T1s_T2s_Ss", "Sw", "Ss", "reference"} <= set(names(profile))


def test_the_profiles_of_the_package_are_those_of_the_design():
    assert study.profile_names() == ["cpu", "cpu-lt", "smoke"]


def test_a_users_own_file_works_where_a_name_does(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndataset: {name: digits}\nseeds: [3]\n"
        "teacher: &network\n  model: {name: resnet8-w8}\n  train: {epochs: 1, schedule: {kind: one-cycle}}\n"
        "student: *network\n"
    )
    profile = study.load_profile(str(path))
    assert profile.seeds == (3,)
    assert len(profile.ensembles) == 15


def test_overrides_change_single_settings():
    profile = study.load_profile("smoke", ["distill.alpha=0.25", "seeds=[4, 5]", "student.train.epochs=3"])
    assert (profile.distill.alpha, profile.seeds, profile.student.train.epochs) == (0.25, (4, 5), 3)
    assert profile.teacher == study.load_profile("smoke").teacher


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("teacher.train.epoch=2", r"teacher\.train\.epoch: Extra inputs.*there are epochs, batch_size"),
        (
            "student.train.schedule={kind: one-cycle, warmup_epochs: 5}",
            r"one-cycle\.warmup_epochs: .*there are kind, rise",
        ),
        ("student.train.epochs=0", r"student\.train\.epochs: .*greater than or equal to 1, got 0"),
        ("student.train.epochs=many", r"student\.train\.epochs: .*valid integer.*got 'many'"),
        ("ensembles=[xy]", r"one letter a teacher.*'xy'"),
        ("seeds=[1, 1]", r"seeds: .*1 stands there twice"),
        ("distill.batch_norm=frozen", r"distill\.batch_norm: .*'eval' or 'train', got 'frozen'"),
        ("epochs", r"'epochs' is not of the form path=value"),
        ("name.x=1", r"name is a value"),
        ("seeds=[1", r"not YAML"),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_its_value(override, message):
    with pytest.raises(ProfileError, match=message):
        study.load_profile("smoke", [override])


@pytest.mark.parametrize(
    ("content", "message"),
    [("name: [", "is not YAML"), ("- 1", "mapping of settings"), ("!!python/object:os.system {}", "is not YAML")],
)
def test_a_file_that_is_no_profile_is_an_error(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ProfileError, match=message):
        study.load_profile(str(path))


def test_an_unknown_profile_is_an_error_that_lists_the_names():
    with pytest.raises(ProfileError, match="no profile 'gpux'; there are cpu, cpu-lt, smoke"):
        study.load_profile("gpux")


def test_an_unknown_augmentation_in_a_spec_is_named():
    spec = study.build(small_profile(), HASH).runs[0].spec
    for name in ("middling", "dial:1.5", "dial:", "dial:-0.1"):
        with pytest.raises(ValidationError, match="no augmentation"):
            RunSpec.model_validate(spec.model_dump() | {"augmentation": name})
    for name in ("clean", "dial:0", "dial:0.25", "dial:1", "dial:1.0"):
        assert RunSpec.model_validate(spec.model_dump() | {"augmentation": name}).augmentation == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0;1", "not a list of seeds; write 0,1,2 or 0-4"),
        ("4-0", "not a list of seeds"),
        ("4294967296", "the seed 4294967296 is too large; seeds go from 0 to 4294967295"),
        ("0-4000000000", "are 4000000001 seeds; name at most 1000"),
    ],
)
def test_seeds_that_cannot_be_are_named(text, message):
    with pytest.raises(ProfileError, match=message):
        study.parse_seeds(text)
    assert study.parse_seeds("0, 2-4,2") == (0, 2, 3, 4)


def test_a_profile_that_is_no_text_says_so(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes("about: größer".encode("latin-1"))
    with pytest.raises(ProfileError, match=r"mine\.yaml is not a readable text file in UTF-8"):
        study.load_profile(str(path))
