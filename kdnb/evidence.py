"""The paper's claims, declared as data, and what a table says about each.

A claim is a contrast within a seed: a measure of one cell minus the same of another, in the direction that the paper
predicts. The strong cell is always the first. The unit is the seed.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

import pandas as pd

from kdnb.table import select

STRONG, WEAK = "T1s_T2s", "T1w_T2w"
"""Two teachers, all strong or all weak: in every profile's grid."""


@dataclass(frozen=True)
class Claim:
    """What the paper says, and how it shows in a table."""

    key: str
    statement: str
    what: str
    """the measured quantity, in words"""
    strong: dict[str, str]
    """the rows of the strong cell: a value for each column that selects them"""
    weak: dict[str, str]
    predicted: Literal[-1, 1]
    """the sign that the paper predicts of strong − weak"""


def _within(common: dict[str, str], strong: dict[str, str], weak: dict[str, str]) -> dict[str, Any]:
    textbook = {"form": "textbook"}
    return {"strong": textbook | common | strong, "weak": textbook | common | weak}


def _students(measure: str, view: str, against: str = "") -> dict[str, Any]:
    common = {"measure": measure, "view": view, "against": against}
    return _within(common, {"run": f"{STRONG}_Ss"}, {"run": f"{WEAK}_Sw"})


CLAIMS = (
    Claim(
        "C1",
        "stronger augmentation makes the data less like the clean data",
        "affinity of the augmentation, to a network trained on clean images",
        **_within({"measure": "affinity", "run": "reference"}, {"view": "strong"}, {"view": "weak"}),
        predicted=-1,
    ),
    Claim(
        "C2",
        "teachers trained with it attend to more different regions",
        "attention IoU of two teachers",
        **_within(
            {"measure": "attention_iou", "view": "clean", "method": "cam-predicted"}, {"run": STRONG}, {"run": WEAK}
        ),
        predicted=-1,
    ),
    Claim(
        "C3",
        "students distilled with it overfit less",
        "train–validation gap of the student",
        **_students("train_validation_gap", "own"),
        predicted=-1,
    ),
    Claim(
        "C4",
        "they follow their teachers less",
        "agreement of the student with its teachers",
        **_students("agreement", "clean", "ensemble"),
        predicted=-1,
    ),
    Claim(
        "C4",
        "they follow their teachers less",
        "KL divergence of the student from its teachers, in nats",
        **_students("divergence", "clean", "ensemble"),
        predicted=1,
    ),
    Claim(
        "C4",
        "they follow their teachers less",
        "mutual information of student and teachers, in nats",
        **_students("mutual_information", "clean", "ensemble"),
        predicted=-1,
    ),
    Claim(
        "C5",
        "they generalise better",
        "validation accuracy of the student",
        **_students("accuracy", "clean"),
        predicted=1,
    ),
)


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """Strong − weak of each claim in each seed: columns claim, statement, what, seed, effect, predicted, as_predicted.

    A claim whose cells the table does not have gives no row.
    """
    rows: list[dict[str, Any]] = []
    for claim in CLAIMS:
        strong, weak = (
            select(table, **cast(dict[str, Any], cell)).set_index("seed")["value"]
            for cell in (claim.strong, claim.weak)
        )
        for seed in strong.index.intersection(weak.index):
            effect = float(strong[seed] - weak[seed])
            rows.append(
                {
                    "claim": claim.key,
                    "statement": claim.statement,
                    "what": claim.what,
                    "seed": seed,
                    "effect": effect,
                    "predicted": claim.predicted,
                    "as_predicted": effect * claim.predicted > 0,
                }
            )
    columns = ["claim", "statement", "what", "seed", "effect", "predicted", "as_predicted"]
    return pd.DataFrame(rows, columns=columns)


def describe(effects: pd.DataFrame, profile: str) -> str:
    """What a table says about the claims, in words that a few seeds can bear."""
    lines = [f"The paper's claims, strong − weak, as the profile {profile} shows them:", ""]
    for (claim, statement), of_claim in effects.groupby(["claim", "statement"], sort=False):
        lines.append(f"{claim}  {statement}")
        for what, group in of_claim.groupby("what", sort=False):
            values, seeds = group["effect"], len(group)
            way = "down" if group["predicted"].iloc[0] < 0 else "up"
            agree = int(group["as_predicted"].sum())
            shown = ", ".join(f"{value:+.3f}" for value in values)
            verdict = (
                f"{agree} of {seeds} seeds as predicted" if seeds > 1 else ("as predicted" if agree else "not so here")
            )
            lines.append(f"    {what}: {shown}; predicted {way}; {verdict}")
    seeds = effects["seed"].nunique()
    lines += [
        "",
        f"{'One seed is' if seeds == 1 else f'{seeds} seeds are'} an observation, not a test: "
        f"with n seeds the smallest one-sided p is 2^-n, and five seeds are the least that can reach 0.05.",
    ]
    if profile == "smoke":
        lines.append(
            "This is the smallest profile: tiny networks, 599 scanned digits, a few epochs. It shows that the whole path\n"
            "works; a sign that agrees or disagrees here says nothing about the paper."
        )
    return "\n".join(lines)
