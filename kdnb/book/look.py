from typing import Any
from kdnb.images import augment


def autoaugment(side: int) -> dict[str, Any]:
    return {"policies": augment._policies(), "magnitudes": augment._magnitudes(side)}
