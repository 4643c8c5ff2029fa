"""Compact predictions: what every network and ensemble of a seed said of each validation image, small enough for git.

With them, measures of predicted classes, calibration and the sampling error over images need no training. One file a seed,
safetensors compressed with xz:

``predicted``
    the predicted class, uint8 (R, V, N), uint16 with more than 256 classes; R runs and ensembles, V views, N images
``confidence``
    the probability of that class, uint8 (R, V, N), in steps of 1/255
``truth``
    the probability of the true class, float16 (R, V, N): eleven significant bits
``labels``
    the true classes, int64 (N,)
``iou``
    of each ensemble and image of the fixed sample, the IoU of its teachers' masks (predicted class, threshold 0.4), uint8
    (E, S, V, M) in steps of 1/255; E ensembles, S splits, M images
``index/validation``, ``index/train``
    which images these M are, in the data set
"""

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor

from kdnb.errors import IncompleteError
from kdnb.evidence import measures, overlap
from kdnb.evidence.table import SPLITS, Attention, observed
from kdnb.study.grid import Study
from kdnb.study.store import Entry
from kdnb.training.observe import VIEWS

METHOD = "cam-predicted"


@dataclass(frozen=True)
class Predictions:
    """The arrays above as floats where they are shares, and what their places mean."""

    runs: tuple[str, ...]
    """names of runs and ensembles"""
    views: tuple[str, ...]
    ensembles: tuple[str, ...]
    predicted: Tensor
    """int64 (R, V, N)"""
    confidence: Tensor
    """float32 (R, V, N)"""
    truth: Tensor
    """float32 (R, V, N)"""
    labels: Tensor
    iou: Tensor
    """float32 (E, S, V, M)"""

    def answers(self, run: str, view: str = "clean") -> Tensor:
        """The class that the run predicts of each image, int64 (N,).

        Raises:
            IncompleteError: no such run or view.
        """
        return self.predicted[self._place(run, view)]

    def correct(self, run: str, view: str = "clean") -> Tensor:
        """Whether the run is right about each image, bool (N,).

        Raises:
            IncompleteError: no such run or view.
        """
        return self.answers(run, view) == self.labels

    def probability(self, run: str, view: str = "clean") -> Tensor:
        """The probability that the run gives the true class of each image, float64 (N,).

        Raises:
            IncompleteError: no such run or view.
        """
        return self.truth[self._place(run, view)].double()

    def _place(self, run: str, view: str) -> tuple[int, int]:
        if run not in self.runs or view not in self.views:
            raise IncompleteError(f"no predictions of {run!r} on {view!r} views; choose from {', '.join(self.runs)}")
        return self.runs.index(run), self.views.index(view)


def pack(study: Study, seed: int, entries: Mapping[str, Entry]) -> bytes:
    """The file of a seed; the same bytes for the same observations."""
    answers: dict[str, list[Tensor]] = {}
    for run in study.of_seed(seed):
        answers[run.name] = [observed(entries[run.spec.id], "validation", view) for view in VIEWS]
    attention, shares = Attention(entries), []
    ensembles = study.ensembles(seed)
    for ensemble in ensembles:
        ids = [run.spec.id for run in ensemble.teachers]
        answers[ensemble.name] = [
            measures.ensemble_logits([observed(entries[each], "validation", view) for each in ids]) for view in VIEWS
        ]
        of_splits = []
        for split in SPLITS:
            names = [f"{split}/{METHOD}/{view}" for view in VIEWS]
            of_splits.append([overlap.iou_per_image([attention.masks(each, name) for each in ids]) for name in names])
        shares.append(of_splits)
    first = next(iter(entries.values()))
    labels = first.predictions["validation/labels"]
    probabilities = {run: [logits.double().softmax(dim=1) for logits in views] for run, views in answers.items()}
    top = {run: [each.max(dim=1) for each in views] for run, views in probabilities.items()}
    classes = next(iter(probabilities.values()))[0].shape[1]
    small = torch.uint8 if classes <= 256 else torch.uint16
    tensors = {
        "predicted": torch.stack([torch.stack([each.indices for each in views]) for views in top.values()]).to(small),
        "confidence": _share(torch.stack([torch.stack([each.values for each in views]) for views in top.values()])),
        "truth": torch.stack(
            [torch.stack([each.gather(1, labels[:, None])[:, 0] for each in views]) for views in probabilities.values()]
        ).half(),
        "labels": labels.contiguous(),
    }
    about = {"runs": list(answers), "views": list(VIEWS), "ensembles": [each.name for each in ensembles]}
    if shares:
        count = min(len(each) for of_splits in shares for views in of_splits for each in views)
        rows = [[torch.stack([each[:count] for each in views]) for views in of_splits] for of_splits in shares]
        tensors["iou"] = _share(torch.stack([torch.stack(each) for each in rows]))
        for split in SPLITS:
            tensors[f"index/{split}"] = first.attention[f"{split}/index"][:count].contiguous()
    return lzma.compress(safetensors.torch.save(tensors, {"about": json.dumps(about)}), preset=6)


def _share(values: Tensor) -> Tensor:
    return (values * 255.0).round().clamp(0, 255).to(torch.uint8)


def unpack(content: bytes, name: str) -> Predictions:
    """What `pack` wrote.

    Args:
        name: what the file is called in an error.

    Raises:
        IncompleteError: it is damaged.
    """
    try:
        raw = lzma.decompress(content)
        tensors: dict[str, Tensor] = safetensors.torch.load(raw)
        size = int.from_bytes(raw[:8], "little")
        about = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["about"])
        return Predictions(
            tuple(about["runs"]),
            tuple(about["views"]),
            tuple(about["ensembles"]),
            tensors["predicted"].long(),
            tensors["confidence"].float() / 255.0,
            tensors["truth"].float(),
            tensors["labels"],
            tensors.get("iou", torch.zeros(0, len(SPLITS), len(VIEWS), 0, dtype=torch.uint8)).float() / 255.0,
        )
    except (lzma.LZMAError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise IncompleteError(f"{name} is damaged ({error}); publish its seed again (kdnb publish)") from None
