"""Measures and claims that users register: where they appear, what tells them apart, what they may not do."""

from datetime import date

import pandas as pd
import pytest
import torch

from kdnb.errors import ProfileError
from kdnb.evidence import claims, estimands, judging, measures, table
from kdnb.ruler import curves


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch):
    monkeypatch.setattr(measures._measures, "own", {})
    monkeypatch.setattr(claims, "_own_sets", {})


def same(teachers, student, labels):
    return ((teachers.argmax(1) == student.argmax(1)) & (student.argmax(1) != labels)).double().mean()


def mine(claim):
    return claims.ClaimSet("mine", 1, date(2026, 11, 28), "what is mine", (claim,))


def contrast(measure):
    terms = (
        (1.0, estimands.Cell("weak+weak", "strong"), measure),
        (-1.0, estimands.Cell("weak+weak", "weak"), measure),
    )
    return claims.Claim("M1", "so it is", "here", "", "it is not", primary=estimands.Contrast("what", terms, 1))


def rows(measure, against, values):
    """Trials of two weak teachers: seed 0, validation images, clean views."""
    blank = table.BLANK | {"seed": 0, "role": "student", "teachers": "weak+weak", "origin": "fresh+fresh"}
    about = {"objective": "kd", "measure": measure, "form": "textbook", "split": "validation", "view": "clean"}
    found = [blank | about | {"student": s, "against": against, "value": v} for s, v in values.items()]
    return pd.DataFrame([blank | {"role": "teacher", "origin": "fresh"}, *found], columns=list(table.COLUMNS))


def test_a_measure_gives_the_functions_number_and_leaves_the_logits_alone():
    @measures.register("highest", version="1")
    def highest(logits, labels):
        return logits.mul_(2.0).max()

    logits = torch.tensor([[1.0, 3.0]])
    assert measures.registered()["highest"].value(logits, torch.tensor([0])) == 6.0
    assert logits.max() == 3.0


def test_a_measure_that_fails_is_named():
    measures.register("broken")(lambda logits, labels: "no number")
    with pytest.raises(ProfileError, match="the measure 'broken' fails: ValueError: could not convert"):
        measures.registered()["broken"].value(torch.zeros(1, 2), torch.tensor([0]))


@pytest.mark.parametrize(
    ("name", "settings", "named"),
    [
        ("agreement", {}, "'agreement' is a measure of the package"),
        ("My own", {}, "cannot be called 'My own'"),
        ("mine", {"of": "teacher"}, "'mine' is of 'teacher'"),
        ("mine", {"of": "student", "fidelity": 2}, "with fidelity 2"),
        ("mine", {"fidelity": 1}, "sees one network and cannot measure fidelity"),
    ],
)
def test_a_registration_that_cannot_be_is_refused(name, settings, named):
    with pytest.raises(ProfileError, match=named):
        measures.register(name, **settings)


def test_an_edited_measure_is_another_one():
    identities = []
    for version in ("1", "2", "1"):
        measures.register("mine", version=version)(same)
        identities.append(measures.registered()["mine"].identity)
    assert identities[0] == identities[2] != identities[1]


@pytest.mark.parametrize("fidelity", [1, -1])
def test_a_measure_of_fidelity_stands_in_the_curves_with_its_sign(fidelity):
    measures.register("mine", of="student", fidelity=fidelity)(same)
    found = rows("mine", "ensemble", {"weak": 0.25, "strong": 0.5})
    specs = curves.of_table(found, [contrast(estimands.Measure("mine", against="ensemble"))])
    assert specs["measure"].tolist() == ["mine"]
    assert specs["effect"].item() == pytest.approx(0.25 * fidelity)
    assert not specs["paper"].item()
    assert (specs["declared"]).item()


def test_any_other_measure_stands_in_the_curve_of_a_claim_about_it_alone():
    measures.register("mine", version="1")(lambda logits, labels: 0.0)
    claim = contrast(estimands.Measure("mine"))
    specs = curves.of_table(rows("mine", "", {"weak": 0.5, "strong": 0.25}), [claims.K1, claim])
    assert specs[["claim", "measure", "view", "images"]].values.tolist() == [["M1", "mine", "clean", "validation"]]
    assert specs["effect"].item() == pytest.approx(-0.25)


def test_own_claims_are_described_as_ones_own_and_never_as_the_papers():
    claim = contrast(estimands.Measure("mine", against="ensemble"))
    claims.register(mine(claim))
    (declared,) = claims.registered()
    effects = judging.effects(rows("mine", "ensemble", {"weak": 0.25, "strong": 0.5}), declared)
    told = judging.describe(effects, declared, "own")
    assert told.startswith("Your own claims as the profile own shows them (mine, version 1:\nwhat is mine).")
    assert "* what: +0.250; up, as predicted" in told
    assert "paper" not in told


@pytest.mark.parametrize(("name", "key", "named"), [("K", "M1", "'K' is a set"), ("mine", "K1", "the key 'K1'")])
def test_own_claims_that_would_pass_for_the_packages_are_refused(name, key, named):
    claim = claims.Claim(key, "so it is", "here", "", "it is not")
    with pytest.raises(ProfileError, match=named):
        claims.register(claims.ClaimSet(name, 1, date(2026, 11, 28), "", (claim,)))


def test_the_list_of_the_packages_names_is_whole():
    """Names that the table or the curves use of their own accord, so that none can be registered."""
    used = {measure for measure, _, _ in curves.FIDELITY.values()} | {m for m, _ in curves.CALIBRATION.values()}
    used |= {where["measure"] for where in table.SHOWN.values()}
    assert used <= set(measures.NAMES)
