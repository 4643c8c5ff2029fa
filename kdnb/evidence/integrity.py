"""Whether published results are whole, and what was published: against the hashes in the RO-Crate that lies beside them.

`kdnb.release.crate` writes it. A file that it lists and the folder lacks, or that is another, is refused by name.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kdnb.errors import DamagedResultsError

NAME = "ro-crate-metadata.json"

AGAIN = "put it back as it was, or publish its seeds again (kdnb publish)"

_SEED = re.compile("seed-(0|[1-9][0-9]*)")


def seeds(folder: Path) -> tuple[int, ...]:
    """The seeds that have a folder among these results.

    Raises:
        DamagedResultsError: a folder holds a seed or is named like one, and is none by its exact name, as a copy.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir():
            continue
        if exact := _SEED.fullmatch(path.name):
            found.append(int(exact[1]))
        elif path.name.lower().startswith("seed") or (path / "provenance.json").exists():
            raise DamagedResultsError(f"{path} is no seed's folder by its name, as seed-2 is one; move it elsewhere")
    return tuple(sorted(found))


def require_whole(folder: Path, chosen: Collection[int] | None = None) -> None:
    """Whether what the crate lists is there in its full length, and no seed beside it: of the study and of the chosen or all
    seeds. Reads none of it. Results that were published without a crate pass.

    Raises:
        DamagedResultsError: it is not, or the crate cannot be read.
    """
    files = _files(folder)
    if not files:
        return
    there, listed = set(seeds(folder)), {int(name[1]) for name in map(_SEED.match, files) if name}
    for seed in sorted(there ^ listed if chosen is None else listed & set(chosen) - there):
        if seed in there:
            raise DamagedResultsError(
                f"{folder / f'seed-{seed}'} is not among what was published: {NAME} does not list it; move it"
            )
        raise DamagedResultsError(f"{folder} lacks seed {seed}, which its {NAME} lists; {AGAIN}")
    for name, (_, size) in files.items():
        seed_of = _SEED.match(name)
        if seed_of and chosen is not None and int(seed_of[1]) not in chosen:
            continue
        try:
            length = (folder / name).stat().st_size
        except OSError as error:
            raise DamagedResultsError(f"{folder / name} cannot be read ({error.strerror}); {AGAIN}") from None
        if length != size:
            raise DamagedResultsError(
                f"{folder / name} is not the file that was published: it has {length} of {size} bytes; {AGAIN}"
            )


def require_unchanged(folder: Path, replaced: Collection[str]) -> None:
    """Reads and checks every file that the crate lists, before a new crate proves it.

    Args:
        replaced: names of files and folders that are written anew and may be damaged.

    Raises:
        DamagedResultsError: one is missing or is not the file that was published.
    """
    for name in _files(folder):
        if name.partition("/")[0] not in replaced:
            try:
                require_published(folder, name, (folder / name).read_bytes())
            except OSError as error:
                raise DamagedResultsError(f"{folder / name} cannot be read ({error.strerror}); {AGAIN}") from None


def require_published(folder: Path, name: str, content: bytes) -> None:
    """Checks a file's content against the crate beside it; results that were published without a crate pass.

    Raises:
        DamagedResultsError: it is not the file that was published, or the crate cannot be read.
    """
    files = _files(folder)
    if files and name not in files:
        raise DamagedResultsError(f"{folder / name} is not among what was published: {NAME} does not list it; {AGAIN}")
    if files and hashlib.sha256(content).hexdigest() != files[name][0]:
        raise DamagedResultsError(
            f"{folder / name} is not the file that was published: its hash differs from the one in {NAME}; {AGAIN}"
        )


def _files(folder: Path) -> dict[str, tuple[str, int]]:
    """name → SHA-256 and bytes, of what the crate in a folder lists; empty without a crate."""
    return listed(read(folder) or {"@graph": []}, f"{folder / NAME}", AGAIN)


def listed(crate: Mapping[str, Any], where: str, fix: str) -> dict[str, tuple[str, int]]:
    """name → SHA-256 and bytes, of a crate's files.

    Args:
        where, fix: for the error.

    Raises:
        DamagedResultsError: it does not say them.
    """
    try:
        files = [item for item in crate["@graph"] if item["@type"] == "File"]
        return {str(item["@id"]): (str(item["sha256"]), int(item["contentSize"])) for item in files}
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedResultsError(f"{where} does not say what it lists ({error!r}); {fix}") from None


def read(folder: Path) -> dict[str, Any] | None:
    """The crate in a folder; None where results were published without.

    Raises:
        DamagedResultsError: it cannot be read.
    """
    path = folder / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedResultsError(f"{path} cannot be read ({error!r}); {AGAIN}") from None
    return parsed(content, f"{path}", AGAIN)


def parsed(content: bytes, where: str, fix: str) -> dict[str, Any]:
    """A crate as it was written.

    Args:
        where, fix: for the error.

    Raises:
        DamagedResultsError: it is not one.
    """
    try:
        crate = dict(json.loads(content))
        root(crate)
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise DamagedResultsError(f"{where} cannot be read ({error!r}); {fix}") from None
    return crate


def root(crate: Mapping[str, Any]) -> dict[str, Any]:
    """What a crate says of the whole."""
    return next(item for item in crate["@graph"] if item["@id"] == "./")
