"""A skipped test is a test that did not run: each skip needs a reason from the list below, or the whole run fails.

Loaded by ``make test``, with ``python -m pytest -p tests.skips``. A test that is skipped because the machine lacks a browser
would otherwise make a fresh machine's run green without having looked at the book. Where something cannot be installed, the
tests by themselves still run: ``.venv/bin/pytest``.
"""

import platform
import re
import sys
from collections.abc import Iterator

import pytest

ALLOWED = {
    # CIFAR-100 is not part of the repository; whoever has it names its folder.
    r"needs the real images": True,
    # Windows has no SIGKILL: what it has instead cannot be survived by design, only by luck.
    r"this system has no SIGKILL": sys.platform == "win32",
    r"this system has no POSIX shell": sys.platform == "win32",
    r"this system lets no process choose its cores": sys.platform != "linux",
    r"this system has no flock": sys.platform == "win32",
    r"\.ci/run is for Debian": sys.platform != "linux",
    # What is tested exists on Linux alone.
    r"other systems' names are always text": sys.platform != "linux",
    r"this system has no device that is always full": sys.platform != "linux",
    r"this system has no GNU C library": platform.libc_ver()[0] != "glibc",
    # The book is the same HTML wherever it is built, so one system looks at it in a browser.
    r"needs a browser": sys.platform != "linux",
}
"""how a reason begins (a pattern) → whether this machine may give it"""

_unexpected: dict[str, list[str]] = {}
"""reason → tests that were skipped for it and should not have been"""


def allowed(reason: str) -> bool:
    """Whether a test may be skipped for this reason on this machine."""
    return any(here and re.match(pattern, reason) for pattern, here in ALLOWED.items())


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):  # an expected failure did run
        return
    where = report.longrepr
    reason = where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else str(where)
    if not allowed(reason):
        _unexpected.setdefault(reason, []).append(report.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _unexpected and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _lines() -> Iterator[str]:
    for reason, tests in _unexpected.items():
        more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
        yield f"{tests[0]}{more}: {reason or 'no reason given'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _unexpected:
        terminalreporter.section("skipped, and should not be here", sep="=", red=True)
        for line in _lines():
            terminalreporter.line(line)
        terminalreporter.line("install what is missing, or give the reason a place in tests/skips.py")
