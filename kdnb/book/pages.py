"""What every page of the book does first: open the results that its parameters ask for, and say which they are.

A page is a notebook. Its first cell holds the parameters (`kdnb.book.opening.Parameters`), its second calls `start`. With the
profile ``published`` the results that come with the book are read: no training and no data set. With any other, what is
missing is trained, and its results are read. What a page then shows is in `kdnb.book.exhibits`, what it says of it in
`kdnb.book.sentences`.
"""

import ast
import html
from collections.abc import Iterable
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from kdnb.book.cards import seeds_in_words
from kdnb.book.opening import open_results, parameters
from kdnb.errors import IncompleteError
from kdnb.evidence import results
from kdnb.evidence.results import BOOK_PROFILE, Results
from kdnb.release import diff

__all__ = ["banner", "open_results", "parameters", "start"]


def start(**given: Any) -> Results:
    """Opens the results that a page's parameters ask for, and displays what they are.

    Raises:
        ProfileError: wrong parameters, also among those that papermill put into a cell of its own.
        KdnbError: the results cannot be read, or not be made.
    """
    injected = _injected(getattr(get_ipython(), "user_ns", {}).get("In", ()))
    parameters(**dict.fromkeys(injected - set(given), ""))
    found = open_results(parameters(**given)).judged_by("K")
    display({"text/html": banner(found), "text/plain": _in_words(found)}, raw=True)
    return found


def _injected(cells: Iterable[str]) -> set[str]:
    """Names set by the cell in which papermill puts its parameters."""
    names: set[str] = set()
    for cell in cells:
        if cell.startswith("# Parameters\n"):
            for statement in ast.parse(cell).body:
                if isinstance(statement, ast.Assign):
                    names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return names


def _in_words(found: Results) -> str:
    dataset = found.about["dataset"]
    data = f"{dataset['name']}, {dataset['train']:,} training and {dataset['validation']:,} validation images"
    words = f"Profile {found.profile.name}, {seeds_in_words(found)}: {data}; {found.scale}."
    if found.is_stand_in:
        return (
            f"{words} These numbers are no evidence: they come from a few epochs each. They show that the path works and "
            "say nothing about the paper."
        )
    if found.exploratory:
        words += (
            " These seeds are exploratory: they were seen before the claims were declared as the paper argues them."
        )
    if len(found.seeds) < 5:
        words += (
            f" A verdict needs five seeds; here {'is one' if len(found.seeds) == 1 else f'are {len(found.seeds)}'}."
        )
    return words


def banner(there: Results) -> str:
    """HTML: which results a page shows, what they can bear, and in what they differ from the published study."""
    kind = "stand-in" if there.is_stand_in else "study"
    words = html.escape(_in_words(there))
    return f'<aside class="kdnb-banner kdnb-{kind}" aria-label="Where the numbers come from">{words}{_otherwise(there)}</aside>'


def _otherwise(there: Results) -> str:
    """Folded: every setting that is another than in the study that the book shows; empty in that study itself."""
    try:
        shown = results.read(results.published(like=BOOK_PROFILE))
    except IncompleteError:
        return ""  # nothing is published beside this installation
    rows = diff.changes(there, shown)
    if not rows:
        return ""
    listed = "".join(
        f"<dt><code>{html.escape(name)}</code></dt><dd>{html.escape(ours)}; published: {html.escape(theirs)}</dd>"
        for name, ours, theirs in rows
    )
    many = f"{len(rows)} setting{'' if len(rows) == 1 else 's'}"
    return (
        f"<details><summary>Differs from the published study {html.escape(shown.profile.name)} in {many}</summary>"
        f"<dl>{listed}</dl></details>"
    )
