"""Two studies side by side, claim by claim: someone's own run against the published one."""

import html
import itertools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from kdnb.evidence import judging
from kdnb.evidence.estimands import signed
from kdnb.evidence.results import Results, differing

COLUMNS = (
    "claim", "key", "what", "ours", "ours_low", "ours_high", "ours_seeds", "ours_verdict",
    "theirs", "theirs_low", "theirs_high", "theirs_seeds", "theirs_verdict", "agree",
)  # fmt: skip


def compare(ours: Results, theirs: Results) -> pd.DataFrame:
    """A row for each estimand that either study has; columns `COLUMNS`.

    Estimands are matched by key, whatever each version calls them. ``agree`` says whether the two effects are compatible
    (`agreement`); empty where one study lacks the estimand.
    """
    key = ["claim", "key"]
    seeds = [each.effects.groupby(key, sort=False)["effect"].apply(list) for each in (ours, theirs)]
    left, right = (
        each.verdicts.set_index(key)[["what", "effect", "low", "high", "seeds", "verdict"]] for each in (ours, theirs)
    )
    names = list(dict.fromkeys([*left.index, *right.index]))
    rows = []
    for name in sorted(names, key=lambda pair: pair[0]):
        row: dict[str, Any] = dict(zip(key, name, strict=True))
        for side, found, results in (("ours", left, ours), ("theirs", right, theirs)):
            if name in found.index:
                of = found.loc[name].to_dict()
                of["verdict"] = of["verdict"] and judging.in_words(results.claim_set[name[0]], of["verdict"])
                row |= (
                    {"what": of["what"]}
                    | {side: of["effect"]}
                    | {f"{side}_{part}": of[part] for part in ("low", "high", "seeds", "verdict")}
                )
        row["agree"] = agreement(seeds[0][name], seeds[1][name]) if all(name in each.index for each in seeds) else ""
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def moved(first: Results, *again: Results) -> pd.DataFrame:
    """What decides each of the paper's claims, in a study and where its seeds were trained again.

    Args:
        again: studies of seeds that the first has.

    Returns:
        A row for each study of ``again``, claim and seed; columns: profile, claim, what, seed, first, second (the effect in
        both), usual (the median difference between two seeds of the first study, without sign).
    """
    there = first.judged_by("K").effects
    there = there[there["primary"]]
    usual = {
        claim: float(np.median([abs(one - other) for one, other in itertools.combinations(of["effect"], 2)]))
        for claim, of in there.groupby("claim")
    }
    parts = []
    for study in again:
        both = study.judged_by("K").effects.merge(there, on=["claim", "key", "seed"], suffixes=("_again", ""))
        both = both.rename(columns={"effect": "first", "effect_again": "second"})
        parts.append(both[["claim", "what", "seed", "first", "second"]].assign(profile=study.profile.name))
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(usual=rows["claim"].map(usual))


def agreement(ours: Sequence[float], theirs: Sequence[float], level: float = 0.95) -> str:
    """Whether the effects of two sets of seeds are compatible: ``yes`` where the interval of the difference of their means
    holds 0, else ``no``; of one seed against one, ``same sign`` or ``opposite sign``.

    The interval is Welch's (correlations are compared by it, too). A single seed is taken to scatter as the other study's
    seeds do, which makes it the prediction interval of one more seed.
    """
    from scipy.stats import t

    difference = float(np.mean(ours) - np.mean(theirs))
    several = [each for each in (ours, theirs) if len(each) > 1]
    if not several:
        return "same sign" if np.sign(ours[0]) == np.sign(theirs[0]) else "opposite sign"
    if len(several) == 1:
        (n,) = (len(each) for each in several)
        variance, freedom = float(np.var(several[0], ddof=1)) * (1 + 1 / n), float(n - 1)
    else:
        parts = [float(np.var(each, ddof=1)) / len(each) for each in several]
        variance = sum(parts)
        spread = sum(part**2 / (len(each) - 1) for part, each in zip(parts, several, strict=True))
        freedom = variance**2 / spread if spread else 1.0
    half = float(t.ppf(0.5 + level / 2, freedom)) * variance**0.5
    return "yes" if abs(difference) <= half + 1e-12 else "no"


def _effect(row: dict[str, Any], side: str) -> str:
    value = row.get(side)
    if value is None or pd.isna(value):
        return "–"
    shown = signed(value)
    if not pd.isna(row[f"{side}_low"]):
        shown += f" [{signed(row[f'{side}_low'])}, {signed(row[f'{side}_high'])}]"
    judged = f", {row[f'{side}_verdict']}" if row[f"{side}_verdict"] else ""
    return f"{shown}{judged}"


RULE = (
    "Two effects agree when the 95 % interval of their difference (Welch's) contains 0, so wide intervals agree easily. A "
    "single seed is taken to scatter as those of the other study do; of one seed against one, only the signs are compared. "
    "Brackets hold the interval of each effect by itself."
)
"""When two studies agree, for those who read a comparison."""

SETTINGS_NAMED = 6


def caution(ours: Results, theirs: Results) -> str:
    """What two studies differ in beside their seeds, in a sentence; empty where they are the same study."""
    named = [f"`{name}` ({here} here, {there} there)" for name, here, there in changes(ours, theirs)]
    if not named:
        return ""
    rest = len(named) - SETTINGS_NAMED
    listed = ", ".join(named[:SETTINGS_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    judged = ""
    if ours.claim_set.name != theirs.claim_set.name:
        judged = (
            f" They are judged by different claims, {ours.claim_set.name} here and {theirs.claim_set.name} there, so no effect "
            "stands on both sides."
        )
    return f"These are two studies, not two runs of one: they differ in {listed}.{judged}"


def changes(ours: Results, theirs: Results) -> list[tuple[str, str, str]]:
    """Each setting in which two studies differ: its dotted name, its value in ours, and in theirs, both short."""
    pairs = differing(ours.settings, theirs.settings)
    return [(name, _short(here), _short(there)) for name, (here, there) in pairs.items()]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _named(results: Results) -> str:
    return f"{results.profile.name}, {len(results.seeds)} seed{'' if len(results.seeds) == 1 else 's'}"


def describe(ours: Results, theirs: Results) -> str:
    """The comparison in words, for a terminal."""
    rows = compare(ours, theirs).to_dict("records")
    lines = [f"ours:   {_named(ours)} ({ours.folder})", f"theirs: {_named(theirs)} ({theirs.folder})"]
    differ = caution(ours, theirs)
    lines += [differ] if differ else []
    claim = ""
    for row in rows:
        if row["claim"] != claim:
            claim = str(row["claim"])
            lines += ["", claim]
        named = cast(dict[str, Any], row)
        lines.append(f"  {row['what']}")
        lines.append(
            f"      ours {_effect(named, 'ours')}; theirs {_effect(named, 'theirs')}; agree: {row['agree'] or '-'}"
        )
    return "\n".join(lines)


def table(ours: Results, theirs: Results) -> str:
    """The comparison as an HTML table, for a page."""
    head = "".join(
        f"<th scope='col'>{html.escape(title)}</th>"
        for title in ("claim", "measured", f"here ({_named(ours)})", f"published ({_named(theirs)})", "agree")
    )
    body = ""
    for row in compare(ours, theirs).to_dict("records"):
        named = cast(dict[str, Any], row)
        cells = [str(row["what"]), _effect(named, "ours"), _effect(named, "theirs"), str(row["agree"]) or "-"]
        body += (
            f"<tr><th scope='row'>{row['claim']}</th>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>"
        )
    return (
        '<div class="kdnb-table" tabindex="0" role="region" aria-label="Comparison with the published results">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
