"""What a trained network leaves behind: its answers and its attention maps, from which every measure is computed.

No measure is baked in, so a new definition of one needs no training. Every network of a seed is shown the *same* views, so
that two students can be compared on common images and each on its own. Arrays, by name:

predictions
    ``<split>/<view>``: logits, float32 (N, K), of the splits validation and train (a fixed sample) and the views clean, weak
    and strong, and the run's own augmentation where it is another; ``validation/base``, of RandomResizedCrop alone;
    ``draws/clean``, of the images of the other draws, where the study has draws;
    ``validation/labels``, ``train/labels``, ``draws/labels``: int64 (N,); ``train/index``: which training images, int64 (N,).
    A teacher also leaves ``<split>/<view>/left`` and ``/right``: its answers to that half of the clean, weak and strong
    views. A student whose own augmentation is another than those, or whose teachers teach in ``train`` mode, keeps what
    they answered: ``teachers/<place>/<split>/<view>``, batch by batch of 128 in order.
    Teachers and the reference leave ``dial/predicted``: int64 (11, n), the classes that they predict for a fixed sample
    ``dial/index`` of validation images as the dial of augmentation turns from 0 to 1.
attention
    ``<split>/<method>/<view>``: maps of a fixed sample of images, float32 (M, h, w), for the methods cam-sum,
    cam-predicted, cam-true, grad-cam (of the predicted class) and, of transformers, rollout, attention-last and
    attention-gradient (of the predicted class); ``<split>/index``, ``<split>/labels``: (M,). A teacher that can see
    halves also leaves ``<split>/<method>/<view>/left`` and ``/right``; the half that it did not see holds the map's
    minimum.

An origin leaves its weights and its log alone. A run of the profile ``cpu`` takes 4 MB for each view of 10,000 validation
images and 100 classes and 2 MB for one of 5,000 training images: 22 MB of logits, and 6 MB of maps; a teacher 36 and 13 MB
more, for its halves. A seed with 34 students, 6 teachers and the reference takes some 1.5 GB.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kdnb.images.datasets import Dataset, Split
from kdnb.training.inference import FORWARD, Normaliser, chunks, half, logits, sample, teaching_copy, views, views_of
from kdnb.training.maps import attention_maps
from kdnb.training.models import Network
from kdnb.training.objectives import SIDES, Side
from kdnb.training.spec import RunSpec

VIEWS = ("clean", "weak", "strong")
"""of every network, on both splits"""

DRAWS = "draws"
"""the split of a study with draws whose images, those of the other draws, are observed in the clean view alone"""

BASE = "base"
"""the view that the released code's affinity divides by; `ObserveSpec.base` says which recipe it is"""

TEACHING_BATCH = 128

DIAL = tuple(step / 10 for step in range(11))
"""strengths of augmentation at which teachers and the reference are looked at"""

DIAL_IMAGES = 2000
"""at most, and no more than a look takes while training (`ObserveSpec.validate_sample`)"""


@dataclass(frozen=True)
class Observations:
    """The arrays of one run; the module's description names them."""

    predictions: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Shown:
    """A split's images that are observed, and what is shown of them."""

    name: str
    split: Split
    numbers: Tensor
    """of the split's images in the data set"""
    mapped: Tensor
    """places within the split of those that maps are kept for, sorted"""


def observe(
    networks: Mapping[str, Network],
    specs: Sequence[RunSpec],
    dataset: Dataset,
    teachers: Mapping[str, Network],
    device: torch.device,
) -> dict[str, Observations]:
    """The observations of several runs of one seed, by run id: each image is read once, and each view made once and shown to
    all. Memory holds `CHUNK` images at a time, beside those that maps are kept for.

    Args:
        networks: the trained networks by run id.
        specs: of these runs, with one seed and the same `observe` settings.
        teachers: the networks of all teachers that the specs name, by run id.
    """
    results = {spec.id: Observations() for spec in specs}
    measured = [spec for spec in specs if spec.role != "origin"]
    if not measured:
        return results
    for network in networks.values():
        network.eval()
    prepare = Normaliser(dataset, device, measured[0])
    validation, train = _splits(dataset, measured[0])
    own = sorted({spec.augmentation for spec in measured} - set(VIEWS))
    for part in (validation, train):
        shown_as = (*VIEWS, *own, *([BASE] if part is validation and BASE not in own else []))
        answers: dict[str, dict[str, list[Tensor]]] = {spec.id: {} for spec in measured}
        mapped: dict[str, list[Tensor]] = {view: [] for view in shown_as}
        for places, held in chunks(part.split):
            images = held.to(device)
            for view in shown_as:
                recipe = measured[0].observe.base if view == BASE and BASE not in own else view
                shown = views_of(images, part.numbers[places], recipe, measured[0], part.name)
                mapped[view].append(shown[torch.isin(places, part.mapped).to(device)])
                for spec in measured:
                    if view in (*VIEWS, spec.augmentation) or view == BASE:
                        heard = _answers(networks[spec.id], spec, part.name, view, shown, prepare)
                        heard |= _taught(spec, part.name, view, shown, teachers, prepare)
                        for name, answer in heard.items():
                            answers[spec.id].setdefault(name, []).append(answer)
        seen = {view: torch.cat(some) for view, some in mapped.items()}
        for spec in measured:
            found = results[spec.id]
            found.predictions.update({name: torch.cat(parts) for name, parts in answers[spec.id].items()})
            for view in shown_as:
                if view in (*VIEWS, spec.augmentation):
                    found.attention.update(_maps(networks[spec.id], spec, part, view, seen[view], prepare))
            found.predictions[f"{part.name}/labels"] = part.split.labels.clone()
            found.attention[f"{part.name}/index"] = part.numbers[part.mapped].clone()
            found.attention[f"{part.name}/labels"] = part.split.labels[part.mapped].clone()
    for spec in measured:
        results[spec.id].predictions["train/index"] = train.numbers.clone()
    if dataset.draws is not None:
        for spec in measured:
            network = networks[spec.id]
            parts = [logits(network, images.to(device), prepare, spec).cpu() for _, images in chunks(dataset.draws)]
            predictions = results[spec.id].predictions
            predictions[f"{DRAWS}/clean"] = torch.cat(parts)
            predictions[f"{DRAWS}/labels"] = dataset.draws.labels.clone()
    turning = [spec for spec in measured if spec.role in ("teacher", "reference")]
    if turning:
        for run, tensors in _dial(networks, turning, dataset, prepare, device).items():
            results[run].predictions.update(tensors)
    return results


def _splits(dataset: Dataset, spec: RunSpec) -> tuple[_Shown, _Shown]:
    settings = spec.observe
    everything = torch.arange(len(dataset.validation))
    kept = sample(len(dataset.train), settings.train_sample)
    return (
        _Shown("validation", dataset.validation, everything, sample(len(everything), settings.maps)),
        _Shown("train", dataset.train.select(kept.numpy()), kept, sample(len(kept), settings.maps)),
    )


def _sides(spec: RunSpec, network: Network, view: str) -> Iterator[Side]:
    """The halves that a network is shown of a view."""
    if spec.role == "teacher" and view in VIEWS and network.any_width:
        yield from SIDES


def _answers(
    network: Network, spec: RunSpec, part: str, view: str, shown: Tensor, prepare: Normaliser
) -> dict[str, Tensor]:
    found = {f"{part}/{view}": logits(network, shown, prepare, spec).cpu()}
    for side in _sides(spec, network, view):
        found[f"{part}/{view}/{side}"] = logits(network, shown, prepare, spec, side=side).cpu()
    return found


def _taught(
    spec: RunSpec, part: str, view: str, shown: Tensor, teachers: Mapping[str, Network], prepare: Normaliser
) -> dict[str, Tensor]:
    """What the teachers answer, where their own observations do not say it."""
    objective = spec.objective
    if objective is None or view == BASE != spec.augmentation:
        return {}
    if objective.batch_norm == "eval" and view in VIEWS:
        return {}
    answers = {}
    for place, teacher in enumerate(spec.teachers):
        network = teaching_copy(teachers[teacher], objective.batch_norm)
        answer = logits(network, shown, prepare, spec, batch=TEACHING_BATCH)
        answers[f"teachers/{place}/{part}/{view}"] = answer.cpu()
    return answers


def _maps(
    network: Network, spec: RunSpec, part: _Shown, view: str, shown: Tensor, prepare: Normaliser
) -> dict[str, Tensor]:
    """Of the views of a part's `mapped` images."""
    labels = part.split.labels[part.mapped]
    parts: dict[str, list[Tensor]] = {}
    for batch, true in zip(shown.split(FORWARD), labels.split(FORWARD), strict=True):
        prepared, true = prepare(batch), true.to(batch.device)
        whole = attention_maps(network, prepared, true)
        for method, maps in whole.items():
            parts.setdefault(f"{part.name}/{method}/{view}", []).append(maps.cpu())
        for side in _sides(spec, network, view):
            seen = attention_maps(network, half(prepared, side), true)
            for method, maps in seen.items():
                padded = _beside_nothing(maps, side, whole[method].shape[-1])
                parts.setdefault(f"{part.name}/{method}/{view}/{side}", []).append(padded.cpu())
    return {name: torch.cat(maps) for name, maps in parts.items()}


def _beside_nothing(maps: Tensor, side: Side, width: int) -> Tensor:
    """The map of half an image, (N, h, w/2), in its place in the whole, (N, h, w)."""
    nothing = maps.amin(dim=(1, 2), keepdim=True).expand(-1, maps.shape[1], width - maps.shape[2])
    return torch.cat([maps, nothing] if side == "left" else [nothing, maps], dim=2)


def _dial(
    networks: Mapping[str, Network],
    specs: Sequence[RunSpec],
    dataset: Dataset,
    prepare: Normaliser,
    device: torch.device,
) -> dict[str, dict[str, Tensor]]:
    index = sample(len(dataset.validation), min(DIAL_IMAGES, specs[0].observe.validate_sample))
    split = dataset.validation.select(index.numpy()).loaded()
    predicted: dict[str, list[Tensor]] = {spec.id: [] for spec in specs}
    for strength in DIAL:
        shown = views(split, index, f"dial:{strength}", specs[0], "validation", device)
        for spec in specs:
            predicted[spec.id].append(logits(networks[spec.id], shown, prepare, spec).argmax(dim=1).cpu())
    return {
        run: {"dial/predicted": torch.stack(classes), "dial/index": index.clone()} for run, classes in predicted.items()
    }
