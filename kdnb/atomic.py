"""Files and folders that are there whole or not at all, with the modes that the umask gives.

What is written lies beside its place under a hidden name of its own until it is whole, and is then renamed into place: a
process that is killed at any moment leaves the old content or the new. A temporary file of the standard library is its owner's
alone; these come out as any other file does, so that people of one group can go on with each other's work.
"""

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def file(path: Path) -> Iterator[Path]:
    """A path to write a file to. At the end of the block it is renamed onto `path`; where the block fails, nothing is.

    It lies in a folder of its own, since a library may put temporary files beside it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = _beside(path)
    unfinished = folder / path.name
    try:
        folder.mkdir()
        unfinished.touch()
        mode = unfinished.stat().st_mode
        yield unfinished
        if unfinished.stat().st_mode != mode:  # a library put a private file in its place
            unfinished.chmod(mode & 0o777)
        os.replace(unfinished, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Writes a file, in the place of one that may be there.

    Raises:
        OSError: it cannot be written.
    """
    with file(path) as unfinished:
        unfinished.write_bytes(content)


def write_folder(path: Path, contents: Mapping[str, bytes], *, replace: bool = False, sync: bool = False) -> None:
    """Writes a folder of files.

    Args:
        replace: take the place of a folder that may be there. A call that is killed leaves the old one, the new one or none.
        sync: the disk has every file before the folder is in place.

    Raises:
        OSError: it cannot be written, or there is one already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _beside(path)
    try:
        unfinished.mkdir()
        for name, content in contents.items():
            with (unfinished / name).open("wb") as each:
                each.write(content)
                if sync:
                    each.flush()
                    os.fsync(each.fileno())
        old = _beside(path) if replace and path.exists() else None
        if old is not None:
            os.rename(path, old)
        os.rename(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if old is not None:
        shutil.rmtree(old)


def clear(path: Path) -> None:
    """Removes what calls for this path left that were killed. Only for whoever alone writes there."""
    for left in path.parent.glob(f".{glob.escape(path.name)}-*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def readable(path: Path) -> bool:
    """Whether there is a file, and it can be read. To ask before a reader whose errors do not tell a file that may not be read
    from a damaged one.

    Raises:
        OSError: there is one and it cannot be read, which says nothing about its content.
    """
    try:
        with path.open("rb"):
            return True
    except (FileNotFoundError, NotADirectoryError):
        return False


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")
