"""How many students fit: a lockstep group that memory cannot hold together is trained in passes, as few as fit.

A pass is a part of the group, in the group's order. A network trains to the same bits in any company, so passes cost time
(each makes its views and its teachers' answers again) and change no result.

What is free is measured when a group begins. What it needs is reckoned from its specs (`kdnb.scale.cost`); on a CUDA device
the first batches of one student are tried as well, and what they took beyond what was reckoned, in activations and in
workspaces, is added. On a CPU nothing is tried: a process keeps what earlier groups gave back, so its growth during a
step says nothing of what the step needs. Apple's GPUs count no peak; there, too, it is reckoned.
"""

import ctypes
import math
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from kdnb import devices
from kdnb.errors import KdnbError, ProfileError
from kdnb.images.datasets import Dataset
from kdnb.scale import cost
from kdnb.scale.cost import Sizes
from kdnb.scale.graphs import SIDE_BY_SIDE
from kdnb.training.inference import CHUNK
from kdnb.training.objectives import Objective
from kdnb.training.spec import FreshOrigin, RunSpec

Need = Callable[[Sequence[RunSpec]], float]
"""specs of a pass → bytes"""

SPARE = 1.1
"""on a GPU, for what is free in pieces too small to use"""

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse(text: str) -> float:
    """Bytes, as 8GB or 24GiB.

    Raises:
        ProfileError: no size above 0.

    >>> parse("8GB"), parse("1.5 GiB"), parse("32e9")
    (8000000000.0, 1610612736.0, 32000000000.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d{1,2})?)\s*([kMGT]i?|)B?\s*", text)
    size = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < size < math.inf:
        raise ProfileError(f"{text!r} is no memory; write a number of bytes, or one with a unit, as 8GB or 24GiB")
    return size


def split(specs: Sequence[RunSpec], need: Need, room: float) -> list[list[RunSpec]]:
    """The specs in as few passes as fit into `room` bytes, in their order; one that does not fit is a pass of its own."""
    passes: list[list[RunSpec]] = []
    for spec in specs:
        if passes and need([*passes[-1], spec]) <= room:
            passes[-1].append(spec)
        else:
            passes.append([spec])
    return passes


def need_of(
    device: str, by_id: Mapping[str, RunSpec], sizes: Mapping[str, Sizes], beyond: float = 0.0, *, graphs: bool = False
) -> Need:
    """What a pass needs, in the memory that `free` measures.

    Args:
        device: its type: cpu, cuda, mps.
        by_id, sizes: as for `cost.of_group`.
        beyond: bytes that a trial took more than reckoned.
        graphs: whether steps are recorded, so that small networks of a pass take theirs at the same time.
    """
    if device == "cpu":
        return lambda specs: cost.of_worker(specs, by_id, sizes)

    def need(specs: Sequence[RunSpec]) -> float:
        side_by_side = SIDE_BY_SIDE if graphs and device == "cuda" and len(specs) > 1 else 0.0
        return SPARE * (cost.of_group(specs, by_id, sizes).memory + beyond) + side_by_side

    return need


def free(device: torch.device, workers: int = 1) -> float:
    """Bytes that this process can have of the device's memory: what is free, and what it has already and can use again.

    Args:
        workers: that share the device's free memory equally.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] / workers + cached
    available = min(float(psutil.virtual_memory().available), _left_in_group())
    if device.type == "mps":  # which shares the machine's
        taken = torch.mps.driver_allocated_memory()
        return min(available, float(torch.mps.recommended_max_memory() - taken)) / workers + taken
    return available / workers + float(psutil.Process().memory_info().rss)


def capacity(device: torch.device, workers: int = 1) -> float:
    """Bytes of the device's memory, or of the machine's and the container's where it has none of its own; arguments as for
    `free`."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1]) / workers
    return min(float(psutil.virtual_memory().total), _limit_of_group()) / workers


def require(specs: Sequence[RunSpec], need: Need, room: float) -> None:
    """Raises:
    KdnbError: one of the runs needs more than `room` bytes by itself. What `need` adds to be safe is not counted."""
    if not specs:
        return
    largest = max(specs, key=lambda spec: need([spec]))
    if need([largest]) > cost.SAFE * room:
        views = f"{largest.side} pixels, " if largest.side else ""
        raise KdnbError(
            f"a single {largest.role} ({largest.model.name}, {views}batches of {largest.train.batch_size}) needs "
            f"{need([largest]) / 1e9:.3g} GB of memory, and there are {room / 1e9:.3g} GB: take a smaller model, side or "
            "batch_size, fewer --workers, or another machine"
        )


def _limit_of_group(membership: Path = devices.MEMBERSHIP, mount: Path = devices.GROUPS) -> float:
    """Bytes that containers and batch systems give this process on Linux; infinite where none limits it."""
    groups = devices.control_groups("memory", membership, mount)
    return min((_limit(folder, version) for folder, version in groups), default=math.inf)


def _limit(folder: Path, version: int) -> float:
    try:
        said = (folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).read_text(encoding="utf-8")
        return float(said.replace("max", "inf"))
    except (OSError, ValueError):  # no such group here, or one without a limit
        return math.inf


def _left_in_group(membership: Path = devices.MEMBERSHIP, mount: Path = devices.GROUPS) -> float:
    """Of `_limit_of_group`, what is left."""
    groups = devices.control_groups("memory", membership, mount)
    return min((_left_in(folder, version) for folder, version in groups), default=math.inf)


def _left_in(folder: Path, version: int) -> float:
    usage, idle = (
        ("memory.current", "inactive_file") if version == 2 else ("memory.usage_in_bytes", "total_inactive_file")
    )
    try:
        used = float((folder / usage).read_text(encoding="utf-8"))
        said = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return math.inf
    # files in memory make room for what is needed
    return max(0.0, _limit(folder, version) - used + float(said.get(idle, 0)))


# -- measured on a GPU -----------------------------------------------------------------------------------------------


def trial_of(spec: RunSpec, dataset: Dataset) -> tuple[RunSpec, Dataset]:
    """The first batches of a run, as a run of one epoch: same network, teachers, batch size and precision."""
    changes = {
        "train": spec.train.model_copy(update={"epochs": 1}),
        "origin": FreshOrigin(),
        "objective": Objective(temperature=1.0) if spec.teachers else None,
        "observed": None,
    }
    few = dataset.train.select(range(min(CHUNK, len(dataset.train))))
    return spec.model_copy(update=changes), replace(dataset, train=few)


def beyond_reckoned(trial: RunSpec, few: Dataset, by_id: Mapping[str, RunSpec], taken: float) -> float:
    """Bytes that a trial took more than was reckoned for it; never less than 0."""
    sizes = Sizes(len(few.train), 0, len(few.classes), few.side)  # nothing is observed
    return max(0.0, taken - cost.of_group([trial], by_id, {trial.dataset.hash: sizes}).memory)


def peak(device: torch.device, call: Callable[[], object]) -> float:
    """Bytes of a CUDA device that are taken at the worst moment of a call, beside those that were before; infinite where
    there are not so many."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        call()
    except (RuntimeError, MemoryError) as error:
        if not is_used_up(error):
            raise
    else:
        return float(torch.cuda.max_memory_allocated(device) - before)
    release(device)
    return math.inf


def is_used_up(error: BaseException) -> bool:
    """Whether an error says that there was no memory for something: each kind of device says it in its own way."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(said in str(error) for said in ("out of memory", "can't allocate memory", "not enough memory"))
    )


def release(device: torch.device) -> None:
    """Gives back what torch keeps of a device's memory for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


KEPT = 1 << 30
"""bytes that `keep_freed` keeps at most"""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""of malloc.h"""


def keep_freed() -> None:
    """Lets this process keep the main memory that it frees: on Linux with GNU's C library, in blocks of up to 32 MiB.

    A step takes as much as the step before it freed. By itself the library may give it back to the system in between, which
    then clears it anew, page by page: up to a tenth of the time of small networks.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most that every version takes
        library.mallopt(_TRIM_THRESHOLD, KEPT)
