"""What a table says about declared claims: an effect for each seed, and a verdict over seeds."""

import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from kdnb.evidence.claims import PLOTTED, SETS, Claim, ClaimSet
from kdnb.evidence.estimands import Association, Index, Sign, papers, papers_in_words, signed
from kdnb.evidence.statistics import (
    LEVEL,
    bootstrap_interval,
    equivalence_p,
    holm,
    interval,
    sign_flip_p,
    two_sided_p,
    verdict,
    with_margin,
)

EFFECT_COLUMNS = ["claim", "key", "what", "column", "primary", "seed", "effect", "predicted", "as_predicted"]


def effects(table: pd.DataFrame, declared: ClaimSet) -> pd.DataFrame:
    """Each estimand in each seed; columns `EFFECT_COLUMNS`. Those whose cells the table lacks, or has undefined, give no row.

    ``key`` is the estimand's, or what it says where it has none; ``effect`` is in the measure's unit, or a correlation;
    ``predicted`` is the sign that was predicted, 0 for none; ``as_predicted`` says whether the effect has it (an effect of
    exactly 0 has not).
    """
    index = Index(table)
    rows: list[tuple[Any, ...]] = []
    for claim, column, primary, estimand in declared.estimands():
        for seed in index.seeds:
            effect = estimand.in_seed(index, seed)
            if effect is not None:
                sign = estimand.predicted or 0
                rows.append(
                    (
                        claim.key,
                        estimand.key or estimand.what,
                        estimand.what,
                        column,
                        primary,
                        seed,
                        effect,
                        sign,
                        effect * sign > 0,
                    )
                )
    return pd.DataFrame(rows, columns=EFFECT_COLUMNS)


VERDICT_COLUMNS = [
    "claim", "key", "what", "column", "primary", "predicted", "seeds", "effect", "low", "high", "share", "p", "p_holm",
    "verdict",
]  # fmt: skip


def verdicts(effects: pd.DataFrame, declared: ClaimSet) -> pd.DataFrame:
    """A row for each estimand over its seeds; columns `VERDICT_COLUMNS`.

    ``effect`` is the mean; ``low`` and ``high`` the 95 % interval (Student's t; for correlations a bootstrap over seeds), of an
    equivalence the 90 % interval, which lies within the margin exactly where the test passes; ``share`` that of seeds with the
    predicted sign, NaN without one. Only a primary has ``p`` (of the claim's kind of test; of a predicted sign one-sided),
    ``p_holm`` (over the claims that were declared as its family; without one, over all primaries that the table has) and a
    ``verdict`` (`_verdict`; *pending* with fewer seeds than were declared, *exploratory* where the set gives none); of the
    others these are NaN and empty.
    """
    kinds = {(claim.key, estimand.what): estimand for claim, _, _, estimand in declared.estimands()}
    families: dict[str, list[tuple[Claim, dict[str, Any], list[float]]]] = {}
    rows: list[dict[str, Any]] = []
    for name, group in effects.groupby(["claim", "what"], sort=False):
        key, what = cast(tuple[str, str], name)
        values = group["effect"].tolist()
        first = group.iloc[0]
        claim, primary = declared[key], bool(first["primary"])
        correlated = isinstance(kinds[key, what], Association)
        level = 0.9 if primary and claim.kind == "equivalence" else 0.95
        low, high = bootstrap_interval(values) if correlated else interval(values, level)
        sign = int(first["predicted"])
        row = {
            "claim": key,
            "key": first["key"],
            "what": what,
            "column": first["column"],
            "primary": primary,
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
        rows.append(row)
        if primary and (sign or claim.kind != "directional"):
            families.setdefault(claim.family, []).append((claim, row, values))
    for family, judged in families.items():
        if declared.exploratory:
            for _, row, _ in judged:
                row["verdict"] = "exploratory"
            continue
        for claim, row, values in judged:
            row["p"] = _p(claim, values, row["predicted"])
        of = len(declared.family(family)) if family else len(judged)
        for (claim, row, values), adjusted in zip(judged, holm([row["p"] for _, row, _ in judged], of), strict=True):
            row["p_holm"] = adjusted
            row["verdict"] = "pending" if len(values) < declared.seeds else _verdict(claim, row, values)
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


def _p(claim: Claim, values: Sequence[float], sign: int) -> float:
    """Of the claim's kind of test."""
    if claim.kind == "equivalence":
        return equivalence_p(values, claim.margin)
    return sign_flip_p(values, cast(Sign, sign)) if claim.kind == "directional" else two_sided_p(values)


def _verdict(claim: Claim, row: dict[str, Any], values: Sequence[float]) -> str:
    """In words.

    Of a predicted sign, judged alone: *supported*, *contradicted* or *inconclusive*, and *negligible* first where the interval
    lies within the margin; judged in a family: *supported* or *not supported*. Of an equivalence: *equivalent* or
    *inconclusive*. Of a sign that nobody predicted: *positive*, *negative* or *inconclusive*.
    """
    if claim.kind == "directional" and not claim.family:
        by_sign = verdict(values, cast(Sign, row["predicted"]))
        return with_margin(by_sign, len(values), row["low"], row["high"], claim.margin)
    passed = row["p_holm"] <= LEVEL
    if claim.kind == "directional":
        return "supported" if passed else "not supported"
    if not passed:
        return "inconclusive"
    return "equivalent" if claim.kind == "equivalence" else "positive" if row["effect"] > 0 else "negative"


def negligible(verdict: str) -> bool:
    """Whether a verdict says that the interval lies within the margin that was declared."""
    return verdict.startswith("negligible")


def said(claim: Claim, row: Any, of_claim: pd.DataFrame) -> str:
    """The verdict on a claim and what qualifies it, in one line; empty for an estimand that gets none.

    Args:
        row: the primary's, of `verdicts`.
        of_claim: the rows of `verdicts` of this claim.
    """
    if not row["verdict"]:
        return ""
    return "; ".join([in_words(claim, row["verdict"]), *qualified(claim, of_claim)])


def in_words(claim: Claim, verdict: str) -> str:
    """A verdict, with the margin that an equivalence is within; or what is said instead where the comparison was not fair."""
    if verdict == "equivalent":
        return f"equivalent within ±{claim.margin:g}"
    if not claim.instead or verdict == "inconclusive":
        return verdict
    return f"{'negligible: ' * negligible(verdict)}{claim.instead}"


def word(claim: Claim, verdict: str) -> str:
    """The word that a verdict is counted under: ``negligible`` of ``negligible (contradicted by sign)``; and of a sign that
    nothing follows from, since the comparison was not fair, ``inconclusive``."""
    first = verdict.partition(" (")[0]
    return "inconclusive" if claim.instead and first != "negligible" else first


def qualified(claim: Claim, of_claim: pd.DataFrame) -> list[str]:
    """What a reader must know beside a claim's verdict, clause by clause; of its qualification those whose numbers the
    results have.

    Args:
        of_claim: the rows of `verdicts` of this claim.
    """
    found = []
    for clause in claim.qualification.split("; ") if claim.qualification else []:
        keys = re.findall(r"{(.+?)}", clause)
        rows = {key: of_claim[of_claim["key"] == key] for key in keys}
        if any(each.empty for each in rows.values()):
            continue
        for key, each in rows.items():
            clause = clause.replace(f"{{{key}}}", _mean(each.iloc[0]))
        found.append(clause)
    return found


def _mean(row: pd.Series) -> str:
    """``−0.210 (3 of 5)``: the mean over seeds, and of a predicted sign in how many it is."""
    agree = f" ({round(row['share'] * row['seeds'])} of {row['seeds']})" if row["predicted"] else ""
    return signed(row["effect"]) + agree


def columns_disagree(claim: Claim, of_claim: pd.DataFrame) -> str:
    """Whether a claim's two columns disagree, in a sentence; empty where they do not.

    They do only if the primary is contradicted while the first plot has the paper's sign in every seed, or supported while
    it has the opposite sign in every seed, or if the primary is negligible.

    Args:
        of_claim: the rows of `verdicts` of this claim.
    """
    primary = of_claim[of_claim["primary"]]
    if primary.empty:
        return ""
    row = primary.iloc[0]
    if negligible(row["verdict"]):
        return f"the effect that decides is negligible: its interval lies within ±{claim.margin:g}"
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
    "Each line: the effect in each seed; the sign that was predicted; the paper's own values on CIFAR-100 / its long",
    "tail / ImageNet-LT, where its tables have them. ",
]
_READ_OWN = ["Each line: the effect in each seed, and the sign that was predicted. "]


def describe(effects: pd.DataFrame, declared: ClaimSet, profile: str) -> str:
    """What a table says about the claims, both columns, in words that its number of seeds can bear."""
    judged = {(row["claim"], row["what"]): row for row in verdicts(effects, declared).to_dict("records")}
    seeds = effects["seed"].nunique()
    whose = "The paper's claims" if declared.name in SETS else "Your own claims"
    lines = [
        f"{whose} as the profile {profile} shows them ({declared.name}, version {declared.version}:",
        f"{declared.about}).",
    ]
    read = _READ_PAPERS if declared.name in SETS else _READ_OWN
    lines += [*read[:-1], read[-1] + declared.rule]
    if declared.exploratory:
        lines.append(
            f"Verdicts are those of {declared.decided_by}; here the same is asked of other seeds, without one."
        )
    for claim in declared.claims:
        lines += ["", f"{claim.key}  {claim.statement} ({claim.where})"]
        found = effects[effects["claim"] == claim.key]
        if found.empty:
            lines.append(f"    {claim.note or 'not in this grid'}")
            continue
        of_claim = pd.DataFrame([row for key, row in judged.items() if key[0] == claim.key])
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
                several = len(declared.family(claim.family)) > 1 if claim.family else False
                holms = f", Holm {row['p_holm']:.3f}" if several else ""
                p = "" if declared.exploratory else f"p = {row['p']:.3f}{holms}: "
                line += f"; {p}{said(claim, row, of_claim)}"
            lines.append(line)
        apart = columns_disagree(claim, of_claim)
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
