"""From the store to records that can be committed: small, mostly text, and made again by anyone (see `kdnb.evidence.results`)."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch
from torch import Tensor

from kdnb import __version__, environment
from kdnb.evidence import measures, results, table
from kdnb.training import observe as record
from kdnb.images.datasets import Dataset
from kdnb.errors import IncompleteError, StoreError
from kdnb.study.execute import load_network
from kdnb.study.store import Entry, Store
from kdnb.study.grid import Profile, Run, Study
from kdnb.training.train import Normaliser, logits, sample

EXPLORED = 200
"""validation images in the explorers"""

WEIGHTS_LIMIT = 10_000_000
"""bytes; larger networks are kept in half precision, and still larger ones not at all"""

DIAL_STEPS = 10
DIAL_IMAGES = 2000


def publish(
    study: Study,
    store: Store,
    dataset: Dataset,
    folder: str | Path,
    *,
    strict: bool = True,
    weights: bool = True,
    device: str = "auto",
) -> results.Results:
    """Writes the records of a study's seeds into a folder, beside seeds that are there already.

    Args:
        strict: refuse what was made with code that no commit has.
        weights: keep the networks of the first seed, too.

    Raises:
        IncompleteError: the store lacks a run or has it damaged; uncommitted code; the folder has records of other
            settings. Nothing is written then.
        StoreError: the folder cannot be written.
    """
    folder = Path(folder)
    entries = _entries(study, store, strict)
    about = {
        "format": results.FORMAT,
        "kdnb": __version__,
        "profile": _without_paths(study.profile, dataset).model_dump(mode="json"),
        "dataset": {
            "name": dataset.name,
            "hash": dataset.hash,
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "classes": list(dataset.classes),
            "side": dataset.side,
            "mean": list(dataset.mean),
            "std": list(dataset.std),
        },
    }
    seeds = list(dict.fromkeys(run.seed for run in study.runs))
    require_same_study(results.settings(study.profile, dataset.hash), seeds, folder)
    rows, curves = table.table(study, store), table.curves(study, store)
    chosen = environment.choose_device(device)
    texts = {}
    for seed in seeds:
        runs = [run for run in study.runs if run.seed == seed]
        texts[seed] = {
            "measures.csv": _csv(rows[rows["seed"] == seed]),
            "curves.csv": _csv(curves[curves["seed"] == seed]),
            "reliability.csv": _csv(pd.DataFrame(_reliability(study.profile.name, runs, entries))),
            "dial.csv": _csv(pd.DataFrame(_dial(study.profile, runs, store, dataset, chosen))),
            "about.json": _json(_made(runs, entries)),
        }
    first = min({*seeds, *results.published_seeds(folder)})
    explored = [run for run in study.runs if run.seed == first]
    if explored:
        explorer = safetensors.torch.save(_explorer(explored, entries, dataset))
        networks = _weights(explored, entries) if weights else None
    # All is at hand before anything is written, so that what is there is old or new as a whole for all but a moment.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if explored:
            _write(folder / "explorer.safetensors", explorer)
            if networks is not None:
                _write(folder / "weights.safetensors", networks)
            else:
                (folder / "weights.safetensors").unlink(missing_ok=True)  # they would be those of other records
        for seed in seeds:
            _replace(folder / f"seed-{seed}", texts[seed])
        _write(folder / "study.json", _json(about).encode())
    except OSError as error:
        raise StoreError(f"cannot write the records into {folder}: {error}") from None
    return results.read(folder, seeds)


def _without_paths(profile: Profile, dataset: Dataset) -> Profile:
    """Records are for others, whose images and lists lie elsewhere."""
    listed = profile.dataset.train_list
    names = {"name": dataset.name, "train_list": listed and Path(listed).name}
    return profile.model_copy(update={"dataset": profile.dataset.model_copy(update=names)})


def _entries(study: Study, store: Store, strict: bool) -> dict[str, Entry]:
    missing = [run for run in study.runs if not store.holds(run.spec.id)]
    if missing:
        raise IncompleteError(
            f"{len(missing)} of {len(study.runs)} runs are not in {store.root}, the first {missing[0].name} of seed "
            f"{missing[0].seed}; train them with kdnb run, then publish"
        )
    entries = {run.spec.id: store.entry(run.spec.id) for run in study.runs}
    for run in study.runs if strict else ():
        made = entries[run.spec.id].environment
        if not made.get("commit") or made.get("uncommitted_changes"):
            raise IncompleteError(
                f"{run.name} of seed {run.seed} was made with code that no commit has, so nobody could make it again; "
                "commit, and train it in a fresh store"
            )
    return entries


def require_same_study(settings: dict[str, Any], seeds: Sequence[int], folder: Path) -> None:
    """Whether records of these seeds may go into the folder.

    Args:
        settings: as `results.settings` gives them.

    Raises:
        IncompleteError: it has records of other settings, or others that would be left in another format or half written.
    """
    there = results.published_seeds(folder)
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
    profile, about = results.describe(folder)
    changed = results.differing(settings, results.settings(profile, about["dataset"]["hash"]))
    if changed:
        name, (ours, theirs) = next(iter(changed.items()))
        raise IncompleteError(
            f"the records in {folder} are of another study: {name} is {theirs!r} there and {ours!r} here; name another "
            "folder"
        )
    if about["format"] != results.FORMAT and not set(there) <= set(seeds):
        raise IncompleteError(
            f"the records in {folder} are of format {about['format']}, this version writes {results.FORMAT}; publish all "
            f"of their seeds together: {together}"
        )


def _made(runs: list[Run], entries: dict[str, Entry]) -> dict[str, Any]:
    """Which runs, by what, and how long they took (lockstep students' seconds are shared out among them)."""
    environments: list[dict[str, Any]] = []
    listed = {}
    for run in runs:
        entry = entries[run.spec.id]
        if entry.environment not in environments:
            environments.append(entry.environment)
        seconds = sum(epoch["seconds"] for epoch in entry.log)
        place = environments.index(entry.environment)
        listed[run.name] = {"id": run.spec.id, "environment": place, "seconds": round(seconds, 1)}
    return {"runs": listed, "environments": environments}


def _reliability(profile: str, runs: list[Run], entries: dict[str, Entry]) -> Iterator[dict[str, Any]]:
    for run in runs:
        answers = entries[run.spec.id].predictions
        for view in record.VIEWS:
            bins = measures.reliability(answers[f"validation/{view}"], answers["validation/labels"])
            for number, (count, confidence, accuracy) in enumerate(zip(*bins, strict=True), start=1):
                yield {
                    "profile": profile,
                    "seed": run.seed,
                    "run": run.name,
                    "view": view,
                    "bin": number,
                    "count": int(count),
                    "confidence": float(confidence),
                    "accuracy": float(accuracy),
                }


def _dial(
    profile: Profile, runs: list[Run], store: Store, dataset: Dataset, device: torch.device
) -> Iterator[dict[str, Any]]:
    """Accuracy on a fixed sample of validation images as the dial turns, of the reference and of the first teachers."""
    looked_at = [run for run in runs if run.name in ("reference", "T1w", "T1s")]
    networks = {run.name: load_network(store, run.spec.id, dataset, device) for run in looked_at}
    index = sample(len(dataset.validation), DIAL_IMAGES)
    split = dataset.validation.select(index.numpy())
    prepare = Normaliser(dataset, device, profile.side)
    strengths = [step / DIAL_STEPS for step in range(DIAL_STEPS + 1)]
    clean: dict[str, float] = {}
    for strength in [None, *strengths]:
        view = "clean" if strength is None else f"dial:{strength}"
        shown = record.views(split, index, view, runs[0].spec, "validation", device)
        for run in looked_at:
            answers = logits(networks[run.name], shown, prepare, run.spec).cpu()
            accuracy = measures.accuracy(answers, split.labels)
            if strength is None:
                clean[run.name] = accuracy
                continue
            yield {
                "profile": profile.name,
                "seed": run.seed,
                "run": run.name,
                "strength": strength,
                "accuracy": accuracy,
                "affinity": measures.affinity(accuracy, clean[run.name]),
            }


def _explorer(runs: list[Run], entries: dict[str, Entry], dataset: Dataset) -> dict[str, Tensor]:
    any_entry = entries[runs[0].spec.id]
    mapped = any_entry.attention["index"]
    index = mapped[sample(len(mapped), EXPLORED)]
    # Data sets may be sorted by class; who takes the first few of these should not get one class.
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))]
    rows = torch.searchsorted(mapped, index)
    shown = dataset.validation.select(index.numpy())
    tensors = {
        "seed": torch.tensor(runs[0].seed),
        "index": index,
        "images": shown.images.contiguous(),
        "labels": shown.labels.contiguous(),
    }
    for run in runs:
        entry = entries[run.spec.id]
        if run.spec.role == "teacher":
            maps = entry.attention["cam-predicted/clean"][rows]
            tensors[f"maps/{run.name}/cam-predicted/clean"] = maps.half().contiguous()
        tensors[f"logits/{run.name}"] = entry.predictions["validation/clean"][index].half().contiguous()
    return tensors


def _weights(runs: list[Run], entries: dict[str, Entry]) -> bytes | None:
    tensors = {
        f"{run.name}/{name}": tensor.contiguous()
        for run in runs
        for name, tensor in entries[run.spec.id].weights.items()
    }
    content = safetensors.torch.save(tensors)
    if len(content) > WEIGHTS_LIMIT:
        content = safetensors.torch.save({n: t.half() if t.is_floating_point() else t for n, t in tensors.items()})
    return content if len(content) <= WEIGHTS_LIMIT else None


def _csv(rows: pd.DataFrame) -> str:
    return str(rows.to_csv(index=False, lineterminator="\n", float_format="%.7g", na_rep="nan"))


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def _replace(folder: Path, texts: dict[str, str]) -> None:
    """Puts a folder of files in place; a call that is killed leaves the old one or the new one, or none to be made again."""
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
    new.chmod(0o755)
    for name, text in texts.items():
        (new / name).write_text(text, encoding="utf-8", newline="\n")
    if folder.exists():
        old = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
        os.replace(folder, old / folder.name)
        os.replace(new, folder)
        shutil.rmtree(old)
    else:
        os.replace(new, folder)
