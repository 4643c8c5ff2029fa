"""Where and with what a run was made: kept beside its results, never part of its id."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from kdnb.errors import ProfileError


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        ProfileError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ProfileError(f"no device {name!r} here ({str(error).splitlines()[0]}); try auto, cpu or cuda") from None
    return device


def describe(device: torch.device, trained_with: Iterable[str] = ()) -> dict[str, Any]:
    """Versions, machine and the commit of the code, JSON-ready.

    Args:
        trained_with: what `code` said whenever a training was begun or resumed. Commits other than the running one are
            listed, and uncommitted code among them is uncommitted code.
    """
    commit, dirty = _commit()
    earlier = [each for each in trained_with if each != code()]
    return {
        "kdnb": version("kdnb"),
        "commit": commit,
        **({"earlier_commits": earlier} if earlier else {}),
        "uncommitted_changes": True if any(not each or each.endswith(CHANGED) for each in earlier) else dirty,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "device": device.type,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


CHANGED = "+"
"""Ends what `code` says where files of the package differ from the commit."""


def code() -> str:
    """The commit that the running code is of, as it was when this was first asked; empty outside git. Ask before a training:
    a commit that is made during one is not what it began with."""
    commit, dirty = _commit()
    return f"{commit}{CHANGED if dirty else ''}" if commit else ""


@cache
def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


@cache
def _commit() -> tuple[str | None, bool | None]:
    """The commit that the running code is of, and whether files of the package differ from it; None outside git."""
    package = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.SubprocessError):
        return None, None
