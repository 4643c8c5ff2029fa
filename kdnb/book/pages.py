"""What every page of the book does first and last: open the results that its parameters ask for, and show what it found.

A page is a notebook. Its first cell holds the parameters (`kdnb.book.opening.Parameters`), its second calls `start`. With the
profile ``published`` the results that come with the book are read: no training and no data set. With any other, what is
missing is trained, and its results are read. Figures, tables and numbers are shown with `show` and `number`, which also name
them, so that the text can place them (as MyST-NB's glue does, without needing it to run the notebook).

A kernel runs one page: which results it is about is the one thing this module remembers.
"""

import ast
import html
import math
import os
import re
import sys
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import display

from kdnb import __version__
from kdnb.book import figures
from kdnb.book.explorers import Interactive
from kdnb.book.opening import open_results, parameters
from kdnb.evidence import claims, results
from kdnb.evidence.results import Results
from kdnb.evidence.table import select
from kdnb.study import profile as profiles

_current: Results | None = None


def start(**given: Any) -> Results:
    """Opens the results that a page's parameters ask for, and displays what they are.

    Raises:
        ProfileError: wrong parameters, also among those that papermill put into a cell of its own.
        KdnbError: the results cannot be read, or not be made.
    """
    global _current
    injected = _injected(getattr(get_ipython(), "user_ns", {}).get("In", ()))
    parameters(**dict.fromkeys(injected - set(given), ""))
    # The pages so far are about the earlier claims, whatever the results are judged by elsewhere.
    _current = open_results(parameters(**given)).judged_by("C")
    display({"text/html": banner(_current), "text/plain": _in_words(_current)}, raw=True)
    return _current


def _injected(cells: Iterable[str]) -> set[str]:
    """Names set by the cell in which papermill puts its parameters."""
    names: set[str] = set()
    for cell in cells:
        if cell.startswith("# Parameters\n"):
            for statement in ast.parse(cell).body:
                if isinstance(statement, ast.Assign):
                    names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return names


def _seeds_in_words(there: Results) -> str:
    return f"seed{'' if len(there.seeds) == 1 else 's'} {', '.join(map(str, there.seeds))}"


def _in_words(found: Results) -> str:
    dataset = found.about["dataset"]
    words = f"Profile {found.profile.name}, {_seeds_in_words(found)}: {found.profile.about}."
    if found.is_stand_in:
        words += (
            " These numbers are no evidence: tiny networks on scanned digits, trained for a few epochs. They show that the "
            "path works and say nothing about the paper."
        )
    elif found.exploratory:
        words += (
            " These seeds are exploratory: they were seen before the paper's claims were declared as it argues them."
        )
    if not found.is_stand_in and len(found.seeds) < 5:
        words += (
            f" With {len(found.seeds)} of the five seeds that a verdict needs, effects and signs are shown and every "
            "verdict is inconclusive."
        )
    return f"{words} Data: {dataset['name']}, {dataset['train']:,} training and {dataset['validation']:,} validation images."


def banner(there: Results) -> str:
    """HTML: which results a page is told from, and what they can bear."""
    kind = "stand-in" if there.is_stand_in else "study"
    words = html.escape(_in_words(there))
    return f'<aside class="kdnb-banner kdnb-{kind}" aria-label="Where the numbers come from">{words}</aside>'


def _about() -> Results:
    if _current is None:
        raise RuntimeError("a page calls pages.start before it shows anything")
    return _current


def card() -> str:
    """HTML: folded, how to make again what stands above it."""
    there = _about()
    seeds = ",".join(map(str, there.seeds))
    commits = sorted(
        {
            str(commit)[:10]
            for about in there.about["seeds"].values()
            for environment in about["environments"]
            for commit in (environment.get("commit"), *environment.get("earlier_commits", ()))
            if commit
        }
    )
    file, changed = _origin(there)
    facts = {
        "command": f"kdnb reproduce --profile {file} -p seeds={seeds}",
        "profile": there.profile.name + changed,
        "seeds": seeds,
        "data": f"{there.about['dataset']['name']}, hash {there.about['dataset']['hash']}",
        "kdnb": __version__ + (f", runs made by commit {', '.join(commits)}" if commits else ""),
    }
    rows = "".join(
        f"<dt>{name}</dt><dd>{f'<code>{html.escape(value)}</code>' if name == 'command' else html.escape(value)}</dd>"
        for name, value in facts.items()
    )
    summary = f"Profile {there.profile.name}, {_seeds_in_words(there)}: reproduce this figure"
    return f'<details class="kdnb-card"><summary>{html.escape(summary)}</summary><dl>{rows}</dl></details>'


def _origin(there: Results) -> tuple[str, str]:
    """What ``--profile`` takes to get these results, and in what they differ from the profile of that name in the package."""
    name = there.profile.name
    if name not in profiles.names():
        return "FILE.yaml", ", a profile of one's own; its settings are in study.json beside the results"
    shipped = results.settings(profiles.load(name), there.about["dataset"]["hash"], {})
    changed = [f"{setting}={ours!r}" for setting, (ours, _) in results.differing(there.settings, shipped).items()]
    return ("FILE.yaml", f" with {', '.join(changed)}") if changed else (name, "")


def show(name: str, shown: Any, alt: str = "") -> None:
    """Displays a figure (axes, or an explorer), a table or HTML, under a name by which the text can place it.

    Args:
        alt: what a figure shows, for those who cannot see it; a figure needs it.

    An explorer is Jupyter widgets where a person runs the notebook, and else HTML that needs no kernel.

    Raises:
        ValueError: a figure without alt text.
    """
    plain = alt or name
    if isinstance(shown, pd.DataFrame):
        table = shown.to_html(border=0, index_names=False, float_format=lambda value: f"{value:.3f}")
        table = re.sub(r">-(?=[\d.])", ">−", table)
        content = f'<div class="kdnb-table" tabindex="0" role="region" aria-label="{html.escape(name)}">{table}</div>'
        plain = shown.to_string()
    elif isinstance(shown, str):
        content = shown
    else:
        if not alt.strip():
            raise ValueError(f"the figure {name} needs an alt text: say what it shows to those who cannot see it")
        if isinstance(shown, Interactive) and _is_watched():
            display(shown.live())
            return
        inner = shown.html if isinstance(shown, Interactive) else figures.to_svg(shown, alt)
        content = f'<div class="kdnb-figure">{inner}{card()}</div>'
    _glue(name, {"text/html": content, "text/plain": plain}, shown_too=True)


def _is_watched() -> bool:
    """Whether a person runs the notebook: Jupyter's server names the session, which papermill, nbval and nbclient do not."""
    return "JPY_SESSION_NAME" in os.environ or "google.colab" in sys.modules


def number(name: str, value: float, form: str) -> None:
    """Names a number, formatted (``.1%``, ``+.3f``), for the text to place; a minus sign is a real one."""
    word(name, format(value, form).replace("-", "−"))


def word(name: str, text: str) -> None:
    """Names a word or sentence for the text to place."""
    _glue(name, {"text/plain": repr(text)}, shown_too=False)  # as IPython shows a string: MyST-NB reads it as a literal


def _glue(name: str, content: dict[str, str], *, shown_too: bool) -> None:
    prefix = "" if shown_too else "application/papermill.record/"
    data = {prefix + kind: value for kind, value in content.items()}
    display(data, metadata={"scrapbook": {"name": name, "mime_prefix": prefix}}, raw=True)


def judged(there: Results, claim: str) -> dict[str, str]:
    """What the results say of a claim's primary, in words: effect, interval, agree (seeds with the predicted sign),
    verdict."""
    found = select(there.verdicts, claim=claim, primary=True).to_dict("records")
    if not found:
        return {"effect": "unknown", "interval": "not in these results", "agree": "none", "verdict": "none"}
    (row,) = found
    return {
        "effect": f"{row['effect']:+.3f}".replace("-", "−"),
        "interval": f"95 % interval: {between(row)}",
        "agree": f"{round(row['share'] * row['seeds'])} of {row['seeds']}",
        "verdict": row["verdict"],
    }


def between(verdict: Mapping[Hashable, Any]) -> str:
    """The 95 % interval of a row of `evidence.verdicts`, in words; too few seeds have none."""
    if math.isnan(verdict["low"]):
        return f"not defined for {'one seed' if verdict['seeds'] == 1 else 'two seeds'}"
    return f"{verdict['low']:+.3f} to {verdict['high']:+.3f}".replace("-", "−")


def judge(there: Results, claim: str) -> None:
    """Names what `judged` says for the text to place, as ``c1_effect``, ``c1_interval``, ``c1_agree``, ``c1_verdict``."""
    for name, text in judged(there, claim).items():
        word(f"{claim.lower()}_{name}", text)


def scorecard(there: Results) -> str:
    """HTML table: each claim, its primary, the effect with interval, seeds as predicted, the verdict, where to read."""
    primaries = {row["claim"]: row for row in there.verdicts.to_dict("records") if row["primary"]}
    lines = []
    for claim in there.claim_set.claims:
        link = f'<a href="{claim.page}.html#claim-{claim.key.lower()}">{claim.key}</a>'
        says = html.escape(claim.statement[0].upper() + claim.statement[1:])
        says += f" <small>({html.escape(claim.note)})</small>" if claim.note else ""
        if claim.key not in primaries or claim.primary is None:
            lines.append(
                f"<tr><th scope='row'>{link}</th><td>{says}</td><td colspan='4'>not in these results</td></tr>"
            )
            continue
        row, words = primaries[claim.key], judged(there, claim.key)
        falls = row["predicted"] < 0
        way = "falls" if falls else "rises"
        if isinstance(claim.primary, claims.Association):
            way = "is negative" if falls else "is positive"
        cells = [
            says,
            f"{html.escape(row['what'])} {way}",
            f"{words['effect']} ({words['interval']})",
            words["agree"],
            f"{row['verdict']} (p = {row['p']:.3f}, Holm {row['p_holm']:.3f})",
        ]
        lines.append(f"<tr><th scope='row'>{link}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(
        f"<th scope='col'>{title}</th>"
        for title in ("", "The claim", "Predicted", "Effect", "Seeds as predicted", "Verdict")
    )
    body = "".join(lines)
    return (
        f'<div class="kdnb-table kdnb-scorecard" tabindex="0" role="region" aria-label="Scorecard">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


@dataclass(frozen=True)
class Names:
    """What the runs at the two ends of the grid are called, all weak and all strong, of two teachers."""

    weak: str
    """the student that is weak throughout"""
    strong: str
    alone_weak: str
    """the weak student without teachers"""
    alone_strong: str
    weak_teachers: str
    """two weak teachers together"""
    strong_teachers: str
    first_weak: str
    """the first weak teacher"""
    first_strong: str


def names(found: Results) -> Names:
    """The names that pages look runs up by, read from the table's columns."""
    table = figures.plain(found.table).drop_duplicates("run")

    def of(**where: str) -> str:
        return str(select(table, **where)["run"].iloc[0])

    two = {"weak": "weak+weak", "strong": "strong+strong"}
    return Names(
        *(of(role="student", teachers=two[end], student=end) for end in two),
        *(of(role="student", teachers="", student=end) for end in two),
        *(of(role="ensemble", teachers=two[end]) for end in two),
        *(of(role="teacher", teachers=end) for end in two),
    )


def validation(found: Results) -> pd.DataFrame:
    """The rows that pages read: validation images, whole views, the objective ``kd`` or none, the default origin."""
    table = figures.plain(select(found.table, split="validation"))
    return table[~table["against"].str.contains("+", regex=False)]


def training(found: Results) -> pd.DataFrame:
    """The same of training images."""
    return figures.plain(select(found.table, split="train"))
