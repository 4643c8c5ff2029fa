"""The processor, a CUDA device or Apple's GPU: which one is meant, who shares it, and what each of them cannot do."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from kdnb.errors import ProfileError


def choose(name: str = "auto") -> torch.device:
    """``auto`` is the CUDA device that `take_gpu` took, or the first, where there is one; Apple's GPU has to be named.

    Raises:
        ProfileError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and torch.cuda.is_available():
            device = torch.device("cuda", torch.cuda.current_device())
        else:
            torch.zeros(1, device=device).item()  # a device such as meta holds no numbers
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ProfileError(
            f"no device {name!r} here ({str(error).splitlines()[0]}); try auto, cpu, cuda or mps"
        ) from None
    return device


MEMBERSHIP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
"""On Linux: which control groups this process is in, and where they are."""


def control_groups(controller: str, membership: Path = MEMBERSHIP, mount: Path = GROUPS) -> Iterator[tuple[Path, int]]:
    """The groups by which containers and batch systems limit this process, each with its version, 1 or 2. None elsewhere.

    Args:
        controller: cpu or memory.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top, version = (mount / controller, 1) if controllers else (mount, 2)
        whole = top / path.strip("/")
        for folder in (whole, *whole.parents):  # a group has no more than those that it is in
            if folder.is_relative_to(top):
                yield folder, version


def cores(membership: Path = MEMBERSHIP, mount: Path = GROUPS) -> int:
    """Cores that this process may use, at least 1: by its affinity, and by the quotas of its control groups."""
    may_use = getattr(os, "process_cpu_count", None)  # of Python 3.13
    if may_use is None and hasattr(os, "sched_getaffinity"):
        may_use = lambda: len(os.sched_getaffinity(0))  # noqa: E731
    least = float((may_use or os.cpu_count)() or 1)
    for folder, version in control_groups("cpu", membership, mount):
        names = ["cpu.max"] if version == 2 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        try:
            quota, period = " ".join((folder / name).read_text(encoding="utf-8") for name in names).split()
            if quota not in ("max", "-1"):
                least = min(least, int(quota) / int(period))
        except (OSError, ValueError):  # no such group here, or one without a limit
            continue
    return max(1, int(least))


def keep_to_cores() -> None:
    """Takes threads from torch where it has more than this process has cores: by itself it knows of no quota."""
    if torch.get_num_threads() > cores():
        torch.set_num_threads(cores())


def take_gpu(number: int) -> None:
    """Makes one of this machine's CUDA devices what ``auto`` and ``cuda`` mean in this thread; any number counts round them."""
    if count := torch.cuda.device_count():
        torch.cuda.set_device(number % count)


def sharing(name: str, workers: int) -> int:
    """How many of so many workers of this machine share a device that is asked for by that name."""
    device = choose(name)
    if device.type == "cuda" and name in ("auto", "cuda"):
        return -(-workers // max(1, torch.cuda.device_count()))
    return workers


def doubled(tensor: torch.Tensor) -> torch.Tensor:
    """In double precision, on the processor where the tensor's device is Apple's GPU, which has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def finest(device: torch.device) -> torch.dtype:
    """The most precise numbers that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def repeatable() -> AbstractContextManager[None]:
    """In it, a CUDA device computes convolutions the same way each time, and of float32 numbers in float32: by itself it
    takes TF32, with 10 bits of each number."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def cannot(device: torch.device, error: Exception) -> str:
    """What to tell a user of an error that says that Apple's GPU lacks an operation or a type; empty of any other."""
    said = str(error)
    if device.type != "mps" or not (isinstance(error, NotImplementedError) or "MPS framework doesn't support" in said):
        return ""
    return (
        f"Apple's GPU cannot do all of this ({said.partition('. ')[0].splitlines()[0]}); use --device cpu, or set "
        "PYTORCH_ENABLE_MPS_FALLBACK=1, with which torch does on the processor what operations it lacks"
    )
