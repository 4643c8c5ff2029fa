"""Augmentation recipes that users register: what they are shown, what tells them apart, what they may not do."""

import hashlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from kdnb.errors import IncompleteError, ProfileError
from kdnb.evidence import integrity, table
from kdnb.images import augment
from kdnb.images.counter import Purpose, Stream
from kdnb.release import publish
from kdnb.study import execute, grid, weights
from kdnb.study import profile as profiles
from kdnb.study.resources import Resources
from kdnb.study.store import Store

DARKER = """
import torch
from kdnb.images.augment import register

@register("darker", draws=1, symbol="d")
def darker(images, draws):
    keep = torch.from_numpy(0.5 + 0.5 * draws[:, 0]).to(images.device, torch.float32)
    return (images * keep.view(-1, 1, 1, 1)).to(torch.uint8)
"""

PROFILE = """
name: own
recipes: [darker.py]
dataset: {name: digits}
seeds: [3]
teacher: &network
  model: {name: resnet8-w4}
  train: {epochs: 1, learning_rate: 0.05, schedule: {kind: one-cycle}}
student: *network
grid: [{teachers: [[darker, weak]], students: [darker, weak]}]
reference: false
observe: {maps: 16, train_sample: 20}
"""


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch):
    monkeypatch.setattr(augment._recipes, "own", {})
    monkeypatch.setattr(augment, "_checked", set())


@pytest.fixture
def own_profile(tmp_path):
    (tmp_path / "darker.py").write_text(DARKER)
    (tmp_path / "own.yaml").write_text(PROFILE)
    return tmp_path / "own.yaml"


def of(function, name="mine", **settings):
    augment.register(name, **{"draws": 2, "version": "1"} | settings)(function)
    return augment.recipe(name)


def test_a_view_is_the_functions_of_the_image_and_its_own_draws(images):
    def brighter(shown, draws):
        return torch.maximum(shown, torch.from_numpy((255 * draws[:, 1]).astype(np.uint8)).view(-1, 1, 1, 1))

    index = np.arange(7, 7 + len(images))
    view = augment.views(images, index, of(brighter), Stream(3, 1), 5)
    uniforms = Stream(3, 1).uniforms(Purpose.AUGMENT, 5, index, 2)
    assert torch.equal(view, brighter(images, uniforms))
    assert torch.equal(augment.views(images[9:10], index[9:10], augment.recipe("mine"), Stream(3, 1), 5), view[9:10])


def test_images_come_at_the_side_that_networks_see(images):
    view = augment.views(images, np.arange(len(images)), of(lambda shown, draws: 255 - shown), Stream(0), 0, size=48)
    assert torch.equal(view, 255 - augment.resized(images, 48))


def test_a_function_that_works_in_place_leaves_the_images_alone(images):
    before = images.clone()
    view = augment.views(images, np.arange(len(images)), of(lambda shown, draws: shown.zero_()), Stream(0), 0)
    assert view.max() == 0
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda shown, draws: shown.float(), r"torch\.float32 \(4, 3, 32, 32\)"),
        (lambda shown, draws: shown[..., 4:-4, 4:-4], r"\(4, 3, 24, 24\)"),
        (
            lambda shown, draws: (shown + torch.randint(0, 9, shown.shape)).to(torch.uint8),
            "take all chance from the draws",
        ),
        (lambda shown, draws: shown.flip(0), "let no image look at another"),
    ],
    ids=["another type", "another side", "a global generator", "looks at its neighbours"],
)
def test_a_function_that_breaks_a_rule_is_refused(images, function, named):
    with pytest.raises(ProfileError, match=named):
        augment.views(images, np.arange(len(images)), of(function), Stream(0), 0)


@pytest.mark.parametrize(
    ("name", "settings", "named"),
    [
        ("weak", {}, "'weak' is an augmentation of the package"),
        ("dial:0.3", {}, "'dial:0.3' is an augmentation of the package"),
        ("My recipe", {}, "cannot be called 'My recipe'"),
        ("mine", {"symbol": "s"}, "'s' of 'mine' belongs to another"),
        ("mine", {"symbol": "T_1"}, "'T_1' cannot stand"),
        ("mine", {"draws": -1}, "-1 draws"),
    ],
)
def test_a_registration_that_cannot_be_is_refused(name, settings, named):
    with pytest.raises(ProfileError, match=named):
        of(lambda shown, draws: shown, name, **settings)


def test_two_recipes_cannot_share_a_symbol():
    of(lambda shown, draws: shown, "mine", symbol="m")
    with pytest.raises(ProfileError, match="'m' of 'other' belongs to another"):
        of(lambda shown, draws: shown, "other", symbol="m")


def test_an_edited_recipe_is_another_one_and_an_indented_one_the_same(own_profile):
    def of_file(text):
        (own_profile.parent / "darker.py").write_text(text)
        return [run.spec for run in grid.build(profiles.load(str(own_profile)), "0" * 16).runs]

    before = of_file(DARKER)
    indented = of_file("if True:\n" + DARKER.replace("\n", "\n    "))
    edited = of_file(DARKER.replace("0.5 + 0.5", "0.4 + 0.6"))
    assert [spec.id for spec in indented] == [spec.id for spec in before]
    changed = [one.id != other.id for one, other in zip(before, edited, strict=True)]
    # T1d and both students, one of which has it only in its teacher; the weak teacher is the same
    weak_teacher = [
        number for number, spec in enumerate(before) if (spec.role, spec.augmentation) == ("teacher", "weak")
    ]
    assert [number for number, each in enumerate(changed) if not each] == weak_teacher


def test_a_recipe_without_readable_source_needs_a_version():
    made = eval("lambda shown, draws: shown")
    with pytest.raises(ProfileError, match="register it with a version"):
        of(made, version=None)


@pytest.mark.parametrize(
    ("content", "named"),
    [(None, "no file .*darker.py"), ("import nothing_of_that_name", "ModuleNotFoundError"), ("1 +", "SyntaxError")],
    ids=["missing", "fails", "not Python"],
)
def test_a_file_of_recipes_that_cannot_be_run_is_named(own_profile, content, named):
    file = own_profile.parent / "darker.py"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(ProfileError, match=named):
        profiles.load(str(own_profile))


def test_a_study_of_ones_own_recipe_has_its_own_columns_and_its_own_views(own_profile, tmp_path, digits):
    plan = grid.plan(profiles.load(str(own_profile)))
    assert {run.name for run in plan.study.runs} == {"T1d", "T2w", "T1d_T2w_Sd", "T1d_T2w_Sw"}
    store = Store(tmp_path / "store")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:  # which has to run the file itself
        execute.execute(
            plan.study, store, Resources(device="cpu", threads=1), executor=executor, bar=False
        ).require_complete()
    ids = {run.name: run.spec.id for run in plan.study.runs}
    predictions = store.entry(ids["T1d_T2w_Sd"]).predictions
    shown = augment.views(
        digits.validation.images,
        np.arange(len(digits.validation)),
        augment.recipe("darker"),
        Stream(3),
        0,
        purpose=Purpose.VIEW,
    )
    network = weights.network(store, ids["T1d_T2w_Sd"], digits, torch.device("cpu"))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (digits.mean, digits.std))
    with torch.inference_mode():
        expected = network((shown / 255 - mean) / std)
    torch.testing.assert_close(predictions["validation/darker"], expected, atol=1e-4, rtol=1e-4)
    assert "validation/darker" not in store.entry(ids["T2w"]).predictions

    rows = table.table(plan.study, store)
    student = rows[(rows["run"] == "T1d_T2w_Sd") & (rows["measure"] == "accuracy") & (rows["split"] == "validation")]
    assert set(student["student"]) == {"darker"}
    assert set(student["teachers"]) == {"darker+weak"}
    own, named = (student[student["view"] == view]["value"].item() for view in ("own", "darker"))
    right = predictions["validation/darker"].argmax(1) == predictions["validation/labels"]
    maps = rows[(rows["run"] == "T1d_T2w") & (rows["measure"] == "attention_iou")]
    assert set(maps["view"]) == {"clean", "weak", "strong"}  # what both teachers were shown
    assert own == named == pytest.approx(right.float().mean().item())


def test_results_of_ones_own_recipe_say_which_one_it_was(own_profile, tmp_path):
    plan = grid.plan(profiles.load(str(own_profile)))
    store = Store(tmp_path / "store")
    execute.execute(plan.study, store, Resources("cpu"), bar=False).require_complete()
    published = publish.publish(plan.study, store, plan.dataset, tmp_path / "results", strict=False)
    assert published.about["recipes"] == {"darker": augment.registered_identity("darker")}
    assert published.profile.recipes == ("darker.py",)
    copy = tmp_path / "results" / "recipes" / "darker.py"
    assert copy.read_text() == (own_profile.parent / "darker.py").read_text()
    (listed,) = (item for item in integrity.read(tmp_path / "results")["@graph"] if item["@id"] == "recipes/darker.py")
    assert listed["sha256"] == hashlib.sha256(copy.read_bytes()).hexdigest()
    (own_profile.parent / "darker.py").write_text(DARKER.replace("0.5 + 0.5", "0.4 + 0.6"))
    other = grid.plan(profiles.load(str(own_profile)), seeds=[4])
    with pytest.raises(IncompleteError, match=r"recipes\.darker"):
        publish.publish(other.study, store, other.dataset, tmp_path / "results", strict=False)


def test_two_files_of_recipes_with_one_name_are_not_published(own_profile, tmp_path):
    plan = grid.plan(profiles.load(str(own_profile)))
    store = Store(tmp_path / "store")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "darker.py").write_text("")
    twice = plan.study.profile.model_copy(
        update={"recipes": (*plan.study.profile.recipes, str(tmp_path / "other" / "darker.py"))}
    )
    with pytest.raises(IncompleteError, match=r"two files of recipes are called darker\.py"):
        publish.publish(replace(plan.study, profile=twice), store, plan.dataset, tmp_path / "results", strict=False)
    assert not (tmp_path / "results").exists()
