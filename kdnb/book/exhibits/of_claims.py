"""What decides a claim, and everything that speaks to it."""

import html
from collections.abc import Mapping

import pandas as pd

from kdnb.book import figures, scorecard, style
from kdnb.book.exhibits.exhibit import Exhibit, exhibit, signed_r
from kdnb.book.figures import Strip
from kdnb.errors import IncompleteError
from kdnb.evidence import judging, paper
from kdnb.evidence.claims import FACTOR, LATER, PLOTTED, Claim
from kdnb.evidence.estimands import Association, Contrast, Estimand, Index, Ratio, papers, papers_in_words, signed
from kdnb.evidence.results import Results
from kdnb.evidence.table import select


def _listed(found: Results, claim: Claim, column: str = "") -> list[Estimand]:
    """The claim's estimands that the results have."""
    there = set(select(found.effects, claim=claim.key)["what"])
    every = [each for each in found.claim_set.estimands() if each[0] is claim and (not column or each[1] == column)]
    return [estimand for _, _, _, estimand in every if estimand.what in there]


def _strip(found: Results, claim: Claim, estimand: Estimand) -> Strip:
    group = select(found.effects, claim=claim.key, what=estimand.what)
    judged = select(found.verdicts, claim=claim.key, what=estimand.what).iloc[0]
    decides = f" (decides: {judging.in_words(claim, judged['verdict'])})" if estimand is claim.primary else ""
    return Strip(
        estimand.what + decides,
        group["effect"].tolist(),
        estimand.predicted or 0,
        (judged["low"], judged["high"]),
        tuple(papers(estimand).values()),
    )


CROSS = "A cross is one of the paper's own values"


SCALES = {
    "accuracy": "difference in accuracy",
    "agreement": "difference in agreement",
    "attention_iou": "difference in attention IoU",
    "excess_iou": "difference in attention IoU",
    "calibration_error": "difference in calibration error",
    "calibration_error_scaled": "difference in calibration error",
    "divergence": "difference in KL divergence, nats",
    "mutual_information": "difference in mutual information, nats",
    "train_validation_gap": "difference in the train–validation gap",
}
"""What the axis of an effect says, by its measure; effects with the same words share an axis."""


def _panels(found: Results, claim: Claim, listed: list[Estimand]) -> dict[str, list[Strip]]:
    """The effects that share an axis, in the order of the claim."""
    panels: dict[str, list[Strip]] = {}
    for estimand in listed:
        measure = estimand.terms[0][2].name if isinstance(estimand, Contrast) else ""
        axis = SCALES.get(measure, f"difference in {measure}")
        axis = {Association: "correlation r", Ratio: "ratio"}.get(type(estimand), axis)
        panels.setdefault(axis, []).append(_strip(found, claim, estimand))
    return panels


def _said(panels: Mapping[str, list[Strip]]) -> str:
    """Each effect of some panels, for those who cannot see them."""
    strips = [strip for panel in panels.values() for strip in panel]
    return "; ".join(f"{strip.label}: {', '.join(signed(value) for value in strip.values)}" for strip in strips)


@exhibit
def factors(found: Results, key: str) -> Exhibit:
    """A claim's effects in which one factor differs, in every seed."""
    claim = found.claim_set[key]
    panels = _panels(
        found, claim, [each for each in _listed(found, claim, FACTOR) if not isinstance(each, Association)]
    )
    of_paper = any(strip.papers for panel in panels.values() for strip in panel)
    crosses = f" {CROSS} (CIFAR-100, its long tail, ImageNet-LT)." if of_paper else ""
    scales = " Each measure has a scale of its own." if len(panels) > 1 else ""
    caption = (
        "Each strip is one comparison in which one thing differs; a point is a seed. Grey is the side that was "
        f"predicted. Filled points lie on it, or have no side to lie on.{scales}{crosses}"
    )
    alt = f"Effects of claim {key}: {_said(panels)}"
    return Exhibit(f"factors-{key.lower()}", figures.strips(panels), caption, alt)


@exhibit
def correlations(found: Results, key: str) -> Exhibit:
    """A claim's correlations, as plotted and with the student's augmentation taken off, in every seed."""
    claim = found.claim_set[key]
    panels = _panels(found, claim, [each for each in _listed(found, claim) if isinstance(each, Association)])
    caption = (
        "Correlations over the eight trials of a seed, a point for each seed. First over all eight, as the paper plots "
        f"them; then with the mean of each student augmentation taken off, so that students are alike. {CROSS}, "
        "computed from its tables."
    )
    alt = f"Correlations of claim {key}: {_said(panels)}"
    return Exhibit(f"correlations-{key.lower()}", figures.strips(panels), caption, alt)


def _trials(found: Results, plotted: Association) -> pd.DataFrame:
    """teachers, student, seed, x, y of the cells of a plot."""
    index = Index(found.table)
    rows = [
        {"teachers": cell.teachers, "student": cell.student, "seed": seed, "x": x, "y": y}
        for seed in index.seeds
        for cell in plotted.cells or index.trials
        if (x := index.value(seed, cell, plotted.x)) is not None
        and (y := index.value(seed, cell, plotted.y)) is not None
    ]
    if not rows:
        raise IncompleteError("the grid lacks the eight trials: two teachers, each weak or strong, and either student")
    return pd.DataFrame(rows)


@exhibit
def plot(found: Results, key: str, datasets: tuple[str, ...] = paper.MEASURED) -> Exhibit:
    """A claim as the paper plots it: the eight trials of its own tables, and ours on the same axes.

    Args:
        datasets: whose tables stand beside ours.
    """
    claim = found.claim_set[key]
    plotted = next((each for each in claim.plotted if isinstance(each, Association)), None)
    if plotted is None:
        raise IncompleteError(f"claim {key} has no scatter plot")
    names = plotted.x.name, plotted.y.name
    panels = {}
    for dataset in datasets:
        there = paper.trials(dataset)
        if set(names) <= set(there.columns):
            points = there[list(names)].set_axis(["x", "y"], axis=1).reset_index()
            panels[f"{paper.TITLES[dataset]}, r = {signed_r(paper.correlation(*names, dataset))}"] = points
    ours = select(found.effects, claim=key, what=plotted.what)["effect"]
    said = signed_r(float(ours.mean())) if len(ours) else "not defined"
    panels[f"here, r = {said}"] = _trials(found, plotted)
    x, y = (style.LABELS.get(name, name) for name in names)
    drawn = figures.trials(panels, x.replace("agreement with the teachers", "agreement"), y)
    whose = {
        1: "Ours",
        2: "The first panel is from the paper’s own tables, the second is ours",
    }.get(len(panels), "The first panels are the paper’s own tables, the last is ours")
    caption = (
        "The eight trials: two teachers (letters: w weak, s strong) and a weak (hollow, blue) or strong (filled, "
        "orange) student. "
        f"{whose}, measured as the paper does, on training images under each trial's own views; small points are seeds. "
        "Look at the whole cloud first, then at each colour alone."
    )
    alt = f"Scatter of {y} against {x} over the eight trials; " + "; ".join(panels)
    return Exhibit(f"plot-{key.lower()}", drawn, caption, alt)


@exhibit
def everything(found: Results, key: str) -> Exhibit:
    """All effects that a claim declares, in every seed, with the paper's own values; folded."""
    claim = found.claim_set[key]
    rows = []
    for column in (PLOTTED, FACTOR, LATER):
        for estimand in _listed(found, claim, column):
            group = select(found.effects, claim=key, what=estimand.what)
            what = f"<b>{html.escape(estimand.what)}</b>" if estimand is claim.primary else html.escape(estimand.what)
            row = {"": what, "sign": {1: "+", -1: "−"}.get(estimand.predicted or 0, "")}
            row |= {f"seed {seed}": signed(effect) for seed, effect in zip(group["seed"], group["effect"], strict=True)}
            rows.append(row | {"the paper": papers_in_words(estimand)})
    if not rows:
        raise IncompleteError(f"the grid has no cells for claim {key}")
    frame = pd.DataFrame(rows).fillna("").set_index("")
    table = frame.to_html(border=0, index_names=False, escape=False)
    label = f"All effects of claim {key}"
    folded = (
        f'<details class="kdnb-data"><summary>All {len(rows)} effects that were declared for {key}, in every seed</summary>'
        f'<div class="kdnb-table" tabindex="0" role="region" aria-label="{label}">{table}</div></details>'
    )
    return Exhibit(f"everything-{key.lower()}", folded, "", label)


@exhibit
def verdict(found: Results, key: str) -> Exhibit:
    """A claim, both columns, what they say here and in the paper's tables."""
    return Exhibit(f"verdict-{key.lower()}", scorecard.block(found, key), "", f"Verdict on {key}")


@exhibit
def scores(found: Results) -> Exhibit:
    """Every claim in both columns: seeds as points, the paper's own values as crosses, badges, and what lies behind them."""
    caption = (
        "Left of each claim's two strips is negative, right is positive; the shaded side is the paper's. Points are "
        "seeds, crosses the paper's own values. Strips have scales of their own. Open a claim for the numbers."
    )
    return Exhibit("scorecard", scorecard.whole(found), caption, "Scorecard of the claims")
