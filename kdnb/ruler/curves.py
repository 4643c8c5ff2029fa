"""How much is the ruler: the effect that decides each claim under every other reasonable way of measuring it.

A *specification* is one way: which measure and form, on which images and views, and, of attention, which map, threshold and
pooling. What is compared stays what was declared: the same cells, the same contrast or correlation, the same seeds. So a
claim's specifications differ from its primary in the ruler alone. They are no sample: many share images and differ in a
threshold, and their share on one side of zero describes them and is no probability.

=========  =============================================================================================================
claim      what is varied
=========  =============================================================================================================
K1 K3 K7   the measure of fidelity and its form; views (clean, weak, strong, each student's own); validation or training
           images; in K3 also whether the teachers' answers are about whole images or about the halves that they saw
K2 K8      the views of the validation images
K4         map, threshold (0.1 to 0.9), views, images; IoU for each image, over all pixels at once, or beyond chance:
           (IoU − c) / (1 − c), where c is the IoU that masks of the same areas have by chance
K5         the same, and whether the student's augmentation is held fixed
K6         as K1, and whether the student's augmentation is held fixed
K9         the form of the calibration error, views, images
others     of a user's own claim about fidelity as K1, about anything else views and images
=========  =============================================================================================================
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, cast

import numpy as np
import pandas as pd

from kdnb.evidence import claims, measures
from kdnb.evidence.claims import ACCURACY, Claim
from kdnb.evidence.estimands import MIXED, PAIRS, PURE, STUDENTS, Association, Cell, Contrast, Estimand, Index, Measure
from kdnb.evidence.results import Results
from kdnb.evidence.table import select

FIDELITY: dict[str, tuple[str, str, Literal[-1, 1]]] = {
    "agreement": ("agreement", "textbook", 1),
    "agreement, released": ("agreement", "as-released", 1),
    "agreement on errors": ("agreement_on_errors", "textbook", 1),
    "error consistency": ("error_consistency", "textbook", 1),
    "mutual information": ("mutual_information", "textbook", 1),
    "mutual information, adjusted": ("adjusted_mutual_information", "textbook", 1),
    "mutual information, released": ("mutual_information", "as-released", 1),
    "mutual information, in batches": ("mutual_information_score", "as-released", 1),
    "KL divergence": ("divergence", "textbook", -1),
    "KL divergence, released": ("divergence", "as-released", -1),
}
"""what it is called → measure, form, and whether more of it is more fidelity. Seeds published earlier lack the released forms
on training images (`kdnb.evidence.results.OF_BATCHES`)."""


def fidelity() -> dict[str, tuple[str, str, Literal[-1, 1]]]:
    """`FIDELITY`, and the measures of it that users registered."""
    own = {each.name: (each.name, "textbook", each.fidelity) for each in measures.registered().values()}
    return FIDELITY | {name: (measure, form, way) for name, (measure, form, way) in own.items() if way}


OF_BOTH = frozenset(measure for measure, _, _ in FIDELITY.values())
"""measures of a student against its teachers together"""

CALIBRATION: dict[str, tuple[str, str]] = {
    "textbook": ("calibration_error", "textbook"),
    "released": ("calibration_error", "as-released"),
    "after one temperature": ("calibration_error_scaled", "textbook"),
}

VIEWS = ("clean", "weak", "strong", "own")
SPLITS = ("validation", "train")
FIXED = {"student": "student's augmentation", "": "nothing"}
COUNTED = {"per image": "per_image", "all pixels": "pooled", "beyond chance": "beyond"}

CHOICES = ("measure", "map", "threshold", "counted", "view", "images", "answers", "held fixed")
"""The choices that a specification makes; one that a claim does not vary is empty."""

COLUMNS = ("claim", *CHOICES, "seed", "effect", "size", "side", "as_predicted", "declared", "paper")


@dataclass(frozen=True)
class _Specification:
    choices: Mapping[str, str]
    estimand: Estimand
    way: int = 1
    """−1 where more of the measure is less of what the claim is about, as with KL divergence and fidelity"""


def specifications(found: Results) -> pd.DataFrame:
    """Every specification of every claim in every seed; columns `COLUMNS`.

    ``effect`` is in the measure's unit or a correlation, with the sign of KL divergence turned, so that more is more fidelity;
    ``size`` makes the measures of one claim comparable: for fidelity it is the effect divided by the standard deviation of
    that measure over the students compared and the trials, else the effect. ``side`` is the sign that the paper's account
    gives; ``declared`` marks the primary, ``paper`` the paper's own way as its text or released code has it. What the results
    lack gives no row.
    """
    decided = of_table(found.table, found.claim_set.claims).to_dict("records")
    rows = [*decided, *_of_attention(found, Index(found.table))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def of_table(table: pd.DataFrame, declared: Iterable[Claim]) -> pd.DataFrame:
    """The same of the claims that the tidy table decides, which are all but K4 and K5, and may be a user's own: of these,
    contrasts only."""
    index, known = Index(table), fidelity()
    rows: list[dict[str, object]] = []
    for claim in declared:
        if claim.primary is None or claim.key in ("K4", "K5"):
            continue
        for each in _of_table(claim):
            for seed in index.seeds:
                found_there = each.estimand.in_seed(index, seed)
                if found_there is None:
                    continue
                effect = size = each.way * found_there
                if isinstance(each.estimand, Contrast) and each.choices.get("measure") in known:
                    cells = dict.fromkeys([*index.trials, *(cell for _, cell, _ in each.estimand.terms)])
                    values = [index.value(seed, cell, each.estimand.terms[0][2]) for cell in cells]
                    spread = float(np.std([value for value in values if value is not None]))
                    size = effect / spread if spread else 0.0
                rows.append(_row(claim, each.choices, seed, effect, size, each.estimand == claim.primary))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    claim: Claim, choices: Mapping[str, str], seed: int, effect: float, size: float, declared: bool
) -> dict[str, object]:
    assert claim.primary is not None
    side = claim.primary.predicted or 1
    papers = _PAPER.get(claim.key)
    paper = papers is not None and all(choices.get(name) == value for name, value in papers.items())
    made = dict.fromkeys(CHOICES, "") | dict(choices)
    result = {"effect": effect, "size": size, "side": side, "as_predicted": effect * side > 0}
    return {"claim": claim.key, **made, "seed": seed, **result, "declared": declared, "paper": paper}


_PAPER: dict[str, dict[str, str]] = {
    "K1": {"measure": "agreement", "view": "own", "images": "train"},
    "K2": {"view": "clean"},
    "K3": {"measure": "agreement", "view": "own", "images": "train", "answers": "about halves"},
    "K4": {"map": "cam-sum", "threshold": "0.4", "counted": "all pixels", "view": "strong", "images": "train"},
    "K5": {
        "map": "cam-sum",
        "threshold": "0.4",
        "counted": "all pixels",
        "view": "own",
        "images": "train",
        "held fixed": "nothing",
    },
    "K6": {"measure": "agreement", "view": "own", "images": "train", "held fixed": "nothing"},
    "K7": {"measure": "agreement", "view": "own", "images": "train"},
    "K8": {"view": "clean"},
    "K9": {"measure": "released", "view": "own", "images": "train"},
}
"""The paper's own way, as its text or its released code has it."""


def _of_table(claim: Claim) -> Iterator[_Specification]:
    """The specifications of a claim that the tidy table decides."""
    primary = claim.primary
    assert primary is not None
    if claim.key in ("K2", "K8"):
        for view in (*VIEWS, "base"):
            yield _Specification({"view": view}, _measured(primary, replace(ACCURACY, view=view)))
    elif claim.key == "K9":
        for (name, (measure, form)), view, split in product(CALIBRATION.items(), VIEWS, SPLITS):
            by = Measure(measure, form, split, view)
            yield _Specification({"measure": name, "view": view, "images": split}, _measured(primary, by))
    elif claim.key not in _PAPER and not isinstance(primary, Contrast):
        return
    elif claim.key not in _PAPER and not _is_fidelity(cast(Contrast, primary)):
        same = cast(Contrast, primary).terms[0][2]
        for view, split in product(VIEWS, SPLITS):
            choices = {"measure": same.name, "view": view, "images": split}
            yield _Specification(choices, _measured(primary, replace(same, view=view, split=split)))
    else:
        answers = {"about whole images": "ensemble", "about halves": "halves"}
        for (name, (measure, form, way)), view, split in product(fidelity().items(), VIEWS, SPLITS):
            by = Measure(measure, form, split, view, "ensemble")
            choices = {"measure": name, "view": view, "images": split}
            if claim.key == "K3":
                for words, against in answers.items():
                    of = replace(by, against=against)
                    yield _Specification(choices | {"answers": words}, _measured(primary, of), way)
            elif claim.key == "K6":
                for within, words in FIXED.items():
                    estimand = replace(cast(Association, primary), x=by, within=cast(Literal["", "student"], within))
                    yield _Specification(choices | {"held fixed": words}, estimand, way)
            else:
                yield _Specification(choices, _measured(primary, by), way)


def _is_fidelity(primary: Contrast) -> bool:
    named = {measure for measure, _, _ in fidelity().values()}
    return all(measure.name in named and measure.against == "ensemble" for _, _, measure in primary.terms)


def _measured(primary: Estimand, by: Measure) -> Estimand:
    contrast = cast(Contrast, primary)
    return replace(contrast, terms=tuple((weight, cell, by) for weight, cell, _ in contrast.terms))


def _of_attention(found: Results, index: Index) -> list[dict[str, object]]:
    """K4 and K5, from the published tables of overlap."""
    rows: list[dict[str, object]] = []
    table = found.specifications
    origin = found.table.loc[found.table["role"] == "teacher", "origin"].iloc[0]
    table = table[table["teachers"].isin(PAIRS) & (table["origin"] == f"{origin}+{origin}")]
    table = table.assign(
        beyond=((table["per_image"] - table["chance"]) / (1 - table["chance"])).where(table["chance"] < 1, 0.0),
        threshold=table["threshold"].map("{:.1f}".format),
    )
    trials = [Cell(pair, student) for pair in PAIRS for student in STUDENTS]
    for seed in index.seeds:
        accuracy = [index.value(seed, cell, ACCURACY) for cell in trials]
        of_seed = select(table, seed=seed)
        for name, group in of_seed.groupby(["method", "threshold", "split"], sort=False):
            method, threshold, split = cast(tuple[str, str, str], name)
            for words, column in COUNTED.items():
                where = {"map": method, "threshold": threshold, "counted": words, "images": split}
                by_view = group.pivot(index="teachers", columns="view", values=column)
                if not set(PAIRS) <= set(by_view.index):
                    continue
                declared = (
                    method == claims.IOU.method and threshold == "0.4" and words == "per image" and split == "train"
                )
                for view in by_view:
                    iou = by_view[view]
                    effect = float(iou[list(MIXED)].mean() - iou[list(PURE)].mean())
                    choices = where | {"view": str(view)}
                    rows.append(_row(claims.K4, choices, seed, effect, effect, declared and view == "clean"))
                if None in accuracy:
                    continue
                for view, (within, held) in product((*by_view, "own"), FIXED.items()):
                    views = [cell.student if view == "own" else view for cell in trials]
                    seen = [
                        float(cast(float, by_view.loc[cell.teachers, of]))
                        for cell, of in zip(trials, views, strict=True)
                    ]
                    r = _correlation(seen, cast(list[float], accuracy), trials, fixed=bool(within))
                    if r is None:
                        continue
                    choices = where | {"view": str(view), "held fixed": held}
                    decides = declared and view == "own" and bool(within)
                    rows.append(_row(claims.K5, choices, seed, r, r, decides))
    return rows


def _correlation(x: list[float], y: list[float], trials: list[Cell], *, fixed: bool) -> float | None:
    values = np.array([x, y])
    if fixed:
        for student in STUDENTS:
            same = np.array([cell.student == student for cell in trials])
            values[:, same] -= values[:, same].mean(axis=1, keepdims=True)
    if not np.isfinite(values).all() or (values.std(axis=1) < 1e-12).any():
        return None
    return float(np.corrcoef(values)[0, 1])


def over_seeds(specs: pd.DataFrame) -> pd.DataFrame:
    """A row for each specification: claim, `CHOICES`, ``size`` and ``effect`` (means over seeds), ``low`` and ``high`` (the
    least and the largest size), ``agree`` (in how many seeds it has the paper's sign), ``seeds``, ``as_predicted`` (whether the
    mean has), ``declared``, ``paper``."""
    grouped = specs.assign(agree=specs["as_predicted"].astype(int)).groupby(["claim", *CHOICES], sort=False)
    means = grouped.agg(
        effect=("effect", "mean"),
        size=("size", "mean"),
        low=("size", "min"),
        high=("size", "max"),
        agree=("agree", "sum"),
        seeds=("seed", "nunique"),
        side=("side", "first"),
        declared=("declared", "first"),
        paper=("paper", "first"),
    ).reset_index()
    return means.assign(as_predicted=means["effect"] * means["side"] > 0)


def shares(specs: pd.DataFrame) -> pd.DataFrame:
    """A row for each claim: ``specifications``, ``mean`` (how many have the paper's sign in the mean over seeds), ``every`` (in
    every seed), ``none`` (in none)."""
    rows = []
    for claim, group in over_seeds(specs).groupby("claim", sort=False):
        rows.append(
            {
                "claim": claim,
                "specifications": len(group),
                "mean": int(group["as_predicted"].sum()),
                "every": int((group["agree"] == group["seeds"]).sum()),
                "none": int((group["agree"] == 0).sum()),
            }
        )
    return pd.DataFrame(rows, columns=["claim", "specifications", "mean", "every", "none"]).sort_values("claim")


def flips(specs: pd.DataFrame) -> pd.DataFrame:
    """How each choice moves the sign: a row for each claim, ``choice`` and ``value``.

    ``share`` is that of its specifications whose mean has the paper's sign; ``range``, of a choice, the largest share − the
    smallest. The choice with the largest range of a claim separates signs most.
    """
    rows = []
    for claim, group in over_seeds(specs).groupby("claim", sort=False):
        for choice in CHOICES:
            if group[choice].nunique() < 2:
                continue
            share = group.groupby(choice, sort=False)["as_predicted"].mean()
            spread = float(share.max() - share.min())
            rows += [
                {"claim": claim, "choice": choice, "value": value, "share": float(of), "range": spread}
                for value, of in share.items()
            ]
    return pd.DataFrame(rows, columns=["claim", "choice", "value", "share", "range"])
