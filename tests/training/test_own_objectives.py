"""Kinds of objectives that users register: what stands in the teachers' place, what tells them apart, what they may not do."""

import pytest
import torch

from kdnb.errors import ProfileError
from kdnb.study import execute, grid, worker
from kdnb.study import profile as profiles
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from kdnb.training import objectives
from kdnb.training.objectives import Objective

CORRECTED = """
from kdnb.training.objectives import register

@register("corrected")
def corrected(logits, labels):
    top, truth = logits.max(dim=1, keepdim=True), logits.gather(1, labels[:, None])
    return logits.scatter(1, top.indices, truth).scatter(1, labels[:, None], top.values)
"""

PROFILE = """
name: own
recipes: [corrected.py]
dataset: {name: digits}
seeds: [3]
teacher: &network
  model: {name: resnet8-w4}
  train: {epochs: 1, learning_rate: 0.05, schedule: {kind: one-cycle}}
student: *network
objectives: {kd: {}, mine: {kind: corrected, alpha: 0.1}}
grid: [{teachers: [[weak]], students: [weak], objectives: [kd, mine]}]
reference: false
observe: {maps: 16, train_sample: 20}
"""


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch):
    monkeypatch.setattr(objectives._kinds, "own", {})


@pytest.fixture
def own_profile(tmp_path):
    (tmp_path / "corrected.py").write_text(CORRECTED)
    (tmp_path / "own.yaml").write_text(PROFILE)
    return tmp_path / "own.yaml"


def specs(own_profile):
    return {run.name: run.spec for run in grid.build(profiles.load(str(own_profile)), "0" * 16).runs}


LOGITS, LABELS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), torch.tensor([1, 2])


def test_the_answer_is_the_functions_and_the_formula_the_packages(own_profile):
    profiles.load(str(own_profile))
    (answer,) = objectives.answers(Objective(kind="corrected"), [LOGITS], LABELS)
    assert torch.equal(answer, torch.tensor([[1.0, 3.0, 0.0], [0.0, 1.0, 2.0]]))
    student = torch.tensor([[0.2, 0.1, 0.0], [0.0, 0.0, 0.5]])
    own = objectives.loss(student, LABELS, [answer], Objective(kind="corrected"), 2.0)
    assert torch.equal(own, objectives.loss(student, LABELS, [answer], Objective(kind="kd"), 2.0))


def test_an_edited_objective_is_another_one_and_no_other_run_changes(own_profile):
    before = specs(own_profile)
    (own_profile.parent / "corrected.py").write_text(
        CORRECTED.replace("top, truth", "best, truth").replace("top.", "best.")
    )
    after = specs(own_profile)
    assert [name for name in before if before[name].id != after[name].id] == ["T1w_Sw_mine"]
    assert {spec.objective_code for name, spec in before.items() if name != "T1w_Sw_mine"} == {""}
    assert profiles.load(str(own_profile)).own_recipes == {"objective:corrected": after["T1w_Sw_mine"].objective_code}


def test_a_setting_of_the_registration_is_part_of_the_id(own_profile):
    before = specs(own_profile)["T1w_Sw_mine"]
    (own_profile.parent / "corrected.py").write_text(CORRECTED.replace('"corrected")', '"corrected", matched=False)'))
    assert specs(own_profile)["T1w_Sw_mine"].id != before.id


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda logits, labels: logits.double(), r"made torch\.float64 \(2, 3\)"),
        (lambda logits, labels: logits[:, :2], r"made torch\.float32 \(2, 2\)"),
        (lambda logits, labels: logits / 0.0, "not finite"),
        (lambda logits, labels: logits + torch.rand(3), "another answer to the same logits"),
    ],
)
def test_a_function_that_breaks_a_rule_is_refused(answer, named):
    objectives.register("mine", version="1")(answer)
    with pytest.raises(ProfileError, match=f"the objective 'mine' .*{named}"):
        objectives.answers(Objective(kind="mine"), [LOGITS], LABELS)


@pytest.mark.parametrize(
    ("name", "named"), [("kd", "'kd' is a kind .* of the package"), ("My own", "cannot be called")]
)
def test_a_name_that_cannot_be_is_refused(name, named):
    with pytest.raises(ProfileError, match=named):
        objectives.register(name)


def test_an_unknown_kind_is_an_error_with_the_list(own_profile):
    own_profile.write_text(PROFILE.replace("kind: corrected", "kind: corected"))
    with pytest.raises(
        ProfileError, match=r"no kind of objective 'corected'; choose from kd, half, .*, corrected, or register"
    ):
        profiles.load(str(own_profile))


def test_a_worker_registers_it_itself_and_refuses_another(own_profile, tmp_path, monkeypatch):
    planned = grid.plan(profiles.load(str(own_profile)))
    store = Store(tmp_path / "store")
    monkeypatch.setattr(objectives._kinds, "own", {})  # as in a process that has just begun
    execute.execute(planned.study, store, Resources(device="cpu", threads=1), bar=False).require_complete()
    (own_profile.parent / "corrected.py").write_text(CORRECTED.replace('"corrected")', '"corrected", matched=False)'))
    monkeypatch.setattr(objectives._kinds, "own", {})
    task = execute.tasks(planned.study, Store(tmp_path / "other"))[0][-1]
    with pytest.raises(ProfileError, match="the objective 'corrected' is another than when the study was planned"):
        worker.run_task(task)
    weights = {name: store.entry(spec.id).weights for name, spec in specs_of(planned).items()}
    assert any(not torch.equal(weights["T1w_Sw"][name], weights["T1w_Sw_mine"][name]) for name in weights["T1w_Sw"])


def specs_of(planned):
    return {run.name: run.spec for run in planned.study.runs}
