"""A name becomes images: one uint8 tensor a split, labels, class names, and a content hash.

======================  ================================================================================================
name                    images
======================  ================================================================================================
``digits``              scikit-learn's 1,797 scanned handwritten digits, in the package; a third of them to train on
``cifar100``            Krizhevsky's 50,000 + 10,000 images, 100 classes
``cifar100-<n>``        n training images a class, the full test set; ``digits-<n>`` likewise
``cifar100-imb<f>``     long-tailed: class c keeps ⌊500·(1/f)^(c/99)⌋ training images (Cao et al. 2019), the full test set
``…-rest``              behind either: the training images that this subset leaves out, the same test set
any other               as `register` was given; its subsets likewise
``imagefolder:<path>``  your own: ``<path>/train/<class>/*`` and ``<path>/{test,val,validation}/<class>/*``, or what two lists
                        name (`kdnb.scale.listing`)
======================  ================================================================================================

CIFAR-100 is read from the first of these that the data root holds: the official python pickles
(``cifar-100-python/``), a tree ``cifar100/{train,test}/<class>/*.png``, that tree in ``cifar100.zip``; where there is
none, torchvision downloads it. The root is what the caller gives (``--data-root``), else the environment variable
``KDNB_DATA``, else the user's cache folder. Decoded images are kept in the cache folder (``KDNB_CACHE``, else the
user's) as one tensor file, so that the second load takes no time.

An image folder that memory cannot hold is *streamed*: its images stay on disk (`kdnb.scale.streaming`). That changes
where they are and nothing else: content hash, order, ids of runs and the networks that they train to are the same.

A subset of CIFAR-100 or the digits may be one of several *draws* (`Draws`): disjoint sets of n images a class, cut in a
seeded order after those that are set aside for an origin. A draw is judged on the images of the other draws, too.

Which images a subset holds depends on their names and a seed, never on the order in which they are found. Their order in
memory, which batches and draws follow, does not depend on it either: CIFAR-100's are sorted by name, those of a folder by
class and pixels. So copies of one content hash train the same networks, whatever they were read from.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kdnb import atomic, registry
from kdnb.errors import DataError, ProfileError, in_one_line
from kdnb.images import readers
from kdnb.images.readers import Content, FolderSource, Listing, ZipSource
from kdnb.images.readers import Split as Split
from kdnb.paths import own_folder, user_path

DECODER = 3
"""Raised when the code would decode files to other pixels or another order, so that no old cached tensor is taken for a new
one."""

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Dataset:
    """A training and a validation split of the same classes."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """of each channel, in the units of images scaled to [0, 1]; networks see (image − mean) / std"""
    hash: str = ""
    """see `content_hash`"""
    draws: Split | None = None
    """of a draw: the images of the other draws, which neither it nor its origin has seen"""

    @property
    def side(self) -> int:
        """height and width of an image, in pixels"""
        return self.train.side

    @property
    def streamed(self) -> bool:
        """whether its images stay on disk"""
        return not isinstance(self.train.images, torch.Tensor)


@dataclass(frozen=True)
class Draws:
    """How a subset of n images a class is one of several: in the seeded order of a class come first the images that are set
    aside (those of the subset of that many images a class), then `count` draws of n."""

    count: int
    set_aside: int = 0
    """images of each class, for an origin"""
    together: int = 1
    """draws that are trained on as one: the number's own and those after it, from the first again after the last"""
    number: int | Literal["across"] | None = None
    """which, from 0; ``across``: as many images, about the same number from each draw, for pilots; None: all of them"""


def load(
    name: str,
    *,
    root: str | Path | None = None,
    size: int | None = None,
    train_list: str | Path | None = None,
    split_seed: int = 0,
    validation_list: str | Path | None = None,
    streamed: bool = False,
    draws: Draws | None = None,
) -> Dataset:
    """The data set called `name`; the table above has the names.

    Args:
        root: where the files lie; see above for the default.
        size: for an image folder, the side in pixels that images are cropped and resized to (`kdnb.images.decode`).
        train_list: for a subset of CIFAR-100, a text file with one ``class/file.png`` a line: exactly these are the
            training images. Looked for as a path, then in the data root, then among the lists in the package
            (``cifar100_train_imb100.txt`` is the paper's). For an image folder, a list of ``path label``, looked for as a path,
            then in the folder, then in the root.
        split_seed: decides which images a subset without a list holds.
        validation_list: for an image folder with a train_list, the same of its validation images.
        streamed: for an image folder, leave the images on disk.
        draws: for a subset of n images a class, which of several disjoint ones it is.

    Raises:
        DataError: no such data set or draw, more images asked for than a class has, or its files are missing or damaged; the
        message names the file and the fix.
    """
    folder = data_root(root)
    own = name.startswith("imagefolder:")
    if train_list is not None and not own and not name.startswith("cifar100-"):
        raise DataError(
            f"a list of training images ({train_list}) goes with a subset of cifar100 or an image folder, not with {name!r}"
        )
    if size is not None and not own:
        raise DataError(f"a size ({size}) goes with an image folder; {name!r} has the size of its images")
    if validation_list is not None and not own:
        raise DataError(f"a list of validation images ({validation_list}) goes with an image folder, not with {name!r}")
    if streamed and not own:
        raise DataError(f"streamed is for image folders; {name!r} fits in memory, leave it out")
    match = re.fullmatch(rf"({'|'.join(_whole)})-(?:(\d+)|imb(\d+))(-rest)?", name)
    if draws is not None and not (match and match[2] and not match[4] and train_list is None):
        raise DataError(f"draws are of a subset of n images a class, as cifar100-50, not of {name!r}")
    if draws is not None and match is not None:
        dataset = _draw(name, match, folder, draws, split_seed)
    elif match is not None:
        dataset = _subset(name, match, folder, train_list, split_seed)
    elif own:
        path = user_path(name.removeprefix("imagefolder:"))
        side, lists = _side(path, size), _lists(path, folder, train_list, validation_list)
        if streamed:
            from kdnb.scale import streaming

            dataset = streaming.dataset(name, path, side, lists)
        else:
            dataset = _imagefolder(name, path, side, lists)
    else:
        dataset = _named(name)(folder)
    if len(dataset.train) < 2:
        raise DataError(f"{name} has {len(dataset.train)} training image; batch normalisation needs two at least")
    if len(dataset.classes) < 2:
        raise DataError(f"{name} has one class, {dataset.classes[0]!r}; telling classes apart needs two at least")
    return dataset if dataset.hash else replace(dataset, hash=content_hash(dataset))


def data_root(root: str | Path | None = None) -> Path:
    """Where data sets lie: `root`, else ``KDNB_DATA``, else a folder in the user's cache."""
    chosen = root or os.environ.get("KDNB_DATA") or cache_root() / "data"
    return user_path(chosen)


def cache_root() -> Path:
    """Where decoded images are kept: ``KDNB_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("KDNB_CACHE")
    return user_path(chosen) if chosen else own_folder("cache")


def content_hash(dataset: Dataset) -> str:
    """16 hexadecimal digits over class names and, for each split, the set of (label, pixels): no order, no file name."""
    splits = [dataset.train, dataset.validation, *([dataset.draws] if dataset.draws is not None else [])]
    return hash_of(dataset.side, dataset.classes, *map(_digests, splits))


def hash_of(side: int, classes: Sequence[str], *digests: Sequence[bytes]) -> str:
    total = hashlib.sha256(json.dumps([side, list(classes)]).encode())
    for split in digests:
        total.update(len(split).to_bytes(8, "little") + b"".join(sorted(split)))
    return total.hexdigest()[:16]


def _digests(split: Split) -> list[bytes]:
    """Of label and pixels of each image."""
    images = split.pixels().numpy()
    return [readers.digest(label, image) for label, image in zip(split.labels.tolist(), images, strict=True)]


def _sorted(split: Split, key: Sequence[Any]) -> Split:
    return split.select(sorted(range(len(split)), key=key.__getitem__))


# -- the cache of decoded tensors ------------------------------------------------------------------------------------

T = TypeVar("T")


def _cached(name: str, decode: Callable[[], Dataset], fingerprint: str) -> Dataset:
    """What `decode` gives, from the cache if it was decoded from files with the same fingerprint."""
    key = hashlib.sha256(f"{DECODER} {name} {fingerprint}".encode()).hexdigest()[:16]
    stem = re.sub(r"\W+", "-", name)[-40:]
    path = cache_root() / "decoded" / f"{stem}-{key}.safetensors"
    if (dataset := kept(path, _read_cache)) is not None:
        return dataset
    dataset = decode()
    dataset = replace(dataset, hash=content_hash(dataset))
    _write_cache(path, dataset)
    return dataset


def _write_cache(path: Path, dataset: Dataset) -> None:
    tensors = {
        "train.images": dataset.train.pixels(),
        "train.labels": dataset.train.labels,
        "validation.images": dataset.validation.pixels(),
        "validation.labels": dataset.validation.labels,
    }
    about = {
        "name": dataset.name,
        "classes": dataset.classes,
        "train": dataset.train.names,
        "validation": dataset.validation.names,
        "mean": dataset.mean,
        "std": dataset.std,
        "hash": dataset.hash,
        "digest": _digest(dataset),
    }
    if problem := keep(path, tensors, {key: json.dumps(value) for key, value in about.items()}):
        warnings.warn(f"cannot keep the decoded images in {path} ({problem}); set KDNB_CACHE to another", stacklevel=4)


def kept(path: Path, read: Callable[[Path], T]) -> T | None:
    """What a file of the cache holds; None where there is none, or a damaged one, which is said.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return read(path) if atomic.readable(path) else None
    except OSError as error:
        raise DataError(f"the cache cannot be read ({in_one_line(error)}); set KDNB_CACHE to another folder") from None
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        warnings.warn(f"{path} is damaged ({error}); decoding again", stacklevel=4)
        return None


def keep(path: Path, tensors: dict[str, torch.Tensor], about: dict[str, str]) -> Exception | None:
    """Writes a file of the cache whole or not at all; why not, where it could not."""
    try:
        with atomic.file(path) as unfinished:
            save_file(tensors, unfinished, about)
    except (OSError, SafetensorError) as error:
        return error
    return None


def _read_cache(path: Path) -> Dataset:
    with safe_open(path, framework="pt") as file:
        about = {key: json.loads(value) for key, value in file.metadata().items()}
        train, validation = (
            Split(file.get_tensor(f"{part}.images"), file.get_tensor(f"{part}.labels"), tuple(about[part]))
            for part in ("train", "validation")
        )
    dataset = Dataset(
        about["name"],
        tuple(about["classes"]),
        train,
        validation,
        tuple(about["mean"]),
        tuple(about["std"]),
        about["hash"],
    )
    if _digest(dataset) != about["digest"]:
        raise ValueError("it is not what was written")
    return dataset


def _digest(dataset: Dataset) -> str:
    """Of every byte that a cached data set consists of; unlike the content hash, of names and order too."""
    about = [dataset.name, dataset.classes, dataset.mean, dataset.std, dataset.hash]
    digest = hashlib.sha256(json.dumps(about).encode())
    for split in (dataset.train, dataset.validation):
        digest.update(json.dumps(split.names).encode())
        for tensor in (split.pixels(), split.labels):
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


# -- by name ---------------------------------------------------------------------------------------------------------

Load = Callable[[Path], Dataset]
"""the data root → a whole data set"""

_whole = registry.Registry[Load](
    "a data set",
    {"digits": lambda root: _digits(), "cifar100": lambda root: _cifar100(root)},
    also=", cifar100-<images a class>, cifar100-imb<factor>, these with -rest, and imagefolder:<path>",
)


def register(name: str) -> Callable[[Load], Load]:
    """Registers a function as the data set `name`, as a decorator; its subsets of n images a class, with ``-rest`` and with
    draws, come with it::

        @register("noise")
        def noise(root):
            images = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)
            ...
            return Dataset("noise", classes, train, validation, mean, std)

    The function must give the same images each time: a run's id has their content hash, and a task that finds another refuses
    to train.

    Raises:
        ProfileError: a name of the package, or one that cannot be one.
    """
    _whole.require_free(name)

    def decorate(load: Load) -> Load:
        _whole.add(name, load)
        return load

    return decorate


def is_known(name: str) -> bool:
    """Whether this process has a data set of that name, or one that it is a subset of."""
    return ":" in name or any(name == each or name.startswith(f"{each}-") for each in _whole)


def _named(name: str) -> Load:
    try:
        return _whole[name]
    except ProfileError as error:
        raise DataError(str(error)) from None


# -- digits ----------------------------------------------------------------------------------------------------------


def _digits() -> Dataset:
    """8×8 scans in 17 shades of grey, enlarged to 32×32; a stratified third to train on, two thirds to validate."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data, labels = load_digits(return_X_y=True)
    grey = torch.from_numpy(data.reshape(-1, 1, 8, 8)).float() * (255 / 16)
    large = F.interpolate(grey, size=(32, 32), mode="bilinear", align_corners=False)
    images = large.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    names = tuple(f"{label}/{number:04d}" for number, label in enumerate(labels))
    everything = Split(images, torch.from_numpy(labels.astype(np.int64)), names)
    train, validation = train_test_split(np.arange(len(labels)), train_size=1 / 3, random_state=0, stratify=labels)
    return Dataset(
        "digits",
        tuple(str(digit) for digit in range(10)),
        everything.select(np.sort(train)),
        everything.select(np.sort(validation)),
        HALF,
        HALF,
    )


# -- CIFAR-100 -------------------------------------------------------------------------------------------------------


def _cifar100(root: Path) -> Dataset:
    pickles, tree, archive = root / "cifar-100-python", root / "cifar100", root / "cifar100.zip"
    if not (pickles.is_dir() or tree.is_dir() or archive.is_file()):
        _download_cifar100(root)
    if pickles.is_dir():
        marks = _fingerprint(pickles / part for part in ("train", "test", "meta"))
        return _cached("cifar100", lambda: _cifar100_of(readers.cifar100_pickles(pickles)), marks)
    if tree.is_dir():
        marks = _tree_fingerprint(tree, CIFAR_HELD_OUT)
        return _cached("cifar100", lambda: _cifar100_of(_images(FolderSource(tree))), marks)
    return _cached("cifar100", lambda: _cifar100_of(_images(ZipSource(archive))), _fingerprint([archive]))


def _images(source: readers.Source) -> Content:
    return readers.tree(source, CIFAR_HELD_OUT, readers.CIFAR_SIDE)


CIFAR_HELD_OUT = ("test",)

CIFAR100_IMAGES: tuple[int, int] | None = (500, 100)
"""training and test images of each class; None leaves them uncounted"""


def _cifar100_of(content: Content) -> Dataset:
    for part, split, count in zip(("train", "test"), content[1:], CIFAR100_IMAGES or (), strict=False):
        there = np.bincount(split.labels.numpy(), minlength=100)
        if len(there) != 100 or (there != count).any():
            worst = int(np.abs(there - count).argmax())
            name = content.classes[worst] if worst < len(content.classes) else f"number {worst + 1}"
            raise DataError(
                f"this is not the whole CIFAR-100: {part} has {there[worst]} images of class {name} where it should have "
                f"{count}; fetch it again"
            )
    train, validation = (_sorted(split, split.names) for split in (content.train, content.validation))
    return Dataset("cifar100", content.classes, train, validation, CIFAR_MEAN, CIFAR_STD)


def _subset(name: str, match: re.Match[str], root: Path, train_list: str | Path | None, split_seed: int) -> Dataset:
    """Some training images of each class, or with ``-rest`` those that the subset of that name, list and seed leaves out."""
    base, per_class, factor, rest = match.groups()
    if factor and (base != "cifar100" or int(factor) < 1):
        raise DataError(
            f"{name} is not known: long tails are of cifar100, with a factor from 1 to 500, as cifar100-imb100"
        )
    full = _named(base)(root)
    if train_list is not None:
        index = _from_list(full.train, find_list(train_list, root), full.classes)
    else:
        number = len(full.classes)
        keep = long_tail(int(factor), classes=number) if factor else [int(per_class)] * number
        index = _from_seed(name, full, keep, split_seed)
    if rest:
        index = np.setdiff1d(np.arange(len(full.train)), index)
        if not len(index):
            raise DataError(f"{name} holds no image: the subset leaves none out")
    return Dataset(name, full.classes, full.train.select(index), full.validation, full.mean, full.std)


def long_tail(factor: int, most: int = 500, classes: int = 100) -> list[int]:
    """Training images of each class, from `most` down to `most` / `factor`: ⌊most·(1/factor)^(c/(classes−1))⌋."""
    return [int(most * (1.0 / factor) ** (c / max(1, classes - 1))) for c in range(classes)]


def _from_seed(name: str, full: Dataset, keep: Sequence[int], seed: int) -> NDArray[np.int64]:
    """Of each class the images whose names have the smallest hashes under the seed."""
    chosen: list[int] = []
    for label, (count, members) in enumerate(zip(keep, _ranked(full, seed), strict=True)):
        if not 1 <= count <= len(members):
            raise DataError(
                f"{name} asks for {count} training images of class {full.classes[label]!r}, which has {len(members)}; "
                f"choose from 1 to {len(members)}"
            )
        chosen += members[:count]
    return np.sort(np.array(chosen))


def _ranked(full: Dataset, seed: int) -> list[list[int]]:
    """Of each class, the places of its training images in the order of their names' hashes under the seed."""
    labels = full.train.labels.numpy()
    rank = [hashlib.sha256(f"{seed} {image}".encode()).digest() for image in full.train.names]
    return [
        sorted(np.flatnonzero(labels == label).tolist(), key=rank.__getitem__) for label in range(len(full.classes))
    ]


def _draw(name: str, match: re.Match[str], root: Path, draws: Draws, split_seed: int) -> Dataset:
    """One of several draws, with the images of the others; all of them as one, where no number is given."""
    each, count, number = int(match[2]), draws.count, draws.number
    if not 1 <= draws.together < count:
        raise DataError(f"{name}: {draws.together} of {count} draws cannot be one; leave at least one to be judged on")
    if isinstance(number, int) and not 0 <= number < count:
        raise DataError(f"{name} has no draw {number}: its {count} draws are 0 to {count - 1}")
    full = _named(match[1])(root)
    own: list[int] = []
    others: list[int] = []
    for label, members in enumerate(_ranked(full, split_seed)):
        needed = draws.set_aside + count * each
        if each < 1 or needed > len(members):
            raise DataError(
                f"{name}: {count} draws of {each} after {draws.set_aside} set aside are {needed} images of class "
                f"{full.classes[label]!r}, which has {len(members)}; take fewer draws, or fewer images a class"
            )
        for place, image in enumerate(members[draws.set_aside : needed]):
            # every draw has its share of the images whose place leaves the same remainder
            turn = place % count if number == "across" else (place // each - (number or 0)) % count
            (own if number is None or turn < draws.together else others).append(image)
    train, judged = (full.train.select(np.sort(np.array(some, dtype=np.int64))) for some in (own, others))
    called = f"{name}-draws" if number is None else f"{name}-draw-{number}"
    return replace(full, name=called, train=train, hash="", draws=judged if others else None)


def find_list(train_list: str | Path, root: Path, folder: Path | None = None) -> Path:
    """The list of that path; of that name in the folder of its images; in the data root; in the package."""
    package = Path(str(resources.files("kdnb"))) / "data"
    for path in (
        user_path(train_list),
        *([folder / train_list] if folder else []),
        root / train_list,
        package / train_list,
    ):
        if path.is_file():
            return path
    within = f"in {folder}, " if folder else ""
    raise DataError(f"no list of images {str(train_list)!r}: not a file, nor one {within}in {root}, nor in the package")


def _from_list(train: Split, path: Path, classes: tuple[str, ...]) -> NDArray[np.int64]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable text file ({error})") from None
    wanted = [line for line in lines if line]
    place = {name: index for index, name in enumerate(train.names)}
    for number, name in enumerate(lines, start=1):
        if name and name not in place:
            raise DataError(f"{path}, line {number}: there is no training image {name!r}; expected class/file.png")
    if len(set(wanted)) != len(wanted):
        twice = next(name for name in wanted if wanted.count(name) > 1)
        raise DataError(f"{path} names {twice!r} twice; name each image once")
    index = np.sort(np.array([place[name] for name in wanted], dtype=np.int64))
    empty = set(range(len(classes))) - set(train.labels[torch.from_numpy(index)].tolist())
    if empty:
        raise DataError(f"{path} names no image of class {classes[min(empty)]!r}; every class needs at least one")
    return index


def _torchvision(root: Path) -> None:
    import torchvision

    torchvision.datasets.CIFAR100(root, download=True)


def _download_cifar100(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        _torchvision(root)
    except Exception as error:
        raise DataError(
            f"cifar100 is not in {root} and could not be downloaded ({(str(error) or repr(error)).splitlines()[0]}); "
            "name the folder that holds it with --data-root or KDNB_DATA"
        ) from None


# -- image folders ---------------------------------------------------------------------------------------------------

HELD_OUT = ("test", "val", "validation")
"""what the validation images' folder may be called"""


def _side(folder: Path, size: int | None) -> int:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected <path>/train/<class>/* and <path>/test/<class>/*")
    if size is None or size < 8:
        raise DataError(f"imagefolder needs a size of at least 8 pixels to bring its images to, not {size}")
    return size


def _lists(
    folder: Path, root: Path, train_list: str | Path | None, validation_list: str | Path | None
) -> tuple[Path, Path] | None:
    if train_list is None and validation_list is None:
        return None
    if train_list is None or validation_list is None:
        there, lacking = ("validation_list", "train_list") if train_list is None else ("train_list", "validation_list")
        raise DataError(f"an image folder with a {there} needs a {lacking} too, or neither and folders of classes")
    return find_list(train_list, root, folder), find_list(validation_list, root, folder)


def _imagefolder(name: str, folder: Path, size: int, lists: tuple[Path, Path] | None) -> Dataset:
    def decode(listed: Listing) -> Dataset:
        return _imagefolder_of(name, readers.decoded(FolderSource(folder), listed, size, fit=True))

    if lists is None:
        marks = _tree_fingerprint(folder, HELD_OUT)
        dataset = _cached(f"{name}@{size}", lambda: decode(readers.of_folders(FolderSource(folder), HELD_OUT)), marks)
    else:
        from kdnb.scale import listing

        listed = listing.of_lists(folder, *lists)
        dataset = _cached(f"{name}@{size}", lambda: decode(listed), listing_fingerprint(folder, listed))
    return replace(dataset, name=without_path(folder))


def without_path(folder: Path) -> str:
    """The path is this machine's: what the data set is called elsewhere must not depend on it."""
    return f"imagefolder:{folder.resolve().name}"


def _imagefolder_of(name: str, content: Content) -> Dataset:
    """In an order that a renamed file does not change, as it does not change the content hash."""
    train, validation = (
        _sorted(split, list(zip(split.labels.tolist(), _digests(split), strict=True)))
        for split in (content.train, content.validation)
    )
    return Dataset(name, content.classes, train, validation, IMAGENET_MEAN, IMAGENET_STD)


def _fingerprint(paths: Any) -> str:
    """Path and marks of each file: enough to see that a file is another."""
    marks = []
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            raise DataError(f"{path} is missing; fetch the data set again, or remove {path.parent}") from None
        marks.append([str(path.resolve()), *_marks(status)])
    return json.dumps(marks)


def _marks(status: os.stat_result) -> tuple[int, ...]:
    """Size and times of a file, and which file it is: a copy that replaces it keeps its size and one time at most."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def listing_fingerprint(folder: Path, listed: Listing) -> str:
    """A digest over classes, labels, names and marks of all listed files."""
    marks = [
        (file, label, *_marks((folder / file).stat()))
        for part in (listed.train, listed.validation)
        for file, label in zip(part.files, part.labels.tolist(), strict=True)
    ]
    split = len(listed.train)
    return hashlib.sha256(json.dumps([str(folder.resolve()), listed.classes, split, marks]).encode()).hexdigest()


def _tree_fingerprint(folder: Path, validation: tuple[str, ...]) -> str:
    """A digest over names and marks of all files in the splits of a tree of images, and over its class folders."""
    source, splits = FolderSource(folder), (readers.TRAIN, *validation)
    files = [(name, *_marks((folder / name).stat())) for name in source.files(splits)]
    return hashlib.sha256(json.dumps([str(folder.resolve()), files, source.folders(splits)]).encode()).hexdigest()


# -- what is there ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """Whether a data set can be loaded from what is on this machine, and from where; else how to get it."""

    name: str
    present: bool
    note: str


def survey(root: str | Path | None = None) -> list[Found]:
    """What `load` would find, without decoding anything."""
    folder = data_root(root)
    places = [
        path for path in (folder / "cifar-100-python", folder / "cifar100", folder / "cifar100.zip") if path.exists()
    ]
    fetch_cifar = f'python -c "import torchvision; torchvision.datasets.CIFAR100({str(folder)!r}, download=True)"'
    free = shutil.disk_usage(next(path for path in (cache_root(), *cache_root().parents) if path.exists())).free
    return [
        Found("digits", True, "in scikit-learn"),
        Found("cifar100", bool(places), str(places[0]) if places else f"get it with: {fetch_cifar}"),
        Found("cache", True, f"{cache_root()} ({free / 2**30:.0f} GiB free)"),
    ]
