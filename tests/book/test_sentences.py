"""What pages say follows the results: signs, counts of seeds, and what cannot be said."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from kdnb.book import sentences
from kdnb.evidence import estimands, judging, overlap, paper, results
from kdnb.evidence.results import Results, home
from kdnb.release import diff

OF_A_STUDY = [
    "across_seeds", "best_mixed", "calibrated", "cause_in_common", "common_views", "content_or_softness",
    "divergence_or_information", "fidelity_interaction", "fitting", "foretold", "mixed_pairs", "of_this_image", "origins",
    "pull", "rulers", "softness", "standardised", "strongest", "summary", "turning_alpha", "verdicts", "where_asked",
    "who_gains",
]  # fmt: skip


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


@pytest.mark.parametrize("name", [name for name in OF_A_STUDY if name != "fidelity_interaction"])
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


@pytest.mark.parametrize(
    ("effects", "words"),
    [
        ([0.01, 0.02, 0.01], "Their students are better:"),
        ([-0.01, -0.02, -0.01], "Their students are worse:"),
        (
            [-0.01, 0.05, -0.01],
            "Seeds disagree on whether their students are better: validation accuracy moves by +0.010 (1",
        ),
    ],
)
def test_words_never_take_the_means_side_where_seeds_disagree(effects: list[float], words: str, found: Results) -> None:
    assert words in sentences.origins(made(found, 3, lambda claim, what, seed: effects[seed - 2]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mixed_pairs", "Seeds disagree on whether mixed pairs overlap less"),
        ("origins", "seeds disagree on whether the intervention makes them more diverse"),
        ("where_asked", "Seeds disagree on some of these signs"),
        ("divergence_or_information", "makes the teachers diverge in some seeds only"),
    ],
)
def test_where_seeds_disagree_a_sentence_says_so(name: str, words: str, found: Results) -> None:
    assert words in getattr(sentences, name)(made(found, 3, lambda claim, what, seed: (-0.01, 0.05, -0.01)[seed - 2]))


def test_where_a_student_is_asked_turns_the_sign_or_does_not(found: Results) -> None:
    turned = made(found, 1, lambda claim, what, seed: -0.05 if "own" in what else 0.02)
    alike = made(found, 1, lambda claim, what, seed: -0.05)
    assert "depends on whether the two students are asked about the same images" in sentences.where_asked(turned)
    assert "does not depend on whether" in sentences.where_asked(alike)
    by_view = made(found, 1, lambda claim, what, seed: 0.02 if what.endswith("common strong views") else -0.05)
    assert "depends on which images both are asked about" in sentences.where_asked(by_view)


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


def test_a_studys_own_networks_say_whether_its_budget_would_pass() -> None:
    """Recomputed by hand from the table of the book's study, which passes."""
    found = results.read(results.home() / "cpu")
    rows = found.table.query(
        "measure == 'accuracy' and form == 'textbook' and split == 'validation' and view == 'clean'"
    )
    mean = rows.groupby(["role", "teachers", "origin", "student", "objective"])["value"].mean()
    teachers = mean["teacher", "strong", "A", "", ""] - mean["teacher", "weak", "A", "", ""]
    alone = mean["student", "", "", "strong", "none"] - mean["student", "", "", "weak", "none"]
    gain = mean["student", "weak+weak", "A+A", "weak", "kd"] - mean["student", "", "", "weak", "none"]
    shown = re.findall(r"[+−]\d\.\d{3}", sentences.budget("cpu"))
    assert [float(each.replace("−", "-")) for each in shown[:3]] == [round(each, 3) for each in (teachers, alone, gain)]
    assert min(teachers, alone, gain - 0.03) >= 0
    assert sentences.budget("cpu").endswith("0 and +0.030: 3 of the three hold.")
    assert "may reflect underfitting" in sentences.budget("cpu-lt")


def test_coarser_maps_part_teachers_by_what_the_published_maps_say() -> None:
    """Masks of blocks of four places, made by hand from the explorer's file."""
    said = sentences.coarser(4, "cpu-short", "cpu")
    shown = [float(each.replace("−", "-")) for each in re.findall(r"−0\.\d{3}(?= ±)", said)]
    expected = []
    for profile in ("cpu-short", "cpu"):
        stored = safetensors.torch.load_file(results.home() / profile / "explorer.safetensors")
        for size in (1, 2):
            seen = {}
            for name in ("T1w", "T1s", "T2w", "T2s"):
                maps = stored[f"maps/{name}/cam-predicted/clean"].double().numpy()
                places = maps.shape[1] // size
                coarse = maps.reshape(len(maps), places, size, places, size).mean(axis=(2, 4))
                seen[name] = overlap.masks(torch.from_numpy(coarse), 32).numpy()
            pairs = {
                one + two: np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(seen[one], seen[two], strict=True)])
                for one, two in itertools.product(("T1w", "T1s"), ("T2w", "T2s"))
            }
            expected.append((pairs["T1wT2s"] + pairs["T1sT2w"] - pairs["T1wT2w"] - pairs["T1sT2s"]) / 2)
    assert shown == pytest.approx(expected, abs=6e-4)
    assert max(expected) < -0.03  # so that coarse maps are not why teachers from ImageNet part less


def test_an_exploratory_study_is_set_beside_the_books_own(tmp_path, monkeypatch) -> None:
    """The book's study beside itself has every sign alike; with one deciding effect turned, that one is named."""
    found = results.read(results.home() / "cpu").judged_by("K")
    primary = found.effects[found.effects["primary"]]
    steady = [key for key, of in primary.groupby("claim") if abs((of["effect"] > 0).sum() * 2 - len(of)) == len(of)]
    hold = sum(bool(of["as_predicted"].all()) for _, of in primary.groupby("claim"))
    said = sentences.elsewhere(found, "cpu")
    assert f"{hold} of {primary['claim'].nunique()} deciding effects have the paper's sign in every seed" in said
    assert f"Of the {len(steady)} that have one sign in every seed of `cpu`, all have the same here." in said
    turned = found.effects.copy()
    turned.loc[turned["claim"] == steady[0], "effect"] *= -1
    monkeypatch.setitem(found.__dict__, "effects", turned)
    assert f"`cpu`, {steady[0]} has the other here." in sentences.elsewhere(found, "cpu")


def test_confidence_is_compared_with_accuracy_as_the_predictions_have_them() -> None:
    """Reckoned again from what each network said of each image."""
    found = results.read(results.home() / "cpu-lt")
    predictions = found.predictions(0)
    excess: dict[str, list[float]] = {"weak": [], "strong": []}
    for run, cell in found.cells.items():
        if cell["role"] == "student" and cell["objective"] == "kd" and cell["teachers"].count("+") == 1:
            sure = predictions.confidence[predictions.runs.index(run), predictions.views.index("clean")]
            excess[cell["student"]].append(float((sure - predictions.correct(run).float()).mean()))
    said = sentences.confidence(found, "cpu-lt")
    shown = [float(each.replace("−", "-")) for each in re.findall(r"[+−]\d\.\d+", said)]
    means = [float(np.mean(excess[student])) for student in ("weak", "strong")]
    assert shown == pytest.approx(means * 2, abs=2e-3)


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
