"""How much an answer depends on how one measures."""

import functools
import html

import pandas as pd

from kdnb.book import explorers, figures
from kdnb.book.exhibits.exhibit import Exhibit, exhibit
from kdnb.errors import IncompleteError
from kdnb.evidence import results
from kdnb.evidence.estimands import Association
from kdnb.evidence.results import Results
from kdnb.ruler import curves


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


@exhibit
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


@exhibit
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


@exhibit
def specifications(found: Results) -> Exhibit:
    """A claim and a choice of rulers, and what becomes of the curve."""
    specs = _specifications(str(found.folder), found.seeds)
    caption = (
        "Choose a claim, and keep only some ways of measuring it. The curve has a point for each way that is left, sorted by "
        "its effect; the sentence says how many have the paper's sign."
    )
    return Exhibit("specifications", explorers.specifications(specs), caption, "A curve of effects under many rulers.")
