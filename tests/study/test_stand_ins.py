"""A network that answers in a teacher's place is one function and one kind of objective."""

import torch

from kdnb.study import execute, grid, weights
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from kdnb.training import objectives
from kdnb.training.objectives import Kind, Objective
from tests.conftest import small_profile


def test_permuted_teachers_take_one_function_and_one_kind(digits, tmp_path, monkeypatch):
    """The teacher's own weights, each tensor's in another order: what it learnt is gone, and how large they are stays."""
    store, asked = Store(tmp_path), []

    def permuted(spec, dataset, device):
        network = weights.network(store, spec.id, dataset, device)
        draw = torch.Generator().manual_seed(spec.seed)
        for weight in network.parameters():
            order = torch.randperm(weight.numel(), generator=draw)
            weight.data = weight.data.flatten()[order].view_as(weight.data)
        asked.append(spec.id)
        return network

    monkeypatch.setitem(weights.STAND_INS, "permuted", permuted)
    monkeypatch.setitem(objectives.KINDS, "permuted", Kind(objectives._as_it_is, stand_in="permuted"))
    rows = [{"teachers": [["weak", "weak"]], "students": ["weak"], "objectives": ["kd", "permuted"]}]
    kinds = {"kd": Objective(), "permuted": Objective(kind="permuted")}
    study = grid.build(small_profile(grid=rows, objectives=kinds, reference=False), digits.hash)
    execute.execute(study, store, Resources("cpu"), bar=False).require_complete()
    assert sorted(asked) == sorted(run.spec.id for run in study.runs if run.spec.role == "teacher")
    plain, other = (
        store.entry(run.spec.id).weights["classifier.weight"] for run in study.runs if run.spec.role == "student"
    )
    assert not torch.equal(plain, other)
