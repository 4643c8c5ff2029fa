"""Published results: what the book's pages, and nothing else, are made of.

A folder for each profile, written by `kdnb.release.publish` and read here. It is text where text will do, so that a new
seed is a change that a person can review; no data set and no training is needed to read it::

    <results>/<profile>/study.json             the profile's settings, the data set and its hash, the format, the claims
                        verdicts.csv              every estimand over all seeds: interval, p, verdict, scale
                        ro-crate-metadata.json    all of these files, with their SHA-256 and bytes (`kdnb.release.crate`)
                        seed-<n>/measures.csv     the tidy table (`kdnb.evidence.table`)
                                 specifications.csv.gz   overlap of attention, measured in every way
                                 predictions.safetensors.xz   what each network said of each validation image
                                 curves.csv       the training logs
                                 reliability.csv  confidence and accuracy in ten bins
                                 dial.csv         accuracy and affinity against the strength of augmentation
                                 provenance.json  runs and their ids, commit, machine, seconds; SHA-256 of the files above
                        explorer.safetensors   images, maps and logits of one seed, for the explorers
                        weights.safetensors    the networks of that seed, where they are small

Of what the crate lists, all must be there and as long as it was when results are opened; the content of a file is checked
when it is used. What is not whole is an error that names it (`kdnb.errors.DamagedResultsError`), never left out.
"""

import gzip
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from kdnb.errors import DamagedResultsError, IncompleteError
from kdnb.evidence import claims, integrity, judging
from kdnb.evidence.claims import ClaimSet
from kdnb.evidence.effects import Effect
from kdnb.evidence.estimands import Index
from kdnb.evidence.predictions import Predictions, unpack
from kdnb.evidence.table import select
from kdnb.paths import CHECKOUT, is_clone
from kdnb.study.profile import Profile, explain
from kdnb.training import models

FORMAT = 3
"""Of the results: a page may rely on all that this version writes. It grows when measures are added or changed."""

OF_BATCHES = ("agreement", "divergence", "mutual_information", "mutual_information_score")
"""Measures that the released code averages over batches, so that the order of the images matters.

Of seeds whose provenance.json names no ``training_order``, their released form on training images was computed in an order by
class and without the last, smaller batch, where the released code shuffles and keeps it. Logits of training images are not
published, so it cannot be computed again from the files; the table calls these rows ``as-released-sorted``."""

STAND_IN = "smoke"
"""The profile whose results stand in where no study is published; it shows the path and says nothing of the paper."""

BOOK_PROFILE = "cpu"
"""The profile that the pages show, named so that another study changes no page by itself."""

TEXT_COLUMNS = (
    "profile", "run", "role", "teachers", "origin", "student", "objective", "measure", "form", "split", "view", "against",
    "method",
)  # fmt: skip

CELL = ("role", "teachers", "origin", "student", "objective")
"""The columns that say which cell of the grid a run is."""

SPECIFICATIONS = "specifications.csv.gz"
PREDICTIONS = "predictions.safetensors.xz"


@dataclass(frozen=True)
class Explorer:
    """What the explorers show, of one seed and up to 200 validation images, the same for every run."""

    seed: int
    classes: tuple[str, ...]
    index: Tensor
    """which validation images, (M,)"""
    images: Tensor
    """uint8 (M, 3, S, S)"""
    labels: Tensor
    """(M,)"""
    maps: dict[str, dict[str, Tensor]]
    """teacher → ``cam-predicted/clean``, the ``<method>/<view>`` that is kept → float32 (M, h, w)"""
    logits: dict[str, Tensor]
    """run → float32 (M, K), of the clean images"""
    cells: dict[str, dict[str, str]]
    """run → its columns in the table (`CELL`)"""
    directions: dict[str, Tensor] = field(default_factory=dict)
    """``direction n`` → float32 (at most 8, h, w), maps of the first images along random directions, where the package has the
    teachers' origin: see `kdnb.ruler.directions`"""


@dataclass(frozen=True)
class Results:
    """The results of a study, for all or some of its published seeds."""

    folder: Path
    profile: Profile
    about: dict[str, Any]
    """``kdnb`` (version), ``dataset`` (name, hash, train, validation, classes, side, mean, std), and ``seeds``: what
    provenance.json says of each"""
    seeds: tuple[int, ...]

    @property
    def is_stand_in(self) -> bool:
        """Whether these are not evidence but show the path."""
        return self.profile.name == STAND_IN

    @property
    def settings(self) -> dict[str, Any]:
        """What makes the study this one (`settings`)."""
        return settings(self.profile, self.about["dataset"]["hash"], self.about["recipes"])

    @property
    def claim_set(self) -> ClaimSet:
        """the declared claims that these results are judged by; K where they were published with a set that is gone"""
        return claims.SETS.get(self.about["claims"], claims.SETS["K"]).asked_of(self.profile.name)

    @property
    def scale(self) -> str:
        """what every verdict carries: how far these results are from the paper's setting"""
        if self.is_stand_in:
            return "stand-in: tiny networks on scanned digits"
        data = self.about["dataset"]
        each = data["train"] / len(data["classes"])
        return f"reduced scale: {each:.0f} images a class{'' if each.is_integer() else ' on average'}, small networks"

    @property
    def exploratory(self) -> bool:
        """Whether these seeds were seen before the claims K were declared."""
        return self.profile.name in claims.SETS["K"].seen_before

    def judged_by(self, name: str) -> "Results":
        """The same results, judged by another declared set of claims."""
        return replace(self, about=self.about | {"claims": name})

    def _content(self, seed: int, name: str) -> bytes:
        """A file of a seed, checked.

        Raises:
            IncompleteError: the seed was published without.
            DamagedResultsError: it is missing, or not the file that was published.
        """
        path, files = self.folder / f"seed-{seed}" / name, self.about["seeds"][seed]["files"]
        if name not in files:
            raise IncompleteError(f"seed {seed} of {self.profile.name} was published without {name}; publish it again")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DamagedResultsError(f"{path} cannot be read ({error.strerror}); {integrity.AGAIN}") from None
        if hashlib.sha256(content).hexdigest() != files[name]:
            raise DamagedResultsError(f"{path} is not the file that was published: its hash differs; {integrity.AGAIN}")
        return content

    def _tensors(self, name: str, without: str) -> dict[str, Tensor]:
        """A file of the study, checked.

        Args:
            without: what to say where there is none.
        """
        path = self.folder / name
        if not path.is_file():
            raise IncompleteError(without)
        content = path.read_bytes()
        integrity.require_published(self.folder, name, content)
        try:
            tensors: dict[str, Tensor] = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise DamagedResultsError(f"{path} cannot be read ({error}); {integrity.AGAIN}") from None
        return tensors

    def _read(self, name: str) -> pd.DataFrame:
        text = dict.fromkeys(TEXT_COLUMNS, str)
        tables = []
        for seed in self.seeds:
            content = self._content(seed, name)
            content = gzip.decompress(content) if name.endswith(".gz") else content
            tables.append(pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, na_values=["nan"]))
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The tidy table; columns `kdnb.evidence.table.COLUMNS`. What earlier seeds have in another form is named so
        (`OF_BATCHES`)."""
        table = self._read("measures.csv")
        earlier = [seed for seed in self.seeds if not self.about["seeds"][seed]["training_order"]]
        other = (table["form"] == "as-released") & (table["split"] == "train") & table["measure"].isin(OF_BATCHES)
        return table.assign(form=table["form"].mask(other & table["seed"].isin(earlier), "as-released-sorted"))

    @cached_property
    def cells(self) -> dict[str, dict[str, str]]:
        """run or ensemble → its columns `CELL`"""
        rows = self.table[["run", *CELL]].drop_duplicates("run")
        return {str(row.pop("run")): row for row in rows.to_dict("records")}  # type: ignore[misc]

    def _with_cells(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.merge(self.table[["run", *CELL]].drop_duplicates("run"), on="run", how="left")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The training logs, as `kdnb.evidence.table.curves` gives them, and `CELL`."""
        return self._with_cells(self._read("curves.csv"))

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """profile, seed, run, view, bin (1 to 10), count, confidence, accuracy; as `kdnb.evidence.measures.reliability`;
        and `CELL`."""
        return self._with_cells(self._read("reliability.csv"))

    @cached_property
    def dial(self) -> pd.DataFrame:
        """profile, seed, run, strength (0 to 1), accuracy, affinity (accuracy − that on clean images), and `CELL`."""
        return self._with_cells(self._read("dial.csv"))

    @cached_property
    def specifications(self) -> pd.DataFrame:
        """As `kdnb.ruler.specifications`.

        Raises:
            IncompleteError: the seed was published without.
        """
        return self._read(SPECIFICATIONS)

    def predictions(self, seed: int) -> Predictions:
        """What every network and ensemble of a seed said of each validation image; unpacked once.

        Raises:
            IncompleteError: the seed is not among these, or was published without.
        """
        if seed not in self.seeds:
            raise IncompleteError(f"seed {seed} is not among these results; choose from {list(self.seeds)}")
        if seed not in self._unpacked:
            self._unpacked[seed] = unpack(self._content(seed, PREDICTIONS), f"seed-{seed}/{PREDICTIONS}")
        return self._unpacked[seed]

    @cached_property
    def _unpacked(self) -> dict[int, Predictions]:
        return {}

    @cached_property
    def effects(self) -> pd.DataFrame:
        """`kdnb.evidence.judging.effects` of the table, for `claim_set`."""
        return judging.effects(self.table, self.claim_set)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """`kdnb.evidence.judging.verdicts` of the effects, and ``scale``."""
        return judging.verdicts(self.effects, self.claim_set).assign(scale=self.scale)

    def effect(self, key: str) -> Effect:
        """The effect of the estimand of that key in each seed, as ``K4`` or ``K4.chance``; without values where these results
        lack what it needs.

        Raises:
            KeyError: no declared claim has such an estimand.
        """
        _, estimand = claims.find(key)
        each = (estimand.in_seed(self._index, seed) for seed in self.seeds)
        return Effect(key, estimand.what, tuple(value for value in each if value is not None), estimand.predicted or 0)

    def answers(self, run: str, view: str = "clean", split: str = "validation") -> NDArray[np.int64]:
        """The class that a run or ensemble predicts of each image, (seeds, images), as `Predictions.answers`."""
        return np.stack([self.predictions(seed).answers(run, view, split).numpy() for seed in self.seeds])

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """the true classes of the validation images, (images,)"""
        return self.predictions(self.seeds[0]).labels.numpy()

    def probability(self, run: str, view: str = "clean") -> NDArray[np.float64]:
        """The probability that a run or ensemble gives the true class of each validation image, (seeds, images), as
        `Predictions.probability`."""
        return np.stack([self.predictions(seed).probability(run, view).numpy() for seed in self.seeds])

    def overlap(self, ensemble: str, split: str = "validation", view: str = "clean") -> NDArray[np.float64]:
        """The IoU of the masks of an ensemble's teachers on each image of the fixed sample, (seeds, images): maps of the
        predicted class, threshold 0.4.

        Raises:
            IncompleteError: no such ensemble, view or split.
        """
        return np.stack([self.predictions(seed).overlap(ensemble, split, view).numpy() for seed in self.seeds])

    def measured(self, run: str, measure: str, **columns: str) -> NDArray[np.float64]:
        """A measure of a run or ensemble in the table, (seeds,); on clean validation images in its textbook form, unless
        `columns` say otherwise.

        Raises:
            IncompleteError: the table has not one such row for each seed.
        """
        asked = {"form": "textbook", "split": "validation", "view": "clean", "against": "", "method": ""} | columns
        rows = select(self.table, run=run, measure=measure, **asked)
        if rows["seed"].tolist() != list(self.seeds):
            raise IncompleteError(
                f"the table has {len(rows)} rows of {measure} of {run} ({asked}), not one for each seed"
            )
        return rows["value"].to_numpy()

    @cached_property
    def _index(self) -> Index:
        return Index(self.table)

    @cached_property
    def explorer(self) -> Explorer:
        """Images, maps and logits.

        Raises:
            IncompleteError: they were published without.
            DamagedResultsError: the file is not the one that was published.
        """
        name = "explorer.safetensors"
        tensors = self._tensors(name, f"{self.folder / name} is missing; kdnb publish writes it")
        maps: dict[str, dict[str, Tensor]] = {}
        for name in sorted(tensors):
            if name.startswith("maps/"):
                _, run, kind = name.split("/", 2)
                maps.setdefault(run, {})[kind] = tensors[name].float()
        logits = {name.split("/")[1]: tensors[name].float() for name in sorted(tensors) if name.startswith("logits/")}
        along = sorted(
            (name for name in tensors if name.startswith("direction ")), key=lambda name: int(name.split()[1])
        )
        directions = {name: tensors[name].float() for name in along}
        seed = int(tensors["seed"])
        classes = tuple(self.about["dataset"]["classes"])
        shown = tensors["index"], tensors["images"], tensors["labels"]
        return Explorer(seed, classes, *shown, maps, logits, self.cells, directions)

    def network(self, run: str) -> models.Network:
        """A published network, of the explorer's seed, on the CPU in eval mode. It takes images (N, 3, side, side) as
        (image / 255 − mean) / std, with mean and std of the data set in `about`, and the profile's side or else the data set's.

        Raises:
            IncompleteError: no networks were published, or not this one.
            DamagedResultsError: the file is not the one that was published.
        """
        weights = self._tensors(
            "weights.safetensors",
            f"no networks in {self.folder}: they were larger than 5 MB or left out (--no-weights); train them: kdnb run",
        )
        own = {name.split("/", 1)[1]: tensor for name, tensor in weights.items() if name.startswith(f"{run}/")}
        if not own:
            known = ", ".join(sorted({name.split("/")[0] for name in weights}))
            raise IncompleteError(f"no network {run!r} in {self.folder}; choose from {known}")
        made = self.about["seeds"][min(self.about["seeds"])]["runs"][run]
        role = self.profile.student if made["role"] == "student" else self.profile.teacher
        side = self.profile.side or self.about["dataset"]["side"]
        network = models.build(role.model, len(self.about["dataset"]["classes"]), side, seed=0)
        network.load_state_dict(own)  # in float32, also what was kept in half precision
        return network.eval()


def read(folder: str | Path, seeds: Sequence[int] | None = None) -> Results:
    """The results in a folder, of the given or all published seeds.

    Raises:
        IncompleteError: no results there, not results of this version, or a seed that was not published.
        DamagedResultsError: they are not whole: something is missing, cut short, or not what was published.
    """
    folder = Path(folder)
    profile, about = describe(folder)
    there = integrity.seeds(folder)
    for seed in seeds or there:
        _require_own(folder / f"seed-{seed}", seed)
    integrity.require_whole(folder, seeds or None)
    if not there:
        raise IncompleteError(f"no seed is published in {folder}")
    missing = [seed for seed in seeds or () if seed not in there]
    if missing:
        raise IncompleteError(f"seed {missing[0]} is not among the results in {folder}; choose from {list(there)}")
    chosen = tuple(dict.fromkeys(seeds or there))
    about["seeds"] = {seed: _provenance(folder / f"seed-{seed}" / "provenance.json") for seed in chosen}
    return Results(folder, profile, about, chosen)


def _require_own(folder: Path, seed: int) -> None:
    """Raises:
    DamagedResultsError: the folder's table is another seed's, by its first row."""
    try:
        row = pd.read_csv(folder / "measures.csv", nrows=1, usecols=["seed"])["seed"].tolist()
    except (OSError, ValueError):
        return  # what else is wrong with it is said where it is read
    if row and row[0] != seed:
        raise DamagedResultsError(f"{folder} holds the results of seed {row[0]}; {integrity.AGAIN}")


def _provenance(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        integrity.require_published(path.parents[1], f"{path.parent.name}/{path.name}", content)
        made: dict[str, Any] = json.loads(content)
        order = {"training_order": str(made.get("training_order", ""))}
        runs, environments, files = dict(made["runs"]), list(made["environments"]), dict(made["files"])
        return {"runs": runs, "environments": environments, "files": files} | order
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedResultsError(f"{path} cannot be read ({error!r}); {integrity.AGAIN}") from None


def describe(folder: Path) -> tuple[Profile, dict[str, Any]]:
    """The settings of the results in a folder, and what else study.json says; of any format.

    Raises:
        IncompleteError: no results there, or not those of a profile of this version.
        DamagedResultsError: the file is not the one that was published.
    """
    path = folder / "study.json"
    try:
        content = path.read_bytes()
        about = {"format": 1, "claims": "K", "recipes": {}} | json.loads(content)
        if about["format"] != FORMAT:
            raise IncompleteError(
                f"the results in {folder} are of format {about['format']}, and this version reads {FORMAT}, which has other "
                "measures; publish their seeds again from the store (kdnb publish)"
            )
        integrity.require_published(folder, path.name, content)
        return Profile.model_validate(about.pop("profile")), about
    except FileNotFoundError:
        if (folder / integrity.NAME).is_file():
            raise DamagedResultsError(f"{path} is missing; {integrity.AGAIN}") from None
        raise IncompleteError(f"no results in {folder}: it has no study.json; kdnb publish writes one") from None
    except ValidationError as error:
        raise IncompleteError(f"{path} is not of this version: {explain(error)}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedResultsError(f"{path} cannot be read ({error!r}); {integrity.AGAIN}") from None


def settings(profile: Profile, dataset_hash: str, recipes: Mapping[str, str]) -> dict[str, Any]:
    """What makes a study this one and no other, by dotted name: its profile but for name, description and seeds, the images,
    and the identities of its augmentations, objectives and measures of one's own."""
    flat = dict(_flat(profile.model_dump(mode="json", exclude={"name", "about", "seeds", "recipes", "readings"})))
    flat |= {f"recipes.{name}": identity for name, identity in recipes.items()}
    for name, images in (("dataset", profile.dataset), ("teacher_dataset", profile.teacher_dataset)):
        if images is not None:  # paths are one machine's; the hash says what lies there
            flat |= {f"{name}.{key}": value for key, value in images.without_paths().model_dump(mode="json").items()}
    # where images are while a network is trained changes no result
    flat = {name: value for name, value in flat.items() if not name.endswith("dataset.streamed")}
    return flat | {"dataset.hash": dataset_hash}


def _flat(tree: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{under}{name}.")
        else:
            yield f"{under}{name}", value


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted name → (ours, theirs), of every setting in which two studies differ; None where one lacks it."""
    pairs = {name: (ours.get(name), theirs.get(name)) for name in [*ours, *theirs]}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def home() -> Path:
    """Where the book's results are in a clone: ``book/results``, beside the package.

    Raises:
        IncompleteError: the package is installed, and has none.
    """
    if not is_clone():
        raise IncompleteError(
            "the published results come with the repository and not with an installed package; clone it (git clone), and call "
            "kdnb from there, or name their folder"
        )
    return CHECKOUT / "book" / "results"


def published(root: str | Path | None = None, like: str = "") -> Path:
    """The folder of the results that the book shows: `BOOK_PROFILE`, else another published study's, else the stand-in's.

    Args:
        root: a folder of such folders, or one of them; None is `home`.
        like: a profile whose own results go before those, if there are any.

    Raises:
        IncompleteError: there are none.
    """
    root = Path(root) if root else home()
    if _is_published(root):
        return root
    found = [path for path in sorted(root.glob("[!.]*")) if _is_published(path)]
    found.sort(key=lambda folder: (folder.name != like, folder.name != BOOK_PROFILE, folder.name == STAND_IN))
    if not found:
        raise IncompleteError(f"no published results in {root}; name their folder")
    return found[0]


def _is_published(folder: Path) -> bool:
    """Whether it is a folder of results, be they whole or not."""
    return any((folder / name).is_file() for name in ("study.json", integrity.NAME))
