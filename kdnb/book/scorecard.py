"""The scorecard: each claim in both columns, its seeds as points beside the predicted side, badges in words.

HTML and inline SVG that take their colours from the page, so that they suit both themes and any width.
"""

import html
from collections.abc import Sequence

import pandas as pd

from kdnb.book import sentences
from kdnb.evidence import judging
from kdnb.evidence.claims import FACTOR, PLOTTED, Claim
from kdnb.evidence.estimands import Estimand, papers, papers_in_words, signed
from kdnb.evidence.results import Results
from kdnb.evidence.table import select

WIDTH, HALF = 220, 100
"""of a strip, in its own units; and from its middle to where the largest value stands"""


def whole(found: Results) -> str:
    """Every claim that gets a verdict, one below the other, each with a link to its page."""
    blocks = [_claim(found, claim, linked=True) for claim in found.claim_set.claims if claim.primary is not None]
    return f'<div class="kdnb-scorecard">{"".join(blocks)}</div>'


def block(found: Results, key: str) -> str:
    """One claim."""
    return f'<div class="kdnb-scorecard">{_claim(found, found.claim_set[key], linked=False)}</div>'


def _claim(found: Results, claim: Claim, *, linked: bool) -> str:
    says = html.escape(claim.statement[0].upper() + claim.statement[1:])
    title = f'<a href="{claim.page}.html#claim-{claim.key.lower()}">{claim.key}</a>' if linked else claim.key
    head = f'<p class="kdnb-says"><strong>{title}</strong> {says} <small>({html.escape(claim.where)})</small></p>'
    plotted = claim.plotted[0] if claim.plotted else None
    columns = "".join(
        _column(found, claim, estimand, title)
        for estimand, title in ((plotted, PLOTTED), (claim.primary, FACTOR))
        if estimand is not None
    )
    body = f'{head}<div class="kdnb-columns">{columns}</div>{_behind(found, claim)}'
    return f'<section class="kdnb-score" aria-label="{claim.key}">{body}</section>'


def _column(found: Results, claim: Claim, estimand: Estimand, title: str) -> str:
    values = select(found.effects, claim=claim.key, what=estimand.what)["effect"].tolist()
    theirs = list(papers(estimand).values())
    if not values:
        return f'<div><h4>{title}</h4><p class="kdnb-lacking">not in these results</p></div>'
    badge, kind = _badge(found, claim, estimand, values)
    said = f"{estimand.what}: {', '.join(signed(value) for value in values)}"
    if theirs:
        said += f"; the paper {papers_in_words(estimand)}"
    strip = _strip(values, theirs, estimand.predicted or 0, said)
    return f'<div><h4>{title}</h4>{strip}<p><span class="kdnb-badge kdnb-{kind}">{html.escape(badge)}</span></p></div>'


def _badge(found: Results, claim: Claim, estimand: Estimand, values: Sequence[float]) -> tuple[str, str]:
    """Its words, and which of four kinds it is."""
    if estimand is claim.primary:
        of_claim = select(found.verdicts, claim=claim.key)
        row, least = select(of_claim, what=estimand.what).iloc[0], found.claim_set.seeds or 5
        seeds = f", {len(values)} of {least} seeds" if len(values) < least else ""
        plain = row["verdict"] in ("supported", "contradicted") and not claim.instead
        said = f"{judging.said(claim, row, of_claim)}{seeds} ({found.scale})"
        if more := sentences.beside(found, claim):
            said += f". {more}"
        return said, row["verdict"] if plain else "inconclusive"
    if estimand.predicted is None:
        return "the paper names no sign", "inconclusive"
    agree = sum(value * estimand.predicted > 0 for value in values)
    many = f"in {agree} of {len(values)} seed{'' if len(values) == 1 else 's'}"
    kind = "with" if agree == len(values) else "against" if agree == 0 else "inconclusive"
    return f"the paper's sign {many}", kind


def _strip(values: Sequence[float], papers: Sequence[float], side: int, said: str) -> str:
    """Points and crosses on a line whose middle is 0."""
    reach = max(abs(value) for value in (*values, *papers)) or 1.0

    def at(value: float) -> str:
        return f"{WIDTH / 2 + HALF * value / reach:.1f}"

    shade = (
        f'<rect class="kdnb-side" x="{WIDTH / 2 if side > 0 else 0:g}" y="6" width="{WIDTH / 2:g}" height="20"/>'
        if side
        else ""
    )
    marks = "".join(f'<path class="kdnb-cross" d="M{at(value)} 16m-5 -5l10 10m0 -10l-10 10"/>' for value in papers)
    points = "".join(
        f'<circle class="kdnb-seed{"" if side == 0 or value * side > 0 else " kdnb-hollow"}" cx="{at(value)}" cy="16" r="5.5"/>'
        for value in values
    )
    label = html.escape(said)
    return (
        f'<svg class="kdnb-strip" viewBox="0 0 {WIDTH} 32" role="img" aria-label="{label}"><title>{label}</title>{shade}'
        f'<line x1="0" x2="{WIDTH}" y1="16" y2="16"/>'
        f'<line class="kdnb-zero" x1="{WIDTH // 2}" x2="{WIDTH // 2}" y1="3" y2="29"/>'
        f"{marks}{points}</svg>"
    )


def _behind(found: Results, claim: Claim) -> str:
    """Folded: estimand, seeds, p, interval, the paper's own value, what would contradict it."""
    judged = select(found.verdicts, claim=claim.key)
    rows = []
    for title, estimand in ((PLOTTED, claim.plotted[0] if claim.plotted else None), (FACTOR, claim.primary)):
        if estimand is None or select(judged, what=estimand.what).empty:
            continue
        group = select(found.effects, claim=claim.key, what=estimand.what)
        seeds = ", ".join(
            f"seed {seed} {signed(effect)}" for seed, effect in zip(group["seed"], group["effect"], strict=True)
        )
        row = select(judged, what=estimand.what).iloc[0]
        says = f"{html.escape(estimand.what)}; predicted is {_side(estimand)}. {seeds}"
        says += f"; mean {signed(row['effect'])}"
        says += _interval(row, 90 if estimand is claim.primary and claim.kind == "equivalence" else 95)
        if estimand is claim.primary:
            says += _tested(found, claim, row)
        if papers(estimand):
            says += f". The paper's own: {papers_in_words(estimand)} (CIFAR-100, its long tail, ImageNet-LT)"
        rows.append(f"<dt>{title}</dt><dd>{says}.</dd>")
    apart = judging.columns_disagree(claim, judged) if not judged.empty else ""
    rows.append(f"<dt>against it</dt><dd>{html.escape(claim.contradiction)}.</dd>")
    rows += [f"<dt>the columns disagree</dt><dd>{html.escape(apart)}.</dd>"] if apart else []
    rows += [f"<dt>note</dt><dd>{html.escape(claim.note)}.</dd>"] if claim.note else []
    rows.append(f"<dt>scale</dt><dd>{html.escape(found.scale)}; profile {html.escape(found.profile.name)}.</dd>")
    return f'<details class="kdnb-card"><summary>{claim.key}: the numbers behind it</summary><dl>{"".join(rows)}</dl></details>'


def _tested(found: Results, claim: Claim, row: pd.Series) -> str:
    """p, and Holm's value where several share a level."""
    if pd.isna(row["p"]):
        return ""
    several = len(found.claim_set.family(claim.family)) if claim.family else judged_primaries(found)
    margin = f" that it lies within ±{claim.margin:g}" * (claim.kind == "equivalence")
    return f". p = {row['p']:.3f}{margin}" + f", Holm over {several} primaries {row['p_holm']:.3f}" * (several > 1)


def judged_primaries(found: Results) -> int:
    """Over how many primaries Holm's correction runs."""
    return int((found.verdicts["verdict"] != "").sum())


def _side(estimand: Estimand) -> str:
    return {1: "a positive one", -1: "a negative one"}.get(estimand.predicted or 0, "no sign")


def _interval(row: pd.Series, percent: int) -> str:
    if pd.isna(row["low"]):
        return ""
    return f", {percent} % over seeds {signed(row['low'])} to {signed(row['high'])}"
