"""What a table says about declared claims: an effect for each seed, and a verdict over seeds."""

from typing import Any, cast

import numpy as np
import pandas as pd

from kdnb.evidence.claims import PLOTTED, SETS, Claim, ClaimSet
from kdnb.evidence.estimands import Association, Index, Sign, papers, papers_in_words, signed
from kdnb.evidence.statistics import bootstrap_interval, holm, interval, sign_flip_p, verdict

EFFECT_COLUMNS = ["claim", "what", "column", "primary", "seed", "effect", "predicted", "as_predicted"]


def effects(table: pd.DataFrame, declared: ClaimSet) -> pd.DataFrame:
    """Each estimand in each seed; columns `EFFECT_COLUMNS`. Those whose cells the table lacks, or has undefined, give no row.

    ``effect`` is in the measure's unit, or a correlation; ``predicted`` is the sign that the paper predicts, 0 for none;
    ``as_predicted`` says whether the effect has it (an effect of exactly 0 has not).
    """
    index = Index(table)
    rows: list[tuple[Any, ...]] = []
    for claim, column, primary, estimand in declared.estimands():
        for seed in index.seeds:
            effect = estimand.in_seed(index, seed)
            if effect is not None:
                sign = estimand.predicted or 0
                rows.append((claim.key, estimand.what, column, primary, seed, effect, sign, effect * sign > 0))
    return pd.DataFrame(rows, columns=EFFECT_COLUMNS)


VERDICT_COLUMNS = [
    "claim", "what", "column", "primary", "predicted", "seeds", "effect", "low", "high", "share", "p", "p_holm", "verdict",
]  # fmt: skip


def verdicts(effects: pd.DataFrame, declared: ClaimSet) -> pd.DataFrame:
    """A row for each estimand over its seeds; columns `VERDICT_COLUMNS`.

    ``effect`` is the mean; ``low`` and ``high`` the 95 % interval (Student's t; for correlations a bootstrap over seeds);
    ``share`` that of seeds with the predicted sign, NaN without one. Only a primary has ``p`` (one-sided, in the predicted
    direction), ``p_holm`` (over all primaries that the table has) and a ``verdict``; of the others these are NaN and empty.
    """
    kinds = {(claim.key, estimand.what): estimand for claim, _, _, estimand in declared.estimands()}
    rows: list[dict[str, Any]] = []
    for name, group in effects.groupby(["claim", "what"], sort=False):
        key, what = cast(tuple[str, str], name)
        values = group["effect"].tolist()
        first = group.iloc[0]
        correlated = isinstance(kinds[key, what], Association)
        low, high = bootstrap_interval(values) if correlated else interval(values)
        sign = int(first["predicted"])
        row = {
            "claim": key,
            "what": what,
            "column": first["column"],
            "primary": bool(first["primary"]),
            "predicted": sign,
            "seeds": len(values),
            "effect": float(np.mean(values)),
            "low": low,
            "high": high,
            "share": float(group["as_predicted"].mean()) if sign else float("nan"),
            "p": float("nan"),
            "p_holm": float("nan"),
            "verdict": "",
        }
        if row["primary"] and sign:
            row["p"] = sign_flip_p(values, cast(Sign, sign))
            row["verdict"] = verdict(values, cast(Sign, sign))
        rows.append(row)
    deciding = [row for row in rows if row["verdict"]]
    for row, adjusted in zip(deciding, holm([row["p"] for row in deciding]), strict=True):
        row["p_holm"] = adjusted
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


def as_good_as_none(claim: Claim, row: pd.Series) -> bool:
    """Whether the interval of a claim's primary lies within the margin that was declared; False where none was.

    Args:
        row: the primary's, of `verdicts`.
    """
    return bool(claim.margin and -claim.margin <= row["low"] and row["high"] <= claim.margin)


def columns_part(claim: Claim, of_claim: pd.DataFrame) -> str:
    """Whether a claim's two columns part, in a sentence; empty where they do not.

    They part only if the primary is contradicted while the first plot has the paper's sign in every seed, or supported while
    it has the opposite sign in every seed, or if the primary's interval lies within the declared margin.

    Args:
        of_claim: the rows of `verdicts` of this claim.
    """
    primary = of_claim[of_claim["primary"]]
    if primary.empty:
        return ""
    row = primary.iloc[0]
    if as_good_as_none(claim, row):
        return f"the effect that decides is as good as none, since its interval lies within ±{claim.margin:g}"
    plotted = of_claim[(of_claim["column"] == PLOTTED) & (of_claim["predicted"] != 0)]
    if plotted.empty:
        return ""
    share = plotted.iloc[0]["share"]
    if row["verdict"] == "contradicted" and share == 1.0:
        return "the plot has the paper's sign in every seed, and one factor at a time contradicts it"
    if row["verdict"] == "supported" and share == 0.0:
        return "one factor at a time supports the claim, and the plot has the opposite sign in every seed"
    return ""


_WAY = {1: "up", -1: "down", 0: "no sign"}


_READ_PAPERS = [
    "Each line: the effect in each seed; the sign that the paper predicts; the paper's own values on CIFAR-100 / its long",
    "tail / ImageNet-LT, where its tables have them. Only the primary (marked *) gets a verdict.",
]
_READ_OWN = [
    "Each line: the effect in each seed, and the sign that was predicted. Only the primary (marked *) gets a verdict.",
]


def describe(effects: pd.DataFrame, declared: ClaimSet, profile: str) -> str:
    """What a table says about the claims, both columns, in words that its number of seeds can bear."""
    judged = {(row["claim"], row["what"]): row for row in verdicts(effects, declared).to_dict("records")}
    seeds = effects["seed"].nunique()
    whose = "The paper's claims" if declared.name in SETS else "Your own claims"
    lines = [
        f"{whose} as the profile {profile} shows them ({declared.name}, version {declared.version}:",
        f"{declared.about}).",
    ]
    lines += _READ_PAPERS if declared.name in SETS else _READ_OWN
    for claim in declared.claims:
        lines += ["", f"{claim.key}  {claim.statement} ({claim.where})"]
        found = effects[effects["claim"] == claim.key]
        if found.empty:
            lines.append(f"    {claim.note or 'not in this grid'}")
            continue
        column = ""
        for _, heading, primary, estimand in [each for each in declared.estimands() if each[0] is claim]:
            group = found[found["what"] == estimand.what]
            if group.empty:
                continue
            if heading != column:
                column = heading
                lines.append(f"    {column}")
            shown = ", ".join(signed(value) for value in group["effect"][:8])
            line = f"    {'*' if primary else ' '} {estimand.what}: {shown}; {_WAY[estimand.predicted or 0]}"
            if estimand.predicted:
                agree = int(group["as_predicted"].sum())
                line += (
                    f", {agree} of {len(group)}" if len(group) > 1 else (", as predicted" if agree else ", not so here")
                )
            if papers(estimand):
                line += f"; paper {papers_in_words(estimand)}"
            row = judged[claim.key, estimand.what]
            if row["verdict"] and len(group) > 1:
                line += f"; p = {row['p']:.3f}: {row['verdict']}"
            lines.append(line)
        of_claim = pd.DataFrame([row for key, row in judged.items() if key[0] == claim.key])
        apart = columns_part(claim, of_claim)
        lines += [f"      {apart}"] if apart else []
    if seeds < 5:
        lines += [
            "",
            f"{'One seed is' if seeds == 1 else f'{seeds} seeds are'} an observation, not a test: with n seeds the smallest "
            "one-sided p is 2^-n,\nand five seeds are the least that can reach 0.05.",
        ]
    if profile == "smoke":
        lines.append(
            "This is the smallest profile: tiny networks, 300 scanned digits, a few epochs. It shows that the whole path\n"
            "works; a sign that agrees or disagrees here says nothing about the paper."
        )
    return "\n".join(lines)
