"""What pages say of the published results and of the paper's tables, each number recomputed from them by hand."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest

from kdnb.book import sentences
from kdnb.evidence import claims, paper, results
from kdnb.evidence.estimands import MIXED, PURE, signed
from kdnb.evidence.results import Results, home
from kdnb.evidence.table import select
from kdnb.paths import CHECKOUT

PAGES = CHECKOUT / "notebooks" / "markdown"


@pytest.fixture(scope="module")
def found() -> Results:
    return results.read(home() / "cpu").judged_by("K")


def page(name: str) -> str:
    return re.sub(r"\s+", " ", (PAGES / f"{name}.md").read_text(encoding="utf-8"))


def says(name: str) -> str:
    """What a page's cells say of the published results: its stored Markdown."""
    cells = json.loads((PAGES.parent / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = (output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
    return " ".join(" ".join("".join(data.get("text/markdown", "")).split()) for data in outputs)


def points(value: float) -> str:
    return f"{signed(100 * value, 1)} points"


def clean(found: Results, measure: str, against: str = "") -> pd.Series:
    """(teachers, origin, student, objective, seed) → a measure of students on clean validation images."""
    rows = found.table.query(
        "role == 'student' and form == 'textbook' and split == 'validation' and view == 'clean' "
        "and measure == @measure and against == @against"
    )
    return rows.set_index(["teachers", "origin", "student", "objective", "seed"])["value"].sort_index()


def of_pairs(measure: str, dataset: str, teachers: str, student: str) -> float:
    return float(paper.trials(dataset).loc[(teachers, student), measure])


# -- content, softness -----------------------------------------------------------------------------------------------


def test_smoothed_labels_are_worse_than_no_teacher_and_content_exceeds_the_whole_gain(found: Results) -> None:
    accuracy = clean(found, "accuracy")
    taught = accuracy["weak+weak", "A+A", "strong", "kd"]
    smooth, none = accuracy["weak+weak", "A+A", "strong", "label-smoothing"], accuracy["", "", "strong", "none"]
    assert (smooth < none).all()
    assert (taught - smooth).mean() > (taught - none).mean()
    said = says("controls")
    assert f"help a strong student: {points((taught - none).mean())} of accuracy (in all 5 seeds)" in said
    assert f"Content is worth {points((taught - smooth).mean())}, softness {points((smooth - none).mean())}:" in said
    assert "softness by itself harms" in said
    assert "worth more than the whole gain" in said


def test_untrained_teachers_do_more_harm_than_smoothed_labels(found: Results) -> None:
    accuracy = clean(found, "accuracy")
    untrained, smooth = (accuracy["weak+weak", "A+A", "strong", each] for each in ("untrained", "label-smoothing"))
    assert (untrained < smooth).all()
    assert "smoothed labels help" not in page("controls")


# -- the paper's tables ----------------------------------------------------------------------------------------------


def test_the_students_augmentation_moves_the_papers_gap_most_but_not_agreement_or_accuracy() -> None:
    """What the page says below the contrasts."""
    further = {"agreement": 0, "accuracy": 0}
    for dataset in paper.MEASURED:
        moves = {}
        for measure in ("train_validation_gap", "agreement", "accuracy"):
            trials = paper.trials(dataset)[measure].unstack("student")
            moves[measure] = [
                abs((trials["strong"] - trials["weak"]).mean()),
                *(
                    abs(trials.loc["strong+strong", each] - trials.loc["weak+weak", each])
                    for each in ("strong", "weak")
                ),
            ]
        student, with_strong, with_weak = moves["train_validation_gap"]
        assert student > max(with_strong, with_weak)
        assert of_pairs("agreement", dataset, "strong+strong", "strong") > of_pairs(
            "agreement", dataset, "weak+weak", "strong"
        )
        further["agreement"] += moves["agreement"][1] > moves["agreement"][0]
        further["accuracy"] += moves["accuracy"][2] > moves["accuracy"][0]
        best = paper.trials(dataset)["accuracy"].groupby(level="teachers").max()
        assert best[list(MIXED)].max() > best[list(PURE)].max()
    assert further == {"agreement": 2, "accuracy": 2}  # of three data sets
    assert "largest effects by far" not in page("paper")


def test_what_is_held_fixed_in_the_papers_tables_is_said_of_weak_and_of_strong_students() -> None:
    said = sentences.paper_held_fixed()
    by_hand: dict[str, list[float]] = {"weak": [], "strong": [], "linked": [], "fixed": []}
    for dataset in paper.MEASURED:
        trials = paper.trials(dataset).reset_index()
        for student in ("weak", "strong"):
            of = trials[trials["student"] == student]
            by_hand[student].append(of["agreement"].corr(of["accuracy"]))
        by_hand["linked"].append(trials["agreement"].corr(trials["attention_iou"]))
        rest = trials[["agreement", "attention_iou"]] - trials.groupby("student")[
            ["agreement", "attention_iou"]
        ].transform("mean")
        by_hand["fixed"].append(rest["agreement"].corr(rest["attention_iou"]))
    assert np.round(by_hand["weak"], 2).tolist() == [-0.71, -0.91, -0.47]
    assert np.round(by_hand["strong"], 2).tolist() == [0.30, 0.83, 0.62]
    assert np.round(by_hand["fixed"], 2).tolist() == [-0.25, -0.0, -0.10]
    for values in by_hand.values():
        assert " / ".join(signed(value, 2) for value in values) in said


def test_the_page_does_not_say_that_the_paper_prints_what_it_does_not() -> None:
    printed = set(paper.tables()["measure"])
    assert not printed & {"mutual_information", "divergence", "entropy"}
    assert "attention_iou" not in paper.trials("imagenet")
    assert "prints every number" not in page("paper")


# -- correlation and its cause ---------------------------------------------------------------------------------------


def test_holding_the_students_augmentation_fixed_strengthens_r_here_and_weakens_it_in_the_paper(found: Results) -> None:
    agreement = found.table.query(
        "role == 'student' and objective == 'kd' and origin == 'A+A' and form == 'textbook' and split == 'train' "
        "and view == 'own' and measure == 'agreement' and against == 'ensemble' and teachers.str.contains('+', regex=False)"
    ).set_index(["seed", "teachers", "student"])["value"]
    accuracy = clean(found, "accuracy").xs("kd", level="objective").xs("A+A", level="origin")
    accuracy = accuracy.reorder_levels(["seed", "teachers", "student"])
    free, fixed = [], []
    for seed in found.seeds:
        pair = pd.DataFrame({"x": agreement[seed], "y": accuracy[seed]}).dropna()
        assert len(pair) == 8
        free.append(pair["x"].corr(pair["y"]))
        rest = pair - pair.groupby(level="student").transform("mean")
        fixed.append(rest["x"].corr(rest["y"]))
    assert (round(np.mean(free), 2), round(np.mean(fixed), 2)) == (-0.17, -0.49)
    weaker = sum(abs(one) < abs(other) for one, other in zip(fixed, free, strict=True))
    said = says("pathology")
    assert "It does in the paper's tables." in said
    assert f"Here r goes from −0.17 to −0.49 on average, and shrinks in {weaker} of 5 seeds." in said
    for dataset in paper.MEASURED:
        free_there, fixed_there = (
            paper.correlation("agreement", "accuracy", dataset, each) for each in ("", "student")
        )
        assert abs(fixed_there) < abs(free_there)


# -- generalisation --------------------------------------------------------------------------------------------------


def test_what_mixed_teachers_give_is_said_beside_the_papers_differences_and_what_five_seeds_see(found: Results) -> None:
    accuracy = clean(found, "accuracy").xs("kd", level="objective").xs("A+A", level="origin")
    by_seed = accuracy.unstack("seed").groupby(level="teachers").mean()
    ours = by_seed.loc[list(MIXED)].mean() - by_seed.loc[list(PURE)].mean()
    theirs = []
    for dataset in paper.MEASURED:
        mean = paper.trials(dataset)["accuracy"].groupby(level="teachers").mean()
        theirs.append(mean[list(MIXED)].mean() - mean[list(PURE)].mean())
    assert theirs == pytest.approx([0.0037, 0.0028, 0.0029], abs=6e-5)
    said = says("generalisation")
    assert f"{signed(100 * ours.mean(), 2)} points on average" in said or f"{points(ours.mean())} on average" in said
    assert f"The paper's tables average {points(np.mean(theirs))}." in said
    seen = float(re.findall(r"like these, ([\d.]+) points are seen", said)[0])
    assert seen == pytest.approx(170 * ours.std(), abs=0.02)
    assert "three times" not in said


def test_the_gap_is_a_difference_and_closes_through_training_accuracy(found: Results) -> None:
    rows = found.table.query(
        "role == 'student' and objective == 'kd' and origin == 'A+A' and form == 'textbook' and view == 'clean' "
        "and measure == 'accuracy' and against == '' and teachers.str.contains('+', regex=False)"
    )
    mean = rows.groupby(["split", "student"])["value"].mean()
    train, validation = (mean[split, "strong"] - mean[split, "weak"] for split in ("train", "validation"))
    gap = found.table.query(
        "role == 'student' and objective == 'kd' and origin == 'A+A' and form == 'textbook' and view == 'clean' "
        "and measure == 'train_validation_gap' and teachers.str.contains('+', regex=False)"
    )
    gap = gap.groupby("student")["value"].mean()
    assert gap["strong"] - gap["weak"] == pytest.approx(train - validation, abs=1e-3)
    assert train < -0.04 < 0 < validation < 0.001
    said = says("generalisation")
    assert "sum of two parts" not in said
    assert (
        f"on clean images: {points(train)} of training accuracy less {points(validation)} of validation accuracy"
        in said
    )
    assert "**The gap closes because training accuracy falls**" in said


def test_after_one_temperature_nothing_is_left_of_k9_and_its_verdict_says_so(found: Results) -> None:
    scaled = found.table.query(
        "role == 'student' and objective == 'kd' and origin == 'A+A' and form == 'textbook' and view == 'clean' and "
        "split == 'validation' and measure == 'calibration_error_scaled' and teachers.str.contains('+', regex=False)"
    )
    mean = scaled.groupby("student")["value"].mean()
    assert abs(mean["strong"] - mean["weak"]) < 0.001
    for said in (sentences.answer(found, "K9"), sentences.verdicts(found)):
        assert "calibration error alone is judged" in said
        assert f"after fitting one temperature {signed(mean['strong'] - mean['weak'])}" in said


# -- chance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "difference"), [("cpu", -0.061), ("cpu-vit", -0.136)])
def test_beyond_chance_is_one_definition_and_the_subtraction_stands_beside_it(profile: str, difference: float) -> None:
    study = results.read(home() / profile).judged_by("K")
    origin = study.profile.origin
    rows = study.table.query(
        "role == 'ensemble' and form == 'textbook' and split == 'train' and view == 'clean' and against == '' "
        "and method == 'cam-predicted'"
    )
    rows = rows[rows["origin"] == f"{origin}+{origin}"]
    by_pair = rows.pivot_table("value", ["teachers", "seed"], "measure")
    iou, chance = by_pair["attention_iou"], by_pair["chance_iou"]
    assert ((iou - chance) / (1 - chance)).to_numpy() == pytest.approx(by_pair["excess_iou"].to_numpy(), abs=1e-5)

    def mixed_minus_pure(of: pd.Series) -> float:
        mean = of.groupby(level="teachers").mean()
        return float(mean[list(MIXED)].mean() - mean[list(PURE)].mean())

    assert mixed_minus_pure(iou - chance) == pytest.approx(difference, abs=6e-4)
    if profile == "cpu":
        assert f"{signed(mixed_minus_pure(by_pair['excess_iou']))} beyond chance" in says("attention")
    assert "(\\mathrm{IoU} - c) / (1 - c)" in page("attention")


# -- halves ----------------------------------------------------------------------------------------------------------


def test_accuracy_on_halves_is_solved_from_how_a_student_agrees(found: Results) -> None:
    """Of whole images it can be compared with what is published; of halves, weak and strong students give one answer."""
    rows = found.table.query(
        "role == 'student' and form == 'textbook' and split == 'validation' and view == 'clean' and "
        "teachers == 'weak+weak' and student == 'weak'"
    )
    whole = rows[(rows["objective"] == "kd") & (rows["origin"] == "A+A")]
    of = whole.assign(against=whole["against"].replace("ensemble", "halves"), objective="half-LR")
    stand_in = results.read(found.folder)
    stand_in.__dict__["table"] = of
    published = whole.query("measure == 'teachers_accuracy'").sort_values("seed")["value"]
    assert sentences._right_of_halves(stand_in, "half-LR") == pytest.approx(published.tolist(), abs=1e-4)
    for objective in ("half-LR", "half-LL", "half-RR"):
        both = []
        for student in ("weak", "strong"):
            stand_in.__dict__["table"] = select(found.table, student=student)
            both.append(sentences._right_of_halves(stand_in, objective))
        assert both[0] == pytest.approx(both[1], abs=1e-4)


def test_the_control_of_halves_is_unequal_and_no_effect_is_claimed(found: Results) -> None:
    means = [np.mean(sentences._right_of_halves(found, each)) for each in ("half-LR", "half-LL", "half-RR")]
    assert np.round(means, 3).tolist() == [0.347, 0.293, 0.301]
    for said in (says("cause"), sentences.answer(found, "K3"), sentences.verdicts(found)):
        assert "The control is unequal" in said
        assert re.search("no effect of divergence( is shown)?", said)
        assert all(f"{mean:.3f}" in said for mean in means)
    assert min(sentences._right_of_halves(found, "half-LR")) > max(
        max(sentences._right_of_halves(found, each)) for each in ("half-LL", "half-RR")
    )
    shown = page("cause") + says("cause")
    for gone in ("Divergence alone", "half the information", "keeps divergence", "larger part", "keeps the loss"):
        assert gone not in shown


# -- matching --------------------------------------------------------------------------------------------------------


def test_z_score_may_only_pull_harder(found: Results) -> None:
    agreement, accuracy = clean(found, "agreement", "ensemble"), clean(found, "accuracy")
    measured = {
        objective: [float(of["weak+weak", "A+A", "strong", objective].mean().round(3)) for of in (agreement, accuracy)]
        for objective in ("kd", "zscore", "alpha-0.2")
    }
    assert measured == {"kd": [0.487, 0.321], "zscore": [0.520, 0.333], "alpha-0.2": [0.544, 0.334]}
    said = says("matching")
    assert re.findall(r"0\.\d{3}", said.split("For a strong student of weak teachers")[1])[:6] == [
        f"{value:.3f}" for kind in ("kd", "zscore", "alpha-0.2") for value in measured[kind]
    ]
    assert "only the standardising differs" not in page("matching")


def test_the_verdict_on_matching_says_that_accuracy_rises(found: Results) -> None:
    accuracy = clean(found, "accuracy")
    gains = [
        np.mean(
            [
                accuracy[pair, "A+A", student, "zscore", seed] - accuracy[pair, "A+A", student, "kd", seed]
                for pair, student in itertools.product(PURE, ("weak", "strong"))
            ]
        )
        for seed in found.seeds
    ]
    assert min(gains) > 0
    for said in (sentences.answer(found, "K7"), sentences.verdicts(found)):
        assert f"accuracy {signed(float(np.mean(gains)))} (5 of 5)" in said


# -- the ruler -------------------------------------------------------------------------------------------------------


def test_k6_was_declared_at_an_end_of_its_ways_to_measure(found: Results) -> None:
    assert "K6 (number 10 of 100)" in says("ruler")
    for said in (sentences.answer(found, "K6"), sentences.verdicts(found)):
        assert "own training views, where agreement is nearly training accuracy; on clean validation images" in said


def test_common_weak_views_have_the_papers_sign_as_often_as_own_ones(found: Results) -> None:
    favour = {
        view: select(found.effects, claim="K1", what=f"agreement, common {view} views")["effect"]
        for view in ("weak", "strong")
    }
    assert (favour["weak"] < 0).all()
    assert (favour["strong"] > 0).all()
    weak, strong = (signed(favour[view].mean()) for view in ("weak", "strong"))
    assert f"agreement falls on common weak views ({weak}) and rises on common strong ones ({strong})" in says("ruler")


# -- what was declared -----------------------------------------------------------------------------------------------


def test_all_but_two_claims_are_decided_on_common_clean_images() -> None:
    """What the page on limits says of where fidelity is measured."""
    own = {
        claim.key
        for claim in claims.SETS["K"].claims
        if claim.primary is not None and "own" in re.findall(r"view='(\w+)'", repr(claim.primary))
    }
    assert own == {"K5", "K6"}
    assert "K5 and K6" in page("limits")


def test_plain_distillation_is_not_matched_in_softness(found: Results) -> None:
    rows = found.table.query(
        "role == 'teacher' and origin == 'A' and measure == 'entropy' and split == 'train' and view == 'clean'"
    )
    mean = rows.groupby("teachers")["value"].mean()
    assert f"is {mean['strong']:.2f} nats, that of weak teachers {mean['weak']:.2f}" in says("study")
    assert mean["strong"] - mean["weak"] > 0.3


def test_no_page_says_that_the_test_assumes_nothing() -> None:
    assert all("assumes nothing" not in page(each.stem) for each in PAGES.glob("*.md"))


def test_strong_students_do_not_overfit_their_own_views(found: Results) -> None:
    gap = found.table.query(
        "role == 'student' and objective == 'kd' and form == 'textbook' and view == 'own' "
        "and measure == 'train_validation_gap' and teachers.str.contains('+', regex=False)"
    ).groupby("student")["value"]
    assert gap.max()["strong"] < 0 < gap.min()["weak"]
    assert "keep a small network overfitting" not in page("limits")


def test_where_teachers_of_different_halves_know_neither_more_nor_less_no_control_is_called_unequal(
    found: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {"half-LR": [0.30, 0.31], "half-LL": [0.29, 0.30], "half-RR": [0.32, 0.33]}
    monkeypatch.setattr(sentences, "_right_of_halves", lambda found, objective: right[objective])
    assert "unequal" not in sentences._control(found)
    right["half-LR"] = [0.28, 0.29]
    assert "teachers of different halves know less" in sentences._control(found)


# -- answers to exercises --------------------------------------------------------------------------------------------


def test_error_consistency_moves_students_of_weak_teachers_up_and_no_others(found: Results) -> None:
    ranks = {
        measure: clean(found, measure, "ensemble")
        .xs("kd", level="objective")
        .xs("A+A", level="origin")
        .groupby(["teachers", "student"])
        .mean()
        .rank()
        for measure in ("agreement", "error_consistency")
    }
    moved = ranks["error_consistency"] - ranks["agreement"]
    assert set(moved.index[moved > 0]) == {("weak+weak", "weak"), ("weak+weak", "strong")}


def test_teachers_matter_to_the_affinity_of_strong_students_more_than_to_that_of_weak_ones(found: Results) -> None:
    affinity = found.table.query(
        "role == 'student' and objective == 'kd' and origin == 'A+A' and measure == 'affinity' and form == 'paper' "
        "and view == 'own'"
    ).groupby(["seed", "student"])["value"]
    spread = (affinity.max() - affinity.min()).unstack("student")
    assert (spread["strong"] > spread["weak"]).all()


def test_calibration_error_and_the_gap_differ_between_colours_and_go_two_ways_within_them(found: Results) -> None:
    error = clean(found, "calibration_error").xs("kd", level="objective").xs("A+A", level="origin")
    gap = found.table.query(
        "role == 'student' and objective == 'kd' and origin == 'A+A' and form == 'textbook' and view == 'own' "
        "and measure == 'train_validation_gap'"
    )
    both = pd.DataFrame(
        {
            "error": error.groupby(["teachers", "student"]).mean(),
            "gap": gap.groupby(["teachers", "student"])["value"].mean(),
        }
    )
    mean = both.groupby("student").mean()
    assert (mean.loc["weak"] > mean.loc["strong"]).all()
    weak, strong = (both.xs(student, level="student") for student in ("weak", "strong"))
    assert weak["error"].corr(weak["gap"]) > 0.5
    assert strong["error"].corr(strong["gap"]) < -0.5
