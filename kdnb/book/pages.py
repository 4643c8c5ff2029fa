"""What every page of the book does first and last: open the records that its parameters ask for, and show what it found.

A page is a notebook. Its first cell holds the parameters (`Parameters`), its second calls `start`. With the profile
``published`` the records that come with the book are read: no training and no data set. With any other, what is missing is
trained, and its records are read. Figures, tables and numbers are shown with `show` and `number`, which also name them, so
that the text can place them (as MyST-NB's glue does, without needing it to run the notebook).

A kernel runs one page: which records it is about is the one thing this module remembers.
"""

import ast
import hashlib
import html
import math
import os
import re
import shutil
import sys
from collections.abc import Collection, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import display
from pydantic import ValidationError

from kdnb import __version__
from kdnb.evidence import claims as evidence, publish, results
from kdnb.study import execute
from kdnb.book import figures
from kdnb.study import grid as studies
from kdnb.errors import IncompleteError, ProfileError
from kdnb.evidence.results import Results
from kdnb.training.spec import Strict
from kdnb.study.store import Store
from kdnb.evidence.table import select
from kdnb.book.explorers import Interactive

PUBLISHED = "published"


class Parameters(Strict):
    """What a page can be asked for."""

    profile: str = PUBLISHED
    """a profile's name, the path of your own YAML file, or ``published``: the records that come with the book"""
    seeds: str = ""
    """which seeds, as 0,1,2 or 0-4; empty: all of the profile's"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1"""
    data_root: str = ""
    """folder of the data sets; empty: $KDNB_DATA, else the user's cache"""
    results: str = ""
    """folder of the records to read or write; empty: those of the book, or of the store"""


_current: Results | None = None


def parameters(**given: Any) -> Parameters:
    """The given values, checked. A number is taken for seeds too, since papermill makes one of ``-p seeds 0``.

    Raises:
        ProfileError: an unknown name or a value of the wrong type; the message lists the right ones.
    """
    if type(given.get("seeds")) is int:
        given["seeds"] = str(given["seeds"])
    known = ", ".join(f"{name}: {field.annotation.__name__}" for name, field in Parameters.model_fields.items())  # type: ignore[union-attr]
    for name, value in given.items():
        if name not in Parameters.model_fields:
            raise ProfileError(f"no parameter {name!r}; a page has {known}")
        if not isinstance(value, str):
            raise ProfileError(f"the parameter {name} is {value!r}, not a string; a page has {known}")
    try:
        return Parameters.model_validate(given)
    except ValidationError as error:
        raise ProfileError(studies.explain(error)) from None


def start(**given: Any) -> Results:
    """Opens the records that a page's parameters ask for, and displays what they are.

    Raises:
        ProfileError: wrong parameters, also among those that papermill put into a cell of its own.
        KdnbError: the records cannot be read, or not be made.
    """
    global _current
    injected = _injected(getattr(get_ipython(), "user_ns", {}).get("In", ()))
    parameters(**dict.fromkeys(injected - set(given), ""))
    _current = open_records(parameters(**given))
    display({"text/html": banner(_current), "text/plain": _told(_current)}, raw=True)
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


def open_records(asked: Parameters, store: Store | None = None) -> Results:
    """The records that a page's parameters ask for; what they need is trained first.

    Args:
        store: where runs are; None is the user's.

    Raises:
        KdnbError: as `results.read`, `study.load_profile`, `datasets.load` and `execute.execute`.
    """
    seeds = studies.parse_seeds(asked.seeds) if asked.seeds else None
    if asked.profile == PUBLISHED:
        there = results.read(results.published(asked.results), seeds)
        for about in there.about["seeds"].values():
            _require_cells(about["runs"])
        return there
    profile = studies.load_profile(asked.profile)
    store = store or Store()
    dataset = profile.dataset.load(asked.data_root or None)
    study = studies.build(profile, dataset.hash, seeds)
    _require_cells({run.name for run in study.runs})
    folder = Path(asked.results) if asked.results else store.root / "results" / f"{profile.name}-{_digest(study)}"
    wanted = tuple(dict.fromkeys(run.seed for run in study.runs))
    try:
        publish.require_same_study(results.settings(profile, dataset.hash), wanted, folder)
    except IncompleteError:
        if asked.results:
            raise
        shutil.rmtree(folder)  # a page's own copy, made by another version
    lacking = [seed for seed in wanted if seed not in _held(study, folder)]
    if lacking:
        study = studies.build(profile, dataset.hash, lacking)
        execute.execute(study, store, data_root=asked.data_root or None, device=asked.device).require_complete()
        of_the_book = results.home() in folder.resolve().parents  # these are what a commit made
        publish.publish(study, store, dataset, folder, strict=of_the_book, device=asked.device)
    return results.read(folder, wanted)


def _held(study: studies.Study, folder: Path) -> set[int]:
    """The study's seeds of which the folder has records of these very runs."""
    if not (folder / "study.json").is_file() or results.describe(folder)[1]["format"] != results.FORMAT:
        return set()
    recorded = results.read(folder).about["seeds"] if results.published_seeds(folder) else {}
    asked: dict[int, dict[str, str]] = {}
    for run in study.runs:
        asked.setdefault(run.seed, {})[run.name] = run.spec.id
    return {
        seed
        for seed, runs in asked.items()
        if seed in recorded and {name: run["id"] for name, run in recorded[seed]["runs"].items()} == runs
    }


NEEDED = ("reference", "T1w", "T2w", "T1s", "T2s", "Sw", "Ss", "T1w_T2w_Sw", "T1w_T2w_Ss", "T1s_T2s_Sw", "T1s_T2s_Ss")
"""The runs of a seed that the pages compare."""


def _require_cells(runs: Collection[str]) -> None:
    missing = [run for run in NEEDED if run not in runs]
    if missing:
        raise IncompleteError(
            f"the pages compare two weak with two strong teachers and students without any; the study has no "
            f"{', '.join(missing)}. Keep '', 'ww' and 'ss' among its ensembles, both students and the reference"
        )


def _digest(study: studies.Study) -> str:
    """Changes with anything that a run of the study depends on, its seeds aside."""
    runs = studies.build(study.profile, study.runs[0].spec.dataset.hash, [0]).runs
    return hashlib.sha256("".join(run.spec.id for run in runs).encode()).hexdigest()[:8]


def _seeds_in_words(there: Results) -> str:
    return f"seed{'' if len(there.seeds) == 1 else 's'} {', '.join(map(str, there.seeds))}"


def _told(there: Results) -> str:
    dataset = there.about["dataset"]
    told = f"Profile {there.profile.name}, {_seeds_in_words(there)}: {there.profile.about}."
    if there.is_stand_in:
        told += (
            " These numbers are no evidence: tiny networks on scanned digits, trained for a few epochs. They show that the "
            "path works and say nothing about the paper."
        )
    elif len(there.seeds) < 5:
        told += (
            f" With {len(there.seeds)} of the five seeds that a verdict needs, effects and signs are shown and every "
            "verdict is inconclusive."
        )
    return f"{told} Data: {dataset['name']}, {dataset['train']:,} training and {dataset['validation']:,} validation images."


def banner(there: Results) -> str:
    """HTML: which records a page is told from, and what they can bear."""
    kind = "stand-in" if there.is_stand_in else "study"
    told = html.escape(_told(there))
    return f'<aside class="kdnb-banner kdnb-{kind}" aria-label="Where the numbers come from">{told}</aside>'


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
    """What ``--profile`` takes to get these records, and in what they differ from the profile of that name in the package."""
    name = there.profile.name
    if name not in studies.profile_names():
        return "FILE.yaml", ", a profile of one's own; its settings are in study.json beside the records"
    shipped = results.settings(studies.load_profile(name), there.about["dataset"]["hash"])
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
    """What the records say of a claim's deciding estimand, in words: effect, interval, agree (seeds with the predicted sign),
    verdict."""
    found = select(there.verdicts, claim=claim, decides=True).to_dict("records")
    if not found:
        return {"effect": "unknown", "interval": "not in these records", "agree": "none", "verdict": "none"}
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
    """HTML table: each claim, its deciding estimand, the effect with interval and every seed, the verdict, where to read."""
    deciding = {row["claim"]: row for row in there.verdicts.to_dict("records") if row["decides"]}
    lines = []
    for claim in evidence.CLAIMS:
        link = f'<a href="{claim.page}.html#claim-{claim.key.lower()}">{claim.key}</a>'
        says = html.escape(claim.statement[0].upper() + claim.statement[1:])
        says += f" <small>(tested here: {html.escape(claim.part)})</small>" if claim.part else ""
        if claim.key not in deciding:
            lines.append(
                f"<tr><th scope='row'>{link}</th><td>{says}</td><td colspan='4'>not in these records</td></tr>"
            )
            continue
        row, told = deciding[claim.key], judged(there, claim.key)
        way = "falls" if claim.estimands[0].predicted < 0 else "rises"
        if isinstance(claim.estimands[0], evidence.Association):
            way = "is negative" if claim.estimands[0].predicted < 0 else "is positive"
        cells = [
            says,
            f"{html.escape(row['what'])} {way}",
            f"{told['effect']} ({told['interval']})",
            told["agree"],
            f"{row['verdict']} (p = {row['p']:.3f}, Holm {row['p_holm']:.3f})",
        ]
        lines.append(f"<tr><th scope='row'>{link}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(
        f"<th scope='col'>{title}</th>"
        for title in ("", "The paper says", "Predicted here", "Effect", "Seeds as predicted", "Verdict")
    )
    body = "".join(lines)
    return (
        f'<div class="kdnb-table kdnb-scorecard" tabindex="0" role="region" aria-label="Scorecard">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
