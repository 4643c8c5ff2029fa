"""What a finished network leaves: names, shapes, and the same views for all of a seed."""

import pytest
import torch

from kdnb.study import grid
from kdnb.training import models, observe, train
from kdnb.training.objectives import Objective
from tests.conftest import small_profile

CPU = torch.device("cpu")
METHODS = {"cam-sum", "cam-predicted", "cam-true", "grad-cam"}


@pytest.fixture(scope="module")
def specs(few_digits):
    runs = grid.build(small_profile(), few_digits.hash).runs
    return {run.name: run.spec for run in runs}


@pytest.fixture(scope="module")
def networks(specs):
    return {spec.id: train.initial(spec, 10, 32, CPU).eval() for spec in specs.values()}


@pytest.fixture(scope="module")
def observed(specs, networks, few_digits):
    found = observe.observe(networks, list(specs.values()), few_digits, networks, CPU)
    return {name: found[spec.id] for name, spec in specs.items()}


def test_chunks_are_whole_passes():
    """So that a network sees the same batches in chunks as in one piece."""
    assert observe.chunks.__defaults__[0] % observe.FORWARD == 0
    assert observe.chunks.__defaults__[0] % observe.TEACHING_BATCH == 0


def test_every_network_answers_to_the_same_views_of_both_splits(observed):
    for name, found in observed.items():
        for view in ("clean", "weak", "strong"):
            assert found.predictions[f"validation/{view}"].shape == (90, 10), name
            assert found.predictions[f"train/{view}"].shape == (50, 10)
        assert found.predictions["validation/base"].shape == (90, 10)
        assert torch.equal(found.predictions["train/index"], observed["T1w"].predictions["train/index"])


def test_maps_are_kept_of_validation_and_training_images(observed):
    for found in observed.values():
        for split in ("validation", "train"):
            kept = {
                name.split("/")[1] for name in found.attention if name.startswith(f"{split}/") and name.count("/") == 2
            }
            assert kept == METHODS
            assert found.attention[f"{split}/cam-sum/strong"].shape == (40, 8, 8)
            assert len(found.attention[f"{split}/index"]) == 40


def test_only_teachers_answer_to_halves_and_students_turn_no_dial(observed):
    for name, found in observed.items():
        halves = {key for key in (*found.predictions, *found.attention) if key.endswith(("/left", "/right"))}
        assert bool(halves) == name.startswith("T") * ("S" not in name), name
        assert ("dial/predicted" in found.predictions) == ("S" not in name)
    assert observed["reference"].predictions["dial/predicted"].shape == (11, 60)  # as many as a look takes


def test_an_answer_to_a_half_is_that_of_a_network_that_sees_nothing_else(observed, specs, networks, few_digits):
    prepare = observe.Normaliser(few_digits, CPU, specs["T1w"])
    left = networks[specs["T1w"].id](prepare(few_digits.validation.images)[..., :16])
    torch.testing.assert_close(
        observed["T1w"].predictions["validation/clean/left"], left.detach(), rtol=1e-4, atol=1e-5
    )


def test_the_map_of_a_half_lies_in_its_place_beside_its_minimum(observed):
    for side, unseen in (("left", slice(4, 8)), ("right", slice(0, 4))):
        maps = observed["T1s"].attention[f"train/cam-predicted/weak/{side}"]
        assert maps.shape == (40, 8, 8)
        low = maps.amin(dim=(1, 2), keepdim=True)
        assert torch.equal(maps[..., unseen], low.expand(-1, 8, 4))
        assert (maps > low).any(dim=2).any(dim=1).all()


def test_a_student_of_another_recipe_is_observed_on_it_and_keeps_what_its_teachers_answer(specs, networks, few_digits):
    spec = specs["T1w_T2w_Sw"].model_copy(update={"augmentation": "dial:0.5"})
    made = {spec.id: networks[specs["T1w_T2w_Sw"].id]} | networks
    found = observe.observe(made, [spec], few_digits, networks, CPU)[spec.id].predictions
    assert found["validation/dial:0.5"].shape == (90, 10)
    for place in (0, 1):
        assert found[f"teachers/{place}/train/dial:0.5"].shape == (50, 10)
    assert not torch.equal(found["validation/dial:0.5"], found["validation/strong"])
    assert not [name for name in found if name.startswith("teachers/") and not name.endswith("dial:0.5")]


def test_a_student_of_teachers_in_training_mode_keeps_what_they_answer(specs, networks, few_digits):
    spec = specs["T1w_T2w_Sw"].model_copy(update={"objective": Objective(batch_norm="train")})
    made = {spec.id: networks[specs["T1w_T2w_Sw"].id]} | networks
    found = observe.observe(made, [spec], few_digits, networks, CPU)[spec.id].predictions
    assert found["teachers/1/validation/strong"].shape == (90, 10)


def test_an_origin_leaves_its_weights_alone(specs, few_digits):
    spec = specs["T1w"].model_copy(update={"role": "origin", "member": 0})
    found = observe.observe({spec.id: models.build(spec.model, 10, 32, 0)}, [spec], few_digits, {}, CPU)[spec.id]
    assert found.predictions == {}
    assert found.attention == {}


def test_the_view_base_is_the_recipe_that_the_spec_names(specs, networks, few_digits):
    spec = specs["T1w_T2w_Sw"]
    other = spec.model_copy(update={"observe": spec.observe.model_copy(update={"base": "imagenet-base"})})
    views = {}
    for each in (spec, other):
        made = {each.id: networks[spec.id]} | networks
        views[each.observe.base] = observe.observe(made, [each], few_digits, networks, CPU)[each.id].predictions
    assert not torch.equal(views["base"]["validation/base"], views["imagenet-base"]["validation/base"])
    assert torch.equal(views["base"]["validation/weak"], views["imagenet-base"]["validation/weak"])
