"""The book's visual vocabulary: colours, markers, type, and what an axis is called.

Blue and hollow is weak augmentation, orange and filled is strong, violet and half filled is a mix of teachers, grey is neither.
Any other recipe has a colour that follows from its name. Teachers are squares, distilled students circles, students without
teachers triangles, the reference is a diamond. What a user's own matplotlib settings say has no part in it.
"""

import hashlib
from contextlib import _GeneratorContextManager
from typing import Any, Literal

import matplotlib
from matplotlib import rc_context

WEAK, STRONG, MIXED, NEUTRAL = "#1f83c4", "#d55e00", "#8a63b8", "#808080"
BOTH = "#e8c21a"
"""Where all teachers attend."""

SEEDS = "seeds"
"""The gid of the artists that hold one point for each seed."""

WIDTH, HEIGHT = 5.6, 3.7
"""inches"""

FAMILY = "'DejaVu Sans', Verdana, sans-serif"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 12.0,
    "axes.titlesize": 12.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.ymargin": 0.09,
    "grid.color": NEUTRAL,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
    "lines.markeredgewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 12.0,
    "svg.fonttype": "none",
}

LABELS = {
    "accuracy": "validation accuracy",
    "adjusted_mutual_information": "adjusted mutual information",
    "affinity": "affinity",
    "agreement": "agreement with the teachers",
    "agreement_on_errors": "agreement on errors",
    "attention_iou": "attention IoU",
    "calibration_error": "expected calibration error",
    "chance_iou": "area-matched chance IoU",
    "divergence": "KL divergence (nats)",
    "entropy": "entropy (nats)",
    "error_consistency": "error consistency κ",
    "excess_iou": "attention IoU beyond chance",
    "mask_area": "area of the mask",
    "mutual_information": "mutual information (nats)",
    "train_accuracy": "training accuracy",
    "train_validation_gap": "train–validation gap",
}
"""What an axis is called."""

_OTHERS = ("#1b9e77", "#a6761d", "#e7298a", "#66a61e", "#666fb3")
"""for recipes other than weak and strong"""

LINES = ("-", "--", ":", "-.")

Filling = Literal["none", "full", "left"]


def colour(augmentation: str) -> str:
    """Of an augmentation; of none, grey; of several joined with ``+``, that of a mix unless they are alike."""
    kinds = set(augmentation.split("+")) - {""}
    if len(kinds) > 1:
        return MIXED
    name = next(iter(kinds), "")
    named = {"weak": WEAK, "strong": STRONG, "": NEUTRAL, "clean": NEUTRAL}
    if name in named:
        return named[name]
    return _OTHERS[int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(_OTHERS)]


def filling(augmentation: str) -> Filling:
    """Hollow for weak, half for a mix, full for all others."""
    kinds = set(augmentation.split("+"))
    return "left" if len(kinds) > 1 else "none" if kinds == {"weak"} else "full"


def look(augmentation: str, marker: str) -> dict[str, Any]:
    """What a line or a marker of that augmentation looks like, for `Axes.plot`."""
    shown = colour(augmentation)
    return {"color": shown, "marker": marker, "fillstyle": filling(augmentation), "markerfacecoloralt": "none"}


def styled() -> _GeneratorContextManager[None]:
    """A context and a decorator: our style on matplotlib's defaults, whatever the user's settings are."""
    return rc_context(dict(matplotlib.rcParamsDefault) | STYLE)


def literal(text: str) -> str:
    """Text that matplotlib shows as it stands: a dollar sign begins no formula."""
    return text.replace("$", r"\$")
