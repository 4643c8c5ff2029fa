"""Which locks hold: between processes, and between machines that share a store.

Whoever trains a run holds a lock (``flock``) on a file of the store. A process that is killed loses its locks with its life,
which a file that merely exists would outlive. Whether a lock also keeps out another *machine* is up to the file system:

=============================================  ===================================================
local disks (ext4, XFS, Btrfs, APFS, NTFS …)   one machine, as the files themselves
NFS 4, and NFS 3 with its lock manager         all machines
NFS mounted with nolock or local_lock          one machine
Lustre                                         all with flock, one with localflock, none otherwise
CephFS, Spectrum Scale (GPFS)                  all machines
BeeGFS                                         all, if its clients have tuneUseGlobalFileLocks
SMB                                            all, but one with nobrl
sshfs, 9p, folders shared with a container     one machine at most
=============================================  ===================================================

Three looks tell: `require` tries a lock, `mount_warning` reads how the folder is mounted, and a `held_lock` that one process
has is tried by the others (`require_held`), which proves it across machines.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, SoftFileLock, Timeout

from kdnb.errors import StoreError

_MEND = (
    "the store needs locks that a killed process loses; lay it on another file system (--store or KDNB_STORE): a local disk, "
    "or NFS 4, Lustre mounted with flock, CephFS or Spectrum Scale where several machines share it"
)
_HERE_ONLY = {"9p", "fuse.sshfs", "virtiofs", "fuse.osxfs", "fuse.grpcfuse"}


@cache
def require(folder: Path) -> None:
    """Tries a lock in an existing folder, once a process and folder.

    Raises:
        StoreError: there are no locks, or they exclude nobody.
        OSError: the folder cannot be written.
    """
    path = folder / f".probe-{uuid4().hex}.lock"
    first, second = FileLock(path), FileLock(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that another kind of lock is taken: refused below
            first.acquire(timeout=0)
        if isinstance(first, SoftFileLock):
            raise NotImplementedError("flock is not implemented")
        held = not _acquired(second)
    except PermissionError:
        raise
    except (NotImplementedError, OSError) as error:
        if not path.exists():
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(f"the file system of {folder} has no locks ({reason}); {_MEND}") from None
    finally:
        first.release()
        second.release()
        with suppress(OSError):
            path.unlink()
    if not held:
        raise StoreError(f"locks in {folder} exclude nobody; {_MEND}")


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def mount_warning(folder: Path, mounts: str | None = None) -> str:
    """Why locks in the folder would not keep out another machine, by the way it is mounted; empty where nothing says so.

    Args:
        mounts: as in /proc/mounts, which is read where it is None. Systems without it leave all doubts to `require_held`.
    """
    if mounts is None:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace") if sys.platform == "linux" else ""
    place, kind, options = _mount(folder.absolute(), mounts)
    named = set(options)
    if kind.startswith("nfs") and named & {"nolock", "local_lock=all", "local_lock=flock"}:
        return f"{place} is NFS mounted with locks of this machine only; mount it with local_lock=none"
    if kind == "lustre" and "localflock" in named:
        return f"{place} is Lustre mounted with localflock; mount it with flock"
    if kind in ("cifs", "smb3") and named & {"nobrl", "nolock"}:
        return f"{place} is SMB mounted with nobrl; mount it without"
    if kind in _HERE_ONLY:
        return f"{place} is {kind}, whose locks stay on this machine"
    return ""


def _mount(folder: Path, mounts: str) -> tuple[str, str, list[str]]:
    """Of the mount that a folder is on: where, its kind, its options."""
    best = ("", "", "")
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 4:
            continue
        place = parts[1].replace("\\040", " ")
        if folder.is_relative_to(place) and len(place) >= len(best[0]):  # a later line lies over an earlier one
            best = (place, parts[2], parts[3])
    return best[0], best[1], best[2].split(",")


@contextmanager
def held_lock(folder: Path) -> Iterator[Path]:
    """A lock that is held meanwhile, for others to find held.

    Raises:
        StoreError: the folder's file system has no locks.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    require(folder)
    path = (folder / f"held-{uuid4().hex}.lock").absolute()
    lock = FileLock(path)
    with lock:
        yield path
    with suppress(OSError):
        path.unlink()


def require_held(path: Path, who: str = "this machine") -> None:
    """Tries a lock that another process holds.

    Args:
        who: what the error calls the machine that tries.

    Raises:
        StoreError: the file is not there, so the store is another; or its lock is free, so locks do not reach here.
    """
    if not path.is_file():
        raise StoreError(
            f"{who} does not see the store {path.parents[1]}; all machines must reach it under the same path: --store"
        )
    lock = FileLock(path)
    try:
        if _acquired(lock):
            raise StoreError(f"locks in {path.parent} do not keep out {who}; {_MEND}")
    except (NotImplementedError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(f"{who} cannot lock files in {path.parent} ({reason}); {_MEND}") from None
    finally:
        lock.release()
