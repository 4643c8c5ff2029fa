"""What tells a function that a user registered from others of its name: its code."""

import hashlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from kdnb.errors import ProfileError


def identity(function: Callable[..., Any], name: str, settings: object, version: str | None = None) -> str:
    """16 hexadecimal digits over how it is registered and its version, or by default its source.

    Args:
        name: what it is registered as, for the error.
        settings: what else it was registered with; its text counts.

    Raises:
        ProfileError: it has neither a version nor a source that can be read.
    """
    if version is None:
        try:
            version = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError):
            raise ProfileError(
                f"the source of {name!r} cannot be read; register it with a version, as version='1'"
            ) from None
    return hashlib.sha256(f"{settings}\n{version}".encode()).hexdigest()[:16]
