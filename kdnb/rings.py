"""How the core reaches what may be missing: the rings `scale`, `zoo`, `ruler` and `release`, which import the core.

The core imports a ring inside a function where it cannot do without, and asks here where it can.
"""

import importlib
from types import ModuleType


def ring(name: str) -> ModuleType | None:
    """The module ``kdnb.<name>`` of a ring, as ``scale.memory``; None where the ring is not installed."""
    try:
        return importlib.import_module(f"kdnb.{name}")
    except ModuleNotFoundError as error:
        if error.name == f"kdnb.{name.partition('.')[0]}":
            return None
        raise
