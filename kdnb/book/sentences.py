"""What pages say of results, in sentences that follow them: each function reads effects or the table and words what it finds.

No page types a number or a direction. A sentence says how many seeds bear it, and where the results lack what it needs, that.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import pandas as pd

from kdnb.book.cards import seeds_in_words
from kdnb.book.words import Said
from kdnb.errors import IncompleteError
from kdnb.evidence import judging, paper, results
from kdnb.evidence.claims import FACTOR, PLOTTED, Claim
from kdnb.evidence.estimands import PAIRS, Association, papers, papers_in_words, signed
from kdnb.evidence.results import Results
from kdnb.evidence.statistics import LEVEL
from kdnb.evidence.table import plain, select
from kdnb.release import diff
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
