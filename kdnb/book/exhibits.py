"""What pages show: a function for each figure, explorer and table, with its caption, its text for those who cannot see it,
and how to make it again.

A page's visible cells call these with the results that it opened, and nothing else: ``exhibits.overlap(found)``. Drawing is in
`kdnb.book.figures` and `kdnb.book.explorers`, wording that depends on the results in `kdnb.book.sentences`. Where results lack
what an exhibit needs, as those of a grid of one's own may, it says so in its place and the page goes on.
"""

import functools
import html
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, ParamSpec

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdnb.book import explorers, figures, scorecard, style
from kdnb.book.cards import card, paper_card, seeds_in_words
from kdnb.book.explorers import Interactive
from kdnb.book.figures import Strip
from kdnb.errors import IncompleteError
from kdnb.evidence import curves, diff, overlap, paper, results
from kdnb.evidence.claims import FACTOR, PLOTTED, Claim
from kdnb.evidence.estimands import (
    MIXED,
    PAIRS,
    PURE,
    STUDENTS,
    Association,
    Contrast,
    Estimand,
    Index,
    papers,
    papers_in_words,
    signed,
)
from kdnb.evidence.results import Results
from kdnb.evidence.table import select
from kdnb.images import augment
from kdnb.images.counter import Purpose, Stream
from kdnb.training import models
from kdnb.training.spec import ModelSpec

Shown = Axes | Figure | NDArray[Any] | Interactive | pd.DataFrame | str
"""a drawing, an explorer, a table, or HTML"""


@dataclass(frozen=True)
class Exhibit:
    """Something shown, as a notebook displays it: HTML that needs no kernel, or live widgets where a person runs the "
    "notebook."""

    name: str
    """its anchor on the page"""
    shown: Shown
    caption: str
    """HTML: what to see in it"""
    alt: str = ""
    """of a drawing or an explorer: what it shows, for those who cannot see it"""
    made: str = field(default="", repr=False)
    """HTML: how to make it again"""

    @functools.cached_property
    def html(self) -> str:
        """The same bytes each time; drawn once, for drawing a figure again moves its layout by a hair."""
        if isinstance(self.shown, pd.DataFrame):
            table = self.shown.to_html(border=0, index_names=False, escape=False)
            label = html.escape(self.alt or self.name)
            inner = f'<div class="kdnb-table" tabindex="0" role="region" aria-label="{label}">{table}</div>'
        elif isinstance(self.shown, Interactive):
            inner = self.shown.html
        elif isinstance(self.shown, str):
            inner = self.shown
        else:
            inner = figures.to_svg(self.shown, self.alt)
        caption = f"<figcaption>{self.caption}</figcaption>" if self.caption else ""
        held = f'<div class="kdnb-figure">{inner}</div>{caption}{self.made}'
        return f'<figure class="kdnb-exhibit" id="{self.name}">{held}</figure>'

    def _ipython_display_(self) -> None:
        if isinstance(self.shown, Interactive) and is_watched():
            display(self.shown.live())
            display({"text/html": f"<p>{self.caption}</p>", "text/plain": self.caption}, raw=True)
        else:
            plain = self.shown.to_string() if isinstance(self.shown, pd.DataFrame) else self.alt or self.name
            display({"text/html": self.html, "text/plain": plain}, raw=True)


def is_watched() -> bool:
    """Whether a person runs the notebook: Jupyter's server names the session, which papermill, nbval and nbclient do not."""
    return "JPY_SESSION_NAME" in os.environ or "google.colab" in sys.modules


P = ParamSpec("P")


def _exhibit(make: Callable[Concatenate[Results, P], Exhibit]) -> Callable[Concatenate[Results, P], Exhibit]:
    """Adds the card, or says in the exhibit's place what the results lack."""

    @functools.wraps(make)
    def made(found: Results, /, *args: P.args, **given: P.kwargs) -> Exhibit:
        try:
            exhibit = make(found, *args, **given)
        except IncompleteError as error:
            words = html.escape(f"Not in these results ({found.profile.name}): {error}")
            return Exhibit(make.__name__, f'<p class="kdnb-lacking">{words}</p>', "")
        return replace(exhibit, made=card(found, f"kdnb.book.exhibits.{make.__name__}"))

    return made


# -- a claim ---------------------------------------------------------------------------------------------------------


def _listed(found: Results, claim: Claim, column: str = "") -> list[Estimand]:
    """The claim's estimands that the results have."""
    there = set(select(found.effects, claim=claim.key)["what"])
    every = [each for each in found.claim_set.estimands() if each[0] is claim and (not column or each[1] == column)]
    return [estimand for _, _, _, estimand in every if estimand.what in there]


def _strip(found: Results, claim: Claim, estimand: Estimand) -> Strip:
    group = select(found.effects, claim=claim.key, what=estimand.what)
    judged = select(found.verdicts, claim=claim.key, what=estimand.what).iloc[0]
    decides = f" (decides: {judged['verdict']})" if estimand is claim.primary else ""
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
        axis = "correlation r" if isinstance(estimand, Association) else SCALES.get(measure, f"difference in {measure}")
        panels.setdefault(axis, []).append(_strip(found, claim, estimand))
    return panels


def _said(panels: Mapping[str, list[Strip]]) -> str:
    """Each effect of some panels, for those who cannot see them."""
    strips = [strip for panel in panels.values() for strip in panel]
    return "; ".join(f"{strip.label}: {', '.join(signed(value) for value in strip.values)}" for strip in strips)


@_exhibit
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
        "Each strip is one comparison in which one thing differs; a point is a seed. Grey is the side that the paper "
        f"predicts. Filled points lie on it, or have no side to lie on.{scales}{crosses}"
    )
    alt = f"Effects of claim {key}: {_said(panels)}"
    return Exhibit(f"factors-{key.lower()}", figures.strips(panels), caption, alt)


@_exhibit
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


@_exhibit
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
            panels[f"{paper.TITLES[dataset]}, r = {_r(paper.correlation(*names, dataset))}"] = points
    ours = select(found.effects, claim=key, what=plotted.what)["effect"]
    said = _r(float(ours.mean())) if len(ours) else "not defined"
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


def _r(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


@_exhibit
def everything(found: Results, key: str) -> Exhibit:
    """All effects that a claim declares, in every seed, with the paper's own values; folded."""
    claim = found.claim_set[key]
    rows = []
    for column in (PLOTTED, FACTOR):
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


@_exhibit
def verdict(found: Results, key: str) -> Exhibit:
    """A claim, both columns, what they say here and in the paper's tables."""
    return Exhibit(f"verdict-{key.lower()}", scorecard.block(found, key), "", f"Verdict on {key}")


@_exhibit
def scores(found: Results) -> Exhibit:
    """Every claim in both columns: seeds as points, the paper's own values as crosses, badges, and what lies behind them."""
    caption = (
        "Left of each claim's two strips is negative, right is positive; the shaded side is the paper's. Points are "
        "seeds, crosses the paper's own values. Strips have scales of their own. Open a claim for the numbers."
    )
    return Exhibit("scorecard", scorecard.whole(found), caption, "Scorecard of the claims")


# -- augmentation and attention ------------------------------------------------------------------------------------


@_exhibit
def views(found: Results) -> Exhibit:
    """Six validation images, and what weak and strong augmentation make of them."""
    explorer = found.explorer
    images, index = explorer.images[:6], explorer.index[:6].numpy().astype(np.int64)
    rows = {
        name: augment.views(images, index, augment.recipe(name), Stream(explorer.seed), 0, purpose=Purpose.VIEW)
        for name in ("weak", "strong")
    }
    caption = (
        "Six validation images, and the weak and the strong view by which networks of this seed are judged. The two "
        "views of a column share crop and flip; the rest is what the recipes add."
    )
    return Exhibit(
        "views", figures.gallery(images, rows), caption, "Six images, and below each its weak and strong view."
    )


@_exhibit
def dial(found: Results) -> Exhibit:
    """A slider from clean to strong: images under it, and how well a network that knows only clean images recognises them."""
    caption = (
        "Turn the dial from the clean image to the strong recipe. The curve is what a network that was trained on "
        "clean images loses on such views."
    )
    return Exhibit("dial", explorers.dial(found), caption, "A slider of augmentation strength with images and a curve.")


@_exhibit
def affinity(found: Results) -> Exhibit:
    """The paper's affinity of each of the eight trials, ours and its own."""
    table = _two(found)
    theirs = paper.trials("cifar100")["affinity"]
    marks = {(pair, student): float(theirs[pair, student]) for pair in PAIRS for student in STUDENTS}
    drawn = figures.by_cell(table, "affinity", view="own", form="paper", papers=marks)
    caption = (
        "Affinity as the paper defines it: the student's accuracy on its own views of the validation images, divided "
        "by that on clean ones. Lower is stronger. Crosses are the paper's trials on CIFAR-100. If the number of "
        "strong networks were what counts, each colour would fall from left to right."
    )
    return Exhibit(
        "affinity", drawn, caption, "Affinity of the eight trials, a point for each seed, the paper's as crosses."
    )


def _two(found: Results) -> pd.DataFrame:
    """The rows of students of two teachers of the default origin."""
    table = figures.plain(found.table)
    two = table["teachers"].str.count(r"\+") == 1
    if not two.any():
        raise IncompleteError("the grid has no student of two teachers")
    return table[two | (table["role"] == "teacher")]


@_exhibit
def attention(found: Results) -> Exhibit:
    """An image, two teachers and a threshold: heat, masks, and how much these overlap."""
    caption = (
        "Choose an image, two teachers and a threshold. The last picture shows where only one of them looks and where "
        "both do: the part that both share of all that either marks is the IoU."
    )
    return Exhibit("attention", explorers.attention_explorer(found), caption, "Where two teachers look in an image.")


@_exhibit
def directions(found: Results) -> Exhibit:
    """One network read along two random directions, as maps summed over all classes read each teacher along its own."""
    explorer = explorers.directions(found)
    mean, chance = (float(explorer.table[column].mean()) for column in ("IoU", "chance IoU"))
    caption = (
        "The network that the teachers start from, read along two random directions of your choice. It is one network: only "
        f"the direction differs. Over all pairs of directions and these images IoU is {mean:.2f} on average, with "
        f"{chance:.2f} by chance."
    )
    return Exhibit("directions", explorer, caption, "One network read along two random directions.")


@_exhibit
def typical_maps(found: Results, augmentation: str) -> Exhibit:
    """Where two teachers of one augmentation look in an image whose overlap is nearest to the mean."""
    explorer = found.explorer
    pair = figures.alike(explorer, augmentation)[:2]
    side = explorer.images.shape[-1]
    masks = [overlap.masks(explorer.maps[run]["cam-predicted/clean"], side) for run in pair]
    each = np.array([overlap.iou([m[place : place + 1] for m in masks]) for place in range(len(explorer.images))])
    place = int(abs(each - each.mean()).argmin())
    caption = (
        f"Two {augmentation} teachers on the image whose overlap is nearest to their mean over {len(each)} validation "
        "images: bright is hot, the outline is the mask, and yellow is where both look."
    )
    drawn = figures.attention_maps(explorer, place, pair)
    return Exhibit(
        f"maps-{augmentation}", drawn, caption, f"An image, and the heat and masks of two {augmentation} teachers."
    )


@_exhibit
def overlaps(found: Results, method: str = "cam-predicted") -> Exhibit:
    """Attention IoU of each pair of teachers on clean training images, beside what masks of these areas would have by "
    "chance."""
    table = _two(found)
    drawn = figures.overlap(table, split="train", method=method)
    caption = (
        "Attention IoU of each pair of teachers on clean training images. The grey bar is what masks of the same areas "
        "would have if each lay anywhere. Violet pairs are mixed: one weak, one strong."
    )
    return Exhibit(
        "overlaps", drawn, caption, "Attention IoU of each pair of teachers, a point for each seed, with chance levels."
    )


# -- fidelity, generalisation ----------------------------------------------------------------------------------------


@_exhibit
def same_views(found: Results, teachers: str = "weak+weak") -> Exhibit:
    """Agreement of a weak and a strong student of the same teachers, both on the same images."""
    cells = ((teachers, "weak"), (teachers, "strong"))
    drawn = figures.by_view(found.table, cells=cells)
    caption = (
        "A weak and a strong student of the same two teachers, asked about the same images. Compare the two colours "
        "above one view: same images, so only the student differs. Then compare the blue point above weak views with "
        "the orange one above strong: that is each student on its own views, as the paper measures, and the images "
        "differ too."
    )
    alt = "Agreement with the teachers on clean, weak and strong views, of a weak and a strong student, a point for each seed."
    return Exhibit(f"same-views-{teachers.split('+')[0]}", drawn, caption, alt)


@_exhibit
def interaction(found: Results, measure: str = "agreement") -> Exhibit:
    """Teachers' times student's augmentation: the four corners of a measure."""
    against = "ensemble" if measure in curves.OF_BOTH else ""
    drawn = figures.interaction(found.table, measure, against=against)
    caption = (
        "The student's augmentation (colours) by the teachers' (left and right), on clean validation images; thin "
        "lines are seeds. A comparison along the diagonal, all strong minus all weak, adds two steps that may have "
        "opposite signs."
    )
    label = style.LABELS.get(measure, measure)
    return Exhibit(
        f"interaction-{measure}", drawn, caption, f"{label} of weak and strong students of weak and strong teachers."
    )


@_exhibit
def by_trial(found: Results, measure: str, view: str = "clean", split: str = "validation") -> Exhibit:
    """A measure of the eight trials."""
    against = "ensemble" if measure in curves.OF_BOTH else ""
    drawn = figures.by_cell(_two(found), measure, view=view, against=against, split=split)
    label = style.LABELS.get(measure, measure)
    caption = (
        f"{label[0].upper()}{label[1:]} of each of the eight trials, a point for each seed. Compare colours above one "
        "pair of teachers for the student's augmentation, and places of one colour for the teachers'."
    )
    return Exhibit(f"trials-{measure}", drawn, caption, f"{label} of the eight trials, a point for each seed.")


@_exhibit
def gain(found: Results) -> Exhibit:
    """What two teachers add to a student of the same augmentation."""
    table = figures.plain(found.table)
    two = table[(table["teachers"] == "") | (table["teachers"].str.count(r"\+") == 1) | (table["role"] == "teacher")]
    caption = (
        "Validation accuracy of each student minus that of its twin without teachers, the same seed, views and order. "
        "Above zero, being taught helps."
    )
    return Exhibit(
        "gain", figures.distillation_gain(two), caption, "What teachers add to validation accuracy, by teachers."
    )


@_exhibit
def learning(found: Results) -> Exhibit:
    """Training and validation accuracy over the epochs."""
    caption = (
        "Accuracy over the epochs of a weak student of weak teachers and a strong one of strong teachers: dashed on "
        "its own augmented training views, solid on validation images. The distance between the two is the gap that "
        "the paper plots; it closes when training gets harder, whether or not validation gets better."
    )
    return Exhibit(
        "learning", figures.learning_curves(found.curves), caption, "Learning curves of a weak and a strong student."
    )


@_exhibit
def reliability(found: Results) -> Exhibit:
    """Accuracy against confidence."""
    cells = (("weak+weak", "weak"), ("weak+weak", "strong"))
    drawn = figures.reliability_diagram(found.reliability, cells)
    caption = (
        "How often a student is right (up) when it is so sure (across), on clean validation images, of a weak and a "
        "strong student of weak teachers. Below the diagonal a network is too sure of itself, above it too modest."
    )
    return Exhibit("reliability", drawn, caption, "Reliability diagram of a weak and a strong student.")


@_exhibit
def scatter(found: Results) -> Exhibit:
    """Any two measures of the distilled students."""
    caption = (
        "Choose two measures. Each point is a student of one cell and seed. Try pairs that have no business with each "
        "other: with so few cells, many look related."
    )
    return Exhibit("scatter", explorers.scatter(found), caption, "Scatter of two measures of the distilled students.")


# -- interventions and controls --------------------------------------------------------------------------------------

_WEAK, _STRONG = "weak+weak", "strong+strong"


def _objectives(found: Results, name: str, rows: Mapping[str, tuple[str, str]], caption: str) -> Exhibit:
    drawn = figures.by_objective(found.table, rows)
    alt = f"Validation accuracy and agreement with the teachers of students: {', '.join(rows)}."
    return Exhibit(name, drawn, caption, alt)


@_exhibit
def class_mean(found: Results) -> Exhibit:
    """Students that heard about each image, beside students that heard about its class."""
    rows = {
        "weak teachers, each image": (_WEAK, "kd"),
        "weak teachers, class mean": (_WEAK, "class-mean"),
        "strong teachers, each image": (_STRONG, "kd"),
        "strong teachers, class mean": (_STRONG, "class-mean"),
    }
    caption = (
        "The teachers' answer about this very image, and in its place their mean answer about its class, as soft as "
        "the other on average. What moves between two rows of the same teachers is what was said of the image itself. "
        "Agreement is with the teachers' real answers."
    )
    return _objectives(found, "class-mean", rows, caption)


@_exhibit
def alpha(found: Results) -> Exhibit:
    """Accuracy and agreement of a strong student of weak teachers as the weight of the labels turns."""
    where = {
        "role": "student",
        "teachers": _WEAK,
        "student": "strong",
        "form": "textbook",
        "split": "validation",
        "view": "clean",
    }
    default = found.profile.objectives["kd"].alpha
    weights = {"kd": default} | {
        name: objective.alpha for name, objective in found.profile.objectives.items() if name.startswith("alpha-")
    }
    rows = select(found.table, **where)
    rows = rows[rows["objective"].isin(list(weights))]
    origin = found.table.loc[found.table["role"] == "teacher", "origin"].iloc[0]
    rows = rows[rows["origin"] == f"{origin}+{origin}"]
    accuracy = select(rows, measure="accuracy", against="")
    agreement = select(rows, measure="agreement", against="ensemble")
    points = accuracy.merge(
        agreement[["seed", "objective", "value"]], on=["seed", "objective"], suffixes=("", "_agreement")
    )
    points = points.assign(
        alpha=points["objective"].map(weights), accuracy=points["value"], agreement=points["value_agreement"]
    )
    if points["alpha"].nunique() < 2:
        raise IncompleteError("the grid has no second α; add an objective such as alpha-0.2: {alpha: 0.2}")
    caption = (
        "The same strong student of the same weak teachers, as the labels weigh more (right) and the teachers less. "
        "Only the loss changes: fidelity is set, and accuracy answers."
    )
    drawn = figures.dose(points[["alpha", "seed", "accuracy", "agreement"]])
    return Exhibit("alpha", drawn, caption, "Accuracy and agreement against α, a line for each seed.")


@_exhibit
def halves(found: Results) -> Exhibit:
    """Teachers that see whole images, different halves, and the same half."""
    rows = {
        "whole images": (_WEAK, "kd"),
        "left and right half": (_WEAK, "half-LR"),
        "both the left half": (_WEAK, "half-LL"),
        "both the right half": (_WEAK, "half-RR"),
    }
    caption = (
        "Students of two weak teachers that saw, while they taught, whole images, different halves, or the same half. "
        "Agreement is with the teachers' answers about whole images. Every half takes information away; only different "
        "halves make the teachers diverge. Compare the second row with the third and fourth."
    )
    return _objectives(found, "halves", rows, caption)


@_exhibit
def matching(found: Results) -> Exhibit:
    """Vanilla distillation beside logits standardised first."""
    rows = {
        "weak teachers, vanilla": (_WEAK, "kd"),
        "weak teachers, z-score": (_WEAK, "zscore"),
        "strong teachers, vanilla": (_STRONG, "kd"),
        "strong teachers, z-score": (_STRONG, "zscore"),
    }
    caption = (
        "Students that match their teachers' logits, and students that match them after both were standardised, with "
        "targets as soft on average. The paper says that agreement falls from the first row to the second, and "
        "accuracy rises."
    )
    return _objectives(found, "matching", rows, caption)


@_exhibit
def controls(found: Results) -> Exhibit:
    """A student of real teachers beside students of answers that know less."""
    rows = {
        "two weak teachers": (_WEAK, "kd"),
        "one weak teacher": ("weak", "kd"),
        "class-mean answers": (_WEAK, "class-mean"),
        "smoothed labels": (_WEAK, "label-smoothing"),
        "untrained teachers": (_WEAK, "untrained"),
        "answers to other images": (_WEAK, "shuffled"),
        "no teacher": ("", "none"),
    }
    caption = (
        "Students that saw the same views in the same order and differ in what they learn from beside the labels. All "
        "targets are as soft on average as the real teachers'. What lies between the first row and smoothed labels is "
        "content; what lies between smoothed labels and no teacher is softness."
    )
    drawn = figures.by_objective(found.table, rows, measures=(("accuracy", ""),))
    return Exhibit("controls", drawn, caption, f"Validation accuracy of students taught by: {', '.join(rows)}.")


# -- the paper's own tables ------------------------------------------------------------------------------------------


def paper_plot(x: str = "agreement", y: str = "accuracy") -> Exhibit:
    """Two measures of the paper's eight trials in each data set that has both."""
    panels = {}
    for dataset in paper.DATASETS:
        there = paper.trials(dataset)
        if {x, y} <= set(there.columns):
            points = there[[x, y]].set_axis(["x", "y"], axis=1).reset_index()
            panels[f"{paper.TITLES[dataset]}, r = {_r(paper.correlation(x, y, dataset))}"] = points
    across, up = (style.LABELS.get(name, name) for name in (x, y))
    caption = (
        "The paper's own trials, from its tables: letters are the teachers, colour is the student. The correlations "
        "are ours; the paper prints none."
    )
    drawn = figures.trials(panels, across.replace("agreement with the teachers", "agreement"), up)
    return Exhibit(
        f"paper-{x}-{y}", drawn, caption, f"{up} against {across} in the paper's tables.", paper_card("paper_plot")
    )


def tables() -> Exhibit:
    """The paper's eight trials, any two measures, with the student's augmentation free or held fixed."""
    caption = (
        "The paper's eight trials on each data set, from its tables. Hold the student's augmentation fixed, and see what stays "
        "of a correlation. Correlations are ours; the paper prints none. Each one among students of one augmentation "
        "rests on four single trainings: a hint, not a proof."
    )
    return Exhibit("tables", explorers.paper_tables(), caption, "The paper's eight trials.", paper_card("tables"))


PLOTTED_TOGETHER = {
    "IoU and accuracy": ("attention_iou", "accuracy"),
    "agreement and accuracy": ("agreement", "accuracy"),
    "IoU and affinity": ("attention_iou", "affinity"),
    "agreement and IoU": ("agreement", "attention_iou"),
    "agreement and affinity": ("agreement", "affinity"),
}


def paper_held_fixed() -> Exhibit:
    """What stays of the paper's correlations when one of the two augmentations is held fixed."""
    columns: dict[str, Callable[[str, str, str], float]] = {
        "all eight": paper.correlation,
        "student's taken off": lambda x, y, dataset: paper.correlation(x, y, dataset, "student"),
        "weak students": lambda x, y, dataset: paper.correlation_at(x, y, dataset, "weak"),
        "strong students": lambda x, y, dataset: paper.correlation_at(x, y, dataset, "strong"),
    }
    rows = {
        pair: {
            title: " / ".join(_r(value(x, y, dataset)) for dataset in paper.MEASURED)
            for title, value in columns.items()
        }
        for pair, (x, y) in PLOTTED_TOGETHER.items()
    }
    caption = (
        "Pearson's r in the paper's tables: CIFAR-100 / its long tail / ImageNet-LT. Over all eight trials, with the "
        "mean of each student augmentation taken off, and over four trials each. A value of four single trainings is a "
        "hint, not a proof."
    )
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit("held-fixed", frame, caption, "Correlations in the paper's tables", paper_card("paper_held_fixed"))


def paper_contrasts() -> Exhibit:
    """Contrasts in the paper's own tables."""
    pairs, students = PAIRS, STUDENTS
    both = {
        "strong − weak student, mean over teachers": ([(p, "strong") for p in pairs], [(p, "weak") for p in pairs]),
        "strong − weak teachers, strong student": ([(_STRONG, "strong")], [(_WEAK, "strong")]),
        "strong − weak teachers, weak student": ([(_STRONG, "weak")], [(_WEAK, "weak")]),
        "mixed − pure teachers, strong student": (
            [(p, "strong") for p in MIXED],
            [(p, "strong") for p in PURE],
        ),
        "mixed − pure teachers, both students": (
            [(p, s) for p in MIXED for s in students],
            [(p, s) for p in PURE for s in students],
        ),
    }
    measures = {"IoU": "attention_iou", "agreement": "agreement", "accuracy": "accuracy", "gap": "train_validation_gap"}
    rows = {
        name: {
            title: " / ".join(signed(paper.contrast(measure, dataset, *sides)) for dataset in paper.MEASURED)
            for title, measure in measures.items()
        }
        for name, sides in both.items()
    }
    caption = (
        "Differences in the paper's tables, one factor at a time: CIFAR-100 / its long tail / ImageNet-LT. Each rests "
        "on single trainings; the paper gives no spread over seeds."
    )
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit("contrasts", frame, caption, "Contrasts in the paper's tables", paper_card("paper_contrasts"))


def paper_halves() -> Exhibit:
    """Half-image distillation − vanilla in each of the paper's trials: how many of eight fall, and the mean."""
    measures = {"IoU": "attention_iou", "agreement": "agreement", "gap": "train_validation_gap"}
    rows: dict[str, dict[str, str]] = {}
    for dataset in paper.MEASURED:
        half, whole = paper.trials(dataset, "h"), paper.trials(dataset)
        rows[paper.TITLES[dataset]] = {}
        for title, measure in measures.items():
            change = half[measure] - whole[measure]
            said = f"{signed(float(change.mean()))}; falls in {int((change < 0).sum())} of {len(change)}"
            rows[paper.TITLES[dataset]][title] = said
    caption = "Half images minus whole ones in tables C.2 to C.4: the mean over eight trials, and in how many it falls."
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit("paper-halves", frame, caption, "Half images in the paper's tables", paper_card("paper_halves"))


def differences() -> Exhibit:
    """What the paper's text or tables say, and what its released code does."""
    rows = {each.what: {"text or tables": each.text, "released code": each.code} for each in paper.differences()}
    frame = pd.DataFrame.from_dict(rows, orient="index").map(html.escape)
    caption = "Where text, tables and released code differ, or leave a question open."
    return Exhibit("differences", frame, caption, "Text and released code", paper_card("differences"))


def ledger() -> Exhibit:
    """Each difference with what it moves and what shows it."""
    items = []
    for each in paper.differences():
        facts = {"text or tables": each.text, "released code": each.code, "what it moves": each.moves}
        rows = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
        rows += f"<dt>shown by</dt><dd><code>{html.escape(each.shows)}</code></dd>"
        what = html.escape(each.what[0].upper() + each.what[1:])
        items.append(f'<details class="kdnb-card kdnb-entry"><summary>{what}</summary><dl>{rows}</dl></details>')
    caption = "Open an entry for both sides, what it moves, and a command that shows it."
    return Exhibit("ledger", "".join(items), caption, "Ledger of differences", paper_card("ledger"))


# -- the study -------------------------------------------------------------------------------------------------------


@_exhibit
def grid(found: Results) -> Exhibit:
    """The students of a seed, by teachers and objective."""
    cells = pd.DataFrame.from_dict(found.cells, orient="index").rename_axis("run").reset_index()
    students = select(cells, role="student")
    kept = ["teachers", "origin", "objective"]
    wide = students.pivot_table(index=kept, columns="student", values="run", aggfunc="first", sort=False).fillna("")
    frame = wide.reset_index().set_index("teachers").rename_axis(columns=None).rename(index={"": "none"})
    frame = frame.rename(columns={"origin": "their origins", "weak": "weak student", "strong": "strong student"})
    teachers = len(select(cells, role="teacher"))
    data = found.about["dataset"]
    caption = (
        f"The {len(students)} students and {teachers} teachers of a seed, trained on {data['train']:,} images of "
        f"{len(data['classes'])} classes ({data['name']}) and judged on {data['validation']:,} others. One row is one "
        "set of teachers and one objective; its students differ in their own augmentation alone."
    )
    return Exhibit("grid", frame, caption, "The grid of students")


@_exhibit
def settings(found: Results) -> Exhibit:
    """The paper's settings beside these."""
    asked, kd = found.profile, found.profile.objectives["kd"]
    train, explorer = asked.student.train, found.explorer
    side = asked.side or explorer.images.shape[-1]
    shape = {"one-cycle": "up, then down to nothing", "cosine": "cosine", "step": "in steps"}
    mode = {"eval": "fixed", "train": "in training mode"}
    origin = (
        "an own network, pretrained on images that the study leaves out"
        if asked.origin != "fresh"
        else "random weights"
    )
    momentum = f"{train.momentum:g}{', Nesterov' if train.nesterov else ''}"
    rows = {
        "input": ("224 × 224", "224 × 224", f"{side} × {side}"),
        "teacher": ("ResNet-50", "ResNet-50", asked.teacher.model.name),
        "teachers start from": ("ImageNet weights", "one ImageNet file", origin),
        "teachers' epochs": ("60", "61; loaded at 45, 61 and 80", str(asked.teacher.train.epochs)),
        "student": ("ResNet-18", "ResNet-18", asked.student.model.name),
        "students' epochs": ("200", "200", str(train.epochs)),
        "temperature T": ("10", "3", f"{kd.temperature:g}"),
        "weight of the labels α": ("0.2", "0.6", f"{kd.alpha:g}"),
        "peak learning rate": ("0.1", "0.1", f"{train.learning_rate:g}"),
        "momentum": ("0.9", "0.9", momentum),
        "weight decay": ("not mentioned", "none", f"{train.weight_decay:g}"),
        "batch": ("128", "128", str(train.batch_size)),
        "schedule": ("in steps", "in steps, one epoch early", shape[train.schedule.kind]),
        "teachers' batch norm, while they teach": ("not mentioned", mode["train"], mode[kd.batch_norm]),
        "weights judged are of": ("not mentioned", "the epoch best on the test set", "the last epoch"),
    }  # fmt: skip
    frame = pd.DataFrame.from_dict(
        rows, orient="index", columns=["the paper's text", "its released code", "these results"]
    )
    caption = "CIFAR-100 in the paper's text, in its released scripts, and here."
    return Exhibit("settings", frame.map(html.escape), caption, "The paper's settings beside these")


@_exhibit
def cost(found: Results) -> Exhibit:
    """What a network of each role costs, in operations and in the log's seconds."""
    asked, data = found.profile, found.about["dataset"]
    classes, side = len(data["classes"]), asked.side or found.explorer.images.shape[-1]
    seconds = found.curves.groupby(["seed", "run"])["seconds"].sum()
    is_student = seconds.index.get_level_values("run").map(lambda run: found.cells[run]["role"] == "student")
    rows = {}
    for role, network in (("teacher", asked.teacher), ("student", asked.student)):
        name = network.model.name
        forward = models.flops(models.build(network.model, classes, side, seed=0), side)
        whole = {"teacher": "resnet50", "student": "resnet18"}[role]
        theirs = models.flops(models.build(ModelSpec(name=whole), 100, 224, seed=0), 224)
        rows[f"{role}, {name}"] = {
            "forward pass": f"{forward / 1e6:.1f} MFLOP",
            "a whole training": f"{3 * forward * data['train'] * network.train.epochs / 1e9:,.0f} GFLOP",
            "by the log": f"{seconds[np.asarray(is_student) == (role == 'student')].mean():.0f} s",
            "the paper's forward pass": f"{theirs / forward:,.0f} times as much",
        }
    minutes = seconds.groupby("seed").sum().mean() / 60
    caption = (
        f"A training step costs about three forward passes: one there, two back. A seed took {minutes:.0f} minutes of "
        "training by its log, whatever else the machine did meanwhile; students of one augmentation learn in lockstep, "
        "and a student's seconds are its share."
    )
    return Exhibit("cost", pd.DataFrame.from_dict(rows, orient="index"), caption, "What a network costs")


# -- limits ----------------------------------------------------------------------------------------------------------


@_exhibit
def unlike(found: Results) -> Exhibit:
    """Every effect whose mean does not have the sign that the paper predicts."""
    judged = found.verdicts[found.verdicts["predicted"] != 0]
    apart = judged[judged["effect"] * judged["predicted"] <= 0]
    if judged.empty:
        raise IncompleteError("the grid has no cells for any claim")
    rows = [
        {
            "claim": row["claim"],
            "": f"<b>{html.escape(row['what'])}</b>" if row["primary"] else html.escape(row["what"]),
            "column": row["column"],
            "predicted": "+" if row["predicted"] > 0 else "−",
            "effect": signed(row["effect"]),
            "seeds as predicted": f"{round(row['share'] * row['seeds'])} of {row['seeds']}",
        }
        for row in apart.to_dict("records")
    ]
    frame = pd.DataFrame(rows, columns=["claim", "", "column", "predicted", "effect", "seeds as predicted"]).set_index(
        "claim"
    )
    caption = (
        f"Of {len(judged)} declared effects with a sign, these {len(apart)} do not have it in the mean over seeds. "
        f"Bold ones decide their claim ({found.scale})."
    )
    return Exhibit("unlike", frame, caption, "Effects that do not have the paper's sign")


@_exhibit
def suspects(found: Results) -> Exhibit:
    """What augmentation moves besides what the claims are about."""
    table = figures.plain(found.table)
    clean = {"form": "textbook", "view": "clean"}

    def mean(**where: str) -> float:
        rows = select(table, **({"split": "validation"} | where))
        if rows.empty:
            raise IncompleteError(f"these results have no {where['measure'].replace('_', ' ')} of {where['role']}s")
        return float(rows["value"].mean())

    def both(measure: str, role: str, taught: bool, **where: str) -> list[float]:
        values = []
        for end in ("weak", "strong"):
            teachers = f"{end}+{end}" if taught or role == "ensemble" else end if role == "teacher" else ""
            student = {"student": end} if role == "student" else {}
            values.append(mean(measure=measure, role=role, teachers=teachers, **student, **(clean | where)))
        return values

    rows = {
        "clean training images: student alone": both("accuracy", "student", False, split="train"),
        "clean training images: distilled student": both("accuracy", "student", True, split="train"),
        "validation accuracy: student alone": both("accuracy", "student", False),
        "validation accuracy: teachers": both("accuracy", "teacher", False),
        "area of a teacher's mask": both("mask_area", "teacher", False, method="cam-predicted"),
        "teachers' chance IoU": both("chance_iou", "ensemble", False, method="cam-predicted"),
        "error consistency of student and teachers": both("error_consistency", "student", True, against="ensemble"),
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["weak", "strong"])
    shown = frame.map("{:.3f}".format).assign(difference=(frame["strong"] - frame["weak"]).map(signed))
    caption = "Weak and strong networks, means over seeds; a distilled student has two teachers augmented as itself."
    return Exhibit("suspects", shown, caption, "What else augmentation moves")


def exploratory() -> Exhibit:
    """The two seeds that were seen before the paper's claims were declared, by the claims that they were judged by."""
    found = results.read(results.home() / "cpu-scratch")
    rows = {}
    for claim in found.claim_set.claims:
        if claim.primary is None:
            continue
        group = select(found.effects, claim=claim.key, what=claim.primary.what)
        rows[claim.key] = {
            "our reading of the abstract": html.escape(claim.statement),
            "what decided": html.escape(claim.primary.what),
            "predicted": {1: "+", -1: "−"}[claim.primary.predicted or 1],
        } | {f"seed {seed}": signed(effect) for seed, effect in zip(group["seed"], group["effect"], strict=True)}
    caption = (
        "The exploratory seeds, profile cpu-scratch: teachers from fresh weights, judged by C1 to C8. No verdict is "
        "drawn from them."
    )
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit("exploratory", frame, caption, "Exploratory seeds", card(found, "kdnb.book.exhibits.exploratory"))


def elsewhere(found: Results, profile: str, dataset: str = "") -> Exhibit:
    """What decides each claim in an exploratory study of other images or networks, beside the page's results and the paper.

    Args:
        profile: whose published results these are.
        dataset: that of the paper's which is like it, of `kdnb.evidence.paper.MEASURED`; empty where its tables have none.
    """
    other = results.read(results.home() / profile).judged_by("K")
    rows = {}
    for claim, _, primary, estimand in other.claim_set.estimands():
        there = select(other.effects, claim=claim.key, what=estimand.what)
        if not primary or there.empty:
            continue
        here = select(found.effects, claim=claim.key, what=estimand.what)["effect"]
        rows[claim.key] = {
            "what decides": html.escape(estimand.what),
            "predicted": {1: "+", -1: "−"}[estimand.predicted or 1],
            **{f"seed {seed}": signed(effect) for seed, effect in zip(there["seed"], there["effect"], strict=True)},
            f"{found.profile.name}, mean": signed(float(here.mean())) if len(here) else "",
        }
        if dataset:
            theirs = papers(estimand)
            rows[claim.key] |= {"the paper": signed(theirs[dataset]) if dataset in theirs else ""}
    caption = (
        f"What decides each claim in {profile} ({seeds_in_words(other)}, exploratory), beside the mean over "
        f"{seeds_in_words(found)} of {found.profile.name}. "
    )
    if dataset:
        caption += f"The paper's own values are of {paper.TITLES[dataset]}. "
    caption += "No verdict is drawn from it."
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit("elsewhere", frame, caption, f"The claims in {profile}", card(other, "kdnb.book.exhibits.elsewhere"))


def beside(live: Results) -> Exhibit:
    """The primaries of results just made, beside the published ones of the same profile."""
    published = results.read(results.published(like=live.profile.name))
    deciding = live.verdicts.loc[live.verdicts["primary"], ["claim", "what"]]
    both = diff.compare(live, published).merge(deciding).set_index("claim")
    frame = both[["what", "ours", "theirs", "agree"]].rename_axis(None)
    frame = frame.assign(**{name: frame[name].map(signed) for name in ("ours", "theirs")})
    caption = "The effect that decides each claim: as just trained, as published, and whether they agree."
    return Exhibit("beside", frame, caption, "Just trained beside published", card(live, "kdnb.book.exhibits.beside"))


# -- the ruler -------------------------------------------------------------------------------------------------------


@functools.cache
def _specifications(folder: str, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Measured once for all exhibits of a page."""
    return curves.specifications(results.read(folder, seeds).judged_by("K"))


def _of_claim(found: Results, key: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    specs = _specifications(str(found.folder), found.seeds)
    specs = specs[specs["claim"] == key]
    if specs.empty:
        raise IncompleteError(f"the grid lacks the cells that {key} compares")
    return curves.over_seeds(specs), curves.flips(specs)


@_exhibit
def specification_curve(found: Results, key: str) -> Exhibit:
    """A claim measured in every way, sorted by its effect, and what each choice does to the sign."""
    specs, flips = _of_claim(found, key)
    primary = found.claim_set[key].primary
    unit = "correlation r" if isinstance(primary, Association) else "effect"
    if key in ("K1", "K3", "K7"):
        unit = "effect, in standard deviations"
    agree = int(specs["as_predicted"].sum())
    caption = (
        f"{key}: the same comparison measured in {len(specs)} ways, sorted; {agree} have the paper's sign in the mean over "
        "seeds. Grey is the paper's side. Below, what each choice does: blue is the share with the paper's sign."
    )
    alt = f"Specification curve of {key}: {agree} of {len(specs)} ways to measure have the paper's sign."
    return Exhibit(f"curve-{key.lower()}", figures.specification_curve(specs, flips, unit), caption, alt)


@_exhibit
def specification_shares(found: Results) -> Exhibit:
    """In how many ways of measuring each claim has the paper's sign, and which choice flips it most."""
    specs = _specifications(str(found.folder), found.seeds)
    if specs.empty:
        raise IncompleteError("the grid lacks the cells that the claims compare")
    flips = curves.flips(specs)
    rows = {}
    for row in curves.shares(specs).to_dict("records"):
        of = flips[flips["claim"] == row["claim"]].sort_values("range", ascending=False)
        most = of[of["choice"] == of["choice"].iloc[0]].sort_values("share")
        ends = f"{most['value'].iloc[0]} {most['share'].iloc[0]:.0%}, {most['value'].iloc[-1]} {most['share'].iloc[-1]:.0%}"
        rows[row["claim"]] = {
            "ways to measure": row["specifications"],
            "the paper's sign, mean": row["mean"],
            "in every seed": row["every"],
            "in none": row["none"],
            "the choice that moves it most": f"{most['choice'].iloc[0]}: {html.escape(ends)}"
            if of["range"].max()
            else "none",
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    caption = (
        "Each claim's deciding comparison under every way of measuring, and the choice whose values differ most in their share "
        "of the paper's sign. K2 and K8 vary the views only."
    )
    return Exhibit("shares", frame, caption, "Ways of measuring, by claim")


@_exhibit
def specifications(found: Results) -> Exhibit:
    """A claim and a choice of rulers, and what becomes of the curve."""
    specs = _specifications(str(found.folder), found.seeds)
    caption = (
        "Choose a claim, and keep only some ways of measuring it. The curve has a point for each way that is left, sorted by "
        "its effect; the sentence says how many have the paper's sign."
    )
    return Exhibit("specifications", explorers.specifications(specs), caption, "A curve of effects under many rulers.")
