"""An exhibit: something shown, its caption, its text for those who cannot see it, and how to make it again."""

import functools
import html
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, ParamSpec

import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdnb.book import figures
from kdnb.book.cards import card
from kdnb.book.explorers import Interactive
from kdnb.errors import IncompleteError
from kdnb.evidence.estimands import signed
from kdnb.evidence.results import Results
from kdnb.evidence.table import plain

Shown = Axes | Figure | NDArray[Any] | Interactive | pd.DataFrame | str
"""a drawing, an explorer, a table, or HTML"""


@dataclass(frozen=True)
class Exhibit:
    """Something shown, as a notebook displays it: HTML that needs no kernel, or live widgets where a person runs the
    notebook."""

    name: str
    """its anchor on the page"""
    shown: Shown
    caption: str
    """HTML: what to see in it"""
    alt: str = ""
    """of a drawing or an explorer: what it shows, for those who cannot see it"""
    made: str = field(default="", repr=False)
    """HTML: how to make it again"""

    @functools.cached_property
    def html(self) -> str:
        """The same bytes each time; drawn once, for drawing a figure again moves its layout by a hair."""
        if isinstance(self.shown, pd.DataFrame):
            table = self.shown.to_html(border=0, index_names=False, escape=False)
            label = html.escape(self.alt or self.name)
            inner = f'<div class="kdnb-table" tabindex="0" role="region" aria-label="{label}">{table}</div>'
        elif isinstance(self.shown, Interactive):
            inner = self.shown.html
        elif isinstance(self.shown, str):
            inner = self.shown
        else:
            inner = figures.to_svg(self.shown, self.alt)
        caption = f"<figcaption>{self.caption}</figcaption>" if self.caption else ""
        held = f'<div class="kdnb-figure">{inner}</div>{caption}{self.made}'
        return f'<figure class="kdnb-exhibit" id="{self.name}">{held}</figure>'

    def _ipython_display_(self) -> None:
        if isinstance(self.shown, Interactive) and is_watched():
            display(self.shown.live())
            display({"text/html": f"<p>{self.caption}</p>", "text/plain": self.caption}, raw=True)
        else:
            plain = self.shown.to_string() if isinstance(self.shown, pd.DataFrame) else self.alt or self.name
            display({"text/html": self.html, "text/plain": plain}, raw=True)


def is_watched() -> bool:
    """Whether a person runs the notebook: Jupyter's server names the session, which papermill, nbval and nbclient do not."""
    return "JPY_SESSION_NAME" in os.environ or "google.colab" in sys.modules


P = ParamSpec("P")


def exhibit(make: Callable[Concatenate[Results, P], Exhibit]) -> Callable[Concatenate[Results, P], Exhibit]:
    """Adds the card before those that the exhibit has, or says in its place what the results lack."""

    @functools.wraps(make)
    def made(found: Results, /, *args: P.args, **given: P.kwargs) -> Exhibit:
        try:
            exhibit = make(found, *args, **given)
        except IncompleteError as error:
            words = html.escape(f"Not in these results ({found.profile.name}): {error}")
            return Exhibit(make.__name__, f'<p class="kdnb-lacking">{words}</p>', "")
        return replace(exhibit, made=card(found, f"kdnb.book.exhibits.{make.__name__}") + exhibit.made)

    return made


def of_two_teachers(found: Results) -> pd.DataFrame:
    """The rows of students of two teachers of the default origin."""
    table = plain(found.table)
    two = table["teachers"].str.count(r"\+") == 1
    if not two.any():
        raise IncompleteError("the grid has no student of two teachers")
    return table[two | (table["role"] == "teacher")]


def signed_r(value: float) -> str:
    """A correlation in two decimals, with its sign."""
    return signed(value, 2)
