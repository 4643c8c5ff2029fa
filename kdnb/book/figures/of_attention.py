"""Where teachers look, and how much of it they share."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from kdnb.book.figures.drawing import (
    bare,
    in_style,
    legend,
    name_teachers,
    own_axes,
    own_grid,
    rows_of,
    seed_points,
    zero_line,
)
from kdnb.book.style import BOTH, LABELS, LINES, NEUTRAL, WIDTH, literal, look
from kdnb.evidence.overlap import THRESHOLD, heatmaps, iou, masks
from kdnb.evidence.table import plain, select

if TYPE_CHECKING:
    from kdnb.evidence.results import Explorer

ORDER_COLOURS = ("#1f83c4", "#d55e00", NEUTRAL, "#7a8a00")
"""of the orders of deletion curves; look.css has the same"""


@in_style
def attention_maps(
    explorer: "Explorer",
    image: int,
    teachers: Sequence[str],
    threshold: float = THRESHOLD,
    method: str = "cam-predicted",
    axes: Sequence[Axes] | NDArray[Any] | None = None,
) -> NDArray[Any]:
    """An image, where each teacher looks (heat, and the outline of the mask), and where all of them do (yellow).

    Args:
        image: its place in ``explorer.images``.
        teachers: two or more runs.
        axes: one for the image, one for each teacher, one for the overlap; none makes a figure.

    Raises:
        ValueError: no such image, or a run without such maps.
    """
    if not 0 <= image < len(explorer.images):
        raise ValueError(f"no image {image} among the {len(explorer.images)} of the explorer, counted from 0")
    heats = [_maps(explorer, teacher, method)[image : image + 1] for teacher in teachers]
    side = explorer.images.shape[-1]
    marked = [masks(maps, side, threshold) for maps in heats]
    count = len(teachers) + 2
    columns = count if count <= 4 else 3
    lines = -(-count // columns)
    axes = own_grid(axes, lines, columns, lines * (WIDTH / columns + 0.2))
    for ax in axes:
        bare(ax)
        ax.set_yticks([])
    picture = explorer.images[image].permute(1, 2, 0).numpy()
    grey = picture.mean(axis=2)
    first, *middle, last = axes[:count]
    first.imshow(picture, interpolation="none")
    name = literal(explorer.classes[int(explorer.labels[image])].replace("_", " "))
    first.set_title(name if len(name) <= 14 else name[:13] + "…")
    faint = {"cmap": "gray", "vmin": -100, "vmax": 320, "interpolation": "none"}
    last.imshow(grey, **faint)
    together = np.zeros((side, side, 4))
    together[..., :3] = matplotlib.colors.to_rgb(BOTH)
    together[..., 3] = 0.6 * np.all([mask[0].numpy() for mask in marked], axis=0)
    last.imshow(together, interpolation="none")
    for ax, teacher, maps, line in zip(middle, teachers, heats, LINES, strict=False):
        heat = heatmaps(maps, side)[0].numpy()
        ax.imshow(grey, **faint)
        ax.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.65, interpolation="none")
        ax.set_title(teacher)
        if heat.min() < threshold < heat.max():
            ax.contour(heat, levels=[threshold], colors="white", linestyles=line, linewidths=1.6)
            last.contour(
                heat,
                levels=[threshold],
                colors=_of_teacher(explorer, teacher)["color"],
                linestyles=line,
                linewidths=2.2,
            )
    last.set_title(f"IoU {iou(marked):.2f}")
    return axes


def _of_teacher(explorer: "Explorer", run: str) -> dict[str, Any]:
    return look(explorer.cells.get(run, {}).get("teachers", ""), "s")


def alike(explorer: "Explorer", augmentation: str) -> list[str]:
    """The teachers of an augmentation, of the first teacher's origin, that the explorer has maps of; in order."""
    cells = {run: explorer.cells[run] for run in explorer.maps}
    first = next(iter(cells.values()))["origin"]
    return [run for run, cell in cells.items() if cell["teachers"] == augmentation and cell["origin"] == first]


def _maps(explorer: "Explorer", run: str, method: str) -> Tensor:
    try:
        return explorer.maps[run][f"{method}/clean"]
    except KeyError:
        raise ValueError(
            f"no maps {method!r} of {run!r} in the explorer; choose from the runs {', '.join(explorer.maps)}"
        ) from None


@in_style
def overlap(
    table: pd.DataFrame,
    measure: str = "attention_iou",
    method: str = "cam-predicted",
    view: str = "clean",
    split: str = "validation",
    ax: Axes | None = None,
) -> Axes:
    """How much the attention of each ensemble's teachers overlaps; for the IoU, beside its area-matched chance level.

    Args:
        measure: attention_iou, chance_iou or excess_iou.
    """
    ax, table = own_axes(ax), plain(table)
    where = {"form": "textbook", "role": "ensemble", "split": split, "method": method, "view": view, "against": ""}
    rows = rows_of(table, measure=measure, **where)
    ensembles = list(dict.fromkeys(rows["teachers"]))
    for place, teachers in enumerate(ensembles):
        kinds = set(teachers.split("+"))
        word = "mixed" if len(kinds) > 1 else f"all {literal(kinds.pop())}"
        seed_points(ax, place, select(rows, teachers=teachers)["value"].tolist(), look(teachers, "s"), label=word)
    if measure == "attention_iou":
        chance = rows_of(table, measure="chance_iou", **where).groupby("teachers")["value"].mean()
        for place, teachers in enumerate(ensembles):
            ax.plot([place - 0.36, place + 0.36], [chance[teachers]] * 2, color=NEUTRAL, linewidth=2.2, label="chance")
    elif measure == "excess_iou":
        zero_line(ax)
    name_teachers(ax, ensembles)
    ax.set_ylabel(LABELS[measure])
    legend(ax, columns=4)
    return ax


@in_style
def deletion_curves(
    curves: Mapping[str, Mapping[str, Tensor]],
    orders: Mapping[str, str],
    axes: Sequence[Axes] | NDArray[Any] | None = None,
) -> NDArray[Any]:
    """How a network's answer goes as pixels are erased: a panel for each network, a line for each order.

    Args:
        curves: network → order → probability of its answer (steps + 1), as `kdnb.evidence.deletion.curve`.
        orders: what the orders are called.
    """
    columns = min(len(curves), 2)
    lines = -(-len(curves) // columns)
    axes = own_grid(axes, lines, columns, 2.5 * lines + 0.4)
    for ax, (run, of) in zip(axes, curves.items(), strict=False):
        for (name, words), style_, colour in zip(orders.items(), LINES, ORDER_COLOURS, strict=True):
            share = np.linspace(0, 1, len(of[name]))
            ax.plot(share, of[name].tolist(), linestyle=style_, color=colour, label=words)
        ax.set_title(run)
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel("probability of its answer")
    axes[len(curves) - 1].set_xlabel("share of the picture erased")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return axes
