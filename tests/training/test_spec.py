"""Specs and their ids: literal, whole, and able to grow."""

from typing import Literal

import pytest
from pydantic import ValidationError

from kdnb.training.names import NAMES
from kdnb.training.objectives import Objective
from kdnb.training.spec import (
    CosineSchedule,
    DatasetId,
    FileOrigin,
    ImageNetOrigin,
    ModelSpec,
    ObserveSpec,
    OneCycleSchedule,
    RunOrigin,
    RunSpec,
    StepSchedule,
    TrainSpec,
)
from kdnb.training.strict import later

BASE = RunSpec(
    role="teacher",
    dataset=DatasetId(name="digits", hash="0" * 16),
    model=ModelSpec(name="resnet8-w8"),
    augmentation="weak",
    train=TrainSpec(epochs=2, schedule=OneCycleSchedule()),
    observe=ObserveSpec(),
    seed=3,
    member=1,
)
TAUGHT = BASE.model_copy(
    update={"role": "student", "member": 0, "teachers": ("1" * 16, "2" * 16), "objective": Objective()}
)


def changed(spec=BASE, **changes):
    return RunSpec.model_validate(spec.model_dump() | changes)


SPECS = {
    "teacher": BASE,
    "origin": changed(role="origin", member=0),
    "reference": changed(role="reference", member=0, augmentation="clean"),
    "of a run": changed(origin=RunOrigin(run="3" * 16)),
    "of ImageNet": changed(origin=ImageNetOrigin()),
    "of a file": changed(origin=FileOrigin(sha256="4" * 64)),
    "student": TAUGHT,
    "zscore": changed(TAUGHT, objective=Objective(kind="zscore")),
    "halves": changed(TAUGHT, objective=Objective(kind="half", sides=("left", "right"))),
    "by the text": changed(TAUGHT, objective=Objective(mix="sum", temperature=10)),
    "dial": changed(augmentation="dial:0.5"),
    "steps": changed(train=TrainSpec(epochs=9, schedule=StepSchedule(milestones=(3, 6)))),
    "early steps": changed(train=TrainSpec(epochs=9, schedule=StepSchedule(milestones=(3, 6), early=True))),
    "cosine": changed(train=TrainSpec(epochs=9, schedule=CosineSchedule(per_epoch=True))),
    "adamw": changed(train=TrainSpec(epochs=2, schedule=OneCycleSchedule(), optimiser="adamw", weight_decay=0.01)),
    "best epoch": changed(train=TrainSpec(epochs=2, schedule=OneCycleSchedule(), keep="best")),
    "of all of ImageNet": changed(origin=ImageNetOrigin(head="pretrained")),
    "of a library": changed(model=ModelSpec(name="torchvision:resnet18")),
    "of its third layer": changed(model=ModelSpec(name="torchvision:resnet18", map_layer="layer3")),
    "measured on others": changed(observed=DatasetId(name="digits-30", hash="5" * 16)),
}

IDS = {
    "teacher": "e04db02238595077",
    "origin": "22c47b445fd6a6be",
    "reference": "f2b30d28b0bf4c5a",
    "of a run": "b8385bf547f96d9f",
    "of ImageNet": "c960ed2c38602891",
    "of a file": "38b9fbb20330e8d9",
    "student": "7625af44c8df2ac0",
    "zscore": "d365cc63662fd2f1",
    "halves": "deca53bf209b5aab",
    "by the text": "2aaa94325fa1f13d",
    "dial": "ca99c1c120702be4",
    "steps": "c9b4df6681c82102",
    "early steps": "ed90394201aee988",
    "cosine": "4054f6ca2cbbdaf7",
    "adamw": "5e918ca29c7cfbda",
    "best epoch": "d95890ecfad75e04",
    "of all of ImageNet": "1234d890db8af05b",
    "of a library": "773b34a4f41df05b",
    "of its third layer": "4e0ec594cf8f08c3",
    "measured on others": "6e34815e0907e1fd",
}
"""Literal on purpose: whoever changes what an id is made of orphans every store, and should mean to."""


def test_ids_are_the_same_on_every_machine():
    assert {name: spec.id for name, spec in SPECS.items()} == IDS


def test_different_recipes_have_different_ids():
    assert len(set(IDS.values())) == len(IDS)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"member": 2},
        {"augmentation": "strong"},
        {"recipe": "mine-1234"},
        {"side": 64},
        {"resize": "bilinear"},
        {"train": TrainSpec(epochs=3, schedule=OneCycleSchedule())},
        {"dataset": DatasetId(name="digits", hash="f" * 16)},
        {"observe": ObserveSpec(maps=7)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_part_of_a_recipe_changes_the_id(changes):
    assert changed(**changes).id != BASE.id


def test_a_field_that_comes_later_leaves_ids_alone_until_it_is_used():
    class GrownObjective(Objective):
        patience: int = later(0, ge=0)

    class GrownSpec(RunSpec):
        role: Literal["teacher", "student"]
        objective: GrownObjective | None = None
        warm: bool = later(False)

    plain = TAUGHT.model_dump()
    assert GrownSpec.model_validate(plain).id == TAUGHT.id
    assert GrownSpec.model_validate(plain | {"warm": True}).id != TAUGHT.id
    patient = plain | {"objective": plain["objective"] | {"patience": 2}}
    assert GrownSpec.model_validate(patient).id != TAUGHT.id


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_survives_json(name):
    again = RunSpec.model_validate_json(SPECS[name].model_dump_json())
    assert again == SPECS[name]
    assert again.id == SPECS[name].id


def test_a_spec_is_frozen_and_forbids_unknown_keys():
    with pytest.raises(ValidationError, match="frozen"):
        BASE.seed = 1
    with pytest.raises(ValidationError, match="Extra inputs"):
        changed(colour="red")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": None}, "a run with teachers needs an objective"),
        ({"role": "teacher"}, "a run of role teacher has no teachers"),
        ({"objective": Objective(kind="half", sides=("left",))}, "2 teachers need as many sides, not 1"),
    ],
)
def test_teachers_and_objectives_belong_together(changes, message):
    with pytest.raises(ValidationError, match=message):
        changed(TAUGHT, **changes)


def test_nesterovs_momentum_is_of_sgd_alone():
    with pytest.raises(ValidationError, match="nesterov is a form of sgd's momentum; adamw has none, leave it out"):
        TrainSpec(epochs=2, schedule=OneCycleSchedule(), optimiser="adamw", nesterov=True)


def test_an_unknown_augmentation_is_named():
    for name in ("middling", "dial:", "dial:x"):
        with pytest.raises(ValidationError, match="no augmentation"):
            changed(augmentation=name)
    for name in ("dial:1.5", "dial:-0.1"):
        with pytest.raises(ValidationError, match="strength lies between 0 and 1"):
            changed(augmentation=name)
    for name in ("clean", "base", "dial:0", "dial:0.25", "dial:1", "dial:1.0"):
        assert changed(augmentation=name).augmentation == name


@pytest.mark.parametrize(
    "name", ["resnet9000", "resnet9", "resnet8-w0", "resnet8-w", "resnet8-w16-cifar", "torchvision:", "hub:x", ""]
)
def test_an_unknown_network_is_named_with_those_there_are(name):
    with pytest.raises(ValidationError) as caught:
        ModelSpec(name=name)
    assert all(f"no model {name!r}" in str(caught.value) and known in str(caught.value) for known in NAMES)


def test_an_unknown_network_of_torchvisions_is_named_with_those_there_are():
    for name in ("resnet9000", "__init__", "fcn_resnet50"):
        with pytest.raises(
            ValidationError, match=f"torchvision has no classifier '{name}'; .*resnet18.*wide_resnet50_2"
        ):
            ModelSpec(name=f"torchvision:{name}")


def test_a_map_layer_of_a_network_of_the_package_is_an_error():
    with pytest.raises(ValidationError, match=r"map_layer is for networks of a library.*resnet8-w8 has one map"):
        ModelSpec(name="resnet8-w8", map_layer="layer3")


@pytest.mark.parametrize("name", [*NAMES, "resnet8-w5", "torchvision:resnet34", "timm:any"])
def test_a_known_network_is_accepted(name):
    assert ModelSpec(name=name).name == name
