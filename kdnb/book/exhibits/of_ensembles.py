"""How good teachers are together, and what their students make of it."""

from typing import Literal

from kdnb.book.exhibits.exhibit import Exhibit, exhibit
from kdnb.evidence.results import Results
from kdnb.ruler import secondary


@exhibit
def ensembles(found: Results, claim: Literal["K5", "K8"]) -> Exhibit:
    """Two kinds of teachers beside their students: how good and how alike they are together."""
    first, second = secondary.PARTED[claim]
    frame = secondary.ensembles(found.table, claim).groupby(level="kind", sort=False).mean().map("{:.3f}".format)
    frame.loc["difference"] = [_moved(values) for values in secondary.parted(found.table, claim).values()]
    frame.index.name = None
    caption = (
        "Two teachers together, the mean of their logits, before any student hears them, and the students that heard them: "
        "means over seeds on clean validation images (attention IoU on clean training images). In brackets, in how "
        "many seeds the difference has this sign."
    )
    return Exhibit(f"ensembles-{claim}", frame, caption, f"{first.capitalize()}, {second}, and their students")


def _moved(values: list[float]) -> str:
    """``+0.0116 (5 of 5)``: the mean, and how many have its sign."""
    mean = sum(values) / len(values)
    return f"{mean:+.4f} ({sum(value * mean > 0 for value in values)} of {len(values)})".replace("-", "−")
