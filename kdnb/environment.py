"""Where and with what a run was made: kept beside its results, never part of its id."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

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


def describe(device: torch.device) -> dict[str, str | int | bool | None]:
    """Versions, machine and the commit of the code, JSON-ready."""
    commit, dirty = _commit()
    return {
        "kdnb": version("kdnb"),
        "commit": commit,
        "uncommitted_changes": dirty,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "device": device.type,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


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
