"""Things that have a name: those of the package, and those that users register beside them."""

import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from kdnb.errors import ProfileError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind, by name.

    Args:
        kind: what one of them is called in an error, as ``a measure``.
        package: those of the package.
        separator: what stands between the words of a name, - or _.
        also: names beyond those listed, in an error's words.
    """

    def __init__(self, kind: str, package: Mapping[str, T], separator: str = "-", also: str = "") -> None:
        self.kind, self.package, self._separator, self._also = kind, package, separator, also
        self.own: dict[str, T] = {}
        """what users registered"""
        self._identities: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.package or name in self.own

    def __iter__(self) -> Iterator[str]:
        return iter([*self.package, *self.own])

    def __getitem__(self, name: str) -> T:
        """Raises:
        ProfileError: nothing of that name."""
        if name in self:
            return self.package[name] if name in self.package else self.own[name]
        known = ", ".join(self) + self._also
        raise ProfileError(
            f"no {self.kind.split(' ', 1)[1]} {name!r}; choose from {known}, or register your own in a file that the profile "
            "names under recipes"
        )

    def require_free(self, name: str) -> None:
        """Raises:
        ProfileError: a name of the package, or one that cannot be one."""
        if name in self.package:
            raise ProfileError(f"{name!r} is {self.kind} of the package; register yours by another name")
        if not re.fullmatch(rf"[a-z][a-z0-9{self._separator}]{{0,39}}", name):
            word = {"-": "hyphens", "_": "underscores"}[self._separator]
            raise ProfileError(f"{self.kind} cannot be called {name!r}; use small letters, digits and {word}")

    def add(self, name: str, thing: T, identity: str = "") -> None:
        """Registers a thing under a name that `require_free` found free; again under the same replaces it."""
        self.own[name], self._identities[name] = thing, identity

    def identity(self, name: str) -> str:
        """What tells a registered thing from others of its name; empty for one of the package."""
        return self._identities[name] if name in self.own else ""


def identity(function: Callable[..., Any], name: str, settings: object, version: str | None = None) -> str:
    """16 hexadecimal digits over how a function is registered and its version, or by default its source.

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
