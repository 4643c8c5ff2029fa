"""The sampling error over images of a deciding effect, from compact predictions: what other validation images would give.

It stands beside the interval over seeds, which says what other trainings would give.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kdnb.evidence.claims import ACCURACY, AGREEMENT
from kdnb.evidence.estimands import Cell, Contrast, Estimand
from kdnb.evidence.predictions import Predictions
from kdnb.evidence.results import Results
from kdnb.evidence.statistics import image_interval


def by_image(
    effect: Estimand, predictions: Predictions, names: Mapping[Cell, tuple[str, str]]
) -> NDArray[np.float64] | None:
    """What each validation image adds to an effect, (N,), whose mean is the effect; None where it is no sum over images.

    That is so of contrasts of accuracy, and of agreement with the teachers together, on clean validation images.

    Args:
        names: cell → its run and that of its teachers together, as `runs` gives them.
    """
    if not isinstance(effect, Contrast) or any(measure not in (ACCURACY, AGREEMENT) for _, _, measure in effect.terms):
        return None
    clean = predictions.views.index("clean")
    place = {run: number for number, run in enumerate(predictions.runs)}
    total = np.zeros(len(predictions.labels))
    for weight, cell, measure in effect.terms:
        if cell not in names:
            return None
        student, teachers = names[cell]
        if measure == AGREEMENT and not teachers:
            return None
        own = predictions.predicted[place[student], clean]
        against = predictions.labels if measure == ACCURACY else predictions.predicted[place[teachers], clean]
        total += weight * (own == against).numpy()
    return total


def runs(found: Results) -> dict[Cell, tuple[str, str]]:
    """The run of each cell of a study, and its teachers' together (empty for fewer than two), of the default origin."""
    columns = ["role", "run", "teachers", "origin", "student", "objective"]
    listed = found.table[columns].drop_duplicates().to_dict("records")
    ensembles = {(row["teachers"], row["origin"]): row["run"] for row in listed if row["role"] == "ensemble"}
    default = next((row["origin"] for row in listed if row["role"] == "teacher"), "")
    return {
        Cell(row["teachers"], row["student"], row["objective"]): (
            row["run"],
            ensembles.get((row["teachers"], row["origin"]), ""),
        )
        for row in listed
        if row["role"] == "student" and set(row["origin"].split("+")) <= {default, ""}
    }


def intervals(found: Results, effect: Estimand) -> dict[int, tuple[float, float]]:
    """Seed → the 95 % interval over images, of the seeds in which the effect is a sum over images."""
    names = runs(found)
    shown = {}
    for seed in found.seeds:
        values = by_image(effect, found.predictions(seed), names)
        if values is not None:
            shown[seed] = image_interval(values, np.zeros_like(values))
    return shown
