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

    def __str__(self) -> str:
        parts = []
        if self.in_both:
            parts.append(
                f"{_many(self.in_both, 'validation image')} also in training, so validation is easier than it looks"
            )
        if self.in_two_classes:
            parts.append(
                f"{_many(self.in_two_classes, 'image')} in more than one class, so no network can get all right"
            )
        return "; ".join(parts)


def _many(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"


def repeats(dataset: Dataset) -> Repeats:
    """Counts equal images across the splits and across classes; what is merely similar is not found."""
    classes: defaultdict[bytes, set[int]] = defaultdict(set)
    train, validation = dataset.train.fingerprints(), dataset.validation.fingerprints()
    for split, digests in ((dataset.train, train), (dataset.validation, validation)):
        for digest, label in zip(digests, split.labels.tolist(), strict=True):
            classes[digest].add(label)
    known = set(train)
    return Repeats(sum(each in known for each in validation), sum(len(labels) > 1 for labels in classes.values()))
