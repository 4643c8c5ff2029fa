"""Look for yourself: published networks, run in the reader's browser on forty validation images or on their own picture.

`explorer` makes what a page shows: data, a picture of the first state and a table. The networks are a file beside the page,
which `lay` writes while the book is built and a reader loads by a click. In a running notebook `Look.live` shows the same
JavaScript (``kdnb/book/static``) as a widget, with no file and no click; `of_store` takes networks of the reader's own.
"""

import dataclasses
import functools
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from kdnb import atomic
from kdnb.book import explorers, figures, style
from kdnb.book.explorers import IMAGES, Interactive
from kdnb.errors import IncompleteError, KdnbError
from kdnb.evidence import deletion, overlap, results
from kdnb.evidence.results import Results
from kdnb.images import augment
from kdnb.paths import CHECKOUT
from kdnb.release import export
from kdnb.study.grid import Plan
from kdnb.study.store import Store
from kdnb.training.maps import cam
from kdnb.training.models import Network

FIRST = "cpu-draws"
"""The study whose networks are shown, where it has published them; else those of another."""

STATIC = Path(__file__).parent / "static"
BESIDE = CHECKOUT / "book" / "_static"

LAID = "vendor/look"
"""where the page's code and networks are, below the book's static files"""

ORDERS = {
    "map": "the map's order",
    "occlusion": "occlusion's order",
    "random": "random order",
    "reverse": "the map's reverse",
}
"""the orders of a deletion curve, in words"""


@dataclass(frozen=True)
class Shown:
    """The networks of one seed and the images that they are shown."""

    name: str
    """of the study"""
    seed: int
    networks: Mapping[str, Network]
    cells: Mapping[str, Mapping[str, str]]
    """run → its role, teachers, student, as in the table"""
    images: Tensor
    """uint8 (N, 3, S, S)"""
    labels: Tensor
    """(N,)"""
    index: Tensor
    """their numbers among the validation images, (N,)"""
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @cached_property
    def teachers(self) -> tuple[str, ...]:
        """Weak ones first."""
        found = [run for run in self.networks if self.cells[run]["role"] == "teacher"]
        return tuple(sorted(found, key=lambda run: (self.cells[run]["teachers"] != "weak", run)))

    @cached_property
    def students(self) -> tuple[str, ...]:
        return tuple(run for run in self.networks if self.cells[run]["role"] == "student")

    @cached_property
    def normalised(self) -> Tensor:
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (self.mean, self.std))
        return (self.images / 255 - mean) / std

    @cached_property
    def side(self) -> int:
        return self.images.shape[-1]

    @cached_property
    def deletion(self) -> dict[str, dict[str, Tensor]]:
        """Of each teacher, the mean deletion curve in each of `ORDERS`."""
        return {run: _means(self, run) for run in self.teachers}

    def area(self, run: str, order: str) -> float:
        """Under a teacher's mean deletion curve."""
        return float(deletion.deletion(self.deletion[run][order][None]))


def _wanted(cells: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The four teachers, the eight students of two of them, and the two without teachers."""
    teachers = [run for run, cell in cells.items() if cell["role"] == "teacher" and run[1:2] in ("1", "2")]
    students = [
        run
        for run, cell in cells.items()
        if cell["role"] == "student"
        and cell["objective"] in ("none", "kd")
        and (not cell["teachers"] or re.fullmatch(r"T1[ws]_T2[ws]_S[ws]", run))
    ]
    return [*teachers, *students]


def of_results(found: Results) -> Shown:
    """The networks that a study published.

    Raises:
        IncompleteError: it published none, or none that the page can run.
    """
    about, seen = found.about["dataset"], found.explorer
    networks = {}
    for run in _wanted(found.cells):
        try:
            networks[run] = found.network(run)
        except IncompleteError:
            if not networks:
                raise
    try:
        export.browser(networks)
    except KdnbError as error:
        raise IncompleteError(f"{found.profile.name}: {error}") from None
    few = slice(min(IMAGES, len(seen.images)))
    return Shown(
        found.profile.name,
        seen.seed,
        networks,
        seen.cells,
        seen.images[few],
        seen.labels[few],
        seen.index[few],
        seen.classes,
        tuple(about["mean"]),
        tuple(about["std"]),
    )


def of_store(plan: Plan, store: Store) -> Shown:
    """The networks of one seed of the reader's own store, and the first of its validation images.

    Raises:
        KdnbError: several seeds, or a run that the store lacks.
    """
    data, seed = plan.dataset, plan.study.seeds[0]
    runs = {run.name: run for run in plan.study.of_seed(seed)}
    cells = {name: {**run.columns, "role": run.spec.role} for name, run in runs.items()}
    index = torch.randperm(len(data.validation), generator=torch.Generator().manual_seed(0))[:IMAGES]
    images = data.validation.select(index.numpy())
    return Shown(
        plan.study.profile.name,
        seed,
        export.of_runs(plan, store, _wanted(cells)),
        cells,
        images.pixels(),
        images.labels,
        index,
        tuple(data.classes),
        tuple(data.mean),
        tuple(data.std),
    )


@functools.cache
def published(home: Path | None = None) -> Shown:
    """The networks that the book brings: those of `FIRST`, else of another published study.

    Raises:
        IncompleteError: none is published.
    """
    root = home or results.home()
    folders = sorted(root.glob("*/weights.safetensors"), key=lambda path: (path.parent.name != FIRST, path.parent.name))
    for path in folders:
        try:
            return of_results(results.read(path.parent))
        except IncompleteError:
            continue
    raise IncompleteError("no published study has networks that the page can run; publish one: kdnb publish")


def lay(book: Path) -> None:
    """Writes the page's code, and the networks where any are published, below the book's static files.

    Args:
        book: the folder ``book``.
    """
    folder = book / "_static" / LAID
    shutil.copytree(STATIC, folder, dirs_exist_ok=True)
    with suppress(IncompleteError):
        atomic.write(folder / "networks.safetensors", export.browser(published(book / "results").networks, half=True))


@dataclass(frozen=True)
class Look(Interactive):
    """The explorer of a page, and the same as a live widget."""

    shown: Shown

    def live(self) -> Any:
        """A widget of the page's own JavaScript, for a running notebook; nothing is loaded."""
        import anywidget
        import traitlets

        fields = {
            "_esm": module(),
            "_css": "".join(path.read_text("utf-8") for path in (BESIDE / "explorers.css", STATIC / "look.css")),
            "data": traitlets.Dict().tag(sync=True),
            "networks": traitlets.Bytes().tag(sync=True),
        }
        widget = type("LookWidget", (anywidget.AnyWidget,), fields)
        return widget(data=dict(self.data), networks=export.browser(self.shown.networks, half=True))


def module() -> str:
    """The page's modules as one, as a widget takes it: a widget has no place to import from."""
    names = ("look-network.js", "look-views.js", "look.js")
    own = "\n".join((STATIC / name).read_text("utf-8") for name in names)
    pieces = (BESIDE / "explorers.js").read_text("utf-8")
    return pieces + re.sub(r"^import .*\n", "", own, flags=re.MULTILINE)


def uses(shown: Shown) -> str:
    """What the deletion curves say of the teachers' maps."""
    beaten = sum(shown.area(run, "map") < shown.area(run, "random") for run in shown.teachers)
    asked = sum(shown.area(run, "occlusion") < shown.area(run, "map") for run in shown.teachers)
    count = len(shown.teachers)
    words = (
        f"Erased in the map's order, the answer is lost sooner than in a random order in {beaten} of {count} teachers. "
        f"Occlusion, which asks the network, finds what it uses sooner still in {asked} of {count}."
    )
    kinds: dict[str, list[float]] = {}
    for run in shown.teachers:
        share = shown.area(run, "map") / shown.area(run, "random")
        kinds.setdefault(shown.cells[run]["teachers"], []).append(share)
    if {"weak", "strong"} <= set(kinds):
        weak, strong = (", ".join(f"{share:.2f}" for share in kinds[kind]) for kind in ("weak", "strong"))
        words += (
            f" The area under the map's curve as a share of that under the random one: weak {weak}; strong {strong}."
        )
    return words


def autoaugment(side: int) -> dict[str, Any]:
    """AutoAugment's policies and magnitudes, as `kdnb.images.augment` applies them to images of a side."""
    return {"policies": augment._policies(), "magnitudes": augment._magnitudes(side)}


def explorer(shown: Shown) -> Look:
    """What the page shows of these networks."""
    means = shown.deletion
    data: dict[str, Any] = {
        "module": f"{LAID}/look.js",
        "file": f"{LAID}/networks.safetensors",
        "bytes": len(export.browser(shown.networks, half=True)),
        "study": shown.name,
        "seed": shown.seed,
        "side": shown.side,
        "threshold": overlap.THRESHOLD,
        "classes": [name.replace("_", " ") for name in shown.classes],
        "mean": shown.mean,
        "std": shown.std,
        "images": [explorers._png(image) for image in shown.images],
        "labels": shown.labels.tolist(),
        "index": shown.index.tolist(),
        "recipes": {name: dataclasses.asdict(augment.recipe(name)) for name in ("weak", "strong")},
        "auto": autoaugment(shown.side),
        "teachers": shown.teachers,
        "students": shown.students,
        "colours": {run: style.colour(shown.cells[run]["teachers"]) for run in shown.teachers},
        "patch": deletion.PATCH,
        "steps": deletion.STEPS,
        "orders": ORDERS,
        "deletion": {run: {name: _rounded(curve) for name, curve in of.items()} for run, of in means.items()},
    }
    table = pd.DataFrame(
        {"teacher": run} | {words: shown.area(run, name) for name, words in ORDERS.items()} for run in shown.teachers
    )
    caption = f"Data: area under the deletion curve of each teacher, mean of these {len(shown.images)} images"
    return Look("look", data, _picture(shown), table, caption, lambda: "", dict, shown)


def _means(shown: Shown, run: str) -> dict[str, Tensor]:
    """Of a teacher, the mean deletion curve in each of `ORDERS`."""
    network, images = shown.networks[run], shown.normalised
    with torch.no_grad():
        maps = cam(network, network.features(images), "predicted")
    seen = {"map": maps, "occlusion": deletion.occlusion(network, images)}
    orders = deletion.orders({name: overlap.heatmaps(each, shown.side) for name, each in seen.items()}, shown.seed)
    return {name: deletion.curve(network, images, order).mean(dim=0) for name, order in orders.items()}


def _rounded(curve: Tensor) -> list[float]:
    return [round(value, 3) for value in curve.tolist()]


def _picture(shown: Shown) -> str:
    """Where the first two teachers look in the first image."""
    pair, side = shown.teachers[:2], shown.side
    with torch.no_grad():
        maps = {
            run: {"cam-predicted/clean": cam(net, net.features(shown.normalised[:1]), "predicted")}
            for run, net in ((run, shown.networks[run]) for run in pair)
        }
    cells = {run: dict(shown.cells[run]) for run in pair}
    seen = results.Explorer(
        shown.seed, shown.classes, shown.index[:1], shown.images[:1], shown.labels[:1], maps, {}, cells
    )
    masks = [overlap.masks(maps[run]["cam-predicted/clean"], side) for run in pair]
    said = f"{pair[0]} and {pair[1]} look at parts of image 1 that overlap with an IoU of {overlap.iou(masks):.3f}."
    return f"{figures.to_svg(figures.attention_maps(seen, 0, pair), said)}<p>{said}</p>"
