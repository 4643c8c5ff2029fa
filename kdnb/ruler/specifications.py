"""Every way of measuring the overlap of attention: what specification curves are drawn from, so that no page needs the maps.

All other measures have their forms in the tidy table; of attention it has the paper's threshold alone.
"""

from collections.abc import Mapping

import pandas as pd

from kdnb.evidence import overlap
from kdnb.evidence.table import Attention
from kdnb.study.grid import Study
from kdnb.study.store import Entry

THRESHOLDS = tuple(step / 10 for step in range(1, 10))

COLUMNS = (
    "seed", "run", "teachers", "origin", "method", "threshold", "view", "split", "per_image", "pooled", "chance",
)  # fmt: skip


def specifications(study: Study, seed: int, entries: Mapping[str, Entry]) -> pd.DataFrame:
    """The overlap of every ensemble's masks; columns `COLUMNS`.

    A row for each method, threshold (0.1 to 0.9), view and split, with three numbers from 0 to 1: ``per_image``, the mean over
    images of the intersection over union; ``pooled``, over all pixels of all images at once; ``chance``, that of masks of the
    same areas in independent places.
    """
    attention, rows = Attention(entries), []
    for ensemble in study.ensembles(seed):
        ids = [run.spec.id for run in ensemble.teachers]
        about = {"seed": seed} | {key: ensemble.columns[key] for key in ("run", "teachers", "origin")}
        for split, method, view in attention.names(ids):
            heat = [attention.heatmaps(run, f"{split}/{method}/{view}") for run in ids]
            for threshold in THRESHOLDS:
                masks = [each > threshold for each in heat]
                found = {
                    "per_image": overlap.iou(masks),
                    "pooled": overlap.iou(masks, "as-released", batch_size=len(masks[0])),
                    "chance": overlap.chance_iou(masks),
                }
                where = {"method": method, "threshold": threshold, "view": view, "split": split}
                rows.append(about | where | found)
    return pd.DataFrame(rows, columns=list(COLUMNS))
