"""On a CUDA device: what holds on a processor holds there too. `make gpu` runs these; nothing else does.

The networks are small, and the images scikit-learn's digits, so that all of it takes a minute.
"""

import copy
import gc
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdnb import cli, devices
from kdnb.errors import ProfileError
from kdnb.images import augment
from kdnb.images.counter import Stream
from kdnb.scale import memory
from kdnb.scale.cost import Sizes
from kdnb.study import grid
from kdnb.study.execute import execute
from kdnb.study.store import Store
from kdnb.training import objectives, train
from kdnb.training.checkpoint import Checkpoints
from kdnb.training.objectives import Objective
from kdnb.training.observe import observe
from kdnb.training.spec import ModelSpec
from tests.conftest import small_profile
from tests.training.test_train import KINDS, same, without_times

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
OBJECTIVES = KINDS | {"train-mode": Objective(batch_norm="train")}


@pytest.fixture(scope="module")
def six(digits):
    """Digits in six batches of 32 and a short one, so that steps are recorded and replayed."""
    return replace(digits, train=digits.train.select(range(200)), validation=digits.validation.select(range(90)))


@pytest.fixture(scope="module")
def study(six):
    return grid.build(small_profile(), "0" * 16)


@pytest.fixture(scope="module")
def networks(study):
    specs = [run.spec for run in study.runs if run.spec.role == "teacher"]
    return {
        spec.id: train.initial(spec.model_copy(update={"seed": number}), 10, 32, CPU)
        for number, spec in enumerate(specs, start=1)
    }


@pytest.fixture(scope="module")
def students(study):
    """Of one pair of teachers, one for each objective, and one without teachers."""
    runs = {run.name: run.spec for run in study.runs}
    taught = runs["T1w_T2w_Ss"]
    return {"alone": runs["Ss"]} | {
        name: taught.model_copy(update={"objective": objective}) for name, objective in OBJECTIVES.items()
    }


def on(device, networks):
    """A copy each: a network moves as a whole."""
    return {run: copy.deepcopy(network).to(device) for run, network in networks.items()}


def trained(specs, six, networks, device, **more):
    teachers = on(device, networks)
    more = {"record": True} | more
    return train.train(specs, six, teachers, device, stand_ins={"untrained": on(device, networks)}, **more)


def apart(a, b):
    """How far two networks are from each other, beside the second's size."""
    mine, theirs = (torch.cat([each.detach().cpu().reshape(-1) for each in net.parameters()]) for net in (a, b))
    return float((mine - theirs).norm() / theirs.norm())


@pytest.fixture(scope="module")
def together(students, six, networks):
    return trained(list(students.values()), six, networks, GPU)


@pytest.mark.parametrize("name", ["alone", *OBJECTIVES])
def test_a_student_in_company_equals_itself_trained_alone(name, students, six, networks, together):
    spec = students[name]
    alone = trained([spec], six, networks, GPU)[spec.id]
    assert same(alone.network, together[spec.id].network)
    assert without_times(alone.log) == without_times(together[spec.id].log)


def test_recorded_steps_are_the_steps(students, six, networks, together):
    plain = trained(list(students.values()), six, networks, GPU, record=False)
    for spec in students.values():
        assert same(plain[spec.id].network, together[spec.id].network)
        assert without_times(plain[spec.id].log) == without_times(together[spec.id].log)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_run_goes_on_from_its_checkpoint_as_if_never_interrupted(optimiser, students, six, networks, tmp_path):
    specs = [
        spec.model_copy(
            update={"train": spec.train.model_copy(update={"optimiser": optimiser, "epochs": 3, "learning_rate": 0.01})}
        )
        for spec in students.values()
    ]
    whole = trained(specs, six, networks, GPU)
    checkpoints = Checkpoints(tmp_path)

    def stop(epoch, members):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(specs[:3], six, networks, GPU, checkpoints=checkpoints, on_epoch=stop)
    resumed = trained(specs, six, networks, GPU, checkpoints=checkpoints)
    for spec in specs:
        assert same(resumed[spec.id].network, whole[spec.id].network)
        assert without_times(resumed[spec.id].log) == without_times(whole[spec.id].log)


def test_the_gpu_trains_what_the_processor_trains(students, six, networks, together):
    """Not the same bits; after 14 steps the same networks within rounding that has grown since."""
    there = trained(list(students.values()), six, networks, CPU)
    distances = {name: apart(there[spec.id].network, together[spec.id].network) for name, spec in students.items()}
    print("processor beside GPU:", distances)
    assert max(distances.values()) < 1e-3
    for spec in students.values():
        mine, theirs = together[spec.id].log[0], there[spec.id].log[0]
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_bfloat16_trains(students, six, networks, together):
    spec = students["kd"]
    low = spec.model_copy(update={"train": spec.train.model_copy(update={"precision": "bfloat16"})})
    result = trained([low], six, networks, GPU)[low.id]
    assert 0 < apart(result.network, together[spec.id].network) < 0.3


def test_a_run_that_diverges_leaves_the_others_as_they_are(students, six, networks, together):
    wild = students["kd"].model_copy(update={"train": students["kd"].train.model_copy(update={"learning_rate": 1e30})})
    result = trained([wild, *students.values()], six, networks, GPU)
    assert "diverged in epoch 1" in str(result[wild.id])
    for spec in students.values():
        assert same(result[spec.id].network, together[spec.id].network)


def test_an_objective_of_ones_own_is_not_recorded_and_trains(students, six, networks):
    @objectives.register("cuda-check", version="1")
    def corrected(logits, labels):
        return logits.clamp(-5, 5)

    spec = students["kd"].model_copy(update={"objective": Objective(kind="cuda-check")})
    alone = trained([spec], six, networks, GPU)[spec.id]
    company = trained([spec, students["kd"]], six, networks, GPU)[spec.id]
    assert same(alone.network, company.network)


@pytest.mark.parametrize("name", ["vit-tiny", "cct-2-3x2", "resnet18-cifar", "torchvision:resnet18"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_architecture_trains_in_company_as_alone(name, precision, students, six, networks):
    changes = {"model": ModelSpec(name=name, map_layer="layer2" if ":" in name else "")}
    specs = [
        spec.model_copy(update=changes | {"train": spec.train.model_copy(update={"precision": precision, "epochs": 1})})
        for spec in (students["alone"], students["kd"])
    ]
    alone = trained(specs[:1], six, networks, GPU)
    both = trained(specs, six, networks, GPU)
    assert same(alone[specs[0].id].network, both[specs[0].id].network)


# -- views and observations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["base", "weak", "strong", "strong-released", "imagenet-weak", "imagenet-strong", "dial:0.5"]
)
def test_views_are_those_of_the_processor(name, images):
    index = np.arange(len(images))
    recipe = augment.recipe(name)
    here, there = (augment.views(images.to(d), index, recipe, Stream(3), 1).cpu().int() for d in (GPU, CPU))
    off = (here - there).abs()
    share = float((off > 1).float().mean())
    print(name, "pixels that differ by more than one level:", share, "at most", int(off.max()))
    assert share < 0.002


def test_observations_are_those_of_the_processor(study, six, networks):
    specs = [run.spec for run in study.runs if run.spec.role == "teacher"]
    found = {d: observe(on(d, networks), specs, six, on(d, networks), d) for d in (CPU, GPU)}
    for spec in specs:
        mine, theirs = found[GPU][spec.id], found[CPU][spec.id]
        assert mine.predictions.keys() == theirs.predictions.keys()
        assert mine.attention.keys() == theirs.attention.keys()
        clean = (mine.predictions["validation/clean"].cpu() - theirs.predictions["validation/clean"]).abs().max()
        assert clean < 1e-3  # of logits whose size is about 1


# -- a whole study ---------------------------------------------------------------------------------------------------


def test_the_command_runs_a_study_and_finds_it_done(tmp_path, capfd):
    arguments = ["run", "--profile", "smoke", "--store", str(tmp_path), "--device", "cuda", "--graphs", "--epochs", "2"]
    cli.main(arguments)
    assert "smoke: 11 runs trained" in capfd.readouterr().out
    cli.main(arguments)
    assert "smoke: 0 runs trained" in capfd.readouterr().out
    about = json.loads(next(tmp_path.rglob("environment.json")).read_text())
    assert about["device"] == "cuda"
    assert about["processor"] == torch.cuda.get_device_name(0)


def test_a_group_is_split_where_memory_is_short_and_trains_the_same(tmp_path, monkeypatch):
    profile = small_profile()
    study = grid.plan(profile).study
    execute(study, Store(tmp_path / "whole"), device="cuda", graphs=True, bar=False)
    monkeypatch.setattr(memory, "split", lambda specs, need, room: [[spec] for spec in specs])
    execute(study, Store(tmp_path / "split"), device="cuda", graphs=True, bar=False)
    for run in study.runs:
        a, b = (Store(tmp_path / name).entry(run.spec.id).weights for name in ("whole", "split"))
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("model", ["resnet8-w16", "resnet18-cifar"])
def test_a_group_takes_no_more_memory_than_reckoned(model, students, six, networks, study):
    by_id = {run.spec.id: run.spec for run in study.runs}
    specs = [
        students["kd"].model_copy(update={"model": ModelSpec(name=model), "objective": Objective(alpha=0.1 + 0.05 * n)})
        for n in range(12)
    ]
    sizes = {specs[0].dataset.hash: Sizes.of(six)}
    teachers = on(GPU, networks)
    trial, few = memory.trial_of(specs[0], six)
    taken = memory.peak(GPU, lambda: train.train([trial], few, teachers, GPU, record=True))
    beyond = memory.beyond_reckoned(trial, few, by_id, taken)
    need = memory.need_of("cuda", by_id, sizes, beyond, graphs=True)(specs)
    gc.collect()  # graphs of earlier groups
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved(GPU)
    torch.cuda.reset_peak_memory_stats(GPU)
    train.train(specs, six, teachers, GPU, record=True)
    took = torch.cuda.max_memory_reserved(GPU) - before
    print(f"{model}: trial {taken / 1e6:.0f} MB, reckoned {need / 1e6:.0f} MB, reserved {took / 1e6:.0f} MB")
    assert took <= need


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ProfileError, match="no device 'cuda:7' here"):
        devices.choose("cuda:7")
