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

A study with draws is judged on the images of the other draws, and keeps less of the validation images, so that a seed stays
small: the confidence on clean views alone, and no probability of the true class. It has besides, of the D images of the other
draws, clean:

``draws/predicted``, ``draws/confidence``
    as above, (R, D)
``draws/labels``
    int64 (D,)
"""

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor

from kdnb.errors import DamagedResultsError, IncompleteError
from kdnb.evidence import measures, overlap, table
from kdnb.evidence.table import SPLITS, Attention, observed
from kdnb.study.grid import Study
from kdnb.study.store import Entry
from kdnb.training.observe import DRAWS, VIEWS

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
    """float32 (R, V, N); of a study with draws (R, 1, N), of clean views"""
    truth: Tensor
    """float32 (R, V, N); of a study with draws (R, 0, N)"""
    labels: Tensor
    iou: Tensor
    """float32 (E, S, V, M)"""
    drawn: "Drawn | None" = None
    """of a study with draws"""

    def answers(self, run: str, view: str = "clean", split: str = "validation") -> Tensor:
        """The class that the run predicts of each image of a split, validation or draws, int64 (N,).

        Raises:
            IncompleteError: no such run, view or split.
        """
        place = self._place(run, view)
        if split == "validation":
            return self.predicted[place]
        if split != DRAWS or view != "clean" or self.drawn is None:
            raise IncompleteError(
                f"no predictions on {view} views of {split} images; clean ones of draws, where there are"
            )
        return self.drawn.predicted[place[0]]

    def correct(self, run: str, view: str = "clean", split: str = "validation") -> Tensor:
        """Whether the run is right about each image, bool (N,).

        Raises:
            IncompleteError: no such run, view or split.
        """
        answers = self.answers(run, view, split)
        return answers == (self.drawn.labels if split == DRAWS and self.drawn is not None else self.labels)

    def probability(self, run: str, view: str = "clean") -> Tensor:
        """The probability that the run gives the true class of each image, float64 (N,).

        Raises:
            IncompleteError: no such run or view, or a study with draws, which keeps none.
        """
        place = self._place(run, view)
        if self.drawn is not None:
            raise IncompleteError("the probability of the true class is not published of a study with draws")
        return self.truth[place].double()

    def overlap(self, ensemble: str, split: str = "validation", view: str = "clean") -> Tensor:
        """The IoU of the masks of an ensemble's teachers on each image of the fixed sample, float64 (M,).

        Raises:
            IncompleteError: no such ensemble, view or split.
        """
        if ensemble not in self.ensembles or split not in SPLITS or view not in self.views:
            raise IncompleteError(
                f"no overlap of {ensemble!r} on {view!r} {split!r} images; choose from {', '.join(self.ensembles)}"
            )
        places = self.ensembles.index(ensemble), list(SPLITS).index(split), self.views.index(view)
        return self.iou[places].double()

    def _place(self, run: str, view: str) -> tuple[int, int]:
        if run not in self.runs or view not in self.views:
            raise IncompleteError(f"no predictions of {run!r} on {view!r} views; choose from {', '.join(self.runs)}")
        return self.runs.index(run), self.views.index(view)


@dataclass(frozen=True)
class Drawn:
    """What runs and ensembles say of the clean images of the other draws."""

    predicted: Tensor
    """int64 (R, D)"""
    confidence: Tensor
    """float32 (R, D)"""
    labels: Tensor
    """int64 (D,)"""


def pack(study: Study, seed: int, entries: Mapping[str, Entry]) -> bytes:
    """The file of a seed; the same bytes for the same observations."""
    answers: dict[str, list[Tensor]] = {}
    others: dict[str, Tensor] = {}
    first = next(iter(entries.values()))
    drawn = bool(table.drawn(first))
    for run in study.of_seed(seed):
        answers[run.name] = [observed(entries[run.spec.id], "validation", view) for view in VIEWS]
        if drawn:
            others[run.name] = observed(entries[run.spec.id], DRAWS, "clean")
    attention, shares = Attention(entries), []
    ensembles = study.ensembles(seed)
    for ensemble in ensembles:
        ids = [run.spec.id for run in ensemble.teachers]
        answers[ensemble.name] = [
            measures.ensemble_logits([observed(entries[each], "validation", view) for each in ids]) for view in VIEWS
        ]
        if drawn:
            others[ensemble.name] = measures.ensemble_logits([observed(entries[each], DRAWS, "clean") for each in ids])
        of_splits = []
        for split in SPLITS:
            names = [f"{split}/{METHOD}/{view}" for view in VIEWS]
            of_splits.append([overlap.iou_per_image([attention.masks(each, name) for each in ids]) for name in names])
        shares.append(of_splits)
    labels = first.predictions["validation/labels"]
    probabilities = {run: [logits.double().softmax(dim=1) for logits in views] for run, views in answers.items()}
    top = {run: [each.max(dim=1) for each in views] for run, views in probabilities.items()}
    classes = next(iter(probabilities.values()))[0].shape[1]
    small = torch.uint8 if classes <= 256 else torch.uint16
    sure = top if not drawn else {run: views[:1] for run, views in top.items()}  # clean views come first
    tensors = {
        "predicted": torch.stack([torch.stack([each.indices for each in views]) for views in top.values()]).to(small),
        "confidence": _share(torch.stack([torch.stack([each.values for each in views]) for views in sure.values()])),
        "labels": labels.contiguous(),
    }
    if drawn:
        said = [logits.double().softmax(dim=1).max(dim=1) for logits in others.values()]
        tensors |= {
            f"{DRAWS}/predicted": torch.stack([each.indices for each in said]).to(small),
            f"{DRAWS}/confidence": _share(torch.stack([each.values for each in said])),
            f"{DRAWS}/labels": first.predictions[f"{DRAWS}/labels"].contiguous(),
        }
    else:
        true = [[each.gather(1, labels[:, None])[:, 0] for each in views] for views in probabilities.values()]
        tensors["truth"] = torch.stack([torch.stack(views) for views in true]).half()
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
        DamagedResultsError: it cannot be read.
    """
    try:
        raw = lzma.decompress(content)
        tensors: dict[str, Tensor] = safetensors.torch.load(raw)
        size = int.from_bytes(raw[:8], "little")
        about = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["about"])
        drawn = None
        if f"{DRAWS}/labels" in tensors:
            predicted, confidence, labels = (
                tensors[f"{DRAWS}/{part}"] for part in ("predicted", "confidence", "labels")
            )
            drawn = Drawn(predicted.long(), confidence.float() / 255.0, labels)
        return Predictions(
            tuple(about["runs"]),
            tuple(about["views"]),
            tuple(about["ensembles"]),
            tensors["predicted"].long(),
            tensors["confidence"].float() / 255.0,
            tensors["truth"].float() if drawn is None else torch.zeros(len(about["runs"]), 0, len(tensors["labels"])),
            tensors["labels"],
            tensors.get("iou", torch.zeros(0, len(SPLITS), len(VIEWS), 0, dtype=torch.uint8)).float() / 255.0,
            drawn,
        )
    except (lzma.LZMAError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise DamagedResultsError(f"{name} cannot be read ({error}); publish its seed again (kdnb publish)") from None
