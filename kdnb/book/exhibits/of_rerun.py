"""Runs made again, beside the published ones: just now, on another machine, in another precision."""

import html
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from kdnb.book.cards import card, seeds_in_words
from kdnb.book.exhibits.exhibit import Exhibit
from kdnb.evidence import results
from kdnb.evidence.estimands import signed
from kdnb.evidence.results import Results
from kdnb.evidence.table import plain, select
from kdnb.release import diff


def beside(live: Results) -> Exhibit:
    """The primaries of results just made, beside the published ones of the same profile."""
    published = results.read(results.published(like=live.profile.name))
    deciding = live.verdicts.loc[live.verdicts["primary"], ["claim", "key"]]
    both = diff.compare(live, published).merge(deciding).set_index("claim")
    frame = both[["what", "ours", "theirs", "agree"]].rename_axis(None)
    frame = frame.assign(**{name: frame[name].map(signed) for name in ("ours", "theirs")})
    caption = "The effect that decides each claim: as just trained, as published, and whether they agree."
    return Exhibit("beside", frame, caption, "Just trained beside published", card(live, "kdnb.book.exhibits.beside"))


def reruns(profile: str, *again: str) -> Exhibit:
    """By how much what decides each claim moves where a seed is trained again, beside how far two seeds differ.

    Args:
        profile: whose published results have the seeds.
        again: profiles whose published results have some of them again.
    """
    rows = diff.moved(*(results.read(results.home() / name) for name in (profile, *again)))
    lines: dict[str, dict[str, str]] = {}
    for claim, of in rows.groupby("claim", sort=True):
        line = {"what decides": html.escape(of["what"].iloc[0]), "two seeds": f"{of['usual'].iloc[0]:.3f}"}
        for row in of.to_dict("records"):
            line[f"{row['profile']}, seed {row['seed']}"] = signed(row["second"] - row["first"])
        lines[str(claim)] = line
    caption = (
        f"By how much the effect that decides a claim moved when a seed of {profile} was trained again, beside the median "
        f"difference between two of its seeds. {' '.join(_seeds(name) for name in again)}"
    )
    return Exhibit(
        "reruns", pd.DataFrame.from_dict(lines, orient="index"), caption, "Seeds trained again", _cards("reruns", again)
    )


ROLES = {
    "teachers": {"role": "teacher"},
    "students alone": {"role": "student", "objective": "none"},
    "distilled students": {"role": "student", "objective": "kd"},
}
"""networks by what they are for, as `kdnb.evidence.table.select` finds them"""


def twins(profile: str, *again: str) -> Exhibit:
    """On how many images a network and itself, trained again, give the same answer, beside networks of two seeds.

    Args:
        profile, again: as in `reruns`.
    """
    first = results.read(results.home() / profile)
    others = {name: results.read(results.home() / name) for name in again}
    of_role = {
        title: sorted(
            set.intersection(*(set(select(plain(of.table), **where)["run"]) for of in (first, *others.values())))
        )
        for title, where in ROLES.items()
    }
    rows = {
        title: {"two seeds": _alike([(first, one, first, other) for one, other in combinations(first.seeds, 2)], runs)}
        | {name: _alike([(first, seed, of, seed) for seed in of.seeds], runs) for name, of in others.items()}
        for title, runs in of_role.items()
        if runs
    }
    caption = (
        f"The share of the clean validation images to which a network and its twin give the same answer: networks of two seeds "
        f"of {profile}, and of one seed, trained again. Means over networks."
    )
    return Exhibit(
        "twins", pd.DataFrame.from_dict(rows, orient="index"), caption, "Networks trained again", _cards("twins", again)
    )


def _alike(pairs: list[tuple[Results, int, Results, int]], runs: list[str]) -> str:
    shares: list[float] = []
    for one, seed, other, seed_there in pairs:
        here, there = one.predictions(seed), other.predictions(seed_there)
        shares += [float((here.answers(run) == there.answers(run)).float().mean()) for run in runs]
    return f"{np.mean(shares):.3f}"


def _seeds(name: str) -> str:
    return f"{name}: {seeds_in_words(results.read(results.home() / name))}, exploratory."


def _cards(function: str, names: Sequence[str]) -> str:
    return "".join(card(results.read(results.home() / name), f"kdnb.book.exhibits.{function}") for name in names)
