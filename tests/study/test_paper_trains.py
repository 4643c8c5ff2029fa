"""The paper's own networks at its own size really train: ResNet-50 teaches ResNet-18 at 224 pixels, for two batches."""

import pytest
import torch

from kdnb.images.datasets import Dataset
from kdnb.study import grid
from kdnb.study import profile as profiles
from kdnb.training import models, train
from kdnb.training.spec import ModelSpec

CPU = torch.device("cpu")
FEW = ["teacher.train.batch_size=2", "student.train.batch_size=2", "observe.validate_sample=2", "reference=false"]


@pytest.fixture(scope="module")
def four(digits):
    return Dataset("four", digits.classes, digits.train.select(range(4)), digits.validation.select(range(2)), digits.mean,
                   digits.std, "0" * 16)  # fmt: skip


def briefly(reading):
    """The profile's runs for one epoch of two batches, by name."""
    changes = [f"recipe={reading}", *FEW, "teacher.train.epochs=1", "student.train.epochs=1", "epochs_of={}"]
    changes += ["teacher.train.precision=float32"]  # bfloat16 is slow on most processors
    study = grid.build(profiles.load("paper-cifar100", changes), "0" * 16)
    return {run.name: run.spec for run in study.runs}


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["text", "released"])
def test_two_batches_of_a_trial_of_the_paper_really_train(four, reading):
    runs = briefly(reading)
    pretrained = models.build(ModelSpec(name="resnet50"), 10, 224, seed=5).state_dict()  # in the place of ImageNet's
    teachers = {}
    for name in ("T1s", "T2w"):
        spec = runs[name]
        (result,) = train.train([spec], four, {}, CPU, origins={spec.id: pretrained}).values()
        assert isinstance(result, train.Trained)
        first = "features.conv1.weight"
        assert not torch.equal(result.network.state_dict()[first], pretrained[first])
        teachers[spec.id] = result.network
    student = runs["T1s_T2w_Ss"]
    assert set(student.teachers) == set(teachers)
    (result,) = train.train([student], four, teachers, CPU).values()
    assert isinstance(result, train.Trained)
    assert result.network.features(torch.zeros(1, 3, 224, 224)).shape == (1, 512, 7, 7)
    (epoch,) = result.log
    assert epoch["learning_rate"] == pytest.approx(0.1 * (1 if reading == "text" else 2) / 8)
    assert epoch["target_temperature"] == (10 if reading == "text" else 3)
    untouched = train.initial(student, 10, 32, CPU).state_dict()
    changed = [name for name, tensor in result.network.named_parameters() if not torch.equal(tensor, untouched[name])]
    assert len(changed) == len(list(result.network.parameters()))
