"""What a study costs, reckoned from its specs and sizes, against counts by hand and what a small study really takes."""

import pytest
import torch

from kdnb.errors import ProfileError
from kdnb.scale import cost
from kdnb.scale.cost import Sizes
from kdnb.study import execute, grid
from kdnb.study import profile as profiles
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from kdnb.training import models
from kdnb.training.spec import ModelSpec
from tests.conftest import small_profile

HASH = "0" * 16
CIFAR = Sizes(50_000, 10_000, 100, 32)


def forward(name, classes, side):
    return models.flops(models.build(ModelSpec(name=name), classes, side, 0), side)


def test_the_arithmetic_of_a_small_study_is_that_counted_by_hand():
    study = grid.build(small_profile(ensembles=("", "ww"), students=("w",), reference=False), HASH)
    found = cost.of_study(study, {HASH: Sizes(70, 90, 10, 32)})
    once = forward("resnet8-w8", 10, 32)
    epoch = 3 * once * 70 * 2  # a step is three passes, in two epochs
    assert found.teachers == 2 * epoch
    assert found.students == 2 * epoch
    assert found.answers == 2 * once * 70 * 2
    looks = 2 * 60 + 3 * (90 + 50 + 8 * 40)  # of 60 images each epoch; three views of both splits, and of the maps
    assert found.looking == once * (2 * looks + 2 * (2 * 60 + 2 * (looks - 2 * 60)))  # halves of teachers
    assert found.hours(found.flop / 3600 / 1e12) == pytest.approx(1.0)


def test_a_half_view_costs_half_a_pass_for_each_teacher_and_side():
    plain, halves = (
        cost.of_study(grid.build(small_profile(**more), HASH), {HASH: CIFAR})
        for more in (
            {"objectives": {"kd": {}}, "grid": [{"teachers": [["weak", "weak"]]}]},
            {
                "objectives": {"kd": {}, "half": {"kind": "half", "sides": ["left", "right"]}},
                "grid": [{"teachers": [["weak", "weak"]], "objectives": ["kd", "half"]}],
            },
        )
    )
    assert halves.answers == pytest.approx(1.5 * plain.answers)
    assert halves.students == 2 * plain.students


def test_the_papers_teachers_cost_what_a_textbook_says():
    """ResNet-50 is 4.1 billion multiplications at 224 pixels; six teachers and the reference, 60 epochs of 50,000 images."""
    study = grid.build(profiles.load("paper-cifar100"), HASH)
    found = cost.of_study(study, {HASH: CIFAR})
    assert found.teachers == pytest.approx(7 * 60 * 50_000 * 3 * 2 * 4.09e9, rel=0.01)


def test_what_a_step_keeps_is_what_autograd_holds():
    """Counted on real tensors: every storage that is saved, once, without the weights."""
    network = models.build(ModelSpec(name="resnet8-w16"), 10, 32, 0).train()
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    held = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.rand(8, 3, 32, 32))
    real = sum(storage.nbytes() for storage in held.values()) / 8
    assert cost._network(ModelSpec(name="resnet8-w16"), 10, 32).kept == pytest.approx(real, rel=0.02)


def test_the_disk_is_what_a_small_study_takes(digits, tmp_path):
    profile = small_profile(ensembles=("w",), students=("w",), dataset={"name": "digits"})
    study, store = grid.build(profile, digits.hash), Store(tmp_path)
    execute.execute(study, store, Resources("cpu"), bar=False)
    taken = sum(path.stat().st_size for path in (tmp_path / "runs").rglob("*.safetensors"))
    assert cost.of_study(study, {digits.hash: Sizes.of(digits)}).disk == pytest.approx(taken, rel=0.15)


def test_the_largest_group_decides_the_memory():
    study = grid.build(profiles.load("paper-cifar100"), HASH)
    by_id = {run.spec.id: run.spec for run in study.runs}
    costs = [cost.of_group([run.spec for run in group], by_id, {HASH: CIFAR}) for group in study.groups()]
    whole = cost.together(costs)
    assert whole.memory == max(each.memory for each in costs)
    assert whole.images == 50_000 * 3 * 32 * 32
    assert whole.flop == pytest.approx(sum(each.flop for each in costs))


@pytest.mark.parametrize("more", [{"optimiser": "adamw"}, {"keep": "best"}])
def test_a_second_moment_or_the_best_epoch_is_one_more_copy_of_the_weights(more):
    def needed(**changes):
        profile = small_profile(ensembles=("",), reference=False)
        student = profile.student.model_copy(update={"train": profile.student.train.model_copy(update=changes)})
        return cost.of_study(
            grid.build(small_profile(ensembles=("",), reference=False, student=student), HASH), {HASH: CIFAR}
        )

    weights = sum(each.numel() for each in models.build(ModelSpec(name="resnet8-w8"), 100, 32, 0).parameters())
    assert needed(**more).memory - needed().memory == pytest.approx(4 * weights, rel=0.05)


def test_images_on_disk_take_the_memory_of_a_window():
    study = grid.build(small_profile(), HASH)
    held, there = (cost.of_study(study, {HASH: Sizes(1_000_000, 90, 10, 32, streamed)}) for streamed in (False, True))
    assert there.images == cost.WINDOW * 3 * 32 * 32
    assert held.memory - there.memory == held.images - there.images == (1_000_000 - cost.WINDOW) * 3 * 32 * 32
    assert there.flop == held.flop
    few = cost.of_study(study, {HASH: Sizes(70, 90, 10, 32, True)})
    assert few.images == 70 * 3 * 32 * 32


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "1,2,x", "0,2,3", "1,-2,3", "1.5,2,3"])
def test_sizes_that_cannot_be_are_named(text):
    with pytest.raises(ProfileError, match="are no sizes; write TRAIN,VALIDATION,CLASSES"):
        Sizes.parse(text, 32)
    assert Sizes.parse("50000, 10000,100", 32) == CIFAR


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("paper-cifar100", CIFAR),
        ("paper-cifar100-imb100", Sizes(10_847, 10_000, 100, 32)),
        ("paper-imagenet", Sizes(1_281_167, 50_000, 1000, 256)),
        ("paper-imagenet-lt", Sizes(115_846, 20_000, 1000, 256)),
    ],
)
def test_the_headers_of_the_papers_profiles_give_what_is_reckoned(name, sizes):
    from importlib import resources

    text = (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    own = profiles.load(name)
    for reading in (own.recipe, "released"):
        study = grid.build(profiles.load(name, [f"recipe={reading}"]), HASH, teacher_hash="b" * 16)
        found = cost.of_study(study, {HASH: sizes, "b" * 16: CIFAR})
        assert f"{found.flop / 1e15:,.0f} PFLOP" in text
        assert f"{found.hours(30):.0f} hours" in text or f"{found.hours(30):.0f} GPU hours" in text
