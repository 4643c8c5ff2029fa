"""How a long computation tells how far it is: a bar with time left on a terminal and in a notebook, lines in a log."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any


def shows_bar() -> bool:
    """Whether somebody looks on: standard error is a terminal, or the code runs in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Progress:
    """Counts work in any unit. With nobody looking on, only what is said with `line` is printed."""

    def __init__(self, total: float, *, bar: bool | None = None, say: Callable[[str], None] | None = None) -> None:
        self._bar: Any = None
        self._say = say or _say
        self._began = time.monotonic()
        self._total, self._done = total, 0.0
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
        self._done += work
        if self._bar is not None:
            try:
                self._bar.set_postfix_str(label, refresh=False)
                self._bar.update(work)
            except OSError:  # the terminal is gone, and the work goes on
                self._bar, self._say = None, _say

    @property
    def left(self) -> float:
        """Seconds that the rest takes at the pace so far; not a number before anything is done."""
        if not self._done:
            return float("nan")
        return (time.monotonic() - self._began) * max(self._total / self._done - 1, 0.0)

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


def _say(text: str) -> None:
    with suppress(OSError):  # nobody listens, and the work goes on
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A time for people: seconds, minutes or hours.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
