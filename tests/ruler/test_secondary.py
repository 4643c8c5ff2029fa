"""What stands beside the claims without a verdict: each number again from the published files, by other means."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kdnb.book import exhibits
from kdnb.errors import IncompleteError
from kdnb.evidence import results
from kdnb.evidence.estimands import Association
from kdnb.evidence.results import Results
from kdnb.evidence.table import select
from kdnb.ruler import secondary

LETTERS = {"w": "weak", "s": "strong"}
PAIRS = ("ww", "sw", "ws", "ss")


@pytest.fixture(scope="module")
def found() -> Results:
    return results.read(results.home() / "cpu").judged_by("K")


@pytest.fixture(scope="module")
def raw(found: Results) -> pd.DataFrame:
    """The published rows in the textbook's form."""
    rows = pd.concat(pd.read_csv(found.folder / f"seed-{seed}" / "measures.csv") for seed in found.seeds)
    return rows[rows["form"] == "textbook"].fillna({"against": "", "method": ""})


def by_run(raw: pd.DataFrame, measure: str, split: str, view: str, against: str = "", method: str = "") -> pd.DataFrame:
    """seed × run"""
    rows = select(raw, measure=measure, split=split, view=view, against=against, method=method)
    return rows.pivot(index="seed", columns="run", values="value")


def shown(said: str) -> list[float]:
    return [float(each.replace("−", "-")) for each in re.findall(r"[+−]\d\.\d+", said)]


CLAIMS = {
    "K8": (["T1s_T2w", "T1w_T2s"], ["T1w_T2w", "T1s_T2s"], "K8"),
    "K5": (["T1w_T2wB"], ["T1w_T2w", "T1wB_T2wB"], "K5"),
}


@pytest.mark.parametrize("claim", ["K5", "K8"])
def test_ensembles_and_their_students_are_those_of_the_published_rows(
    claim: str, found: Results, raw: pd.DataFrame
) -> None:
    first, second, _ = CLAIMS[claim]
    of_teachers = (
        by_run(raw, "accuracy", "validation", "clean"),
        by_run(raw, "agreement", "validation", "clean", "each-other"),
        by_run(raw, "attention_iou", "train", "clean", method="cam-predicted"),
    )
    expected = [rows[first].mean(axis=1) - rows[second].mean(axis=1) for rows in of_teachers]
    students = by_run(raw, "accuracy", "validation", "clean")
    mean = [students[[f"{each}_S{s}" for each in kind for s in "ws"]].mean(axis=1) for kind in (first, second)]
    expected.append(mean[0] - mean[1])
    table = exhibits.ensembles(found, claim).shown
    assert isinstance(table, pd.DataFrame)
    for cell, each in zip(table.loc["difference"], expected, strict=True):
        assert shown(cell) == pytest.approx([float(each.mean())], abs=6e-5)
        assert f"({(each * each.mean() > 0).sum()} of 5)" in cell
    # What the pages say: better in every seed, more diverse, and students not better in every seed.
    better, alike, overlap, gained = expected
    assert (better > 0.005).all()
    assert (alike < 0).all()
    assert (overlap < 0).all()
    assert not (gained > 0).all()


def test_predictions_give_the_accuracy_of_an_ensemble(found: Results) -> None:
    """Recomputed from what each network said of each image."""
    by_hand = {kind: [] for kind in secondary.PARTED["K8"]}
    for seed in found.seeds:
        said = found.predictions(seed)
        for kind, pairs in zip(by_hand, (["T1s_T2w", "T1w_T2s"], ["T1w_T2w", "T1s_T2s"]), strict=True):
            by_hand[kind].append(np.mean([said.correct(pair).double().mean().item() for pair in pairs]))
    measured = secondary.ensembles(found.table, "K8")["accuracy together"].unstack()
    for kind, values in by_hand.items():
        assert measured[kind].tolist() == pytest.approx(values, abs=1e-6)


def centred(rows: pd.DataFrame, seed: int) -> np.ndarray:
    """The eight trials of a seed, the mean of each student augmentation taken off."""
    parts = [rows.loc[seed, [f"T1{a}_T2{b}_S{s}" for a, b in PAIRS]].to_numpy(dtype=float) for s in "ws"]
    return np.concatenate([part - part.mean() for part in parts])


def test_across_seeds_agreement_is_of_one_and_accuracy_of_another(found: Results, raw: pd.DataFrame) -> None:
    accuracy = by_run(raw, "accuracy", "validation", "clean")
    primary = found.claim_set["K6"].primary
    clean = found.claim_set["K6"].secondary[0]
    means = []
    for of, where in ((primary, ("train", "own")), (clean, ("validation", "clean"))):
        agreement = by_run(raw, "agreement", *where, "ensemble")
        expected = {}
        for first, second in itertools.permutations(found.seeds, 2):
            x, y = centred(agreement, first), centred(accuracy, second)
            expected[first, second] = (x @ y) / np.sqrt((x @ x) * (y @ y))
        assert isinstance(of, Association)
        assert secondary.across_seeds(found.table, of) == pytest.approx(expected, abs=1e-5)
        within = [np.corrcoef(centred(agreement, seed), centred(accuracy, seed))[0, 1] for seed in found.seeds]
        means += [np.mean(list(expected.values())), np.mean(within)]
    assert abs(means[0]) > abs(means[1])
    assert abs(means[2]) > abs(means[3])


def test_a_correlation_across_seeds_takes_two_of_them(found: Results) -> None:
    primary = found.claim_set["K6"].primary
    assert isinstance(primary, Association)
    with pytest.raises(IncompleteError, match="two seeds with all trials"):
        secondary.across_seeds(select(found.table, seed=2), primary)


def test_the_spread_of_teachers_is_that_of_their_published_probabilities(found: Results, raw: pd.DataFrame) -> None:
    accuracy = by_run(raw, "accuracy", "validation", "clean")
    r: dict[tuple[str, str], list[float]] = {}
    for seed in found.seeds:
        said = found.predictions(seed)
        truth = {run: said.truth[place].double().numpy() for place, run in enumerate(said.runs)}
        rows = []
        for (a, b), s in itertools.product(PAIRS, "ws"):
            together = truth[f"T1{a}_T2{b}"]
            view = said.views.index(LETTERS[s])
            apart = (
                abs(truth[f"T1{a}"][view] - truth[f"T2{b}"][view]) / 2
            )  # of two, the deviation is half their distance
            over = np.sqrt(((together - together.mean(axis=0)) ** 2).mean(axis=0))
            rows.append((s, over.mean(), apart.mean(), accuracy.loc[seed, f"T1{a}_T2{b}_S{s}"]))
        trials = pd.DataFrame(rows, columns=["student", "over views", "between teachers", "accuracy"])
        for name in ("over views", "between teachers"):
            for s, student in LETTERS.items():
                four = trials[trials["student"] == s]
                r.setdefault((name, student), []).append(np.corrcoef(four[name], four["accuracy"])[0, 1])
            both = trials[[name, "accuracy"]] - trials.groupby("student")[[name, "accuracy"]].transform("mean")
            r.setdefault((name, "all"), []).append(np.corrcoef(both.to_numpy().T)[0, 1])
    foretold = secondary.foretold(found)
    for key, values in r.items():
        assert foretold[key].tolist() == pytest.approx(values, abs=1e-4)
    name = secondary.SPREADS[0]
    assert max(r[name, "weak"]) < 0 < min(r[name, "strong"])  # it predicts nothing, as the page says


def test_results_without_a_kind_of_teachers_or_without_predictions_say_so(found: Results) -> None:
    scratch = results.read(results.home() / "cpu-scratch").judged_by("K")
    with pytest.raises(IncompleteError, match="teachers of two origins with weak and strong students"):
        secondary.ensembles(scratch.table, "K5")
    with pytest.raises(IncompleteError, match="published without predictions"):
        secondary.spread(replace(scratch))
