"""Ctrl-C and SIGTERM mean the same: nothing new begins, children end, and what was begun can be gone on with."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """What `by_signals` makes of whatever came of a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def end(self) -> None:
        """Ends this process by the signal itself where that is SIGTERM, so that its parent sees why."""
        if self.number == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def by_signals() -> Iterator[None]:
    """In it, both signals raise KeyboardInterrupt in the main thread; one that is ignored, as by background jobs, stays so.

    An import that is stopped may make an ImportError of it, and a finaliser drops it with a traceback: the first is `Stopped`
    all the same, and the second is raised again.

    Raises:
        Stopped: one of them came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    here, unraisable = os.getpid(), sys.unraisablehook

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != here:
            os._exit(128 + number)  # a child by fork
        came.append(number)
        raise KeyboardInterrupt

    def dropped(what: "sys.UnraisableHookArgs") -> None:
        if came and isinstance(what.exc_value, KeyboardInterrupt):
            threading.Timer(0.1, os.kill, (here, came[0])).start()
        else:
            unraisable(what)

    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    }
    sys.unraisablehook = dropped
    try:
        yield
    except BaseException:
        if came:
            raise Stopped(came[0]) from None
        raise
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)
