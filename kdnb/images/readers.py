"""Files as they lie on disk become images, labels and names: CIFAR's pickles, trees of images, zip files.

Nothing here knows which data set it reads. Every file that is missing, damaged or not of its kind is a `DataError` that
names it and the fix.
"""

import hashlib
import os
import pickle
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from kdnb import devices
from kdnb.errors import DataError
from kdnb.images import decode
from kdnb.rings import ring

if TYPE_CHECKING:
    from kdnb.scale.streaming import Files

Image.init()
SUFFIXES = frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)
"""what Pillow opens"""

NO_IMAGES = frozenset(
    {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".log", ".db", ".ini", ""}
)
"""endings of files that lie beside images and are none, as notes, lists, Thumbs.db; so are all whose names begin with a dot"""

CIFAR_SIDE = 32

TRAIN = "train"
"""what the split to train on is called"""


@dataclass(frozen=True)
class Split:
    """Images and what they show."""

    images: "Tensor | Files"
    """uint8, (N, 3, S, S); `Files` where they stay on disk"""
    labels: Tensor
    """int64, (N,), from 0 to the number of classes − 1"""
    names: tuple[str, ...] = field(repr=False)
    """``class/file`` of each image, unique"""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def side(self) -> int:
        """height and width of an image, in pixels"""
        return int(self.images.shape[-1])

    def select(self, index: Sequence[int] | NDArray[np.int64]) -> "Split":
        """The images at these places, in this order."""
        where = torch.as_tensor(np.asarray(index, dtype=np.int64))
        images = self.images[where] if isinstance(self.images, Tensor) else self.images.select(where.numpy())
        return Split(images, self.labels[where], tuple(self.names[i] for i in where.tolist()))

    def to(self, device: torch.device) -> "Split":
        """The same on a device: the labels, and the images that memory holds."""
        images = self.images.to(device) if isinstance(self.images, Tensor) else self.images
        return Split(images, self.labels.to(device), self.names)

    def stream(self, parts: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
        """The images at the places of each part in turn, uint8 (n, 3, S, S), on the device that the split is on. Of images on
        disk, no more than a window is in memory (`kdnb.scale.streaming`)."""
        if isinstance(self.images, Tensor):
            for part in parts:
                yield self.images[torch.from_numpy(part).to(self.images.device)]
        else:
            yield from (images.to(self.labels.device) for images in self.images.stream(parts))

    def pixels(self) -> Tensor:
        """All its images, in memory: uint8 (N, 3, S, S)."""
        if isinstance(self.images, Tensor):
            return self.images
        return next(self.images.stream([np.arange(len(self))]))

    def loaded(self) -> "Split":
        """The same with its images in memory."""
        return Split(self.pixels(), self.labels, self.names)

    def fingerprints(self) -> list[bytes]:
        """Of the pixels of each image: equal for equal images alone."""
        if isinstance(self.images, Tensor):
            return [fingerprint(image) for image in self.images.numpy()]
        return [each.tobytes() for each in self.images.prints]


PRINT = 16
"""bytes of a fingerprint"""


def fingerprint(image: NDArray[np.uint8]) -> bytes:
    """`PRINT` bytes that tell an image's pixels from any other's."""
    return hashlib.blake2b(image.tobytes(), digest_size=PRINT).digest()


def digest(label: int, image: NDArray[np.uint8]) -> bytes:
    """32 bytes that tell an image and its label from any other: what a content hash is made of."""
    return hashlib.sha256(label.to_bytes(4, "little") + image.tobytes()).digest()


class Content(NamedTuple):
    """What a reader finds."""

    classes: tuple[str, ...]
    train: Split
    validation: Split


# -- CIFAR-100's pickles ----------------------------------------------------------------------------------------------


def cifar100_pickles(folder: Path) -> Content:
    """The official python pickles ``train``, ``test`` and ``meta``, written by Python 2 or 3."""

    def part(name: str, make: Callable[[dict[str, Any]], Any]) -> Any:
        content = _unpickle(folder / name)
        try:
            return make(content)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise DataError(
                f"{folder / name} does not hold what CIFAR-100's does ({error!r}); fetch it again"
            ) from None

    classes: tuple[str, ...] = part("meta", lambda content: tuple(content["fine_label_names"]))

    def images(content: dict[str, Any]) -> Split:
        labels = torch.from_numpy(_integers(content, "fine_labels", np.int64))
        pixels = torch.from_numpy(_integers(content, "data", np.uint8)).view(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
        if len(labels) != len(pixels):
            raise ValueError(f"{len(pixels)} images and {len(labels)} labels")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
            raise ValueError(f"labels from {int(labels.min())} to {int(labels.max())} for {len(classes)} classes")
        names = tuple(
            f"{classes[label]}/{file}" for label, file in zip(labels.tolist(), content["filenames"], strict=True)
        )
        return Split(pixels, labels, names)

    return Content(classes, part("train", images), part("test", images))


def _integers(content: dict[str, Any], name: str, kind: type[np.integer[Any]]) -> NDArray[Any]:
    """What stands there, if that type has each of its numbers: a cast would make black of pixels from 0 to 1.

    Raises:
        ValueError: other numbers, or none.
    """
    given = np.array(content[name])
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    if given.size and given.dtype.kind not in "iu":
        raise ValueError(f"{name} are {given.dtype}, the first {given.flat[0]}, and no whole numbers")
    if given.size and not least <= int(given.min()) <= int(given.max()) <= most:
        raise ValueError(f"{name} go from {given.min()} to {given.max()}, expected {least} to {most}")
    return given.astype(kind)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles lists, strings and numpy arrays, and refuses all else: a data file has no business running code."""

    _ALLOWED = frozenset({"_reconstruct", "_frombuffer", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self._ALLOWED:
            return super().find_class(re.sub(r"^numpy\.core\b", "numpy._core", module), name)
        if (module, name) == ("_codecs", "encode"):
            return _bytes
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def _bytes(text: str, encoding: str) -> bytes:
    """What Python 3 calls to put bytes into a pickle that Python 2 can read; no other codec is allowed."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the codec {encoding!r} is not latin1")
    return text.encode("latin1")


def _as_text(content: Any) -> Any:
    """Keys, names and lists of names as text: Python 3 keeps what Python 2 wrote as bytes."""
    if isinstance(content, bytes):
        return content.decode("latin1")
    if isinstance(content, dict):
        return {_as_text(key): _as_text(value) for key, value in content.items()}
    return [_as_text(each) for each in content] if isinstance(content, list) else content


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content: dict[str, Any] = _as_text(_ArraysOnly(file, encoding="latin1").load())
            return content
    except FileNotFoundError:
        raise DataError(f"{path} is missing; fetch cifar100 again, or remove {path.parent}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None
    except Exception as error:
        raise DataError(f"{path} is not CIFAR-100's python pickle ({error}); fetch it again") from None


# -- listed files ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """The files of a split."""

    names: tuple[str, ...] = field(repr=False)
    """unique"""
    labels: Tensor
    """int64, (N,)"""
    under: str = ""
    """what stands before each name in the file's path within the folder, as ``train/``"""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def files(self) -> list[str]:
        """paths within the folder"""
        return [self.under + name for name in self.names]


class Listing(NamedTuple):
    """The files of a data set, before any is opened."""

    classes: tuple[str, ...]
    train: Part
    validation: Part


# -- trees of images --------------------------------------------------------------------------------------------------


class Source(Protocol):
    """Image files in ``<split>/<class>/…/<file>``, wherever they lie."""

    where: Path

    def files(self, splits: Sequence[str]) -> list[str]:
        """Paths of all files in these splits, sorted; no hidden ones. Nothing else is looked at."""
        ...

    def folders(self, splits: Sequence[str]) -> list[str]:
        """``<split>/<class>`` of all class folders that can be seen, sorted; no hidden ones."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of one of them."""
        ...


class FolderSource:
    """A tree in a folder."""

    def __init__(self, folder: Path) -> None:
        self.where = folder

    def files(self, splits: Sequence[str]) -> list[str]:
        found: list[str] = []
        nowhere: list[str] = []
        for split in splits:
            top = self.where / split
            if top.is_dir():
                self._walk(top, (), found, nowhere)
            elif top.is_symlink():
                nowhere.append(split)
        if nowhere:
            raise DataError(
                f"{self.where}: {len(nowhere)} links lead nowhere, the first {min(nowhere)}; fetch what they stand for "
                "(git annex get, dvc pull) or remove them"
            )
        inner = sorted(self.where.glob(f"[!.]*/{TRAIN}"))
        if inner and not any((self.where / split).is_dir() for split in splits):
            raise DataError(
                f"{self.where} has no {TRAIN}, and {inner[0].parent} has one; name that folder, or move what it holds up"
            )
        return sorted(found)

    def folders(self, splits: Sequence[str]) -> list[str]:
        found = [path for split in splits for path in (self.where / split).glob("[!.]*") if path.is_dir()]
        return sorted(path.relative_to(self.where).as_posix() for path in found)

    def _walk(self, folder: Path, above: tuple[Path, ...], found: list[str], nowhere: list[str]) -> None:
        real = folder.resolve()
        if real in above:
            raise DataError(f"{folder} is a link to a folder that holds it; remove the link")
        for entry in os.scandir(folder):
            if entry.name.startswith("."):
                continue
            name = Path(entry.path).relative_to(self.where).as_posix()
            if entry.is_dir():
                self._walk(Path(entry.path), (*above, real), found, nowhere)
            elif entry.is_file():
                found.append(name)
            elif entry.is_symlink():
                nowhere.append(name)

    def read(self, name: str) -> bytes:
        return (self.where / name).read_bytes()


class ZipSource:
    """The same tree in a zip file, at its top or below folders that hold nothing else."""

    def __init__(self, archive: Path) -> None:
        self.where = archive
        try:
            self._zip = zipfile.ZipFile(archive)
        except PermissionError as error:
            raise DataError(f"{archive} cannot be read ({error.strerror})") from None
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{archive} is not a whole zip file ({error}); fetch it again") from None
        paths = {
            name.rstrip("/"): name
            for name in self._zip.namelist()
            if not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
        }
        while True:
            tops = sorted({path.split("/")[0] for path, name in paths.items() if "/" in path or name[-1] == "/"})
            if TRAIN in tops or not tops:
                break
            if len(tops) > 1:
                raise DataError(
                    f"{archive} has {len(tops)} top folders, {', '.join(tops[:4])}; expected one, with all splits in it"
                )
            paths = {path.split("/", 1)[1]: name for path, name in paths.items() if path.startswith(f"{tops[0]}/")}
        self._members = paths

    def files(self, splits: Sequence[str]) -> list[str]:
        return sorted(path for path, name in self._members.items() if path.split("/")[0] in splits and name[-1] != "/")

    def folders(self, splits: Sequence[str]) -> list[str]:
        named = (path.split("/") for path, name in self._members.items() if name[-1] == "/")
        return sorted("/".join(parts) for parts in named if len(parts) == 2 and parts[0] in splits)

    def read(self, name: str) -> bytes:
        return self._zip.read(self._members[name])


def tree(source: Source, validation: tuple[str, ...], side: int, *, fit: bool = False) -> Content:
    """The images of a tree ``<split>/<class>/…/<file>``; arguments as for `of_folders` and `decoded`."""
    return decoded(source, of_folders(source, validation), side, fit=fit)


def of_folders(source: Source, validation: tuple[str, ...]) -> Listing:
    """The files of a tree ``<split>/<class>/…/<file>``, in the order of their paths; none is opened. Classes in alphabetical
    order give the labels.

    Args:
        validation: what the validation split may be called; the other is ``train``.
    """
    files = _images(source, (TRAIN, *validation))
    parts = sorted({file.split("/")[0] for file in files})
    held_out = [part for part in validation if part in parts]
    if TRAIN not in parts or len(held_out) != 1:
        lacking = [*([] if TRAIN in parts else [TRAIN]), *([] if held_out else [validation[0]])]
        fix = f"put images into {' and '.join(f'{part}/<class>/' for part in lacking)}"
        if len(held_out) > 1:
            fix = f"keep one of {' and '.join(held_out)}, and move the other elsewhere"
        raise DataError(
            f"{source.where} has the splits {', '.join(parts) or 'none'}; expected {TRAIN} and one of "
            f"{', '.join(validation)}: {fix}"
        )
    _require_one_spelling(source, files)
    classes = tuple(sorted({file.split("/")[1] for file in files if file.startswith(f"{TRAIN}/")}))
    number = {label: index for index, label in enumerate(classes)}
    unknown = sorted({file.split("/")[1] for file in files if file.startswith(f"{held_out[0]}/")} - set(classes))
    if unknown:
        raise DataError(
            f"{source.where}: {held_out[0]} has the class {unknown[0]!r}, which train lacks; add its training images or "
            f"remove {held_out[0]}/{unknown[0]}"
        )

    def part(name: str) -> Part:
        chosen = tuple(file.split("/", 1)[1] for file in files if file.startswith(f"{name}/"))
        labels = torch.tensor([number[file.split("/")[0]] for file in chosen], dtype=torch.int64)
        return Part(chosen, labels, f"{name}/")

    return Listing(classes, part(TRAIN), part(held_out[0]))


def decoded(source: Source, listing: Listing, side: int, *, fit: bool) -> Content:
    """The images of listed files, decoded straight into one tensor a split.

    Args:
        fit: crop and resize images to the side (`kdnb.images.decode`); without it, an image of another size is an error.
    """

    def split(part: Part) -> Split:
        size, memory = len(part) * 3 * side**2, ring("scale.memory")
        if memory is not None and size > memory.capacity(torch.device("cpu")):
            raise DataError(
                f"{source.where}: {len(part)} images at {side} pixels take {size / 1e9:,.0f} GB of memory, more than there is; "
                "leave them on disk (dataset.streamed: true)"
            )
        images = torch.empty(len(part), 3, side, side, dtype=torch.uint8)
        with ThreadPoolExecutor(max_workers=devices.cores()) as pool:
            place = iter(range(len(part)))
            for batch in _batches(part.files, 1024):
                for image in pool.map(lambda file: _decode(source, file, side, fit), batch):
                    images[next(place)] = torch.from_numpy(image).permute(2, 0, 1)
        return Split(images, part.labels, part.names)

    return Content(listing.classes, split(listing.train), split(listing.validation))


def _require_one_spelling(source: Source, files: Sequence[str]) -> None:
    """Systems write an accent as a letter of its own or not: such names look alike, and would be two classes."""
    spelled: dict[str, str] = {}
    for name in sorted({file.split("/")[1] for file in files}):
        other = spelled.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise DataError(
                f"{source.where}: the class {name!r} is spelled in two ways, {other!a} and {name!a}; rename one folder "
                "as the other"
            )


def _images(source: Source, splits: Sequence[str]) -> list[str]:
    """The images of the splits. Whatever else lies there is known to be none, or an error: no image is left out in silence."""
    images: list[str] = []
    loose: list[str] = []
    unknown: list[str] = []
    for file in source.files(splits):
        parts, suffix = file.split("/"), Path(file).suffix.lower()
        if len(parts) < 2 or (suffix not in SUFFIXES and suffix in NO_IMAGES):
            continue
        try:
            file.encode()
        except UnicodeEncodeError:
            raise DataError(f"{source.where}: the name {os.fsencode(file)!r} is not UTF-8; rename it") from None
        (unknown if suffix not in SUFFIXES else loose if len(parts) == 2 else images).append(file)
    if unknown:
        raise DataError(
            f"{source.where}: {len(unknown)} files are no images that can be read here, the first {unknown[0]}; convert "
            "them to PNG or move them away"
        )
    if loose:
        raise DataError(
            f"{source.where}: {len(loose)} images lie in a split and in no class, the first {loose[0]}; put each into "
            "the folder of its class"
        )
    # An empty class folder has no file to be seen by.
    for folder in sorted(set(source.folders(splits)) - {"/".join(file.split("/")[:2]) for file in images}):
        raise DataError(f"the class folder {source.where / folder} holds no image; fill it or remove it")
    return images


def _batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _decode(source: Source, file: str, side: int, fit: bool) -> NDArray[np.uint8]:
    return decode.square(source.where, file, source.read, side, fit=fit)
