"""What pages say of results, in sentences that follow them: each function reads effects or the table and words what it finds.

No page types a number or a direction. A sentence says how many seeds bear it, and where the results lack what it needs, that.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Literal, ParamSpec

import numpy as np
import pandas as pd
from torch import Tensor

from kdnb.book.cards import seeds_in_words
from kdnb.book.words import Said
from kdnb.errors import IncompleteError
from kdnb.evidence import judging, overlap, paper, results
from kdnb.evidence.claims import FACTOR, PLOTTED, Claim
from kdnb.evidence.estimands import MIXED, PAIRS, PURE, Association, papers, papers_in_words, signed
from kdnb.evidence.results import Results
from kdnb.evidence.statistics import LEVEL
from kdnb.evidence.table import plain, select
from kdnb.release import diff
from kdnb.ruler import curves, power, secondary
from kdnb.study import grid
from kdnb.study import profile as profiles

SEEDS_FOR_A_VERDICT = 5
SEEDS_FOR_HOLM = 8
"""that nine primaries need: the least p of seven is 1/128, and nine times that is beyond 0.05"""
MANY, AN_END = 20, 0.1
"""ways to measure from which an end can be spoken of, and the share of them that it has"""


P = ParamSpec("P")


def _said(make: Callable[Concatenate[Results, P], str]) -> Callable[Concatenate[Results, P], Said]:
    @wraps(make)
    def sentence(found: Results, /, *args: P.args, **given: P.kwargs) -> Said:
        try:
            return Said(make(found, *args, **given))
        except IncompleteError as lacking:
            return Said(f"*Not in these results ({found.profile.name}): {lacking}.*")

    return sentence


# -- pieces ----------------------------------------------------------------------------------------------------------


def _effects(found: Results, key: str, what: str) -> list[float]:
    values = select(found.effects, claim=key, what=what)["effect"].tolist()
    if not values:
        raise IncompleteError(what)
    return [float(value) for value in values]


def _mean(found: Results, key: str, what: str) -> float:
    values = _effects(found, key, what)
    return sum(values) / len(values)


def _in_seeds(values: list[float], side: int) -> str:
    """``in 2 of 3 seeds``, of values on a side of 0."""
    agree = sum(value * side > 0 for value in values)
    return f"in {agree} of {len(values)} seed{'' if len(values) == 1 else 's'}"


def _moved(values: list[float], digits: int = 3) -> str:
    """``+0.012 (2 of 3 seeds)``: the mean, and, of several seeds, how many have its sign."""
    mean = sum(values) / len(values)
    text = signed(mean, digits)
    agree = sum(value * mean > 0 for value in values)
    return f"{text} ({agree} of {len(values)} seeds)" if len(values) > 1 else text


def _sign(values: list[float]) -> int:
    """1 or −1 where every seed has it; 0 where they disagree, and words must not take the mean's side."""
    return next((sign for sign in (1, -1) if all(value * sign > 0 for value in values)), 0)


def _cells(found: Results, measure: str, against: str = "", **where: str) -> pd.DataFrame:
    """seed, teachers, student → value, of the eight trials."""
    table = plain(found.table)
    asked = {"role": "student", "measure": measure, "form": "textbook", "split": "validation", "view": "clean"} | where
    rows = select(table, against=against, **asked)
    rows = rows[rows["teachers"].isin(PAIRS)]
    if rows.empty:
        raise IncompleteError(f"the eight trials in {measure}")
    return rows.pivot(index="seed", columns=["teachers", "student"], values="value")


# -- every claim -----------------------------------------------------------------------------------------------------


def answer(found: Results, key: str) -> Said:
    """What a claim's two columns say here, beside the paper's tables, and how sure that is."""
    claim = found.claim_set[key]
    lines = []
    plotted = claim.plotted[0] if claim.plotted else None
    if plotted is not None and plotted.predicted and not select(found.effects, claim=key, what=plotted.what).empty:
        values = _effects(found, key, plotted.what)
        theirs = papers_in_words(plotted)
        theirs = f"; in its own tables {theirs}" if theirs else ""
        shown = ", ".join(signed(value) for value in values)
        lines.append(
            f"*{PLOTTED.capitalize()}* ({plotted.what}): {shown}{theirs}. It has the sign that the paper predicts "
            f"{_in_seeds(values, plotted.predicted)}."
        )
    primary = claim.primary
    if primary is None or select(found.effects, claim=key, what=primary.what).empty:
        return Said(" ".join([*lines, f"*The grid of {found.profile.name} cannot decide {key}.*"]))
    values = _effects(found, key, primary.what)
    judged = select(found.verdicts, claim=key, what=primary.what).iloc[0]
    shown = ", ".join(signed(value) for value in values)
    side = {1: "positive", -1: "negative"}[primary.predicted or 1]
    lines.append(
        f"*{FACTOR.capitalize()}* ({primary.what}): {shown}. The paper's account makes it {side}; it is "
        f"{_in_seeds(values, primary.predicted or 1)}."
    )
    of_claim = select(found.verdicts, claim=key)
    verdict, _, qualified = judging.said(claim, judged, of_claim).partition("; ")
    sure = f"**{verdict[0].upper() + verdict[1:]}**"
    if not (claim.instead and verdict.endswith(claim.instead)):
        sure += " by the rule that was declared beforehand"
    if len(values) < SEEDS_FOR_A_VERDICT:
        sure += f", as it must be with {len(values)} of the {SEEDS_FOR_A_VERDICT} seeds that a verdict needs"
    lines.append(f"{sure} ({found.scale}){f': {qualified}' if qualified else ''}.")
    apart = judging.columns_disagree(claim, of_claim)
    lines += [f"The two columns disagree: {apart}."] if apart else []
    return Said(" ".join([*lines, beside(found, claim)]).rstrip())


def beside(found: Results, claim: Claim) -> str:
    """What is computed from several results to stand beside a verdict: of K3, how much the teachers know; else empty."""
    try:
        return _control(found) if claim.key == "K3" else ""
    except IncompleteError:
        return ""


@_said
def summary(found: Results) -> str:
    """In how many claims seeds have the paper's sign, in each column, and how many have which verdict."""
    effects = found.effects[found.effects["predicted"] != 0]
    firsts = {claim.key: claim.plotted[0].what for claim in found.claim_set.claims if claim.plotted}
    plotted = effects[(effects["column"] == PLOTTED) & (effects["what"] == effects["claim"].map(firsts))]
    primary = effects[effects["primary"]]
    if primary.empty:
        raise IncompleteError("any claim's primary")

    several = len(found.seeds) > 1

    def shown(rows: pd.DataFrame) -> str:
        share = rows.groupby("claim")["as_predicted"].mean()
        words = f"{int((share == 1).sum())} of {len(share)} claims show its sign"
        never = int((share == 0).sum())
        return f"{words} in every seed{f', and {never} in no seed' if never else ''}" if several else words

    judged = found.verdicts[found.verdicts["verdict"] != ""]
    words = [judging.word(found.claim_set[row["claim"]], row["verdict"]) for row in judged.to_dict("records")]
    parts = [f"{words.count(word)} {word}" for word in _WORDS if word in words]
    waiting = len(found.seeds) < SEEDS_FOR_A_VERDICT
    sentence = (
        f"**{'So far, with' if waiting else 'With'} {seeds_in_words(found)}:** plotted as the paper plots them, "
        f"{shown(plotted)}; with one factor changed at a time, {shown(primary)}. "
        f"By the rule: {', '.join(parts)} ({found.scale})."
    )
    if waiting:
        sentence += (
            f" A verdict takes {SEEDS_FOR_A_VERDICT} seeds, so all of them wait; the signs are shown as they come, and "
            "none is left out."
        )
    return sentence


_WORDS = ("supported", "contradicted", "negligible", "inconclusive")


def _aside(claim: Claim, judged: pd.DataFrame, key: str) -> str:
    """What is said in the place of a claim's verdict, or which sign a negligible effect has."""
    _, bracket, by_sign = judged["verdict"][key].partition(" (")
    return f": {claim.instead}" if claim.instead else bracket + by_sign


@_said
def verdicts(found: Results) -> str:
    """Which claims have which verdict, and what judging several at once does to that."""
    judged = found.verdicts[found.verdicts["verdict"] != ""].set_index("claim")
    claims = {key: found.claim_set[key] for key in judged.index}
    if judged.empty:
        raise IncompleteError("any claim's primary")
    lines = []
    for word in _WORDS:
        keys = [key for key, claim in claims.items() if judging.word(claim, judged["verdict"][key]) == word]
        # what is judged is what a statement says first, not what it takes that for
        named = [f"{key}, {claims[key].statement.partition(':')[0]}" + _aside(claims[key], judged, key) for key in keys]
        if named:
            lines.append(f"- **{word.capitalize()}:** {'; '.join(named)}.")
    if len(found.seeds) >= SEEDS_FOR_A_VERDICT:
        passed = int((judged["p_holm"] <= LEVEL).sum())
        lines.append(
            f"- Judged {len(judged)} at once, by Holm's correction, {passed or 'none'} would be supported"
            f"{'' if passed or len(found.seeds) >= SEEDS_FOR_HOLM else f': that takes {SEEDS_FOR_HOLM} seeds'}."
        )
    qualified = {key: judging.qualified(claim, select(found.verdicts, claim=key)) for key, claim in claims.items()}
    care = [
        f"{key}: {'; '.join(clauses)}. {beside(found, claims[key])}".rstrip()
        for key, clauses in qualified.items()
        if clauses
    ]
    lines += [f"- **Read with care.** {' '.join(care)}"] if care else []
    return "\n".join(lines)


# -- augmentation ----------------------------------------------------------------------------------------------------


@_said
def strongest(found: Results) -> str:
    """Which trial is the strongest by the paper's own affinity, here and in its tables."""
    cells = _cells(found, "affinity", view="own", form="paper")
    lowest = [min(row.items(), key=lambda item: item[1])[0] for _, row in cells.iterrows()]
    ww = sum(cell == ("weak+weak", "strong") for cell in lowest)
    theirs = [paper.trials(dataset)["affinity"].idxmin() for dataset in paper.DATASETS]
    of_paper = sum(cell == ("weak+weak", "strong") for cell in theirs)
    both = cells["strong+strong", "strong"] - cells["weak+weak", "strong"]
    return (
        "By its own affinity, the strongest of the paper's trials has two *weak* teachers and a strong student, in "
        f"{of_paper} of {len(theirs)} data sets; here that is so in {ww} of {len(lowest)} "
        f"seed{'' if len(lowest) == 1 else 's'}. For strong students, taking two strong teachers for two weak ones "
        f"moves affinity by {_moved([float(value) for value in both])}. What students can make of strong views "
        "depends on who taught them. So *stronger augmentation*, as the paper measures it, is not *more strong "
        "networks*, which it says itself (secs. 5 and 6.1)."
    )


# -- attention -------------------------------------------------------------------------------------------------------


@_said
def mixed_pairs(found: Results) -> str:
    """Mixed against pure pairs, by map, and beyond what the masks' areas give by chance."""
    main = _effects(found, "K4", "attention IoU, mixed − pure teachers, clean training images")
    beyond = _effects(found, "K4", "attention IoU beyond chance, mixed − pure teachers")
    others = {name: _mean(found, "K4", f"the same by maps {name}") for name in ("cam-sum", "cam-true", "grad-cam")}
    alike = [name for name, value in others.items() if value * sum(main) > 0]
    overlap = {
        1: "Mixed pairs overlap more than pure ones",
        -1: "Mixed pairs overlap less than pure ones",
        0: "Seeds disagree on whether mixed pairs overlap less than pure ones",
    }[_sign(main)]
    named = f" ({', '.join(alike)})" if alike else ""
    return (
        f"{overlap} by maps of the predicted class: {_moved(main)} in IoU and {_moved(beyond)} beyond chance, which is "
        f"(IoU − c) / (1 − c) with c the IoU that masks of these areas have by chance. (The difference IoU − c moves by "
        f"{_moved(_above_chance(found))}.) Of the {len(others)} other maps, {len(alike)} agree in sign{named}."
    )


def _above_chance(found: Results) -> list[float]:
    """IoU − chance of mixed − pure pairs, on the maps and images that decide K4; a value for each seed."""
    where = {"role": "ensemble", "form": "textbook", "method": "cam-predicted", "split": "train", "view": "clean"}
    rows = select(plain(found.table), against="", **where)
    of = {
        name: select(rows, measure=name).pivot(index="seed", columns="teachers", values="value")
        for name in ("attention_iou", "chance_iou")
    }
    if not set(PAIRS) <= set(of["chance_iou"]):
        raise IncompleteError("chance IoU of mixed and pure pairs")
    above = of["attention_iou"] - of["chance_iou"]
    return [float(value) for value in above[list(MIXED)].mean(axis=1) - above[list(PURE)].mean(axis=1)]


@_said
def origins(found: Results) -> str:
    """Teachers of two origins against teachers of one."""
    iou = _effects(found, "K5", "teachers of two origins − of one: attention IoU, clean training images")
    accuracy = _effects(found, "K5", "teachers of two origins − of one: validation accuracy")
    agreement = _effects(found, "K5", "teachers of two origins − of one: agreement, clean")
    students = {
        1: "Their students are better",
        -1: "Their students are worse",
        0: "Seeds disagree on whether their students are better",
    }[_sign(accuracy)]
    done = {
        1: "the intervention does not make them more diverse",
        -1: "the intervention does make them more diverse",
        0: "seeds disagree on whether the intervention makes them more diverse",
    }[_sign(iou)]
    return (
        f"Taking the two teachers from two origins changes their attention IoU by {_moved(iou)}: {done}. {students}: "
        f"validation accuracy moves by {_moved(accuracy)}, agreement by {_moved(agreement)}. Augmentation is the same "
        "throughout, so neither can come from it."
    )


# -- fidelity --------------------------------------------------------------------------------------------------------


@_said
def where_asked(found: Results) -> str:
    """Strong − weak students on common images and each on its own."""
    common = _effects(found, "K1", "agreement, common clean validation images")
    weak = _effects(found, "K1", "agreement, common weak views")
    strong = _effects(found, "K1", "agreement, common strong views")
    own = _effects(found, "K1", "agreement, each on its own views")
    training = _effects(found, "K1", "agreement, own training views, as the paper")
    shared, sides = {_sign(common), _sign(weak), _sign(strong)}, {_sign(own), _sign(training)}
    if shared == {1} and sides == {-1}:
        turn = "So the sign depends on whether the two students are asked about the same images"
    elif {1, -1} <= shared:
        turn = "So the sign depends on which images both are asked about"
    elif len(shared | sides) == 1 and shared != {0}:
        turn = "So here the sign does not depend on whether the two students are asked about the same images"
    else:
        turn = "Seeds disagree on some of these signs, so what the images decide is open"
    return (
        "Agreement with the teachers, strong minus weak students of the same teachers, mean of the four sets of teachers: "
        f"{_moved(common)} on common clean images, {_moved(weak)} on common weak views and {_moved(strong)} on common "
        f"strong views. Each on its own views, as the paper measures: {_moved(own)} on validation images and "
        f"{_moved(training)} on training images. {turn}."
    )


@_said
def fidelity_interaction(found: Results) -> str:
    """The student's augmentation with weak and with strong teachers, and the diagonal."""
    cells = _cells(found, "agreement", "ensemble")
    weak = [float(v) for v in cells["weak+weak", "strong"] - cells["weak+weak", "weak"]]
    strong = [float(v) for v in cells["strong+strong", "strong"] - cells["strong+strong", "weak"]]
    diagonal = [float(v) for v in cells["strong+strong", "strong"] - cells["weak+weak", "weak"]]
    word = {
        -1: "They have opposite signs, so no single number says what strong views do to fidelity",
        1: "They have one sign, and differ in size",
        0: "For at least one of them, seeds disagree on the sign",
    }[_sign(weak) * _sign(strong)]
    return (
        f"Strong views change the student's agreement with weak teachers by {_moved(weak)}, and with strong teachers "
        f"by {_moved(strong)}. {word}. The diagonal, all strong minus all weak, is {_moved(diagonal)}: it adds what "
        "the teachers' training does."
    )


@_said
def fitting(found: Results) -> str:
    """How nearly agreement on training views is training accuracy, here and in the paper's tables."""
    agreement = _cells(found, "agreement", "ensemble", split="train", view="own")
    accuracy = _cells(found, "accuracy", split="train", view="own")
    each = [float(agreement.loc[seed].corr(accuracy.loc[seed])) for seed in agreement.index]
    theirs = []
    for dataset in paper.MEASURED:
        there = paper.trials(dataset)
        theirs.append(float(there["agreement"].corr(there["accuracy"] + there["train_validation_gap"])))
    shown, of_paper = (" / ".join(f"{r:+.2f}".replace("-", "−") for r in rs) for rs in (each, theirs))
    return (
        f"Over the eight trials, agreement on training views and accuracy on those views go together with r = {shown} "
        f"here, and r = {of_paper} in the paper's tables (CIFAR-100 / its long tail / ImageNet-LT). So agreement, "
        "measured there, is almost how well a student fits its own training views."
    )


# -- generalisation --------------------------------------------------------------------------------------------------


@_said
def who_gains(found: Results) -> str:
    """What strong views give a student, with and without teachers."""
    mean = _effects(found, "K2", "validation accuracy")
    alone = _effects(found, "K2", "validation accuracy, students without teachers")
    weak = _effects(found, "K2", "validation accuracy, weak and weak teachers")
    strong = _effects(found, "K2", "validation accuracy, strong and strong teachers")
    between = _effects(found, "K2", "interaction: the gain with strong teachers − with weak ones")
    return (
        f"Strong minus weak students of the same teachers, on average: {_moved(mean)} of validation accuracy. Without "
        f"teachers it is {_moved(alone)}, with two weak teachers {_moved(weak)}, with two strong ones "
        f"{_moved(strong)}. The last minus the one before is {_moved(between)}: an average over teachers hides such an "
        "interaction, so read it beside its parts."
    )


@_said
def calibrated(found: Results) -> str:
    """Calibration and the gap, taken apart."""
    ece = _effects(found, "K9", "calibration error, common clean validation images")
    scaled = _effects(found, "K9", "calibration error after fitting one temperature")
    gap = _effects(found, "K9", "train–validation gap, own views")
    clean = _effects(found, "K9", "train–validation gap, clean training images")
    train = _effects(found, "K9", "accuracy on clean training images")
    accuracy = _effects(found, "K2", "validation accuracy")
    closes = " A gap that closes only because training accuracy falls is no better generalisation."
    return (
        f"Strong minus weak students: the calibration error moves by {_moved(ece)}, and by {_moved(scaled)} once a "
        f"single temperature has been fitted to each. The gap moves by {_moved(gap)} on own training views and by "
        f"{_moved(clean)} on clean ones. That is what training accuracy moves by, {_moved(train)}, minus what validation "
        f"accuracy moves by, {_moved(accuracy)}.{closes if _sign(clean) == _sign(train) == -1 else ''}"
    )


@_said
def best_mixed(found: Results) -> str:
    """Mixed against pure teachers, at weak and at strong students."""
    weak = _effects(found, "K8", "validation accuracy, weak students")
    strong = _effects(found, "K8", "validation accuracy, strong students")
    claim = found.claim_set["K8"].primary
    assert claim is not None
    both = _effects(found, "K8", claim.what)
    seen = ""
    if len(both) >= SEEDS_FOR_A_VERDICT:
        least = power.smallest_effect(len(both)) * float(np.std(both, ddof=1))
        seen = f"; {len(both)} seeds that scatter as these do see {signed(least, 4)} with a probability of {power.CHANCE:g}"
    return (
        f"Mixed minus pure teachers: validation accuracy moves by {_moved(weak)} for weak students and by "
        f"{_moved(strong)} for strong ones, on average by {_moved(both, 4)}. In the paper's tables it is "
        f"{' / '.join(signed(value, 4) for value in papers(claim).values())}{seen}."
    )


# -- pathology, cause, matching, controls ----------------------------------------------------------------------------


@_said
def cause_in_common(found: Results) -> str:
    """The correlation over all trials, and among students of one augmentation, for IoU and agreement."""
    lines = []
    for key, name in (("K6", "agreement"), ("K5", "attention IoU")):
        claim = found.claim_set[key]
        whole = next(each for each in claim.plotted if isinstance(each, Association))
        assert claim.primary is not None
        values, rest = _effects(found, key, whole.what), _effects(found, key, claim.primary.what)
        lines.append(
            f"{name[0].upper()}{name[1:]} and accuracy: r = {_moved(values, 2)} over all eight trials and {_moved(rest, 2)} "
            f"with the student's augmentation held fixed (the paper's tables: {papers_in_words(whole)} and "
            f"{papers_in_words(claim.primary)})."
        )
        if key == "K6":
            theirs = zip(papers(whole).values(), papers(claim.primary).values(), strict=True)
            nearer = [abs(fixed) < abs(free) for free, fixed in theirs]
            ours = [abs(fixed) < abs(free) for free, fixed in zip(values, rest, strict=True)]
    lines.append(
        "If the student's augmentation made the correlation of agreement and accuracy, holding it fixed would move r "
        f"towards zero. So it does in {sum(nearer)} of {len(nearer)} of the paper's tables, and in {sum(ours)} of "
        f"{len(ours)} of our seeds"
        f"{'; in the others r is stronger when it is held fixed' if sum(ours) < len(ours) else ''}."
    )
    return " ".join(lines)


@_said
def of_this_image(found: Results) -> str:
    """Answers about the image − mean answers of its class."""
    accuracy = _effects(found, "K6", "answers about the image − mean answers of its class: accuracy")
    agreement = _effects(found, "K6", "answers about the image − mean answers of its class: agreement")
    signs, of_itself = {_sign(accuracy), _sign(agreement)}, "Here what teachers say about the image makes students"
    if 0 in signs:
        word = "Seeds disagree on one of the two, so neither can be said to follow the other"
    elif signs == {1}:
        word = f"{of_itself} follow more *and* be right more often: it is worth following"
    elif signs == {-1}:
        word = f"{of_itself} follow less and be right less often"
    else:
        word = "Here following the image's own answer and being right do not rise together"
    return (
        f"Targets about each image, in place of class averages, move accuracy by {_moved(accuracy)} and agreement by "
        f"{_moved(agreement)}. {word}. Class averages also say less, so this sets information and fidelity together."
    )


@_said
def turning_alpha(found: Results) -> str:
    """Accuracy and agreement at other weights of the labels."""
    parts = []
    for weight in ("0.2", "0.9"):
        accuracy = _effects(found, "K6", f"α = {weight} − α = 0.6: accuracy")
        agreement = _effects(found, "K6", f"α = {weight} − α = 0.6: agreement")
        parts.append(f"α = {weight}: accuracy {_moved(accuracy)}, agreement {_moved(agreement)}")
    return f"Compared with α = 0.6: {'; '.join(parts)}."


@_said
def divergence_or_information(found: Results) -> str:
    """Different − same halves, same halves − whole, and what the teachers know in each case."""
    different = _effects(found, "K3", "different − same halves: agreement with whole-image answers, clean")
    half = _effects(found, "K3", "same halves − whole images: agreement, clean")
    iou = _effects(
        found, "K3", "different − same halves: attention IoU, clean training images (check of the manipulation)"
    )
    accuracy = _effects(found, "K3", "different − same halves: accuracy")
    checked = {
        1: "does not make the teachers diverge, so the test tests nothing",
        -1: "does make the teachers diverge",
        0: "makes the teachers diverge in some seeds only",
    }[_sign(iou)]
    return (
        f"Giving the teachers different halves {checked}: attention IoU moves by {_moved(iou)} against the same half. "
        f"Agreement moves by {_moved(different)} and accuracy by {_moved(accuracy)}. {_control(found)} Same halves minus "
        f"whole images moves agreement by {_moved(half)}; there, too, both what teachers see and where they look change."
    )


def _control(found: Results) -> str:
    """Whether teachers of different halves know as much as those of the same half."""
    right = {objective: _right_of_halves(found, objective) for objective in ("half-LR", "half-LL", "half-RR")}
    different, *same = right.values()
    above = _sign([here - max(there) for here, *there in zip(different, *same, strict=True)])
    below = _sign([here - min(there) for here, *there in zip(different, *same, strict=True)])
    more = above if above == below else 0
    word = {
        1: "The control is unequal: two different halves make the whole image, and such teachers know more. ",
        -1: "The control is unequal: teachers of different halves know less. ",
        0: "",
    }[more]
    share = [f"{sum(values) / len(values):.3f}" for values in right.values()]
    open_ = " So no effect of divergence is shown: what the teachers know may hide one or make one." if more else ""
    return (
        f"{word}Two teachers together are right about {share[0]} of the clean validation images with different halves, "
        f"{share[1]} with two left and {share[2]} with two right halves.{open_}"
    )


def _right_of_halves(found: Results, objective: str) -> list[float]:
    """Accuracy of two weak teachers together, asked about the halves that they taught with: clean validation images, by seed.

    Their answers are not published; how a student agrees with them is. Let a be the student's accuracy, t theirs, r the share
    of images that both get right and w = 1 − a − t + r that both get wrong. Then agreement is r + e·w with e the agreement on
    errors, and error consistency κ·(a + t − 2at) = 2(r − at): two equations for r and t.

    Raises:
        IncompleteError: no such student, or no errors in common.
    """
    where = {"role": "student", "form": "textbook", "split": "validation", "view": "clean", "objective": objective}
    rows = select(found.table, teachers="weak+weak", **where)
    by_measure = {
        name: select(rows, measure=name, against=against).groupby("seed")["value"].first()
        for name, against in (
            ("accuracy", ""), ("agreement", "halves"), ("agreement_on_errors", "halves"), ("error_consistency", "halves"),
        )
    }  # fmt: skip
    a, agree, e, kappa = by_measure.values()
    theirs = (2 * (agree - e * (1 - a)) / (1 + e) - kappa * a) / (kappa * (1 - 2 * a) - 2 * e / (1 + e) + 2 * a)
    if theirs.empty or not all(map(math.isfinite, theirs)):
        raise IncompleteError("how students agree with answers to halves")
    return [float(value) for value in theirs]


@_said
def standardised(found: Results) -> str:
    """z-score − vanilla."""
    agreement = _effects(found, "K7", "z-score − vanilla: agreement, clean")
    accuracy = _effects(found, "K7", "z-score − vanilla: validation accuracy")
    gap = _effects(found, "K7", "z-score − vanilla: train–validation gap")
    return (
        f"Standardising logits moves agreement by {_moved(agreement)}, validation accuracy by {_moved(accuracy)} and "
        f"the gap by {_moved(gap)}. The paper says that agreement and gap fall."
    )


@_said
def pull(found: Results) -> str:
    """z-score beside two weights of the labels, for a strong student of weak teachers: does it only pull harder?"""
    strong = select(found.table, role="student", teachers="weak+weak", student="strong", form="textbook")
    rows = select(strong, split="validation", view="clean", origin="+".join([found.profile.origin] * 2))
    shown = []
    for objective, name in (
        ("kd", f"α = {found.profile.objectives['kd'].alpha:g}"),
        ("zscore", "z-score"),
        ("alpha-0.2", "α = 0.2"),
    ):
        of = select(rows, objective=objective)
        agreement, accuracy = (
            select(of, measure=measure, against=against)["value"]
            for measure, against in (("agreement", "ensemble"), ("accuracy", ""))
        )
        if agreement.empty or accuracy.empty:
            raise IncompleteError(f"a strong student of two weak teachers with {name}")
        shown.append(f"{name} gives agreement {agreement.mean():.3f} and accuracy {accuracy.mean():.3f}")
    return f"For a strong student of two weak teachers, {', '.join(shown)}."


@_said
def softness(found: Results) -> str:
    """How soft the answers of weak and of strong teachers are, which plain distillation does not match."""
    rows = select(plain(found.table), role="teacher", measure="entropy", form="textbook", split="train", view="clean")
    weak, strong = (select(rows, teachers=each)["value"] for each in ("weak", "strong"))
    if weak.empty or strong.empty:
        raise IncompleteError("the entropy of weak and of strong teachers")
    return (
        f"On clean training images the mean entropy of a teacher's answers is {weak.mean():.2f} nats for weak teachers and "
        f"{strong.mean():.2f} for strong ones."
    )


@_said
def content_or_softness(found: Results) -> str:
    """How much of what teachers give is in what they say, and what equally soft labels give."""
    whole = [-value for value in _effects(found, "controls", "no teacher − two weak ones: accuracy, strong student")]
    content = [-value for value in _effects(found, "controls", "smoothed labels − vanilla: accuracy")]
    softness = [gain - said for gain, said in zip(whole, content, strict=True)]
    shuffled = _effects(found, "controls", "answers to other images − vanilla: accuracy")
    untrained = _effects(found, "controls", "untrained teachers − vanilla: accuracy")
    word = {
        1: "so a part of the help is softness",
        -1: "so softness by itself harms, and what the teachers say is worth more than the whole gain",
        0: "so seeds disagree on whether softness by itself helps",
    }[_sign(softness)]
    return (
        f"Two weak teachers are worth {_moved(whole)} of validation accuracy to a strong student. Compared with smoothed "
        f"labels of the same entropy they are worth {_moved(content)}: that is content. Smoothed labels compared with no "
        f"teacher are worth {_moved(softness)}, {word}. Untrained teachers move accuracy by {_moved(untrained)} and "
        f"answers to other images by {_moved(shuffled)} compared with real teachers."
    )


@_said
def rulers(found: Results) -> str:
    """For how many claims the ruler decides the sign, and which choice does."""
    specs = curves.specifications(found)
    if specs.empty:
        raise IncompleteError("the cells that the claims compare")
    shares, flips = curves.shares(specs), curves.flips(specs)
    one = [row["claim"] for row in shares.to_dict("records") if row["mean"] in (0, row["specifications"])]
    turns = []
    for row in shares.to_dict("records"):
        of = flips[flips["claim"] == row["claim"]]
        if row["claim"] not in one and of["range"].max() > 0.8:
            turns.append(f"{row['claim']} by {of.loc[of['range'].idxmax(), 'choice']}")
    ends = [f"{key} ({_place(specs, key)})" for key in shares["claim"] if _at_an_end(specs, key)]
    has = "has" if len(one) == 1 else "have"
    said = f"Of {len(shares)} claims, {len(one)} {has} one sign under every way of measuring"
    said += f" ({', '.join(one)})." if one else "."
    if turns:
        said += f" One choice alone all but decides the sign of {', '.join(turns)}."
    if ends:
        said += f" The way that was declared lies near an end, counted from the paper's side, in {'; '.join(ends)}."
    return f"{said} Together they were measured in {int(shares['specifications'].sum()):,} ways."


def _declared(specs: pd.DataFrame, key: str) -> tuple[int, int]:
    """The place of the declared way among all, the most on the paper's side first, and how many there are."""
    ways = curves.over_seeds(select(specs, claim=key))
    towards = ways["size"] * ways["side"]
    if not ways["declared"].any():
        raise IncompleteError(f"the declared way to measure {key}")
    return int((towards > towards[ways["declared"]].iloc[0]).sum()) + 1, len(ways)


def _place(specs: pd.DataFrame, key: str) -> str:
    place, ways = _declared(specs, key)
    return f"number {place} of {ways}"


def _at_an_end(specs: pd.DataFrame, key: str) -> bool:
    """Whether the declared way is among the tenth of many that lie furthest to one side."""
    place, ways = _declared(specs, key)
    return ways >= MANY and min(place, ways + 1 - place) <= math.ceil(ways * AN_END)


@_said
def common_views(found: Results) -> str:
    """K1 by the views that students are asked about: in how many ways to measure it has the paper's sign."""
    ways = curves.over_seeds(curves.of_table(found.table, [found.claim_set["K1"]]))
    if ways.empty:
        raise IncompleteError("the cells that K1 compares")
    count = {str(view): f"{int(of.sum())} of {len(of)}" for view, of in ways.groupby("view")["as_predicted"]}
    return (
        f"K1 has the paper's sign in {count['own']} ways with each student on its own views, and on common views in "
        f"{count['weak']} (weak), {count['clean']} (clean) and {count['strong']} (strong)."
    )


# -- beside the claims, without a verdict -----------------------------------------------------------------------------


@_said
def better_together(found: Results, claim: Literal["K5", "K8"]) -> str:
    """Whether the more diverse of two kinds of teachers are better together, and their students better."""
    first, second = secondary.PARTED[claim]
    accuracy, alike, iou, students = secondary.parted(found.table, claim).values()
    turn = {
        (1, 1): "Here the better ensemble has the better students",
        (1, 0): "So the ensemble is the better one in every seed, and its students are not",
        (1, -1): "So the better ensemble has the worse students",
    }.get((_sign(accuracy), _sign(students)), "So the more diverse ensemble is not the better one in every seed")
    return (
        f"From {second} to {first}, the validation accuracy of both together moves by {_moved(accuracy)}, their agreement with "
        f"each other by {_moved(alike)} and their attention IoU by {_moved(iou)}; the accuracy of their students moves by "
        f"{_moved(students)}. {turn}."
    )


@_said
def across_seeds(found: Results) -> str:
    """K6's correlation with agreement from one seed and accuracy from another, beside that within seeds."""
    claim = found.claim_set["K6"]
    clean = next(each for each in claim.secondary if isinstance(each, Association))
    assert isinstance(claim.primary, Association)
    parts, weaker = [], []
    for of, images in ((claim.primary, "own training views"), (clean, "clean validation images")):
        within, across = _effects(found, "K6", of.what), list(secondary.across_seeds(found.table, of).values())
        mean, negative = sum(across) / len(across), sum(r < 0 for r in across)
        weaker.append(abs(mean) > abs(sum(within) / len(within)))
        parts.append(
            f"{_rs([mean])} with agreement on {images} (negative in {negative} of {len(across)} pairs of seeds), where within "
            f"a seed it is {_moved(within, 2)}"
        )
    turn = {
        (True, True): "So what the two share within a seed hides some of the correlation and does not make it",
        (False, False): "So some of the correlation within a seed is what the two measures share there",
    }.get((weaker[0], weaker[1]), "On the two kinds of images, what is shared within a seed does not act alike")
    return (
        "Within a seed, agreement and accuracy are measured of the same students, and share their luck. With agreement from "
        f"one seed and accuracy from another, and the student's augmentation taken off, r is {'; and '.join(parts)}. {turn}."
    )


@_said
def foretold(found: Results) -> str:
    """Whether the spread of teachers' answers foretells which students are better."""
    r = secondary.foretold(found)
    parts, signs = [], []
    for name, words in zip(secondary.SPREADS, ("over views of an image", "between the two teachers"), strict=True):
        weak, strong, every = ([float(value) for value in r[name, among]] for among in ("weak", "strong", "all"))
        signs.append((_sign(weak), _sign(strong)))
        parts.append(
            f"spread {words}, r = {_moved(weak, 2)} among weak students, {_moved(strong, 2)} among strong ones and "
            f"{_moved(every, 2)} among all"
        )
    if signs[0] == signs[1] == (-1, -1):
        turn = "So here the teachers alone foretell it, as that account has it: less spread, better students"
    elif -1 in signs[0] and 1 in signs[0]:
        turn = "The first turns its sign with the student, so the teachers alone do not foretell which trial is better"
    else:
        turn = "So the teachers alone do not foretell which trial is better"
    return f"With the student's accuracy: {'; '.join(parts)} (means of each student augmentation taken off). {turn}."


# -- the paper's own tables ------------------------------------------------------------------------------------------


_WITHIN: tuple[paper.Within, ...] = ("", "student")


def _rs(values: list[float]) -> str:
    return " / ".join(signed(value, 2) for value in values)


def paper_held_fixed() -> Said:
    """What stays of agreement, attention and accuracy in the paper's tables with the student's augmentation held fixed."""

    def both(x: str, y: str) -> list[str]:
        return [_rs([paper.correlation(x, y, dataset, within) for dataset in paper.MEASURED]) for within in _WITHIN]

    every, rest = both("agreement", "accuracy")
    iou, iou_rest = both("attention_iou", "accuracy")
    linked, linked_rest = both("agreement", "attention_iou")
    weak, strong = (
        _rs([paper.correlation_at("agreement", "accuracy", dataset, student) for dataset in paper.MEASURED])
        for student in ("weak", "strong")
    )
    return Said(
        f"Over all eight trials agreement and accuracy go against each other: r = {every} (CIFAR-100 / its long tail / "
        f"ImageNet-LT). With the student's augmentation held fixed r is {rest}: {weak} among weak students and {strong} "
        f"among strong ones. Attention IoU and accuracy keep their sign, {iou} over all and {iou_rest} among students with "
        f"the same augmentation. The link between the two, agreement and attention IoU, does not: {linked} over all, "
        f"{linked_rest} among students with the same augmentation. All correlations are ours, from the paper's tables."
    )


def paper_affinity() -> Said:
    """Affinity against the number of strong networks, in the paper's tables."""
    lowest = [paper.trials(dataset)["affinity"].idxmin() for dataset in paper.DATASETS]
    ww = sum(cell == ("weak+weak", "strong") for cell in lowest)
    rises = [
        paper.contrast("affinity", dataset, [("strong+strong", "strong")], [("weak+weak", "strong")])
        for dataset in paper.DATASETS
    ]
    r = [paper.correlation("agreement", "affinity", dataset) for dataset in paper.MEASURED]
    return Said(
        f"In {ww} of {len(lowest)} data sets the trial with the lowest affinity, so the strongest by the paper's own "
        "measure, has two *weak* teachers and a strong student. Taking two strong teachers for the weak ones moves the "
        f"strong student's affinity by {' / '.join(signed(value) for value in rises)} (CIFAR-100 / its long tail / "
        f"ImageNet / ImageNet-LT). And agreement follows affinity almost on a line: r = {_rs(r)}."
    )


def paper_halves() -> Said:
    """What half images do in the paper's tables."""
    change = {
        measure: [
            float(value)
            for dataset in paper.MEASURED
            for value in paper.trials(dataset, "h")[measure] - paper.trials(dataset)[measure]
        ]
        for measure in ("agreement", "train_validation_gap")
    }
    falls = sum(value < 0 for value in change["agreement"])
    rises = sum(value > 0 for value in change["train_validation_gap"])
    count = len(change["agreement"])
    return Said(
        f"Agreement falls in {falls} of {count} trials, as the text says. The gap *rises* in {rises} of {count}, where "
        "the text says comparable or lower."
    )


# -- the exploratory seeds, and the smallest profile -----------------------------------------------------------------


def elsewhere(found: Results, profile: str) -> Said:
    """Which deciding effects of an exploratory study have the paper's sign, and which have another than in the page's results.

    Args:
        profile: whose published results these are.
    """
    other = results.read(results.home() / profile).judged_by("K")
    there, here = _deciding(other), _deciding(found)
    claims = {claim.key: claim for claim in other.claim_set.claims}
    as_predicted = [key for key, sign in there.items() if sign == getattr(claims[key].primary, "predicted", 0)]
    steady = [key for key, sign in there.items() if sign and here.get(key)]
    turned = [key for key in steady if there[key] != here[key]]
    words = (
        f"In `{profile}` ({seeds_in_words(other)}), {len(as_predicted)} of {len(there)} deciding effects have the paper's "
        f"sign{' in every seed' if len(other.seeds) > 1 else ''}. "
    )
    if not steady:
        return Said(f"{words}None of them has one sign in every seed of `{found.profile.name}`.")
    words += f"Of the {len(steady)} that have one sign in every seed of `{found.profile.name}`, "
    if not turned:
        return Said(f"{words}all have the same here.")
    return Said(f"{words}{', '.join(turned)} {'has' if len(turned) == 1 else 'have'} the other here.")


def budget(profile: str) -> Said:
    """Whether a study's own networks meet the criteria of calibration: what strong augmentation does to networks without
    teachers, and what two weak teachers are worth to a weak student, in validation accuracy.

    Args:
        profile: whose published results these are.
    """
    other = results.read(results.home() / profile)
    rows = plain(select(other.table, measure="accuracy", form="textbook", split="validation", view="clean"))

    def of(**where: str) -> pd.Series:
        return select(rows, **where).groupby("seed")["value"].mean()

    teachers = of(role="teacher", teachers="strong") - of(role="teacher", teachers="weak")
    alone = {student: of(role="student", objective="none", student=student) for student in ("weak", "strong")}
    gain = of(role="student", objective="kd", teachers="weak+weak", student="weak") - alone["weak"]
    students = alone["strong"] - alone["weak"]
    asked = ((teachers, 0.0), (students, 0.0), (gain, 0.03))
    met = sum(bool((values >= least).all()) for values, least in asked)
    words = (
        f"In `{profile}` ({seeds_in_words(other)}), strong augmentation moves the validation accuracy of teachers by "
        f"{_moved(teachers.tolist())} and that of students without teachers by {_moved(students.tolist())}; two weak teachers "
        f"are worth {_moved(gain.tolist())} to a weak student. A calibrated budget asks for at least 0, 0 and +0.030: "
        f"{met} of the three hold."
    )
    if met < len(asked):
        words += " So the trainings may be too short, and what this study says of accuracy may reflect underfitting."
    return Said(words)


def confidence(found: Results, profile: str) -> Said:
    """By how much students are surer than right in an exploratory study and in the page's results: why calibration error can
    move either way.

    Args:
        profile: whose published results the former are.
    """
    other = results.read(results.home() / profile)
    parts = []
    for of in (found, other):
        excess = _excess_confidence(of)
        said = [f"{_moved(excess[student].tolist())} for {student} ones" for student in ("weak", "strong")]
        parts.append(f"in `{of.profile.name}` ({seeds_in_words(of)}) {' and '.join(said)}")
    return Said(
        "Calibration error is the distance of confidence from accuracy, to either side. On clean validation images, the mean "
        f"confidence of students of two teachers less their accuracy is {'; '.join(parts)}. Where networks are less sure than "
        "right, what lowers their confidence further makes the error larger."
    )


def reruns(profile: str, *again: str) -> Said:
    """Whether effects move less than those of another seed would, where a seed is trained again.

    Args:
        profile: whose published results have the seeds.
        again: profiles whose published results have some of them again.
    """
    rows = diff.moved(*(results.read(results.home() / name) for name in (profile, *again)))
    shift = rows["second"] - rows["first"]
    rows = rows.assign(less=shift.abs() < rows["usual"], turned=rows["first"] * rows["second"] < 0)
    counted = [f"{of['less'].sum()} of {len(of)} in `{name}`" for name, of in rows.groupby("profile", sort=False)]
    turned = [
        f"{', '.join(of['claim'])} in seed {seed} of `{name}`"
        for (name, seed), of in rows[rows["turned"]].groupby(["profile", "seed"], sort=False)
    ]
    signs = f"These change their sign: {'; '.join(turned)}." if turned else "None of them changes its sign."
    return Said(
        "If a seed trained again were no nearer to itself than to another seed, half of its effects would move by less than "
        f"the median difference between two seeds. Here it is {', '.join(counted)}. {signs}"
    )


def coarser(places: int, *profiles: str) -> Said:
    """How much less mixed pairs overlap where maps have fewer places: on the explorers' images, of one seed each."""
    moved = []
    for profile in profiles:
        explorer = results.read(results.home() / profile).explorer
        maps = {name: kinds["cam-predicted/clean"] for name, kinds in explorer.maps.items()}
        whole, coarse = (
            _parted({name: overlap.coarser(of, side) for name, of in maps.items()}, explorer.images.shape[-1])
            for side in (maps["T1w"].shape[-1], places)
        )
        moved.append(f"{_with_error(whole)} to {_with_error(coarse)} in `{profile}`")
    return Said(
        f"With maps averaged to {places}×{places} places, mixed − pure goes from {'; from '.join(moved)}. (On "
        f"{len(explorer.images)} validation images of one seed each, with standard errors over images.)"
    )


def _parted(maps: dict[str, Tensor], side: int) -> Tensor:
    """IoU of mixed pairs of four teachers − that of pure ones, image by image."""
    masks = {name: overlap.masks(of, side) for name, of in maps.items()}
    pairs = {
        first + second: overlap.iou_per_image([masks[f"T1{first}"], masks[f"T2{second}"]])
        for first in "ws"
        for second in "ws"
    }
    return (pairs["ws"] + pairs["sw"] - pairs["ww"] - pairs["ss"]) / 2


def _with_error(values: Tensor) -> str:
    """``−0.036 ± 0.006``: the mean and its standard error."""
    return f"{signed(float(values.mean()))} ± {float(values.std()) / len(values) ** 0.5:.3f}"


def _excess_confidence(found: Results) -> pd.DataFrame:
    """Mean confidence − accuracy of the eight trials on clean validation images: student → values by seed."""
    rows = select(plain(found.reliability), role="student", view="clean")
    rows = rows[rows["teachers"].isin(PAIRS)]
    sums = rows.assign(excess=rows["count"] * (rows["confidence"] - rows["accuracy"])).groupby(["seed", "student"])
    return (sums["excess"].sum() / sums["count"].sum()).unstack("student")


def _deciding(found: Results) -> dict[str, int]:
    """claim → the sign that its primary has in every seed, 0 where they disagree."""
    primary = found.effects[found.effects["primary"]]
    return {str(key): _sign(of["effect"].tolist()) for key, of in primary.groupby("claim", sort=False)}


def smallest() -> Said:
    """What the profile smoke trains."""
    roles = [run.spec.role for run in grid.plan(profiles.load("smoke")).study.every_run]
    count = {role: roles.count(role) for role in ("origin", "teacher", "student", "reference")}
    return Said(
        f"The profile `smoke` has every kind of cell once, on scanned digits: {len(roles)} networks, of which "
        f"{count['origin']} are the starts of teachers, {count['teacher']} teach, {count['student']} learn and "
        f"{count['reference']} measures affinity. Run the next cell in a notebook, and it trains them. (Run it twice, "
        "and it answers at once: the runs are in the store.)"
    )
