"""How a long computation tells how far it is: a bar with time left on a terminal and in a notebook, lines in a log."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any


def shows_bar() -> bool:
    """Whether somebody looks on: standard error is a terminal, or the code runs in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def in_words(seconds: float) -> str:
    """A duration as people say it: ``42 s``, ``12 min``, ``1.8 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Progress:
    """Counts work in any unit. With nobody looking on, only what is said with `line` is printed."""

    def __init__(self, total: float, *, bar: bool | None = None, say: Callable[[str], None] | None = None) -> None:
        self._bar: Any = None
        self._say = say or (lambda text: print(text, file=sys.stderr, flush=True))
        self._began = time.monotonic()
        if bar if bar is not None else shows_bar():
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=total,
                bar_format="{percentage:3.0f} %|{bar}| {elapsed} elapsed, {remaining} left {postfix}",
                dynamic_ncols=True,
                leave=False,
            )

    def advance(self, work: float, label: str = "") -> None:
        """This much more is done."""
        if self._bar is not None:
            self._bar.set_postfix_str(label, refresh=False)
            self._bar.update(work)

    def line(self, text: str) -> None:
        """A line that stays, with the time since the start where there is no bar to show it."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            self._say(f"[{time.monotonic() - self._began:7.1f} s] {text}")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
