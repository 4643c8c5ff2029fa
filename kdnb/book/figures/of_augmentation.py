"""What augmentation does to images, and to accuracy."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor

from kdnb.book.figures.drawing import bare, in_style, legend, looks_of, own_axes, seed_points, zero_line
from kdnb.book.style import LINES, WIDTH
from kdnb.evidence.table import select


@in_style
def gallery(images: Tensor, rows: Mapping[str, Tensor], ax: Axes | None = None) -> Axes:
    """Images, and below them the same ones in other views.

    Args:
        images: uint8 (N, 3, S, S), the row called clean.
        rows: title → uint8 (N, 3, S, S), the same N images.

    Raises:
        ValueError: a row of another shape.
    """
    every = {"clean": images, **rows}
    for title, row in every.items():
        if row.shape != images.shape:
            raise ValueError(f"the row {title!r} is {tuple(row.shape)}; it shows the images, {tuple(images.shape)}")
    count, _, side, _ = images.shape
    step = side + max(1, side // 10)
    sheet = np.zeros((step * len(every) - (step - side), step * count - (step - side), 4), dtype=np.uint8)
    for i, row in enumerate(every.values()):
        for j, image in enumerate(row):
            place = sheet[i * step : i * step + side, j * step : j * step + side]
            place[..., :3], place[..., 3] = image.permute(1, 2, 0).numpy(), 255
    ax = own_axes(ax, 0.1 + (WIDTH - 0.9) * sheet.shape[0] / sheet.shape[1])
    ax.imshow(sheet, interpolation="none")
    ax.set_yticks([i * step + side / 2 for i in range(len(every))], list(every))
    bare(ax)
    return ax


@in_style
def dial_response(dial: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Affinity as first defined (accuracy on views − accuracy on clean images) against the strength of augmentation, a line a
    network.

    Args:
        dial: columns as `kdnb.evidence.results.Results.dial`; a line for each run in it.
    """
    ax = own_axes(ax)
    zero_line(ax)
    looks, handles = looks_of(dial), []
    for (run, shown), line in zip(looks.items(), LINES, strict=False):
        rows = select(dial, run=run)
        ax.plot(rows.groupby("strength")["affinity"].mean(), color=shown["color"], linestyle=line)
        handles.append(Line2D([], [], label=run, **shown | {"linestyle": line}))
        for strength, group in rows.groupby("strength"):
            seed_points(ax, float(str(strength)), group["affinity"].tolist(), shown, spread=0.0, bar=0.015)
    ax.set_xlabel("strength of augmentation (0 clean, 1 strong)")
    ax.set_ylabel("change in accuracy from clean images")
    legend(ax, handles, columns=len(looks))
    return ax
