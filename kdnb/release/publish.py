"""From the store to results that can be committed: small, mostly text, and made again by anyone (see `kdnb.evidence.results`).

Nothing is measured here that the table does not have, and no network of the study is run.
"""

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch
from torch import Tensor

from kdnb import __version__, atomic, environment
from kdnb.errors import DamagedResultsError, IncompleteError, StoreError, in_one_line
from kdnb.evidence import claims, integrity, measures, predictions, results, table
from kdnb.images.datasets import Dataset
from kdnb.images.repeats import repeats
from kdnb.release import crate
from kdnb.ruler import directions, specifications
from kdnb.study import cell
from kdnb.study.grid import Run, Study
from kdnb.study.profile import Profile, WeightsFile
from kdnb.study.store import Entry, Store
from kdnb.study.weights import packaged
from kdnb.training.inference import sample
from kdnb.training.observe import DIAL, VIEWS

EXPLORED = 200
"""validation images in the explorers"""

WEIGHTS_LIMIT = 5_000_000
"""bytes; more than that is kept in half precision, then without students of other objectives than ``kd``, then not at all"""


def publish(
    study: Study,
    store: Store,
    dataset: Dataset,
    folder: str | Path,
    *,
    strict: bool = True,
    weights: bool = True,
) -> results.Results:
    """Writes the results of a study's seeds into a folder, beside seeds that are there already.

    Args:
        strict: refuse what was made with code that no commit has.
        weights: keep the networks of the first seed, too.

    The files that the profile names under recipes are copied beside them, so that others can make the results again.

    Raises:
        IncompleteError: the store lacks a run or has it damaged; uncommitted code; the folder has results of other
            settings; two files of recipes have one name. Nothing is written then.
        DamagedResultsError: seeds that are there already, and would stay, are not whole. Nothing is written then.
        StoreError: the folder cannot be written, or an entry is damaged.
    """
    folder = Path(folder)
    require_same_study(results.settings(study.profile, dataset.hash, registered(study.profile)), study.seeds, folder)
    recipes = _recipes(study.profile)
    made: dict[int, dict[str, bytes]] = {}
    first = min({*study.seeds, *integrity.seeds(folder)})
    _require_rest_unchanged(folder, study.seeds, first)
    explorer: bytes | None = None
    networks: bytes | None = None
    for seed in study.seeds:
        entries = table.of_seed(study, store, seed)
        runs = list(study.of_seed(seed))
        if strict:
            _require_committed(runs, entries)
        made[seed] = _seed(study, seed, entries)
        if seed == first:
            explorer = safetensors.torch.save(_explorer(study, runs, entries, dataset))
            networks = _weights(runs, entries) if weights else None
    earlier, about = _earlier_crate(folder), as_json(describe(study, store, dataset))
    # All is at hand before anything is written, so that what is there is old or new as a whole for all but a moment.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / integrity.NAME).unlink(missing_ok=True)  # it proves the old files; the new one comes last
        if explorer is not None:
            atomic.write(folder / "explorer.safetensors", explorer)
            if networks is not None:
                atomic.write(folder / "weights.safetensors", networks)
            else:
                (folder / "weights.safetensors").unlink(missing_ok=True)  # they would be those of other results
        for seed, files in made.items():
            atomic.write_folder(folder / f"seed-{seed}", files, replace=True)
        if recipes:
            atomic.write_folder(folder / crate.RECIPES, recipes, replace=True)
        else:
            shutil.rmtree(folder / crate.RECIPES, ignore_errors=True)
        atomic.write(folder / "study.json", about)
        summarise(folder, earlier)
    except OSError as error:
        raise StoreError(f"cannot write the results into {folder}: {error}") from None
    return results.read(folder, study.seeds)


def _require_rest_unchanged(folder: Path, seeds: Sequence[int], first: int) -> None:
    """What is not written anew stays as it is, and the new crate would prove it: checked against the old one before.

    Args:
        first: the seed that the explorers show from now on.

    Raises:
        DamagedResultsError: some of it is missing or is not what was published.
    """
    stay = set(integrity.seeds(folder)) - set(seeds)
    if stay:
        results.read(folder, sorted(stay))
    elif _earlier_crate(folder) is None:
        return
    anew = {f"seed-{seed}" for seed in seeds} | {"study.json", "verdicts.csv", crate.RECIPES}
    integrity.require_unchanged(
        folder, anew | {"explorer.safetensors", "weights.safetensors"} if first in seeds else anew
    )


def _earlier_crate(folder: Path) -> dict[str, Any] | None:
    try:
        return integrity.read(folder) if atomic.readable(folder / integrity.NAME) else None
    except OSError as error:
        raise StoreError(f"{in_one_line(error)}; what cannot be read is not replaced") from None
    except DamagedResultsError:
        return None  # and replaced


def summarise(folder: Path, earlier: Mapping[str, Any] | None = None) -> None:
    """Writes what the files of all seeds together say: verdicts.csv, and the crate that lists and proves the files.

    Args:
        earlier: the crate of the results that these replace.

    Raises:
        IncompleteError: the folder has no results.
        DamagedResultsError: they are not whole.
        OSError: it cannot be written.
    """
    atomic.write(folder / "verdicts.csv", verdicts_csv(folder))
    atomic.write(folder / integrity.NAME, crate.describe(folder, earlier))


def verdicts_csv(folder: Path) -> bytes:
    """The verdicts of the published seeds, as the folder has them."""
    return _csv(results.read(folder).verdicts.drop(columns="key"))


def _seed(study: Study, seed: int, entries: Mapping[str, Entry]) -> dict[str, bytes]:
    """The files of a seed, by name."""
    about = {"profile": study.profile.name, "seed": seed}
    rows = [table.BLANK | about | row for row in table.measured(study, seed, entries)]
    measured = pd.DataFrame(rows, columns=list(table.COLUMNS))
    runs = study.of_seed(seed)
    files = {
        "measures.csv": _csv(measured),
        "curves.csv": _csv(table.curves_of(study, seed, entries)),
        "reliability.csv": _csv(pd.DataFrame(about | row for row in _reliability(runs, entries))),
        "dial.csv": _csv(pd.DataFrame(about | row for row in _dial(runs, entries))),
        results.SPECIFICATIONS: gzip.compress(
            _csv(specifications.specifications(study, seed, entries)), compresslevel=9, mtime=0
        ),
        results.PREDICTIONS: predictions.pack(study, seed, entries),
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return files | {"provenance.json": as_json(provenance(runs, entries) | {"files": hashes})}


def describe(study: Study, store: Store, dataset: Dataset) -> dict[str, Any]:
    """What study.json says."""
    origins = {}
    for run in study.origins:
        folder = packaged(run.spec.id)
        if folder is None and not store.has(run.spec.id):
            continue  # no teacher of these seeds starts from it
        entry = store.entry(run.spec.id) if store.has(run.spec.id) or folder is None else Entry(folder)
        origins[run.columns["origin"]] = {"id": run.spec.id, "log": entry.log, "environment": entry.environment}
    return {
        "format": results.FORMAT,
        "kdnb": __version__,
        "claims": claims.of_profile(study.profile.name).name,
        "profile": _without_paths(study.profile, dataset).model_dump(mode="json"),
        "recipes": registered(study.profile),
        "origins": origins,
        "dataset": _of(dataset, study.profile) | {"repeats": str(repeats(dataset))},
    }


def _of(dataset: Dataset, profile: Profile) -> dict[str, Any]:
    """What study.json says of the images; of those with a draw for each seed, how many a seed trains on, and the hash of all
    draws."""
    cut, share = profile.dataset, 1.0
    if cut.draws is not None and cut.draw is None:
        share = cut.together / cut.draws
    return {
        "name": dataset.name,
        "hash": dataset.hash,
        "train": round(len(dataset.train) * share),
        "validation": len(dataset.validation),
        "classes": list(dataset.classes),
        "side": dataset.side,
        "mean": list(dataset.mean),
        "std": list(dataset.std),
    }


def registered(profile: Profile) -> dict[str, str]:
    """name → identity, of all of a user's own that results depend on: augmentations, kinds of objectives (``objective:KIND``)
    and measures (``measure:NAME``)."""
    own = {f"measure:{name}": each.identity for name, each in sorted(measures.registered().items())}
    return profile.own_recipes | own


def _without_paths(profile: Profile, dataset: Dataset) -> Profile:
    """Results are for others, whose images, lists, weights and recipes lie elsewhere."""
    origins = {
        name: origin.model_copy(update={"path": Path(origin.path).name}) if isinstance(origin, WeightsFile) else origin
        for name, origin in profile.origins.items()
    }
    theirs = profile.teacher_dataset
    return profile.model_copy(
        update={
            "teacher_dataset": theirs and theirs.without_paths(),
            "readings": {},  # the one that was chosen is what the settings are
            "dataset": profile.dataset.without_paths().model_copy(update={"name": _called(profile, dataset)}),
            "origins": origins,
            "recipes": tuple(Path(path).name for path in profile.recipes),
        }
    )


def _called(profile: Profile, dataset: Dataset) -> str:
    """The data set's name without a path, which the profile's may have."""
    return dataset.name if profile.dataset.kind != profile.dataset.name else profile.dataset.name


def _recipes(profile: Profile) -> dict[str, bytes]:
    """name → content of the files that register what is a user's own.

    Raises:
        IncompleteError: two have one name, or one cannot be read.
    """
    files: dict[str, bytes] = {}
    for path in map(Path, profile.recipes):
        if path.name in files:
            raise IncompleteError(f"two files of recipes are called {path.name}, and results keep both; rename one")
        try:
            files[path.name] = path.read_bytes()
        except OSError as error:
            raise IncompleteError(
                f"the file of recipes {path} cannot be read ({error.strerror}); put it back"
            ) from None
    return files


def _require_committed(runs: Sequence[Run], entries: Mapping[str, Entry]) -> None:
    for run in runs:
        reason = environment.why_unnamed(entries[run.spec.id].environment)
        if reason:
            raise IncompleteError(
                f"{run.name} of seed {run.seed} was made with code that no commit has, so nobody could make it again: "
                f"{reason}; then train it in a fresh store, or publish it elsewhere as it is (--uncommitted)"
            )


def require_same_study(settings: dict[str, Any], seeds: Sequence[int], folder: Path) -> None:
    """Whether results of these seeds may go into the folder.

    Args:
        settings: as `results.settings` gives them.

    Raises:
        IncompleteError: it has results of other settings, or others that would be left in another format or half written.
        DamagedResultsError: it has a folder that is no seed's by its exact name.
    """
    there = integrity.seeds(folder)
    if not there:
        return
    together = f"--seeds {','.join(map(str, sorted({*there, *seeds})))}"
    if not (folder / "study.json").is_file():
        if set(there) <= set(seeds):
            return  # a first call was stopped between its seeds, and is made again
        raise IncompleteError(
            f"{folder} has seeds {', '.join(map(str, there))} of a kdnb publish that was stopped, and no study.json that says "
            f"what they are; publish all of them together ({together}), or name another folder"
        )
    try:
        profile, about = results.describe(folder)
    except (IncompleteError, DamagedResultsError) as error:
        if set(there) <= set(seeds):
            return  # of another version or damaged, all of which are made again
        raise IncompleteError(f"{error}; publish all of their seeds together: {together}") from None
    changed = results.differing(settings, results.settings(profile, about["dataset"]["hash"], about["recipes"]))
    if changed:
        name, (ours, theirs) = next(iter(changed.items()))
        raise IncompleteError(
            f"the results in {folder} are of another study: {name} is {theirs!r} there and {ours!r} here; name another "
            "folder"
        )


def provenance(runs: Sequence[Run], entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Which runs, by what, and how long they took (lockstep students' seconds are shared out among them)."""
    environments: list[dict[str, Any]] = []
    listed = {}
    for run in runs:
        entry = entries[run.spec.id]
        if entry.environment not in environments:
            environments.append(entry.environment)
        seconds = sum(epoch["seconds"] for epoch in entry.log)
        place = environments.index(entry.environment)
        listed[run.name] = {
            "id": run.spec.id,
            "role": run.spec.role,
            "environment": place,
            "seconds": round(seconds, 1),
        }
    return {"runs": listed, "environments": environments, "training_order": "random"}


def _reliability(runs: Sequence[Run], entries: Mapping[str, Entry]) -> Iterator[dict[str, Any]]:
    for run in runs:
        answers = entries[run.spec.id].predictions
        for view in VIEWS:
            bins = measures.reliability(answers[f"validation/{view}"], answers["validation/labels"])
            for number, (count, confidence, accuracy) in enumerate(zip(*bins, strict=True), start=1):
                yield {
                    "run": run.name,
                    "view": view,
                    "bin": number,
                    "count": int(count),
                    "confidence": float(confidence),
                    "accuracy": float(accuracy),
                }


def _dial(runs: Sequence[Run], entries: Mapping[str, Entry]) -> Iterator[dict[str, Any]]:
    """Accuracy on a fixed sample of validation images as the dial of augmentation turns, of the teachers and the reference."""
    for run in runs:
        answers = entries[run.spec.id].predictions
        if "dial/predicted" not in answers:
            continue
        labels = answers["validation/labels"][answers["dial/index"]]
        accuracies = [float((classes == labels).double().mean()) for classes in answers["dial/predicted"]]
        for strength, accuracy in zip(DIAL, accuracies, strict=True):
            affinity = measures.affinity(accuracy, accuracies[0])
            yield {"run": run.name, "strength": strength, "accuracy": accuracy, "affinity": affinity}


def _explorer(study: Study, runs: Sequence[Run], entries: Mapping[str, Entry], dataset: Dataset) -> dict[str, Tensor]:
    any_entry = entries[runs[0].spec.id]
    mapped = any_entry.attention["validation/index"]
    index = mapped[sample(len(mapped), EXPLORED)]
    # Data sets may be sorted by class; who takes the first few of these should not get one class.
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))]
    rows = torch.searchsorted(mapped, index)
    shown = dataset.validation.select(index.numpy())
    tensors = {
        "seed": torch.tensor(runs[0].seed),
        "index": index,
        "images": shown.pixels().contiguous(),
        "labels": shown.labels.contiguous(),
    }
    for run in runs:
        entry = entries[run.spec.id]
        if run.spec.role == "teacher":
            maps = entry.attention["validation/cam-predicted/clean"][rows]
            tensors[f"maps/{run.name}/cam-predicted/clean"] = maps.half().contiguous()
        tensors[f"logits/{run.name}"] = entry.predictions["validation/clean"][index].half().contiguous()
    read = directions.maps(tensors["images"], _of(dataset, study.profile), study.profile.teacher.model)
    return tensors | {name: along.half().contiguous() for name, along in read.items()}


def _weights(runs: Sequence[Run], entries: Mapping[str, Entry]) -> bytes | None:
    plain = [run for run in runs if run.columns["objective"] in ("", cell.NONE, cell.PLAIN)]
    for kept, half in ((runs, False), (runs, True), (plain, True)):
        tensors = {
            f"{run.name}/{name}": (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
            for run in kept
            for name, tensor in entries[run.spec.id].weights.items()
        }
        content = safetensors.torch.save(tensors)
        if len(content) <= WEIGHTS_LIMIT:
            return content
    return None


def _csv(rows: pd.DataFrame) -> bytes:
    return str(rows.to_csv(index=False, lineterminator="\n", float_format="%.7g", na_rep="nan")).encode()


def as_json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
