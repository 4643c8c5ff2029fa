"""Profiles, grids and ids."""

import pytest

from kdnb.errors import DataError, ProfileError
from kdnb.evidence import results
from kdnb.study import grid
from kdnb.study import profile as profiles
from kdnb.training import objectives
from tests.conftest import small_profile

HASH = "0123456789abcdef"
ALL = ("", "w", "s", "ww", "ws", "sw", "ss", "www", "wws", "wsw", "wss", "sww", "sws", "ssw", "sss")


def names(profile):
    return [run.name for run in grid.build(profile, HASH, seeds=[0]).runs]


def test_the_full_grid_is_six_teachers_and_thirty_students_a_seed():
    runs = grid.build(small_profile(ensembles=ALL), HASH).runs
    roles = [run.spec.role for run in runs]
    assert (roles.count("teacher"), roles.count("reference"), roles.count("student")) == (6, 1, 30)
    assert len({run.spec.id for run in runs}) == len({run.name for run in runs}) == 37


def test_runs_are_named_as_in_the_paper():
    profile = small_profile(ensembles=("", "s", "ws"), reference=False)
    assert names(profile) == [
        "T1s", "T1w", "T2s", "Sw", "T1s_Sw", "T1w_T2s_Sw", "Ss", "T1s_Ss", "T1w_T2s_Ss",
    ]  # fmt: skip


def test_a_student_names_its_teachers_in_order_and_its_own_augmentation():
    runs = {run.name: run.spec for run in grid.build(small_profile(ensembles=("ws",)), HASH).runs}
    spec = runs["T1w_T2s_Ss"]
    assert spec.teachers == (runs["T1w"].id, runs["T2s"].id)
    assert (spec.augmentation, runs["T1w"].augmentation, runs["T2s"].augmentation) == ("strong", "weak", "strong")
    assert (runs["T1w"].member, runs["T2s"].member, spec.member) == (1, 2, 0)


def test_students_of_one_augmentation_form_one_group_and_every_teacher_its_own():
    study = grid.build(small_profile(ensembles=ALL), HASH)
    assert sorted(len(group) for group in study.groups()) == [1] * 7 + [15] * 2


def test_where_ones_own_images_lie_is_no_part_of_a_study():
    here, there = (
        small_profile(dataset={"name": f"imagefolder:{path}", "size": 32, "train_list": f"{path}.txt"})
        for path in ("/home/me/pets", "pets")
    )
    ids = [[run.spec.id for run in grid.build(profile, HASH).runs] for profile in (here, there)]
    assert ids[0] == ids[1]
    assert results.settings(here, HASH, {}) == results.settings(there, HASH, {})
    assert results.settings(here, HASH, {}) != results.settings(here, "f" * 16, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [("name: [", "is not YAML"), ("- 1", "mapping of settings"), ("!!python/object:os.system {}", "is not YAML")],
)
def test_a_file_that_is_no_profile_is_an_error(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ProfileError, match=message):
        profiles.load(str(path))


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
        profiles.parse_seeds(text)
    assert profiles.parse_seeds("0, 2-4,2") == (0, 2, 3, 4)


def test_a_profile_that_is_no_text_says_so(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes("about: größer".encode("latin-1"))
    with pytest.raises(ProfileError, match=r"mine\.yaml is not a readable text file in UTF-8"):
        profiles.load(str(path))


HASHES = {"A": "a" * 16, "B": "b" * 16}


def smoke():
    return grid.build(profiles.load("smoke"), HASH, [0], HASHES)


def test_smoke_holds_every_kind_of_cell_once():
    study = smoke()
    roles = [run.spec.role for run in study.every_run]
    assert [roles.count(role) for role in ("origin", "teacher", "reference", "student")] == [2, 6, 1, 42]
    kinds = {run.spec.objective.kind for run in study.runs if run.spec.objective}
    assert kinds == set(objectives.KINDS)
    assert sorted(len(group) for group in study.groups(study.runs)) == [1, 1, 1, 2, 2, 18, 24]


def test_cpu_is_thirty_four_students_six_teachers_and_the_reference_in_two_lockstep_groups():
    study = grid.build(profiles.load("cpu"), HASH, [2], HASHES)
    students = [group for group in study.groups(study.runs) if group[0].spec.role == "student"]
    assert sorted(len(group) for group in students) == [14, 20]
    assert len(study.runs) == 41


def test_names_add_other_objectives_and_other_origins():
    names = {run.name for run in smoke().runs}
    assert {"T1w_T2w_Ss_zscore", "T1w_T2w_Sw_half-LR", "T1w_T2wB_Sw", "T1wB_T2wB_Ss", "T1w_Ss", "T2wB"} <= names


def test_columns_say_which_cell_a_run_is():
    columns = {run.name: run.columns for run in smoke().runs}
    assert columns["T1s_T2w_Ss"] | {} == {
        "run": "T1s_T2w_Ss", "role": "student", "teachers": "strong+weak", "origin": "A+A", "student": "strong",
        "objective": "kd",
    }  # fmt: skip
    assert (columns["T2wB"]["teachers"], columns["T2wB"]["origin"]) == ("weak", "B")
    assert (columns["Sw"]["teachers"], columns["Sw"]["objective"]) == ("", "none")


def test_a_word_of_the_grid_can_stand_for_another_recipe_and_is_what_tables_say():
    plain = grid.build(small_profile(), HASH)
    other = grid.build(small_profile(augmentations={"strong": "strong-released"}), HASH)
    assert [run.columns for run in other.runs] == [run.columns for run in plain.runs]
    for before, after in zip(plain.runs, other.runs, strict=True):
        strong = before.spec.augmentation == "strong"
        assert after.spec.augmentation == ("strong-released" if strong else before.spec.augmentation)
    assert {run.spec.augmentation for run in other.runs} == {"clean", "weak", "strong-released"}


def test_a_cell_in_two_rows_is_trained_once():
    row = {"teachers": [["weak", "weak"]]}
    both = small_profile().model_validate(small_profile().model_dump() | {"grid": [row, row]})
    assert sum(run.spec.role == "student" for run in grid.build(both, HASH).runs) == 2


def test_teachers_start_from_the_origins_run_and_the_origin_keeps_what_the_study_observes_out_of_its_id():
    study = smoke()
    origin = {run.columns["origin"]: run.spec for run in study.origins}
    teachers = {run.name: run.spec for run in study.runs if run.spec.role == "teacher"}
    assert teachers["T1w"].origin.run == teachers["T2s"].origin.run == origin["A"].id
    assert teachers["T2wB"].origin.run == origin["B"].id
    assert origin["A"].dataset.name == "digits-30-rest"
    more = grid.build(profiles.load("smoke", ["observe.maps=7"]), HASH, [0], HASHES)
    assert [run.spec.id for run in more.origins] == [run.spec.id for run in study.origins]


@pytest.mark.rings
def test_an_origin_stands_in_for_imagenets_where_its_file_is_not_there(tmp_path, monkeypatch):
    from kdnb.zoo import pretrained

    file = tmp_path / "checkpoints" / "weights.pth"
    monkeypatch.setattr(pretrained, "file", lambda name: file)
    profile, hashes = profiles.load("gpu"), {"own": "c" * 16}
    own = grid.build(profile, HASH, [0], hashes)
    file.parent.mkdir()
    file.touch()
    imagenet = grid.build(profile, HASH, [0], hashes)
    assert [run.name for run in own.origins] == ["origin-own"]
    assert imagenet.origins == ()
    for study, kind in ((own, "run"), (imagenet, "imagenet")):
        teachers = [run for run in study.runs if run.spec.role == "teacher"]
        assert {run.spec.origin.kind for run in teachers} == {kind}
        assert {run.columns["origin"] for run in teachers} == {"start"}
        assert {run.name for run in teachers} == {"T1w", "T1s", "T2w", "T2s"}
    assert own.runs[0].spec.origin.run == own.origins[0].spec.id
    for other in ("start", "nowhere"):
        with pytest.raises(ProfileError, match=f"'start' cannot be '{other}' otherwise; .*: own"):
            profiles.load("gpu", [f"origins.start.otherwise={other}"])


def test_the_long_tail_of_gpu_pretrains_on_what_the_list_leaves_out():
    profile = profiles.load("gpu", ["recipe=long-tail"])
    assert profile.dataset.name == "cifar100-imb100"
    assert profile.origins["own"].dataset.name == "cifar100-imb100-rest"
    assert profile.origins["own"].dataset.train_list == profile.dataset.train_list
    assert (profile.teacher.train.precision, profile.student.train.precision) == ("bfloat16", "bfloat16")


def test_the_ensembles_of_a_seed_are_the_sets_of_teachers_of_the_grid():
    names = [ensemble.name for ensemble in smoke().ensembles(0)]
    assert names == ["T1w_T2w", "T1s_T2w", "T1w_T2s", "T1s_T2s", "T1w_T2wB", "T1wB_T2wB"]


def test_a_row_without_students_trains_its_teachers_and_compares_them():
    settings = small_profile(reference=False).model_dump() | {
        "grid": [{"teachers": [["weak", "strong"], ["weak"]], "students": []}]
    }
    taught = small_profile(ensembles=("ws",), reference=False)
    alone = grid.build(profiles.Profile.model_validate(settings), HASH)
    assert [run.name for run in alone.runs] == ["T1w", "T2s"]
    assert [(each.name, each.columns["teachers"]) for each in alone.ensembles(0)] == [("T1w_T2s", "weak+strong")]
    # the same networks as with students, so that these can come later
    assert {run.spec.id for run in alone.runs} < {run.spec.id for run in grid.build(taught, HASH).runs}


@pytest.mark.parametrize("teachers", [[], [[]]])
def test_a_row_of_neither_teachers_nor_students_is_refused(teachers):
    with pytest.raises(ValueError, match="the grid has no network"):
        profiles.Profile.model_validate(
            small_profile().model_dump() | {"grid": [{"teachers": teachers, "students": []}]}
        )


def test_a_file_of_weights_is_known_by_its_hash(tmp_path):
    path = tmp_path / "start.safetensors"
    path.write_bytes(b"weights")
    settings = small_profile().model_dump() | {"origins": {"F": {"kind": "file", "path": str(path)}}, "origin": "F"}
    study = grid.build(profiles.Profile.model_validate(settings), HASH)
    first = next(run for run in study.runs if run.name == "T1w")
    assert study.files == {first.spec.origin.sha256: str(path)}
    path.unlink()
    with pytest.raises(DataError, match=r"start\.safetensors cannot be read"):
        grid.build(profiles.Profile.model_validate(settings), HASH)


# -- draws -----------------------------------------------------------------------------------------------------------


def drawn(cifar100_root, **changes):
    settings = profiles.load("cpu-draws", [f"{name}={value}" for name, value in changes.items()])
    return grid.plan(settings, root=cifar100_root)


def test_each_seed_of_a_study_with_draws_has_images_of_its_own_and_an_origin_in_turn(cifar100_root):
    planned = drawn(cifar100_root, seeds="[10, 11, 12]")
    images = {seed: planned.datasets[planned.study.of_seed(seed)[0].spec.dataset.hash] for seed in (10, 11, 12)}
    names = {seed: set(dataset.train.names) for seed, dataset in images.items()}
    assert [len(each) for each in names.values()] == [5000] * 3
    assert len(set.union(*names.values())) == 15_000
    assert {run.dataset.draw for run in planned.study.of_seed(12)} == {2}
    starts = [
        {run.spec.origin.run for run in planned.study.of_seed(seed) if run.spec.role == "teacher"} for seed in images
    ]
    a, b = (run.spec.id for run in planned.study.origins)
    assert starts == [{a}, {b}, {a}]
    assert {run.columns["origin"] for run in planned.study.runs if run.spec.role == "teacher"} == {"own"}


def test_a_study_with_draws_is_thirty_networks_a_seed_in_two_groups_of_students():
    study = grid.build(profiles.load("cpu-draws"), HASH, [10], HASHES)
    roles = [run.spec.role for run in study.runs]
    assert (roles.count("teacher"), roles.count("student")) == (4, 26)
    assert sorted(len(group) for group in study.groups(study.runs)) == [1, 1, 1, 1, 12, 14]


def test_a_seed_whose_last_digit_is_no_draw_is_refused(cifar100_root):
    with pytest.raises(
        ProfileError, match="seed 17 has no draw: cifar100-50 has 7, one for each last digit from 0 to 6"
    ):
        drawn(cifar100_root, seeds="[17]")


def test_an_origin_that_has_seen_images_of_the_draws_is_refused_with_their_number(cifar100_root):
    with pytest.raises(DataError, match="5000 of whose 20000 images are in the draws of cifar100-50"):
        drawn(cifar100_root, **{"origins.A.dataset.name": "cifar100-200"})


def test_students_may_start_from_an_origin_of_their_own_architecture():
    trained = "{epochs: 2, schedule: {kind: one-cycle}}"
    changes = ["student_origin=S", "origins.S.kind=trained", "origins.S.network=student"]
    changes += ["origins.S.dataset.name=cifar100-150", f"origins.S.train={trained}"]
    study = grid.build(profiles.load("cpu-draws", changes), HASH, [10], HASHES | {"S": "c" * 16})
    own = next(run.spec for run in study.origins if run.name == "origin-S")
    assert own.model.name == profiles.load("cpu-draws").student.model.name
    assert {run.spec.origin.run for run in study.runs if run.spec.role == "student"} == {own.id}
    plain = grid.build(profiles.load("cpu-draws"), HASH, [10], HASHES)
    teachers = [{run.spec.id for run in each.runs if run.spec.role == "teacher"} for each in (study, plain)]
    assert teachers[0] == teachers[1]
