"""A seed's whole store in one file, for an archive such as Zenodo, and back into a store.

::

    <profile>-seed-N.zip
        study.json, seed-N/provenance.json   as in published results
        runs/<id>/…                          as in the store; answers and maps in half precision, networks whole
        ro-crate-metadata.json               what it is, and the SHA-256 of each file

Published results are small enough for a repository and hold what the book shows. An archive holds what every network answered
to every image and every map, so that measures which nobody took need no training, and students can be added to its teachers.
"""

import hashlib
import json
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from kdnb import atomic
from kdnb.errors import StoreError
from kdnb.evidence import integrity, table
from kdnb.images.datasets import Dataset
from kdnb.release import crate, publish
from kdnb.study.grid import Run, Study
from kdnb.study.store import FILES, Entry, Store

HALVED = ("predictions.safetensors", "attention.safetensors")
"""files whose numbers are kept in half precision: 11 bits, a relative error of 0.0005 at most"""

_NAME = re.compile(r"runs/([0-9a-f]{16})/([a-z]+\.(?:json|safetensors))")


@dataclass(frozen=True)
class Restored:
    """What came out of an archive."""

    name: str
    """the study's and the seed's"""
    added: tuple[str, ...]
    """ids of runs that the store has now"""
    there: tuple[str, ...]
    """ids of runs that it had before, and keeps"""


def pack(study: Study, store: Store, dataset: Dataset, seed: int, folder: Path) -> Path:
    """Writes a seed's runs and the origins they start from into ``<profile>-seed-N.zip`` in a folder, whole or not at all.

    Raises:
        IncompleteError: the store lacks a run.
        StoreError: an entry is damaged, or the file cannot be written.
    """
    entries = table.of_seed(study, store, seed)
    runs = [*study.origins, *study.of_seed(seed)]
    listed: list[dict[str, Any]] = []
    path = folder / f"{study.profile.name}-seed-{seed}.zip"
    try:
        atomic.clear(path)
        with atomic.file(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as packed:

            def add(name: str, content: bytes) -> None:
                packed.writestr(zipfile.ZipInfo(name), content)  # no date, so that the same seed is the same file
                listed.append(crate.file(name, content, crate.ENTRY if name.startswith("runs/") else crate.FILES))

            about = publish.describe(study, store, dataset)
            made = publish.provenance(study.of_seed(seed), entries)
            add("study.json", publish.as_json(about))
            add(f"seed-{seed}/provenance.json", publish.as_json(made))
            for run in runs:
                for name, content in _files(entries.get(run.spec.id) or store.entry(run.spec.id)):
                    add(f"runs/{run.spec.id}/{name}", content)
            packed.writestr(zipfile.ZipInfo(integrity.NAME), _crate(about, made, seed, runs, listed))
    except OSError as error:
        raise StoreError(f"cannot write the archive {path}: {error}") from None
    return path


def _files(entry: Entry) -> Iterator[tuple[str, bytes]]:
    """The files of an entry as an archive has them."""
    entry.verify()
    for name in FILES:
        content = (entry.folder / name).read_bytes()
        if name in HALVED:
            content = _halved(safetensors.torch.load(content))
        elif name == "environment.json":
            content = publish.as_json(entry.environment | {"archived": "answers and maps in half precision"})
        yield name, content


def _halved(tensors: Mapping[str, Tensor]) -> bytes:
    """In half precision where that has room for every number; the names of those are kept beside."""
    halves = {name: _half(tensor) for name, tensor in tensors.items() if tensor.dtype == torch.float32}
    kept = {name: half for name, half in halves.items() if bool(half.isfinite().all())}
    return safetensors.torch.save(dict(tensors) | kept, {"float32": json.dumps(sorted(kept))})


def _half(whole: Tensor) -> Tensor:
    """In half precision. Of logits (N, K) the first class stays first: where rounding made it equal to another's, it goes up to
    the next number, so that accuracy stays what it was to the last image."""
    half = whole.half()
    if whole.ndim == 2:
        top = half.amax(dim=1, keepdim=True)
        first = whole.argmax(dim=1, keepdim=True)
        tied = ((half == top).sum(dim=1) > 1) | (half.argmax(dim=1) != first[:, 0])
        bits = top.view(torch.int16)  # as an integer, the next number is one more above zero and one less below
        above = torch.where(top > 0, bits + 1, torch.where(top < 0, bits - 1, 1)).to(torch.int16).view(torch.float16)
        half[tied] = half[tied].scatter(1, first[tied], above[tied])
    return half


def _whole(content: bytes) -> bytes:
    """The reverse of `_halved`, in the numbers that half precision has left."""
    length = int.from_bytes(content[:8], "little")
    halved = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["float32"])
    tensors = safetensors.torch.load(content)
    return safetensors.torch.save(tensors | {name: tensors[name].float() for name in halved})


def _crate(
    about: Mapping[str, Any], made: Mapping[str, Any], seed: int, runs: list[Run], files: list[dict[str, Any]]
) -> bytes:
    name, data = about["profile"]["name"], about["dataset"]
    root = {
        "name": f"kdnb: the store of seed {seed} of the study {name}",
        "description": (
            f"{len(runs)} networks with what they answered and where they looked: {', '.join(run.name for run in runs)}. "
            f"Trained on {data['name']} ({data['train']} training images, content hash {data['hash']}). Answers and maps are "
            "in half precision. kdnb restore reads it into a store."
        ),
    }
    return crate.archive(root, files, name, str(seed), made, date.today().isoformat())


def restore(path: Path, store: Store) -> Restored:
    """Adds an archive's runs to a store. Each file is checked against the archive's own hashes before anything enters the
    store; runs that the store has already stay as they are.

    Raises:
        StoreError: it is no archive of this package, it is damaged, or the store cannot be written.
        DamagedResultsError: its description is damaged.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            return _restore(path, packed, store)
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError, struct.error) as error:
        # a damaged directory of files leads to any of these; RuntimeError also says encrypted
        raise StoreError(f"{path} cannot be read as an archive: {error}") from None


def _restore(path: Path, packed: zipfile.ZipFile, store: Store) -> Restored:
    members = {member.filename: member for member in packed.infolist()}
    if integrity.NAME not in members:
        raise StoreError(f"{path} is no archive of kdnb archive: it has no {integrity.NAME}")
    described = integrity.parsed(packed.read(integrity.NAME), f"{path}: {integrity.NAME}", "fetch the archive again")
    listed = integrity.listed(described, f"{path}: {integrity.NAME}", "fetch the archive again")
    runs: dict[str, list[str]] = {}
    for name, member in members.items():
        found = _NAME.fullmatch(name)
        if found and found[2] in FILES:
            runs.setdefault(found[1], []).append(name)
        elif name not in (integrity.NAME, "study.json") and not re.fullmatch(r"seed-\d+/provenance\.json", name):
            raise StoreError(f"{path} holds {name!r}, which no archive of kdnb archive does; nothing was restored")
        if member.compress_type != zipfile.ZIP_STORED:
            raise StoreError(f"{path} holds {name!r} compressed, which kdnb archive never does; nothing was restored")
        if name != integrity.NAME and hashlib.sha256(packed.read(name)).hexdigest() != listed.get(name, ("", 0))[0]:
            raise StoreError(f"{path} is damaged: {name} is not the file that was archived; fetch the archive again")
    for run, names in runs.items():
        if len(names) != len(FILES):
            raise StoreError(f"{path} lacks files of the run {run}; fetch the archive again")
    added = [run for run in sorted(runs) if not store.has(run)]
    for run in added:
        _add(packed, run, store)
    return Restored(integrity.root(described)["name"], tuple(added), tuple(sorted({*runs} - {*added})))


def _add(packed: zipfile.ZipFile, run: str, store: Store) -> None:
    contents = {}
    for name in FILES:
        content = packed.read(f"runs/{run}/{name}")
        try:
            contents[name] = _whole(content) if name in HALVED else content
        except (ValueError, KeyError, SafetensorError) as error:
            raise StoreError(f"{packed.filename}: {name} of the run {run} cannot be read: {error!r}") from None
    store.add(run, contents)
