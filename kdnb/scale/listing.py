"""Which files are the images of which class: what a tree of folders says, or lists as those of ImageNet-LT.

A list has a line for each image: its path within the folder and the number of its class, as
``train/n01440764/n01440764_190.JPEG 0``. Classes are numbered from 0 without a gap. They are called as the folders that
hold their training images, where each has one of its own, and by their numbers where not.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import torch

from kdnb.errors import DataError
from kdnb.images.readers import Listing, Part


def of_lists(folder: Path, train: Path, validation: Path) -> Listing:
    """What two lists say of the images in a folder, in the order of their paths.

    Raises:
        DataError: a list is no readable text or empty; a line has no path or no whole number; a path stands there twice; images
            are not in the folder; a class has no training image.
    """
    trained, shown = _read(train), _read(validation)
    known = sorted(set(trained.values()))
    count = len(known)
    if known[-1] != count - 1:
        empty = next(place for place, label in enumerate(known) if place != label)
        raise DataError(
            f"{train}: {len(trained)} images have labels up to {known[-1]}, and none has {empty}; labels go from 0 without "
            "a gap"
        )
    beyond = sorted(set(shown.values()) - set(known))
    if beyond:
        raise DataError(
            f"{validation} has images of class {beyond[0]}, and {train} has the classes 0 to {count - 1}; name the lists "
            "of one data set"
        )
    for path, lines in ((train, trained), (validation, shown)):
        missing = [name for name in lines if not (folder / name).is_file()]
        if missing:
            raise DataError(
                f"{path}: {len(missing)} of {len(lines)} images are not in {folder}, the first {missing[0]}; fetch them, or "
                "name the folder that the paths in the list begin at"
            )
    return Listing(_classes(trained, count), _part(trained), _part(shown))


def _read(path: Path) -> dict[str, int]:
    """Path → label."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable text file ({error})") from None
    found: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"(\S.*?)\s+([0-9]{1,9})", line.strip())
        if match is None:
            raise DataError(
                f"{path}, line {number}: {line.strip()!r} does not end with the whole number of a class; expected "
                "path/to/image.jpeg 12"
            )
        name, label = match.groups()
        if name in found:
            raise DataError(f"{path}, line {number}: {name} stood there before; name each image once")
        found[name] = int(label)
    if not found:
        raise DataError(f"{path} names no image; expected lines as path/to/image.jpeg 12")
    return found


def _part(lines: Mapping[str, int]) -> Part:
    names = sorted(lines)
    return Part(tuple(names), torch.tensor([lines[name] for name in names], dtype=torch.int64))


def _classes(lines: Mapping[str, int], count: int) -> tuple[str, ...]:
    folders: defaultdict[int, set[str]] = defaultdict(set)
    for name, label in lines.items():
        folders[label].add(PurePosixPath(name).parent.name)
    named: Sequence[str] = ["/".join(sorted(folders[label])) for label in range(count)]
    if all(len(each) == 1 for each in folders.values()) and len(set(named)) == count and all(named):
        return tuple(named)
    return tuple(str(label) for label in range(count))
