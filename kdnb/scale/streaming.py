"""Images that stay in their files: decoded when they are wanted, by worker processes, and no more at once than a window.

What comes out are the bytes that memory would hold (`kdnb.images.decode`), in the order asked for, whatever the number
of workers: nothing is drawn here, and views follow from an image's number in the data set. So a training does not know
where its images are. torch's DataLoader runs the workers.

Every image is decoded once before, to be known (`take_stock`). That finds what is damaged before anything is trained, and
gives the data set the content hash and the order that it would have in memory. From then on an image whose pixels are
others is an error.

Memory: the part that is wanted, and ahead of it as many images as the largest part has, or `AHEAD` pieces a worker where
that is more. In training a part is about 1024 images: at 256 pixels 0.2 GB, and as much again ahead.
"""

import hashlib
import math
import multiprocessing
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kdnb import devices
from kdnb.errors import DataError
from kdnb.images import datasets, decode, readers
from kdnb.images.readers import PRINT, FolderSource, Part, Split, digest, fingerprint
from kdnb.progress import Progress
from kdnb.scale import listing

PIECE = 32
"""images that a worker decodes at a time"""

AHEAD = 2
"""pieces that each worker may be ahead, at least"""

MOST = 16
"""workers, where nobody names their number"""


@dataclass(frozen=True, eq=False)
class Files:
    """The images of a split in their files, in the place of a tensor of shape (N, 3, S, S)."""

    folder: Path
    names: tuple[str, ...] = field(repr=False)
    """of the files, within the folder, without `under`"""
    under: str
    side: int
    """in pixels, that images are cropped and resized to"""
    prints: NDArray[np.uint8] = field(repr=False)
    """fingerprint of each image, (N, `PRINT`)"""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, S, S)"""
        return len(self), 3, self.side, self.side

    def select(self, index: NDArray[np.int64]) -> "Files":
        """The images at these places, in this order. None is decoded."""
        chosen = tuple(self.names[place] for place in index.tolist())
        return Files(self.folder, chosen, self.under, self.side, self.prints[index])

    def stream(self, parts: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
        """The images at the places of each part in turn, uint8 (n, 3, S, S).

        Raises:
            DataError: a file cannot be decoded, or holds another image than when stock was taken.
        """
        pieces = [part[start : start + PIECE] for part in parts for start in range(0, len(part), PIECE)]
        decoded = share(self._decoded, pieces, max(map(len, parts), default=0))
        for part in parts:
            images = torch.empty(len(part), *self.shape[1:], dtype=torch.uint8)
            filled = 0
            while filled < len(part):
                piece = next(decoded)
                images[filled : filled + len(piece)] = piece
                filled += len(piece)
            yield images

    def _decoded(self, piece: NDArray[np.int64]) -> Tensor:
        images = torch.empty(len(piece), *self.shape[1:], dtype=torch.uint8)
        for place, number in enumerate(piece.tolist()):
            file = self.under + self.names[number]
            image = _pixels(self.folder, file, self.side)
            if fingerprint(image) != self.prints[number].tobytes():
                raise DataError(
                    f"{self.folder}: {file} is another image than when the study was planned; fetch it again, or plan again"
                )
            images[place] = torch.from_numpy(image)
        return images


@dataclass(frozen=True)
class Stock:
    """What is known of the images of a split without holding them."""

    digests: NDArray[np.uint8]
    """(N, 32), SHA-256 of label and pixels"""
    prints: NDArray[np.uint8]
    """(N, `PRINT`), fingerprints of the pixels"""


def take_stock(folder: Path, part: Part, side: int) -> Stock:
    """Decodes every image of a split once, and keeps none. Shows a bar to somebody who looks on.

    Raises:
        DataError: a file cannot be decoded; the message names it.
    """
    pieces = [np.arange(start, min(start + PIECE, len(part))) for start in range(0, len(part), PIECE)]
    found = []
    with Progress(len(part)) as progress:
        for piece in share(_Counter(folder, part, side).count, pieces, AHEAD * PIECE):
            found.append(piece)
            progress.advance(len(piece), f"decoding {part.under or 'images'} for the first time")
    both = np.concatenate(found) if found else np.empty((0, 32 + PRINT), np.uint8)
    return Stock(both[:, :32], both[:, 32:])


@dataclass(frozen=True)
class _Counter:
    folder: Path
    part: Part
    side: int

    def count(self, piece: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(n, 32 + `PRINT`), digest and fingerprint of each image"""
        rows = []
        for number in piece.tolist():
            image = _pixels(self.folder, self.part.under + self.part.names[number], self.side)
            rows.append(digest(int(self.part.labels[number]), image) + fingerprint(image))
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(piece), 32 + PRINT)


def _pixels(folder: Path, file: str, side: int) -> NDArray[np.uint8]:
    """(3, side, side)"""
    image = decode.square(folder, file, lambda name: (folder / name).read_bytes(), side)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


# -- the data set ------------------------------------------------------------------------------------------------------


def dataset(name: str, folder: Path, size: int, lists: tuple[Path, Path] | None) -> datasets.Dataset:
    """An image folder as `kdnb.images.datasets.load` gives it, with the images on disk."""
    source = FolderSource(folder)
    listed = listing.of_lists(folder, *lists) if lists else readers.of_folders(source, datasets.HELD_OUT)
    index = _index(f"{name}@{size}", folder, listed, size)

    def split(part: Part, kept: str) -> Split:
        order, prints = index[f"{kept}.order"], index[f"{kept}.prints"]
        names = tuple(part.names[place] for place in order.tolist())
        return Split(Files(folder, names, part.under, size, prints.numpy()), part.labels[order], names)

    train, validation = split(listed.train, "train"), split(listed.validation, "validation")
    hash_ = index["hash"].numpy().tobytes().hex()
    name, mean, std = datasets.without_path(folder), datasets.IMAGENET_MEAN, datasets.IMAGENET_STD
    return datasets.Dataset(name, listed.classes, train, validation, mean, std, hash_)


def _index(name: str, folder: Path, listed: readers.Listing, size: int) -> dict[str, Tensor]:
    """What is known of the images when each was decoded once: the content hash, and each split's order and fingerprints in
    that order. Kept in the cache, for files with the same marks."""
    marks = datasets.listing_fingerprint(folder, listed)
    key = hashlib.sha256(f"{datasets.DECODER} {name} {marks}".encode()).hexdigest()[:16]
    stem = re.sub(r"\W+", "-", name)[-40:]
    path = datasets.cache_root() / "indexed" / f"{stem}-{key}.safetensors"
    if (kept_index := datasets.kept(path, _read_index)) is not None:
        return kept_index
    index, digests = {}, []
    for kept, part in (("train", listed.train), ("validation", listed.validation)):
        stock = take_stock(folder, part, size)
        each = [row.tobytes() for row in stock.digests]
        keys = list(zip(part.labels.tolist(), each, strict=True))
        order = torch.tensor(sorted(range(len(part)), key=keys.__getitem__), dtype=torch.int64)
        index[f"{kept}.order"], index[f"{kept}.prints"] = order, torch.from_numpy(stock.prints.copy())[order]
        digests.append(each)
    hash_ = bytes.fromhex(datasets.hash_of(size, listed.classes, *digests))
    index["hash"] = torch.tensor(list(hash_), dtype=torch.uint8)
    if problem := datasets.keep(path, index, {"digest": _index_digest(index)}):
        warnings.warn(
            f"cannot keep what is known of the images in {path} ({problem}); set KDNB_CACHE to another", stacklevel=4
        )
    return index


def _read_index(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        index = {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118  # it is no mapping
        if file.metadata()["digest"] != _index_digest(index):
            raise ValueError("it is not what was written")
    return index


def _index_digest(index: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(index):
        digest.update(f"{name} {tuple(index[name].shape)}".encode() + index[name].numpy().tobytes())
    return digest.hexdigest()


# -- workers ----------------------------------------------------------------------------------------------------------


def decoders() -> int:
    """Processes that decode: ``KDNB_DECODERS``, else one for each core that this process may use, and `MOST` at most. 0 is this
    process itself, and so is a process that may have no children, as a Dask worker that its nanny started.

    Raises:
        DataError: ``KDNB_DECODERS`` is no whole number.
    """
    asked = os.environ.get("KDNB_DECODERS", "")
    if asked and not re.fullmatch("[0-9]{1,4}", asked):
        raise DataError(f"KDNB_DECODERS is {asked!r}; expected the number of processes that decode images, as 8")
    if multiprocessing.current_process().daemon:
        return 0
    return int(asked) if asked else min(devices.cores(), MOST)


def share(function: Callable[[Any], Any], pieces: Sequence[Any], ahead: int) -> Iterator[Any]:
    """What the function makes of each piece, in their order, by worker processes.

    Args:
        ahead: images that the workers may be ahead of what is asked for; each may be `AHEAD` pieces ahead in any case.

    Raises:
        DataError: as the function; or a worker was ended from outside.
    """
    workers = min(decoders(), len(pieces)) if len(pieces) > 1 else 0
    loader: DataLoader[Any] = DataLoader(
        _Work(function, pieces),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=max(AHEAD, math.ceil(ahead / PIECE / workers)) if workers else None,
        generator=torch.Generator(),  # it draws a seed for its workers, and nothing here may touch the one that all share
    )
    made = iter(loader)
    try:
        while True:
            try:
                each = next(made)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise DataError(
                    f"a process that decodes images was ended ({str(error).splitlines()[0]}); it may have lacked memory, or "
                    "shared memory (/dev/shm): set KDNB_DECODERS to fewer"
                ) from None
            if isinstance(each, DataError):
                raise each
            yield each
    finally:
        del made  # which ends the workers, also where an error's traceback would keep them


class _Work(Dataset[Any]):
    """An error comes back as it is: raised in the worker, it would arrive wrapped in the worker's traceback."""

    def __init__(self, function: Callable[[Any], Any], pieces: Sequence[Any]) -> None:
        self._function, self._pieces = function, pieces

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, number: int) -> Any:
        try:
            return self._function(self._pieces[number])
        except DataError as error:
            return error


def _as_it_is(made: Any) -> Any:
    return made
