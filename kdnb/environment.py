"""Where and with what a run was made: kept beside its results, never part of its id."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kdnb import devices


class Provenance(NamedTuple):
    """What trains a network. A training that is resumed can have several."""

    code: str
    """as `code` names it"""
    machine: str
    """as `machine` names it"""


UNKNOWN = Provenance("", "")


def provenance(device: torch.device) -> Provenance:
    """What runs here and now."""
    return Provenance(code(), machine(device))


def machine(device: torch.device) -> str:
    """All that the last bits of a network depend on beside its recipe and its code, in one line."""
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{_chip(device)} ({device.type}{threads}), torch {torch.__version__}"


def describe(device: torch.device, made_by: Iterable[Provenance] = ()) -> dict[str, Any]:
    """Versions, machine and the commit of the code, JSON-ready; where no commit names the code, with the reason.

    Args:
        made_by: what `provenance` said whenever a training was begun or resumed. Commits and machines other than those of here
            and now are listed, and uncommitted code among them is uncommitted code.
    """
    running = read_code(PACKAGE)
    made_by = list(made_by)
    earlier = list(dict.fromkeys(each.code for each in made_by if each.code != code()))
    elsewhere = list(dict.fromkeys(each.machine for each in made_by if each.machine not in ("", machine(device))))
    unnamed = any(not each or each.endswith(CHANGED) for each in earlier)
    reason = running.unnamed or ("its training was begun with other code, which no commit has" if unnamed else "")
    return {
        "kdnb": version("kdnb"),
        "commit": running.commit,
        **({"earlier_commits": earlier} if earlier else {}),
        **({"earlier_machines": elsewhere} if elsewhere else {}),
        "uncommitted_changes": True if unnamed else running.changed,
        **({UNNAMED: reason} if reason else {}),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _chip(device),
        "device": device.type,
        "cores": devices.cores(),
        "threads": torch.get_num_threads(),
    }


PACKAGE = Path(__file__).parent

CHANGED = "+"
"""Ends what `code` says where files of the package differ from the commit."""

UNNAMED = "no_commit_because"
"""Where `describe` says why no commit names the code."""


def why_unnamed(made: Mapping[str, Any]) -> str:
    """Of what `describe` says: why no commit names the code, and what to do; empty if one does."""
    if made.get("commit") and not made.get("uncommitted_changes"):
        return ""
    return str(made.get(UNNAMED) or "commit your changes, in a git clone")  # recorded before reasons were


def code() -> str:
    """The commit that the running code is of, as it was when this was first asked; empty outside git. Ask before a training:
    a commit that is made during one is not what it began with."""
    running = read_code(PACKAGE)
    return f"{running.commit}{CHANGED if running.changed else ''}" if running.commit else ""


def _chip(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


@cache
def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


@dataclass(frozen=True)
class Code:
    """Which commit the files of a package are of."""

    commit: str | None
    """None where git does not say"""
    changed: bool | None
    """whether files differ from it, or are in none"""
    unnamed: str
    """why no commit names these files, and what to do; empty if one does"""


@cache
def read_code(package: Path) -> Code:
    """What git says of a folder of code, as it was when this was first asked."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        plain = os.environ | {"LC_ALL": "C"}
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, env=plain).stdout

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "HEAD").strip()
        changes = git("status", "--porcelain", "--", ".").splitlines()
    except subprocess.CalledProcessError as error:
        return Code(None, None, _refused(error.stderr))
    except FileNotFoundError:
        return Code(None, None, "git is not installed here, or not in the PATH; install it")
    except (OSError, subprocess.SubprocessError):
        return Code(None, None, _refused(""))
    if not changes:
        return Code(commit, False, "")
    first = changes[0][3:]
    how = "is in no commit" if changes[0].startswith("??") else "differs from the commit"
    more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
    return Code(commit, True, f"{first} {how}{more}; commit what is code, and move the rest away")


def _refused(said: str) -> str:
    """What git's message means for somebody who wants to publish; with no path, since results are for others."""
    if "dubious ownership" in said:
        return (
            "the clone belongs to another user, and git does not read it; allow it: git config --global --add "
            "safe.directory, and the clone's folder"
        )
    if "'HEAD'" in said:
        return "the repository has no commit yet; make one"
    if "not a git repository" in said or "did not match any file" in said:
        return "the package is in no git clone, as of a source archive or an installation; clone the repository and use that"
    return "git fails; git status, called in the package's folder, says why"
