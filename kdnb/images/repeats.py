"""Images that a data set holds twice, counted: they make validation easier than it looks, or labels contradict each other."""

from collections import defaultdict
from dataclasses import dataclass

from kdnb.images.datasets import Dataset


@dataclass(frozen=True)
class Repeats:
    """Counts of images with equal pixels."""

    in_both: int
    """validation images that are training images, too"""
    in_two_classes: int
    """different images, of either split, that stand in more than one class"""
    first_in_both: tuple[str, ...] = ()
    """names of the first of them, `NAMED` at most"""
    first_in_two_classes: tuple[str, ...] = ()
    """likewise; one name for each image"""

    def __str__(self) -> str:
        parts = []
        if self.in_both:
            parts.append(
                f"{_many(self.in_both, 'validation image')} also in training, so validation is easier than it looks: "
                f"{_first(self.first_in_both, self.in_both)}"
            )
        if self.in_two_classes:
            parts.append(
                f"{_many(self.in_two_classes, 'image')} in more than one class, so no network can get all right: "
                f"{_first(self.first_in_two_classes, self.in_two_classes)}"
            )
        return "; ".join(parts)


NAMED = 3
"""images that are named"""


def _first(names: tuple[str, ...], count: int) -> str:
    return ", ".join(names) + (", …" if len(names) < count else "")


def _many(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"


def repeats(dataset: Dataset) -> Repeats:
    """Counts equal images across the splits and across classes; what is merely similar is not found."""
    classes: defaultdict[bytes, set[int]] = defaultdict(set)
    called: dict[bytes, str] = {}
    train, validation = dataset.train.fingerprints(), dataset.validation.fingerprints()
    for split, digests in ((dataset.train, train), (dataset.validation, validation)):
        for digest, label, name in zip(digests, split.labels.tolist(), split.names, strict=True):
            classes[digest].add(label)
            called.setdefault(digest, name)
    known = set(train)
    both = [name for name, each in zip(dataset.validation.names, validation, strict=True) if each in known]
    torn = [called[each] for each, labels in classes.items() if len(labels) > 1]
    return Repeats(len(both), len(torn), tuple(both[:NAMED]), tuple(torn[:NAMED]))
