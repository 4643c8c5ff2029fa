"""Where a user's files are."""

from pathlib import Path
from typing import Literal

import platformdirs

from kdnb.errors import KdnbError

CHECKOUT = Path(__file__).resolve().parents[1]
"""The repository's root in a clone; an installed package has no book, notebooks or results beside it."""


def is_clone() -> bool:
    """Whether the package lies in its repository. What lies beside an installed package is somebody else's."""
    return (CHECKOUT / "pyproject.toml").is_file() and (CHECKOUT / "notebooks").is_dir()


def user_path(path: str | Path) -> Path:
    """The path, with ``~`` for the home folder of the user or of another.

    Raises:
        KdnbError: there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise _homeless(f"{path} begins in") from None


def own_folder(kind: Literal["cache", "data"]) -> Path:
    """The user's folder for what kdnb can make again, or for what it keeps.

    Raises:
        KdnbError: the user has no home folder, as in a container with a bare user id.
    """
    try:
        find = platformdirs.user_cache_path if kind == "cache" else platformdirs.user_data_path
        return user_path(find("kdnb", appauthor=False))
    except RuntimeError:
        raise _homeless(f"the user's folder for {kind} is in") from None


def _homeless(what: str) -> KdnbError:
    return KdnbError(
        f"{what} a home folder that does not exist here; give the whole path (--store and --data-root, or the variables "
        "KDNB_STORE, KDNB_DATA and KDNB_CACHE)"
    )
