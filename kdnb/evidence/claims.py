"""The paper's claims, declared as data, and what a table says about each.

A claim is shown by estimands, each one number a seed with the sign that the paper predicts: a contrast (a measure of one
cell minus the same measure of another) or an association (a correlation of two measures over cells). The unit is the seed;
everything is paired within it. The first estimand of a claim decides, those after it are shown beside it. Claims are
declared before a study's first seed is run: whoever changes one afterwards says so in the changelog. (So it was with fidelity
on the student's own views, where the released code measures it: those estimands were added to C4 and C6 while the first seed
of `cpu` trained, before any answer of a student was there. They decide nothing.)

**The rule** (`verdict`). Over seeds, a sign-flip test of the mean contrast, exact up to 20 of them: under the null hypothesis
each seed's contrast is as likely to be its negative, so p is the share of all 2^n assignments of signs whose mean reaches the
observed one. A claim is *supported* if the one-sided p in the predicted direction is at most 0.05, *contradicted* if that in
the opposite direction is, else *inconclusive*. With n seeds the smallest p is 2^-n: fewer than five seeds can only be
inconclusive, whatever they show.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from kdnb.evidence.statistics import bootstrap_interval, holm, interval, sign_flip_p, verdict
from kdnb.evidence.table import select


STRONG, WEAK = "T1s_T2s", "T1w_T2w"
"""Two teachers, all strong or all weak: in every profile's grid."""


@dataclass(frozen=True)
class Contrast:
    """A measure of the first cell minus that of the second, within a seed."""

    what: str
    """the measured quantity, in words"""
    first: dict[str, str]
    """the rows of the first cell: a value for each column of the table that selects them"""
    second: dict[str, str]
    predicted: Literal[-1, 1]
    """the sign that the paper predicts of first − second"""

    def by_seed(self, table: pd.DataFrame) -> dict[int, float]:
        """The contrast in each seed that has both cells, in the measure's unit."""
        first, second = (
            select(table, **cast(dict[str, Any], cell)).set_index("seed")["value"] for cell in (self.first, self.second)
        )
        return {int(seed): float(first[seed] - second[seed]) for seed in first.index.intersection(second.index)}


@dataclass(frozen=True)
class Association:
    """Pearson's correlation of two measures over all distilled students of a seed, a cell of the grid each.

    Within `student`, the mean of all cells with that student augmentation is taken off both measures first: what is left
    are differences between teacher sets, students alike. Within `ensemble`, the mean of the cells with these teachers is:
    what is left is what the student's own augmentation does, teachers alike. Neither shows a cause: augmentation moves both
    measures.
    """

    what: str
    x: dict[str, str]
    """the rows of one measure, as in a contrast"""
    y: dict[str, str]
    within: Literal["", "student", "ensemble"]
    """the column whose means are taken off; empty for none"""
    predicted: Literal[-1, 1]

    def by_seed(self, table: pd.DataFrame) -> dict[int, float]:
        """The correlation in each seed, from −1 to 1; a seed in which either measure does not vary has none."""
        key = ["seed", "ensemble", "student"]
        x, y = (select(table, **cast(dict[str, Any], rows)).set_index(key)["value"] for rows in (self.x, self.y))
        cells = pd.DataFrame({"x": x, "y": y}).dropna().reset_index()
        result = {}
        for seed, of_seed in cells.groupby("seed"):
            values = of_seed[["x", "y"]]
            if self.within:
                values = values - of_seed.groupby(self.within)[["x", "y"]].transform("mean")
            if len(values) > 2 and (values.std() > 1e-12).all():
                result[int(cast(int, seed))] = float(np.corrcoef(values["x"], values["y"])[0, 1])
        return result


@dataclass(frozen=True)
class Claim:
    """What the paper says, how it shows in a table, and what would speak against it."""

    key: str
    statement: str
    cells: str
    """what is subtracted from what, or correlated over what, in words"""
    estimands: tuple[Contrast | Association, ...]
    contradiction: str
    """what would count as evidence against the claim"""
    page: str
    """the notebook that shows it"""
    part: str = ""
    """what of the statement the estimands test, where that is less than all of it"""


def _contrast(
    what: str, measure: str, first: dict[str, str], second: dict[str, str], predicted: Literal[-1, 1], **common: str
) -> Contrast:
    both = {"measure": measure, "form": "textbook"} | common
    return Contrast(what, both | first, both | second, predicted)


def _ends(what: str, measure: str, predicted: Literal[-1, 1], **common: str) -> Contrast:
    """Strong teachers and a strong student − weak teachers and a weak one."""
    return _contrast(what, measure, {"run": f"{STRONG}_Ss"}, {"run": f"{WEAK}_Sw"}, predicted, **common)


def _teachers(what: str, measure: str, method: str) -> Contrast:
    """Strong teachers − weak teachers, on clean images; the paper predicts less overlap."""
    return _contrast(what, measure, {"run": STRONG}, {"run": WEAK}, -1, view="clean", method=method)


def _together(what: str, within: Literal["", "student", "ensemble"], view: str = "clean") -> Association:
    """Agreement with the teachers on a view, and accuracy on clean images; the paper predicts that they part."""
    agreement = {"measure": "agreement", "form": "textbook", "view": view, "against": "ensemble", "role": "student"}
    accuracy = {"measure": "accuracy", "form": "textbook", "view": "clean", "role": "student"}
    return Association(what, agreement, accuracy, within, -1)


def _at_size(teachers: int, measure: str, what: str, predicted: Literal[-1, 1], **common: str) -> Contrast:
    """All strong − all weak, at another number of teachers."""
    strong, weak = ("_".join(f"T{place}{letter}" for place in range(1, teachers + 1)) for letter in "sw")
    number = {1: "one teacher", 3: "three teachers"}[teachers]
    return _contrast(f"{what}, {number}", measure, {"run": f"{strong}_Ss"}, {"run": f"{weak}_Sw"}, predicted, **common)


ALL_STRONG = "two strong teachers and a strong student − two weak teachers and a weak student"

CLAIMS = (
    Claim(
        "C1",
        "stronger augmentation makes the data less like the clean data",
        "strong − weak views, to a network trained on clean images",
        (
            _contrast(
                "affinity (difference of accuracies)",
                "affinity",
                {"view": "strong"},
                {"view": "weak"},
                -1,
                run="reference",
            ),
        ),
        "strong views are recognised better than weak ones by a network that knows only clean images",
        "augmentation",
    ),
    Claim(
        "C2",
        "teachers trained with it attend to more different regions",
        "two strong teachers − two weak teachers, clean images",
        (
            _teachers("attention IoU", "attention_iou", "cam-predicted"),
            _teachers("attention IoU beyond area-matched chance", "excess_iou", "cam-predicted"),
            _teachers("attention IoU of maps summed over classes", "attention_iou", "cam-sum"),
        ),
        "attention maps of strong teachers overlap more than those of weak ones",
        "attention",
    ),
    Claim(
        "C3",
        "students distilled with it overfit less",
        ALL_STRONG,
        (_ends("train–validation gap", "train_validation_gap", -1, view="own"),),
        "the gap of the strong student is the larger one",
        "generalisation",
    ),
    Claim(
        "C4",
        "they follow their teachers less",
        ALL_STRONG,
        (
            _ends("agreement with the teachers", "agreement", -1, view="clean", against="ensemble"),
            _ends("KL divergence, in nats", "divergence", 1, view="clean", against="ensemble"),
            _ends("mutual information, in nats", "mutual_information", -1, view="clean", against="ensemble"),
            _ends("agreement, each on its own views", "agreement", -1, view="own", against="ensemble"),
            _ends("KL divergence, each on its own views", "divergence", 1, view="own", against="ensemble"),
            _ends(
                "mutual information, each on its own views", "mutual_information", -1, view="own", against="ensemble"
            ),
        ),
        "the strong student agrees more with its teachers",
        "fidelity",
    ),
    Claim(
        "C5",
        "they generalise better",
        ALL_STRONG,
        (_ends("validation accuracy", "accuracy", 1, view="clean"),),
        "the strong student is less accurate on validation images",
        "generalisation",
    ),
    Claim(
        "C6",
        "low fidelity goes with better generalisation: it is no pathology",
        "agreement with the teachers and validation accuracy, over all distilled students of a seed",
        (
            _together("correlation over all cells", ""),
            _together("correlation between teacher sets, the student's augmentation alike", "student"),
            _together("correlation between the student's augmentations, teachers alike", "ensemble"),
            _together("correlation over all cells, agreement on own views", "", "own"),
        ),
        "students that agree more with their teachers are the more accurate ones",
        "pathology",
    ),
    Claim(
        "C7",
        "matching logits itself helps generalisation",
        "a student of two strong teachers − one without teachers, both strong",
        (
            _contrast("validation accuracy", "accuracy", {"run": f"{STRONG}_Ss"}, {"run": "Ss"}, 1, view="clean"),
            _contrast(
                "validation accuracy, all weak", "accuracy", {"run": f"{WEAK}_Sw"}, {"run": "Sw"}, 1, view="clean"
            ),
        ),
        "the distilled student is less accurate than the undistilled one",
        "pathology",
    ),
    Claim(
        "C8",
        "this holds for ensembles of any size, for balanced and long-tailed data, and for transformers",
        "all strong − all weak, as C3 to C5, with three teachers and with one",
        (
            _at_size(3, "accuracy", "validation accuracy", 1, view="clean"),
            _at_size(3, "train_validation_gap", "train–validation gap", -1, view="own"),
            _at_size(3, "agreement", "agreement with the teachers", -1, view="clean", against="ensemble"),
            _at_size(1, "accuracy", "validation accuracy", 1, view="clean"),
            _at_size(1, "train_validation_gap", "train–validation gap", -1, view="own"),
            _at_size(1, "agreement", "agreement with the teachers", -1, view="clean", against="ensemble"),
        ),
        "with three teachers, the strong student is less accurate",
        "limits",
        "the number of teachers; other data and networks are other profiles, of which the same is asked",
    ),
)

ASSOCIATIONS = {(claim.key, each.what) for claim in CLAIMS for each in claim.estimands if isinstance(each, Association)}

EFFECT_COLUMNS = ["claim", "what", "decides", "seed", "effect", "predicted", "as_predicted"]


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """Each estimand in each seed; columns `EFFECT_COLUMNS`. Those whose cells the table lacks, or has undefined, give no row.

    ``effect`` is first − second in the measure's unit, or a correlation, ``predicted`` the sign that the paper predicts,
    ``as_predicted`` whether it has that sign (an effect of exactly 0 has not).
    """
    rows: list[tuple[Any, ...]] = []
    for claim in CLAIMS:
        for place, estimand in enumerate(claim.estimands):
            for seed, effect in estimand.by_seed(table).items():
                if not math.isfinite(effect):
                    continue
                signed = effect * estimand.predicted > 0
                rows.append((claim.key, estimand.what, place == 0, seed, effect, estimand.predicted, signed))
    return pd.DataFrame(rows, columns=EFFECT_COLUMNS)


def verdicts(effects: pd.DataFrame) -> pd.DataFrame:
    """A row for each estimand over its seeds.

    Columns: claim, what, decides, seeds, effect (mean), low, high (95 %: Student's t for contrasts, bootstrap over seeds
    for correlations), share of seeds with the predicted sign, one-sided p in the predicted direction, p_holm (over the
    deciding estimands of all claims; NaN for the others) and the verdict.
    """
    rows: list[dict[str, Any]] = []
    for (claim, what), group in effects.groupby(["claim", "what"], sort=False):
        values = group["effect"].tolist()
        predicted = cast(Literal[-1, 1], int(group["predicted"].iloc[0]))
        low, high = bootstrap_interval(values) if (claim, what) in ASSOCIATIONS else interval(values)
        rows.append(
            {
                "claim": claim,
                "what": what,
                "decides": bool(group["decides"].iloc[0]),
                "seeds": len(values),
                "effect": float(np.mean(values)),
                "low": low,
                "high": high,
                "share": float(group["as_predicted"].mean()),
                "p": sign_flip_p(values, predicted),
                "p_holm": float("nan"),
                "verdict": verdict(values, predicted),
            }
        )
    deciding = [row for row in rows if row["decides"]]
    for row, adjusted in zip(deciding, holm([row["p"] for row in deciding]), strict=True):
        row["p_holm"] = adjusted
    columns = [
        "claim", "what", "decides", "seeds", "effect", "low", "high", "share", "p", "p_holm", "verdict",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def describe(effects: pd.DataFrame, profile: str) -> str:
    """What a table says about the claims, in words that its number of seeds can bear."""
    lines = [f"The paper's claims, as the profile {profile} shows them:"]
    judged = {(row["claim"], row["what"]): row for row in verdicts(effects).to_dict("records")}
    for claim in CLAIMS:
        of_claim = effects[effects["claim"] == claim.key]
        if of_claim.empty:
            continue
        lines += ["", f"{claim.key}  {claim.statement}", f"    {claim.cells}"]
        lines += [f"    tested: {claim.part}"] if claim.part else []
        for what, group in of_claim.groupby("what", sort=False):
            way = "down" if group["predicted"].iloc[0] < 0 else "up"
            seeds, agree = len(group), int(group["as_predicted"].sum())
            shown = ", ".join(f"{value:+.3f}" for value in group["effect"])
            told = "as predicted" if agree else "not so here"
            if seeds > 1:
                row = judged[claim.key, what]
                told = f"{agree} of {seeds} seeds as predicted, p = {row['p']:.3f}: {row['verdict']}"
            lines.append(f"      {what}: {shown}; predicted {way}; {told}")
    seeds = effects["seed"].nunique()
    if seeds < 5:
        lines += [
            "",
            f"{'One seed is' if seeds == 1 else f'{seeds} seeds are'} an observation, not a test: with n seeds the "
            "smallest one-sided p is 2^-n,\nand five seeds are the least that can reach 0.05.",
        ]
    if profile == "smoke":
        lines.append(
            "This is the smallest profile: tiny networks, 599 scanned digits, a few epochs. It shows that the whole path\n"
            "works; a sign that agrees or disagrees here says nothing about the paper."
        )
    return "\n".join(lines)
