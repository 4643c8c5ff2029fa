"""Two studies side by side, claim by claim: someone's own run against the published one."""

import html
from typing import Any, cast

import pandas as pd

from kdnb.results import Results, differing

COLUMNS = (
    "claim", "what", "ours", "ours_low", "ours_high", "ours_seeds", "ours_verdict",
    "theirs", "theirs_low", "theirs_high", "theirs_seeds", "theirs_verdict", "agree",
)  # fmt: skip


def compare(ours: Results, theirs: Results) -> pd.DataFrame:
    """A row for each estimand that either study has; columns `COLUMNS`.

    ``agree`` says whether the two effects are compatible: ``yes`` where their 95 % intervals overlap, or where the effect of
    a single seed lies in the other's interval; ``no`` where not; ``same sign`` or ``opposite sign`` where neither has an
    interval; empty where one study lacks the estimand.
    """
    key = ["claim", "what"]
    left, right = (
        each.verdicts.set_index(key)[["effect", "low", "high", "seeds", "verdict"]] for each in (ours, theirs)
    )
    names = list(dict.fromkeys([*left.index, *right.index]))
    rows = []
    for name in sorted(names, key=lambda pair: pair[0]):
        row: dict[str, Any] = dict(zip(key, name, strict=True))
        for side, found in (("ours", left), ("theirs", right)):
            if name in found.index:
                of = found.loc[name].to_dict()
                row |= {side: of["effect"]} | {
                    f"{side}_{part}": of[part] for part in ("low", "high", "seeds", "verdict")
                }
        row["agree"] = _agree(row)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _agree(row: dict[str, Any]) -> str:
    if "ours" not in row or "theirs" not in row:
        return ""
    bounds = []
    for side in ("ours", "theirs"):
        alone = row[f"{side}_seeds"] == 1
        bounds.append((row[side], row[side]) if alone else (row[f"{side}_low"], row[f"{side}_high"]))
    if row["ours_seeds"] == 1 and row["theirs_seeds"] == 1:
        return "same sign" if row["ours"] * row["theirs"] > 0 else "opposite sign"
    (low, high), (their_low, their_high) = bounds
    return "yes" if low <= their_high and their_low <= high else "no"


def _effect(row: dict[str, Any], side: str) -> str:
    value = row.get(side)
    if value is None or pd.isna(value):
        return "–"
    told = f"{value:+.3f}"
    if row[f"{side}_seeds"] > 1:
        told += f" [{row[f'{side}_low']:+.3f}, {row[f'{side}_high']:+.3f}]"
    return f"{told}, {row[f'{side}_verdict']}".replace("-", "−")


SETTINGS_TOLD = 6


def caution(ours: Results, theirs: Results) -> str:
    """What two studies differ in beside their seeds, in a sentence; empty where they are the same study."""
    changed = differing(ours.settings, theirs.settings)
    if not changed:
        return ""
    told = [f"`{name}` ({here!r} here, {there!r} there)" for name, (here, there) in changed.items()]
    rest = len(told) - SETTINGS_TOLD
    listed = ", ".join(told[:SETTINGS_TOLD]) + (f" and {rest} more" if rest > 0 else "")
    return f"These are two studies, not two runs of one: they differ in {listed}."


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
        '<div class="kdnb-table" tabindex="0" role="region" aria-label="Comparison with the published records">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
