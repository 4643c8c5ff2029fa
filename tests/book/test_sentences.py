"""What pages say follows the results: signs, counts of seeds, and what cannot be said."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kdnb.book import sentences
from kdnb.evidence import estimands, judging, paper, results
from kdnb.evidence.results import Results, home
from kdnb.release import diff

OF_A_STUDY = ["cause_in_common", "of_this_image", "summary", "turning_alpha", "verdicts"]


@pytest.fixture(scope="module")
def found() -> Results:
    return results.read(home() / "cpu").judged_by("K")


def made(found: Results, seeds: int, effect: Callable[[str, str, int], float]) -> Results:
    """The same results with other effects: of (claim, what, seed)."""
    other = replace(found)
    first = found.effects[found.effects["seed"] == found.seeds[0]]
    named = list(zip(first["claim"], first["what"], strict=True))
    every = [first.assign(seed=seed, effect=[effect(*each, seed) for each in named]) for seed in range(2, 2 + seeds)]
    rows = pd.concat(every, ignore_index=True)
    rows["as_predicted"] = rows["effect"] * rows["predicted"] > 0
    other.__dict__["effects"] = rows
    other.__dict__["table"] = found.table
    other.__dict__["verdicts"] = judging.verdicts(rows, found.claim_set)
    object.__setattr__(other, "seeds", tuple(range(2, 2 + seeds)))
    return other


@pytest.mark.parametrize("name", OF_A_STUDY)
def test_a_sentence_is_said_of_real_results(name: str, found: Results) -> None:
    said = getattr(sentences, name)(found)
    assert "Not in these results" not in said
    assert re.search(r"\d", said)
    assert "nan" not in said
    assert said._repr_markdown_() == said


@pytest.mark.parametrize("name", OF_A_STUDY)
def test_a_sentence_names_what_a_grid_lacks(name: str) -> None:
    scratch = results.read(home() / "cpu-scratch").judged_by("K")
    assert getattr(sentences, name)(scratch).startswith("*Not in these results (cpu-scratch)")


def test_an_answer_has_both_columns_the_papers_values_and_the_scale(found: Results) -> None:
    for claim in found.claim_set.claims:
        if claim.primary is None:
            continue
        said = sentences.answer(found, claim.key)
        assert estimands.papers_in_words(claim.plotted[0]) in said
        assert claim.primary.what in said
        assert "reduced scale: 50 images a class" in said


@pytest.mark.parametrize(("sign", "verdict"), [(1, "Supported"), (-1, "Contradicted")])
def test_five_seeds_of_one_sign_are_a_verdict(sign: int, verdict: str, found: Results) -> None:
    predicted = {(row["claim"], row["what"]): row["predicted"] or 1 for row in found.effects.to_dict("records")}
    five = made(found, 5, lambda claim, what, seed: sign * predicted[claim, what] * (0.03 + 0.001 * seed))
    said = sentences.answer(five, "K1")
    assert f"**{verdict}**" in said
    assert f"in {5 if sign > 0 else 0} of 5 seeds" in said
    assert "as it must be" not in said
    summary = sentences.summary(five)
    # The effects of K5 and K6 lie within their margins, and of K3's control nothing follows.
    assert f"By the rule: 6 {verdict.lower()}, 2 negligible, 1 inconclusive (" in summary
    shown = "9 of 9 claims show its sign in every seed."
    if sign < 0:
        shown = "0 of 9 claims show its sign in every seed, and 9 in no seed."
    assert f"one factor changed at a time, {shown}" in summary
    assert "all of them wait" not in summary
    assert summary.startswith("**With seeds 2, 3, 4, 5, 6:**")


def test_verdicts_name_their_claims_and_what_holm_leaves(found: Results) -> None:
    predicted = {(row["claim"], row["what"]): row["predicted"] or 1 for row in found.effects.to_dict("records")}

    def effect(claim: str, what: str, seed: int) -> float:
        if claim in ("K2", "K8"):
            return 0.0001 * (-1) ** seed
        return (-1 if claim in ("K3", "K7") else 1) * predicted[claim, what] * (0.3 + 0.001 * seed)

    lines = sentences.verdicts(made(found, 5, effect)).splitlines()
    assert [re.findall(r"\bK\d", line) for line in lines] == [
        ["K1", "K4", "K5", "K6", "K9"], ["K7"], ["K2", "K8"], ["K3"], [], ["K3", "K6", "K7", "K9"],
    ]  # fmt: skip
    assert lines[3] == (
        "- **Inconclusive:** K3, divergent attention of the teachers causes low fidelity: "
        "no effect shown (the control is unequal)."
    )
    assert lines[4] == "- Judged 9 at once, by Holm's correction, none would be supported: that takes 8 seeds."
    assert "5 would be supported." in sentences.verdicts(made(found, 9, effect))
    assert "Judged" not in sentences.verdicts(made(found, 4, effect))


def test_four_seeds_decide_nothing(found: Results) -> None:
    four = made(found, 4, lambda claim, what, seed: -0.1)
    assert "as it must be with 4 of the 5 seeds" in sentences.answer(four, "K1")
    assert "9 inconclusive" in sentences.summary(four)
    assert sentences.summary(four).startswith("**So far, with seeds 2, 3, 4, 5:**")


def test_a_moved_mean_says_how_many_seeds_have_its_sign() -> None:
    assert sentences._moved([0.01]) == "+0.010"
    assert sentences._moved([-0.03, 0.01, -0.01]) == "−0.010 (2 of 3 seeds)"


def test_a_mean_that_is_not_zero_is_not_shown_as_zero() -> None:
    assert sentences._moved([-0.001, 0.001, -0.001]) == "−0.0003 (2 of 3 seeds)"
    assert sentences._moved([0.004], digits=2) == "+0.004"
    assert sentences._moved([0.02001, -0.02]) == "+0.000005 (1 of 2 seeds)"
    assert sentences._moved([0.0]) == "+0.000"


def test_an_images_own_answer_is_worth_following_only_where_both_rise(found: Results) -> None:
    pays = made(found, 1, lambda claim, what, seed: 0.1)
    not_so = made(found, 1, lambda claim, what, seed: 0.1 if what.endswith("agreement") else -0.1)
    assert "it is worth following" in sentences.of_this_image(pays)
    assert "do not rise together" in sentences.of_this_image(not_so)
    parted = made(found, 2, lambda claim, what, seed: 0.1 if what.endswith("agreement") or seed == 2 else -0.1)
    assert "Seeds disagree on one of the two" in sentences.of_this_image(parted)


def test_the_papers_tables_are_said_as_they_are() -> None:
    said = sentences.paper_held_fixed()
    for dataset in paper.MEASURED:
        for r in (
            paper.correlation("agreement", "accuracy", dataset),
            paper.correlation("agreement", "accuracy", dataset, "student"),
            paper.correlation_at("agreement", "accuracy", dataset, "strong"),
        ):
            assert f"{r:+.2f}".replace("-", "−") in said
    assert "24 of 24" in sentences.paper_halves()
    assert "19 of 24" in sentences.paper_halves()
    assert "4 of 4 data sets" in sentences.paper_affinity()


def test_the_smallest_profile_is_said() -> None:
    assert "51 networks" in sentences.smallest()


def test_a_sentence_counts_what_moves_less_than_seeds_differ_and_what_turns(
    found: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds 2 and 3 again, with every deciding effect moved by half of what two seeds differ by, and one of them turned."""
    rows = diff.moved(found, found)
    usual = rows.drop_duplicates("claim").set_index("claim")["usual"]

    def again(turned: str) -> Results:
        effects = found.effects[found.effects["primary"] & found.effects["seed"].isin([2, 3])]
        shifted = effects["effect"] + np.sign(effects["effect"]) * effects["claim"].map(usual) / 2
        turns = (effects["claim"] == turned) & (effects["seed"] == 3)
        study = replace(found)
        study.__dict__["effects"] = effects.assign(effect=shifted.where(~turns, -effects["effect"]))
        monkeypatch.setattr(Results, "judged_by", lambda self, key: self)
        return study

    read = {"cpu": found, "again": again("K4")}
    monkeypatch.setattr(results, "read", lambda folder: read[folder.name])
    claimed = len(usual)
    said = sentences.reruns("cpu", "again")
    assert f"{2 * claimed - 1} of {2 * claimed} in `cpu`." in said
    assert said.endswith("These change their sign: K4 in seed 3 of `cpu`.")
    read["again"] = again("")
    assert sentences.reruns("cpu", "again").endswith("None of them changes its sign.")
