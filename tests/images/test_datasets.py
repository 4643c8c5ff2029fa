"""A name becomes the right images, from whichever files hold them, or one error that says what to do."""

import io
import os
import pickle
import re
import shlex
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from kdnb.errors import DataError
from kdnb.images import datasets, readers
from kdnb.images.datasets import Dataset, Draws, Split, content_hash, load
from tests.conftest import cache_of

CLASSES = ("apple", "bear", "worm")
IMB100 = "cifar100_train_imb100.txt"

Pictures = dict[str, np.ndarray]


def pictures(train: int = 4, test: int = 2, classes: Iterable[str] = CLASSES) -> Pictures:
    """Random 32×32 images, keyed by ``split/class/file``."""
    random = np.random.default_rng(0)
    return {
        f"{split}/{label}/{label}_s_{number:06d}.png": random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        for split, count in (("train", train), ("test", test))
        for label in classes
        for number in range(count)
    }


def png(image: np.ndarray | Image.Image, kind: str = "png", **options) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def write_tree(folder: Path, images: Pictures) -> Path:
    for name, image in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return folder


def write_zip(root: Path, images: Pictures) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(root / "cifar100.zip", "w") as archive:
        for name, image in images.items():
            archive.writestr(f"cifar100/{name}", png(image))
    return root / "cifar100.zip"


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes alike as byte strings, as Python 2 wrote the official files."""

    def save_byte_string(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, str: save_byte_string, bytes: save_byte_string}


def python2_pickle(content: object) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


def official(images: Pictures) -> dict[str, dict[str, object]]:
    """What the three official files hold; images in the order given."""
    classes = sorted({name.split("/")[1] for name in images})
    content: dict[str, dict[str, object]] = {"meta": {"fine_label_names": classes, "coarse_label_names": ["all"]}}
    for split in ("train", "test"):
        chosen = [name.split("/") for name in images if name.startswith(f"{split}/")]
        content[split] = {
            "filenames": [file for _, _, file in chosen],
            "batch_label": f"{split}ing batch 1 of 1",
            "fine_labels": [classes.index(label) for _, label, _ in chosen],
            "coarse_labels": [0] * len(chosen),
            "data": np.stack([images["/".join(parts)].transpose(2, 0, 1).ravel() for parts in chosen]),
        }
    return content


def write_pickles(root: Path, images: Pictures) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for part, content in official(images).items():
        (folder / part).write_bytes(python2_pickle(content))
    return folder


def flat(mode: str, colour: object, size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new(mode, size, colour)


def twelve_bits(shade: int, side: int = 8) -> bytes:
    """A TIFF of one shade with 12 bits a pixel, two pixels in three bytes, which Pillow reads and does not write."""
    pixels = (shade << 12 | shade).to_bytes(3, "big") * (side * side // 2)
    tags = {256: side, 257: side, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: side, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


def palette(red: int, green: int, blue: int) -> Image.Image:
    image = Image.new("P", (24, 24), 1)
    image.putpalette([0, 0, 0, red, green, blue])
    return image


def shuffled(split: Split, seed: int) -> Split:
    return split.select(np.random.default_rng(seed).permutation(len(split)))


def refuse(*_: object) -> None:
    raise AssertionError("called")


@pytest.fixture(autouse=True)
def _small_cifars_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that tests write have three classes of a few images."""
    monkeypatch.setattr(datasets, "CIFAR100_IMAGES", None)


@pytest.fixture(scope="session")
def cifar100(cifar100_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The real CIFAR-100, decoded once into the cache that all tests share."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KDNB_CACHE", str(cache_of(tmp_path_factory)))
        return load("cifar100", root=cifar100_root)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDNB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# -- digits ----------------------------------------------------------------------------------------------------------


def test_digits_are_599_training_and_1198_validation_images(digits):
    assert digits.classes == tuple("0123456789")
    assert digits.train.images.shape == (599, 3, 32, 32)
    assert digits.validation.images.shape == (1198, 3, 32, 32)
    assert digits.train.images.dtype == digits.validation.images.dtype == torch.uint8
    assert digits.side == 32


def test_digits_share_no_image_between_splits(digits):
    assert len({*digits.train.names, *digits.validation.names}) == 1797


def test_digits_train_on_a_third_of_each_class(digits):
    train, validation = (torch.bincount(split.labels) for split in (digits.train, digits.validation))
    assert (train - (train + validation) / 3).abs().max() <= 1


def test_digits_are_the_original_scans_enlarged(digits):
    """Mean of a 4×4 block of a bilinear enlargement: 3/4 of its pixel and 1/8 of each neighbour, along each axis."""
    scans, labels = load_digits(return_X_y=True)
    for split in (digits.train, digits.validation):
        number = [int(name.split("/")[1]) for name in split.names]
        original = np.pad(scans[number].reshape(-1, 8, 8) * 255 / 16, ((0, 0), (1, 1), (1, 1)), mode="edge")
        rows = original[:, :-2] / 8 + original[:, 1:-1] * 3 / 4 + original[:, 2:] / 8
        expected = rows[:, :, :-2] / 8 + rows[:, :, 1:-1] * 3 / 4 + rows[:, :, 2:] / 8
        for channel in range(3):
            blocks = split.images[:, channel].numpy().reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
            assert np.abs(blocks - expected).max() <= 0.5
        assert split.labels.tolist() == labels[number].tolist()


# -- the real CIFAR-100 ----------------------------------------------------------------------------------------------


def test_cifar100_has_500_training_and_100_test_images_a_class(cifar100):
    assert cifar100.train.images.shape == (50_000, 3, 32, 32)
    assert cifar100.validation.images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(cifar100.train.labels).tolist() == [500] * 100
    assert torch.bincount(cifar100.validation.labels).tolist() == [100] * 100


def test_cifar100_numbers_its_classes_in_the_alphabet_as_the_official_labels_do(cifar100):
    assert list(cifar100.classes) == sorted(set(cifar100.classes))
    standard = {0: "apple", 1: "aquarium_fish", 2: "baby", 30: "dolphin", 47: "maple_tree", 85: "tank", 99: "worm"}
    assert {number: cifar100.classes[number] for number in standard} == standard
    for split in (cifar100.train, cifar100.validation):
        assert [cifar100.classes[label] for label in split.labels] == [name.split("/")[0] for name in split.names]


def decode_png(content: bytes) -> np.ndarray:
    """An 8-bit RGB image without interlacing, by the PNG specification's chunks and filters."""
    place, compressed = 8, b""
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        body = content[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, *form = struct.unpack(">IIBBBBB", body)
            assert form == [8, 2, 0, 0, 0]
        compressed += body if kind == b"IDAT" else b""
        place += 12 + length
    lines = np.frombuffer(zlib.decompress(compressed), np.uint8).reshape(height, 1 + 3 * width).astype(int)
    pixels = np.zeros((height + 1, 3 * width + 3), dtype=int)
    for y, (method, *line) in enumerate(lines, start=1):
        for x, value in enumerate(line, start=3):
            left, up, corner = pixels[y, x - 3], pixels[y - 1, x], pixels[y - 1, x - 3]
            paeth = min((left, up, corner), key=lambda near: abs(left + up - corner - near))
            pixels[y, x] = (value + (0, left, up, (left + up) // 2, paeth)[method]) % 256
    return pixels[1:, 3:].reshape(height, width, 3)


@pytest.mark.parametrize("place", [0, 12_345, 49_999])
def test_an_image_of_cifar100_is_its_png_decoded_by_hand(cifar100, cifar100_root, place):
    with zipfile.ZipFile(cifar100_root / "cifar100.zip") as archive:
        content = archive.read(f"cifar100/train/{cifar100.train.names[place]}")
    assert (cifar100.train.images[place].permute(1, 2, 0).numpy() == decode_png(content)).all()


def test_a_second_load_decodes_nothing_and_gives_the_same(cifar100, cifar100_root, monkeypatch):
    monkeypatch.setattr(readers, "_decode", refuse)
    again = load("cifar100", root=cifar100_root)
    assert replace(again, train=cifar100.train, validation=cifar100.validation) == cifar100
    for one, other in ((again.train, cifar100.train), (again.validation, cifar100.validation)):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert one.names == other.names


def test_cifar100_50_is_a_balanced_part_of_cifar100_with_the_full_test_set(cifar100, cifar100_root):
    subset = load("cifar100-50", root=cifar100_root)
    assert torch.bincount(subset.train.labels).tolist() == [50] * 100
    place = {name: index for index, name in enumerate(cifar100.train.names)}
    same = cifar100.train.select([place[name] for name in subset.train.names])
    assert torch.equal(subset.train.images, same.images)
    assert torch.equal(subset.train.labels, same.labels)
    assert torch.equal(subset.validation.images, cifar100.validation.images)
    assert subset.hash == content_hash(subset) != cifar100.hash


def test_cifar100_imb100_keeps_what_the_long_tail_formula_says(cifar100_root):
    counts = torch.bincount(load("cifar100-imb100", root=cifar100_root).train.labels).tolist()
    assert counts == [int(500 * 0.01 ** (c / 99)) for c in range(100)]
    assert (counts[0], counts[-1], sum(counts)) == (500, 5, 10_847)


def test_the_papers_list_gives_exactly_its_10847_images(cifar100_root):
    names = (resources.files("kdnb") / "data" / IMB100).read_text().split()
    subset = load("cifar100-imb100", root=cifar100_root, train_list=IMB100)
    assert len(subset.train) == len(names) == 10_847
    assert set(subset.train.names) == set(names)
    assert torch.bincount(subset.train.labels).tolist() == datasets.long_tail(100)


# -- CIFAR-100 from small files --------------------------------------------------------------------------------------


def test_pickles_tree_and_zip_hold_the_same_data_set(tmp_path):
    images = pictures()
    write_pickles(tmp_path / "pickles", dict(reversed(images.items())))
    write_tree(tmp_path / "tree" / "cifar100", images)
    write_zip(tmp_path / "zip", images)
    loaded = [load("cifar100", root=tmp_path / kind) for kind in ("pickles", "tree", "zip")]
    assert len({dataset.hash for dataset in loaded}) == 1
    # The same order too: batches, views and samples go by place, and runs of one hash share their ids.
    assert len({(dataset.train.names, dataset.validation.names) for dataset in loaded}) == 1
    for dataset in loaded:
        assert dataset.classes == CLASSES
        for folder, split in (("train", dataset.train), ("test", dataset.validation)):
            assert {f"{folder}/{name}" for name in split.names} == {key for key in images if key.startswith(folder)}
            for name, label, image in zip(split.names, split.labels, split.images, strict=True):
                assert (image.permute(1, 2, 0).numpy() == images[f"{folder}/{name}"]).all()
                assert dataset.classes[label] == name.split("/")[0]


def test_pickles_come_before_the_tree_and_the_tree_before_the_zip(tmp_path):
    write_zip(tmp_path, pictures(train=3))
    assert len(load("cifar100", root=tmp_path).train) == 9
    write_tree(tmp_path / "cifar100", pictures(train=2))
    assert len(load("cifar100", root=tmp_path).train) == 6
    write_pickles(tmp_path, pictures(train=1))
    assert len(load("cifar100", root=tmp_path).train) == 3


class Call:
    """Unpickled by a careless reader, it calls a function."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


CALLS = {
    "mkdir": lambda mark: Call(os.mkdir, mark),
    "system": lambda mark: Call(os.system, f"echo > {mark}"),
    "eval": lambda mark: Call(eval, f"__import__('os').mkdir({mark!r})"),
    "numpy's": lambda mark: Call(np.savetxt, mark, [0]),
}


@pytest.mark.parametrize("part", ["meta", "train", "test"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path, part, call):
    path = write_pickles(tmp_path, pictures()) / part
    mark = tmp_path / "mark"
    harmless = official(pictures())[part]
    path.write_bytes(pickle.dumps(harmless, protocol=4))
    assert load("cifar100", root=tmp_path).classes == CLASSES
    harmful = pickle.dumps(harmless | {"extra": call(str(mark))}, protocol=4)
    path.write_bytes(harmful)
    with pytest.raises(DataError, match=re.escape(str(path))):
        load("cifar100", root=tmp_path)
    assert not mark.exists()
    pickle.loads(harmful)
    assert mark.exists(), "nothing would have run, so the test proves nothing"


def test_a_missing_pickle_is_named(tmp_path):
    (write_pickles(tmp_path, pictures()) / "test").unlink()
    with pytest.raises(DataError, match="test is missing"):
        load("cifar100", root=tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: python2_pickle(["no", "dictionary"]),
        lambda content: python2_pickle({"labels": [0]}),
        lambda content: python2_pickle({**official(pictures())["train"], "fine_labels": [0]}),
        lambda content: python2_pickle({**official(pictures())["train"], "fine_labels": [7] * 12}),
        lambda content: python2_pickle({**official(pictures())["train"], "filenames": ["a.png"]}),
        lambda content: python2_pickle({**official(pictures())["train"], "data": np.zeros((12, 100), np.uint8)}),
    ],
    ids=["truncated", "empty", "a list", "no images", "labels lack", "no such label", "names lack", "wrong side"],
)
def test_a_damaged_pickle_is_one_error_that_names_it(tmp_path, damage):
    path = write_pickles(tmp_path, pictures()) / "train"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=re.escape(str(path))):
        load("cifar100", root=tmp_path)


def as_bytes(content):
    """What Python 3 makes of an official pickle that it is told to read as bytes."""
    if isinstance(content, str):
        return content.encode("latin1")
    if isinstance(content, dict):
        return {as_bytes(key): as_bytes(value) for key, value in content.items()}
    return [as_bytes(each) for each in content] if isinstance(content, list) else content


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("keys", [dict, as_bytes], ids=["text", "bytes"])
def test_pickles_that_python_3_wrote_are_read(tmp_path, protocol, keys):
    write_pickles(tmp_path / "official", pictures())
    folder = write_pickles(tmp_path / "again", pictures())
    for part, content in official(pictures()).items():
        (folder / part).write_bytes(pickle.dumps(keys(content), protocol=protocol))
    again = load("cifar100", root=tmp_path / "again")
    assert again.train.names == load("cifar100", root=tmp_path / "official").train.names
    assert again.hash == load("cifar100", root=tmp_path / "official").hash


def test_a_pickle_may_name_no_codec_but_that_of_bytes(tmp_path):
    path = write_pickles(tmp_path, pictures()) / "train"
    path.write_bytes(b"c_codecs\nencode\n(Vx\nVrot13\ntR.")
    with pytest.raises(DataError, match="the codec 'rot13' is not latin1"):
        load("cifar100", root=tmp_path)


def test_a_truncated_zip_is_named(tmp_path):
    archive = write_zip(tmp_path, pictures())
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cifar100\.zip is not a whole zip file.*fetch it again"):
        load("cifar100", root=tmp_path)


def test_a_flipped_byte_in_the_zip_names_the_image(tmp_path):
    archive = write_zip(tmp_path, pictures())
    content = bytearray(archive.read_bytes())
    content[content.index(b"IDAT") + 100] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"train/apple/apple_s_000000\.png cannot be decoded"):
        load("cifar100", root=tmp_path)


def test_an_image_of_another_size_is_no_cifar_image(tmp_path):
    images = pictures() | {"train/bear/large.png": np.zeros((40, 33, 3), np.uint8)}
    write_tree(tmp_path / "cifar100", images)
    with pytest.raises(DataError, match=r"train/bear/large\.png is 33×40 pixels; expected 32×32"):
        load("cifar100", root=tmp_path)


@pytest.mark.parametrize(
    "error", [OSError("no route to host\nat all"), TimeoutError()], ids=["said why", "said nothing"]
)
def test_where_cifar100_is_missing_and_the_net_is_down_the_error_says_where_to_put_it(tmp_path, monkeypatch, error):
    def down(*_):
        raise error

    monkeypatch.setattr(datasets, "_torchvision", down)
    with pytest.raises(DataError) as caught:
        load("cifar100", root=tmp_path / "data")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("cifar100", str(tmp_path / "data"), "--data-root", "KDNB_DATA"):
        assert part in message


def test_cifar100_is_read_once_it_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_torchvision", lambda root: write_pickles(root, pictures()))
    downloaded = load("cifar100", root=tmp_path)
    monkeypatch.setattr(datasets, "_torchvision", refuse)
    assert load("cifar100", root=tmp_path).hash == downloaded.hash
    assert len(downloaded.train) == 12


# -- subsets ---------------------------------------------------------------------------------------------------------


def test_a_subset_depends_on_the_seed_and_not_on_the_order_of_files(tmp_path):
    images = pictures(train=20)
    names = list(images)
    np.random.default_rng(0).shuffle(names)
    write_pickles(tmp_path / "one", images)
    write_pickles(tmp_path / "other", {name: images[name] for name in names})
    one, other = (load("cifar100-5", root=tmp_path / root) for root in ("one", "other"))
    assert one.train.names == other.train.names
    assert torch.equal(one.train.images, other.train.images)
    assert one.hash == other.hash
    assert load("cifar100-5", root=tmp_path / "one", split_seed=1).hash != one.hash


def test_a_larger_subset_of_the_same_seed_holds_the_smaller(tmp_path):
    write_pickles(tmp_path, pictures(train=20))
    small, large = (load(f"cifar100-{count}", root=tmp_path, split_seed=3) for count in (4, 9))
    assert set(small.train.names) < set(large.train.names)


@pytest.mark.parametrize("count", [0, 5])
def test_more_images_than_a_class_has_or_none_are_refused(tmp_path, count):
    write_pickles(tmp_path, pictures(train=4))
    with pytest.raises(DataError, match=rf"asks for {count} training images of class 'apple'.* from 1 to 4"):
        load(f"cifar100-{count}", root=tmp_path)


def test_draws_are_disjoint_and_leave_out_what_is_set_aside(tmp_path):
    write_pickles(tmp_path, pictures(train=20))
    aside = set(load("cifar100-5", root=tmp_path).train.names)
    draws = [load("cifar100-3", root=tmp_path, draws=Draws(4, set_aside=5, number=number)) for number in range(4)]
    for number, draw in enumerate(draws):
        own, others = set(draw.train.names), set(draw.draws.names)
        assert torch.bincount(draw.train.labels).tolist() == [3] * len(CLASSES)
        assert torch.bincount(draw.draws.labels).tolist() == [9] * len(CLASSES)
        assert not own & others
        assert not (own | others) & aside
        assert others == {name for other in draws for name in other.train.names if other is not draw}
        assert draw.name == f"cifar100-3-draw-{number}"
        assert draw.hash == content_hash(draw)
    assert len({draw.hash for draw in draws}) == 4
    whole = load("cifar100-3", root=tmp_path, draws=Draws(4, set_aside=5))
    assert set(whole.train.names) == {name for draw in draws for name in draw.train.names}
    assert whole.draws is None


def test_a_union_of_draws_goes_round_and_is_judged_on_the_rest(tmp_path):
    write_pickles(tmp_path, pictures(train=20))
    draws = [load("cifar100-3", root=tmp_path, draws=Draws(4, number=number)) for number in range(4)]
    union = load("cifar100-3", root=tmp_path, draws=Draws(4, together=3, number=2))
    assert set(union.train.names) == {name for number in (2, 3, 0) for name in draws[number].train.names}
    assert set(union.draws.names) == set(draws[1].train.names)


def test_a_pilot_takes_about_as_many_images_of_each_draw_and_a_draws_number_in_all(cifar100_root):
    draws = [load("cifar100-50", root=cifar100_root, draws=Draws(7, 150, number=number)) for number in range(7)]
    pilot = load("cifar100-50", root=cifar100_root, draws=Draws(7, 150, number="across"))
    assert torch.bincount(pilot.train.labels).tolist() == [50] * 100
    shares = [len(set(pilot.train.names) & set(draw.train.names)) / 100 for draw in draws]
    assert set(shares) == {7.0, 8.0}
    assert len(pilot.draws) == 30_000


def test_what_a_split_without_draws_hashes_to_is_as_it_was(few_digits):
    with_draws = replace(few_digits, draws=few_digits.validation)
    assert content_hash(few_digits) == few_digits.hash
    assert content_hash(with_draws) != few_digits.hash


@pytest.mark.parametrize(
    ("name", "draws", "message"),
    [
        ("cifar100-3", Draws(4, 5, number=4), "cifar100-3 has no draw 4: its 4 draws are 0 to 3"),
        (
            "cifar100-4",
            Draws(4, 5, number=0),
            "4 draws of 4 after 5 set aside are 21 images of class 'apple', which has 20",
        ),
        ("cifar100-3", Draws(4, 0, 4, 0), "4 of 4 draws cannot be one"),
        (
            "cifar100-3-rest",
            Draws(4),
            "draws are of a subset of n images a class, as cifar100-50, not of 'cifar100-3-rest'",
        ),
        ("digits", Draws(4), "not of 'digits'"),
    ],
)
def test_draws_that_cannot_be_are_refused_with_the_numbers(tmp_path, name, draws, message):
    write_pickles(tmp_path, pictures(train=20))
    with pytest.raises(DataError, match=message):
        load(name, root=tmp_path, draws=draws)


@pytest.mark.parametrize("factor", [0, 1000])
def test_an_imbalance_that_would_leave_a_class_empty_is_refused(cifar100_root, factor):
    with pytest.raises(DataError, match=f"cifar100-imb{factor}"):
        load(f"cifar100-imb{factor}", root=cifar100_root)


@pytest.mark.parametrize("factor", [1, 10, 50, 100, 500])
def test_the_long_tail_falls_from_500_by_its_factor(factor):
    counts = datasets.long_tail(factor)
    assert (counts[0], counts[-1], len(counts)) == (500, 500 // factor, 100)
    assert counts == sorted(counts, reverse=True)


def listed(tmp_path: Path, *lines: str) -> Dataset:
    """The subset of a small CIFAR-100 whose training images are the lines of a file."""
    if not (tmp_path / "cifar-100-python").exists():
        write_pickles(tmp_path, pictures())
    (tmp_path / "list.txt").write_text("".join(f"{line}\n" for line in lines))
    return load("cifar100-2", root=tmp_path, train_list="list.txt")


APPLE, BEAR, WORM = (f"{label}/{label}_s_000001.png" for label in CLASSES)


def test_a_list_in_the_data_root_decides_the_training_images(tmp_path):
    assert set(listed(tmp_path, WORM, APPLE, BEAR).train.names) == {APPLE, BEAR, WORM}


def test_a_list_that_names_no_image_says_in_which_line(tmp_path):
    with pytest.raises(DataError, match=r"list\.txt, line 3: there is no training image 'bear/none\.png'"):
        listed(tmp_path, APPLE, BEAR, "bear/none.png", WORM)


def test_blank_lines_of_a_list_are_counted(tmp_path):
    with pytest.raises(DataError, match="line 4: there is no training image"):
        listed(tmp_path, APPLE, "", "", "bear/none.png")


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path):
    """As Windows' editors write it."""
    assert set(listed(tmp_path, f"\ufeff{WORM}", APPLE, BEAR).train.names) == {APPLE, BEAR, WORM}


def test_a_list_names_an_image_once(tmp_path):
    with pytest.raises(DataError, match=f"names {BEAR!r} twice"):
        listed(tmp_path, APPLE, BEAR, WORM, BEAR)


@pytest.mark.parametrize(("lines", "empty"), [((APPLE, BEAR), "worm"), ((), "apple")])
def test_a_list_leaves_no_class_empty(tmp_path, lines, empty):
    with pytest.raises(DataError, match=f"no image of class '{empty}'"):
        listed(tmp_path, *lines)


def test_a_list_is_looked_for_as_a_path_then_in_the_root_then_in_the_package(tmp_path, monkeypatch):
    root, here = tmp_path / "root", tmp_path / "here"
    for folder in (root, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    assert datasets.find_list(IMB100, root).parent.name == "data"
    (root / IMB100).touch()
    assert datasets.find_list(IMB100, root) == root / IMB100
    (here / IMB100).touch()
    assert datasets.find_list(IMB100, root).samefile(here / IMB100)
    with pytest.raises(DataError, match=r"no list of images 'none\.txt'"):
        datasets.find_list("none.txt", root)


@pytest.mark.parametrize("name", ["digits", "cifar100"])
def test_only_subsets_and_image_folders_take_a_list(name):
    with pytest.raises(DataError, match=f"subset of cifar100 or an image folder, not with '{name}'"):
        load(name, train_list=IMB100)
    with pytest.raises(DataError, match=f"a list of validation images .* goes with an image folder, not with '{name}'"):
        load(name, validation_list=IMB100)


# -- content hash ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20, database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_content_hash_is_the_same_in_any_order_and_under_any_file_names(few_digits, seed):
    train = shuffled(few_digits.train, seed)
    renamed = replace(train, names=tuple(f"{seed}/{number}" for number in range(len(train))))
    moved = replace(few_digits, name="elsewhere", train=renamed, validation=shuffled(few_digits.validation, seed))
    assert content_hash(moved) == few_digits.hash


@settings(deadline=None, max_examples=20, database=None)
@given(part=st.sampled_from(["train", "validation"]), data=st.data())
def test_content_hash_changes_with_one_pixel_and_with_one_label(few_digits, part, data):
    split = getattr(few_digits, part)
    images, labels = split.images.clone(), split.labels.clone()
    place = data.draw(st.integers(0, len(split) - 1))
    images.view(len(split), -1)[place, data.draw(st.integers(0, 3 * 32 * 32 - 1))] += 1
    labels[place] = (labels[place] + data.draw(st.integers(1, 9))) % 10
    for changed in (replace(split, images=images), replace(split, labels=labels)):
        assert content_hash(replace(few_digits, **{part: changed})) != few_digits.hash


def test_content_hash_knows_class_names_splits_and_repetitions(few_digits):
    train = few_digits.train
    for other in (
        replace(few_digits, classes=("zero", *few_digits.classes[1:])),
        replace(few_digits, train=few_digits.validation, validation=train),
        replace(few_digits, train=train.select([0, *range(len(train))])),
        replace(few_digits, train=train.select(range(1, len(train)))),
    ):
        assert content_hash(other) != few_digits.hash


# -- image folders ---------------------------------------------------------------------------------------------------


def pets(folder: Path, validation: str = "test") -> Path:
    """Two classes of one image in each split."""
    images = pictures(train=1, test=1, classes=("cat", "dog"))
    return write_tree(folder, {name.replace("test/", f"{validation}/"): image for name, image in images.items()})


@pytest.mark.parametrize(
    ("content", "suffix", "colour"),
    [
        (png(flat("L", 77, (20, 50))), "png", (77, 77, 77)),
        (png(flat("1", 1)), "png", (255, 255, 255)),
        (png(flat("RGBA", (10, 20, 30, 128))), "png", (10, 20, 30)),
        (png(palette(200, 30, 40)), "png", (200, 30, 40)),
        (png(palette(200, 30, 40), transparency=bytes([0, 128])), "png", (200, 30, 40)),
        (png(np.full((20, 40), 77 * 257, np.uint16)), "png", (77, 77, 77)),
        (png(flat("RGB", (90, 90, 90), (100, 60)), "jpeg"), "JPG", (90, 90, 90)),
        (png(flat("CMYK", (0, 0, 0, 0)), "jpeg"), "jpeg", (255, 255, 255)),
    ],
    ids=["grey", "black and white", "RGBA", "palette", "transparent palette", "16-bit grey", "jpg", "CMYK"],
)
def test_an_image_of_any_mode_and_size_becomes_rgb_of_the_size_asked_for(tmp_path, content, suffix, colour):
    path = pets(tmp_path / "pets") / "train" / "cat" / f"a.{suffix}"
    path.write_bytes(content)
    train = load(f"imagefolder:{tmp_path / 'pets'}", size=16).train
    image = train.images[train.names.index(f"cat/a.{suffix}")]
    assert image.shape == (3, 16, 16)
    assert (image.permute(1, 2, 0) == torch.tensor(colour)).all()


def test_a_wide_image_is_cropped_to_its_centre(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    write_tree(pets(tmp_path / "pets"), {"train/cat/a.png": wide})
    train = load(f"imagefolder:{tmp_path / 'pets'}", size=10).train
    assert (train.images[train.names.index("cat/a.png")][:, :, 1:-1] == 255).all()


@pytest.mark.parametrize("validation", ["test", "val", "validation"])
def test_an_image_folder_is_validated_on_test_val_or_validation(tmp_path, validation):
    dataset = load(f"imagefolder:{pets(tmp_path / 'pets', validation)}", size=32)
    assert dataset.classes == ("cat", "dog")
    assert dataset.validation.names == ("cat/cat_s_000000.png", "dog/dog_s_000000.png")
    assert dataset.validation.labels.tolist() == [0, 1]


def test_an_image_folder_is_the_same_wherever_it_lies(tmp_path):
    here, there = (load(f"imagefolder:{pets(tmp_path / place / 'pets')}", size=32) for place in ("here", "there"))
    assert here.name == there.name == "imagefolder:pets"
    assert here.hash == there.hash
    assert str(tmp_path) not in repr(here)


def test_links_to_nowhere_are_counted_and_named(tmp_path):
    """As git annex and DVC leave them for files that were not fetched."""
    folder = pets(tmp_path / "pets")
    load(f"imagefolder:{folder}", size=32)
    for name in ("b.png", "a.png"):
        (folder / "train" / "cat" / name).symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"2 links lead nowhere, the first train/cat/a\.png; fetch what they stand for"):
        load(f"imagefolder:{folder}", size=32)


def test_a_link_to_a_folder_above_it_is_named(tmp_path):
    folder = pets(tmp_path / "pets")
    (folder / "train" / "cat" / "again").symlink_to(folder / "train")
    with pytest.raises(DataError, match=r"train/cat/again.* is a link to a folder that holds it"):
        load(f"imagefolder:{folder}", size=32)


def test_images_in_subfolders_and_behind_links_to_folders_are_read(tmp_path):
    folder, more = pets(tmp_path / "pets"), tmp_path / "more"
    write_tree(folder, {"train/cat/kittens/a.png": np.zeros((32, 32, 3), np.uint8)})
    write_tree(more, {"b.png": np.ones((32, 32, 3), np.uint8)})
    (folder / "train" / "dog" / "puppies").symlink_to(more)
    train = load(f"imagefolder:{folder}", size=32).train
    assert {"cat/kittens/a.png", "dog/puppies/b.png"} < set(train.names)
    assert torch.bincount(train.labels).tolist() == [2, 2]


def test_every_ending_that_pillow_reads_is_an_image(tmp_path):
    folder = pets(tmp_path / "pets")
    (folder / "train" / "cat" / "a.jfif").write_bytes(png(flat("RGB", (90, 90, 90)), "jpeg"))
    (folder / "train" / "cat" / "b.TIF").write_bytes(png(flat("RGB", (9, 9, 9)), "tiff"))
    assert len(load(f"imagefolder:{folder}", size=32).train) == 4


def test_a_file_that_may_be_an_image_is_never_left_out_in_silence(tmp_path):
    folder = pets(tmp_path / "pets")
    for name in ("a.heic", "b.raw"):
        (folder / "train" / "cat" / name).write_bytes(b"?")
    with pytest.raises(DataError, match=r"2 files are no images that can be read here, the first train/cat/a\.heic"):
        load(f"imagefolder:{folder}", size=32)


def test_what_is_known_to_be_no_image_is_left_out(tmp_path):
    folder = pets(tmp_path / "pets")
    before = load(f"imagefolder:{folder}", size=32)
    for name in ("train/cat/.DS_Store", "train/cat/Thumbs.db", "train/notes.txt", "test/dog/LICENSE", "poster.png"):
        (folder / name).write_bytes(b"?")
    write_tree(folder, {"train/cat/.ipynb_checkpoints/a.png": np.zeros((32, 32, 3), np.uint8)})
    assert load(f"imagefolder:{folder}", size=32).hash == before.hash


def test_what_lies_beside_the_splits_is_not_looked_at(tmp_path):
    folder = pets(tmp_path / "pets")
    before = load(f"imagefolder:{folder}", size=32)
    for beside in (".git/hooks", "__MACOSX/train/cat", "raw/unsorted"):
        (folder / beside).mkdir(parents=True)
    (folder / "raw" / "gone.png").symlink_to(tmp_path / "gone.png")
    (folder / "__MACOSX" / "train" / "cat" / "._a.png").write_bytes(b"?")
    (folder / "train" / "cat" / "._cat_s_000000.png").write_bytes(b"?")
    assert load(f"imagefolder:{folder}", size=32).hash == before.hash


def test_a_folder_around_the_splits_is_named(tmp_path):
    pets(tmp_path / "pets" / "pets-1.0")
    with pytest.raises(DataError, match=r"pets has no train, and .*pets-1\.0 has one; name that folder"):
        load(f"imagefolder:{tmp_path / 'pets'}", size=32)


def test_a_split_that_is_a_link_to_nowhere_is_named(tmp_path):
    folder = pets(tmp_path / "pets")
    (folder / "train").rename(folder / "moved")
    (folder / "train").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="1 links lead nowhere, the first train"):
        load(f"imagefolder:{folder}", size=32)


def test_a_class_spelled_in_two_ways_is_named(tmp_path):
    """As folders from a Mac and from elsewhere do."""
    with zipfile.ZipFile(tmp_path / "cifar100.zip", "w") as archive:
        for name, image in pictures(classes=("caf\u00e9",)).items():
            archive.writestr(name.replace("test/caf\u00e9/", "test/cafe\u0301/"), png(image))
    with pytest.raises(DataError, match=r"spelled in two ways, 'cafe\\u0301' and 'caf\\xe9'; rename one"):
        load("cifar100", root=tmp_path)


def test_an_image_in_a_split_and_in_no_class_is_named(tmp_path):
    folder = write_tree(pets(tmp_path / "pets"), {"train/a.png": np.zeros((32, 32, 3), np.uint8)})
    with pytest.raises(DataError, match=r"1 images lie in a split and in no class, the first train/a\.png"):
        load(f"imagefolder:{folder}", size=32)


def test_a_photograph_is_turned_as_its_exif_orientation_says(tmp_path):
    folder, image = pets(tmp_path / "pets"), np.zeros((32, 32, 3), np.uint8)
    image[:16] = 255  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the upper half is the right one
    (folder / "train" / "cat" / "a.png").write_bytes(png(Image.fromarray(image), exif=exif))
    train = load(f"imagefolder:{folder}", size=32).train
    turned = train.images[train.names.index("cat/a.png")]
    assert (turned[:, :, 16:] == 255).all()
    assert (turned[:, :, :16] == 0).all()


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (b"P5 8 8 65535\n" + (77 * 257).to_bytes(2, "big") * 64, "pgm"),
        (png(np.full((8, 8), 77 * 257, np.uint16), "tiff"), "tiff"),
        (twelve_bits(77 << 4), "tiff"),
    ],
    ids=["16-bit PGM", "16-bit TIFF", "12-bit TIFF"],
)
def test_of_deeper_grey_the_highest_eight_bits_are_taken(tmp_path, content, suffix):
    folder = pets(tmp_path / "pets")
    (folder / "train" / "cat" / f"a.{suffix}").write_bytes(content)
    train = load(f"imagefolder:{folder}", size=8).train
    assert (train.images[train.names.index(f"cat/a.{suffix}")] == 77).all()


@pytest.mark.parametrize(("kind", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_pixels_of_unknown_range_are_refused(tmp_path, kind, mode):
    folder = pets(tmp_path / "pets")
    (folder / "train" / "cat" / "a.tiff").write_bytes(png(np.full((8, 8), 0.5, kind), "tiff"))
    with pytest.raises(DataError, match=rf"a\.tiff cannot be decoded .*of mode {mode}, whose range is not known"):
        load(f"imagefolder:{folder}", size=8)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are always text")
def test_a_name_that_is_no_text_is_named(tmp_path):
    folder = pets(tmp_path / "pets")
    os.rename(os.fsencode(folder / "train" / "cat"), os.fsencode(folder / "train") + b"/caf\xe9")
    with pytest.raises(DataError, match=r"the name b'train/caf.xe9/cat_s_000000\.png' is not UTF-8"):
        load(f"imagefolder:{folder}", size=8)


def test_a_single_training_image_is_refused(tmp_path):
    folder = write_tree(
        tmp_path / "one", {f"{split}/cat/a.png": np.zeros((8, 8, 3), np.uint8) for split in ("train", "test")}
    )
    with pytest.raises(DataError, match="has 1 training image; batch normalisation needs two"):
        load(f"imagefolder:{folder}", size=8)


def test_pixels_of_the_cache_that_were_changed_are_decoded_again(tmp_path, own_cache):
    folder = pets(tmp_path / "pets")
    before = load(f"imagefolder:{folder}", size=32)
    (cached,) = (own_cache / "decoded").glob("*.safetensors")
    content = bytearray(cached.read_bytes())
    content[-3000:] = bytes(3000)
    cached.write_bytes(content)
    with pytest.warns(UserWarning, match=r"is damaged \(it is not what was written\); decoding again"):
        again = load(f"imagefolder:{folder}", size=32)
    assert torch.equal(again.train.images, before.train.images)
    assert torch.equal(again.validation.images, before.validation.images)


def test_a_file_replaced_by_one_of_equal_size_and_time_is_seen(tmp_path):
    """As `rsync --times` does."""
    folder = pets(tmp_path / "pets")
    before = load(f"imagefolder:{folder}", size=8)
    file = folder / "train" / "cat" / "cat_s_000000.png"
    status, content = file.stat(), file.read_bytes()
    pixels = png(255 - np.asarray(Image.open(io.BytesIO(content))), compress_level=0)
    for one in (file, folder / "train" / "dog" / "dog_s_000000.png"):
        one.write_bytes(png(np.asarray(Image.open(one)), compress_level=0))
    status, first = file.stat(), load(f"imagefolder:{folder}", size=8)
    assert first.hash == before.hash
    assert len(pixels) == status.st_size
    (tmp_path / "new.png").write_bytes(pixels)
    os.utime(tmp_path / "new.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(tmp_path / "new.png", file)
    assert load(f"imagefolder:{folder}", size=8).hash != before.hash


def test_an_image_folder_named_by_a_dot_has_its_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(pets(tmp_path / "pets"))
    assert load("imagefolder:.", size=32).name == "imagefolder:pets"


def test_an_image_folder_is_read_again_when_an_image_changes(tmp_path):
    folder = pets(tmp_path / "pets")
    before = load(f"imagefolder:{folder}", size=32)
    write_tree(folder, {"train/cat/cat_s_000000.png": np.zeros((32, 32, 3), np.uint8)})
    after = load(f"imagefolder:{folder}", size=32)
    assert (after.train.images[after.train.names.index("cat/cat_s_000000.png")] == 0).all()
    assert after.hash != before.hash


def test_an_image_folder_whose_files_are_renamed_is_the_same_in_the_same_order(tmp_path):
    folder = pets(tmp_path / "pets")
    images = pictures(train=6)
    shades = [image for name, image in images.items() if name.startswith("train/")][:4]
    write_tree(folder, {f"train/cat/{number}.png": image for number, image in enumerate(shades)})
    before = load(f"imagefolder:{folder}", size=32)
    (folder / "train/cat/0.png").rename(folder / "train/cat/z.png")
    after = load(f"imagefolder:{folder}", size=32)
    assert set(after.train.names) != set(before.train.names)
    assert after.hash == before.hash
    assert torch.equal(after.train.images, before.train.images)


@pytest.mark.parametrize("size", [None, 0, 7])
def test_an_image_folder_needs_a_size(tmp_path, size):
    with pytest.raises(DataError, match=f"size of at least 8 pixels.* not {size}"):
        load(f"imagefolder:{pets(tmp_path / 'pets')}", size=size)


def test_only_image_folders_take_a_size():
    with pytest.raises(DataError, match=r"a size \(64\) goes with an image folder"):
        load("digits", size=64)


def test_an_image_folder_must_be_a_folder(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "nothing"):
        with pytest.raises(DataError, match=f"{name} is not a folder; expected <path>/train"):
            load(f"imagefolder:{tmp_path / name}", size=32)


@pytest.mark.parametrize(
    ("splits", "found", "mend"),
    [
        (["train"], "train", "put images into test/<class>/"),
        (["test"], "test", "put images into train/<class>/"),
        ([], "none", "put images into train/<class>/ and test/<class>/"),
        (["train", "test", "val"], "test, train, val", "keep one of test and val, and move the other elsewhere"),
    ],
)
def test_an_image_folder_has_train_and_one_other_split(tmp_path, splits, found, mend):
    folder = tmp_path / "pets"
    folder.mkdir()
    for split in splits:
        write_tree(folder, {f"{split}/cat/a.png": np.zeros((8, 8, 3), np.uint8)})
    with pytest.raises(DataError, match=f"splits {found}; expected train and one of test, val, validation: {mend}"):
        load(f"imagefolder:{folder}", size=32)


def test_a_test_class_that_training_lacks_is_named(tmp_path):
    folder = write_tree(pets(tmp_path / "pets"), {"test/emu/a.png": np.zeros((8, 8, 3), np.uint8)})
    with pytest.raises(DataError, match="test has the class 'emu', which train lacks"):
        load(f"imagefolder:{folder}", size=32)


@pytest.mark.parametrize("holds", [[], ["notes.txt"]])
def test_a_class_folder_without_images_is_named(tmp_path, holds):
    empty = pets(tmp_path / "pets") / "train" / "emu"
    empty.mkdir()
    for file in holds:
        (empty / file).touch()
    with pytest.raises(DataError, match=f"{re.escape(str(empty))} holds no image"):
        load(f"imagefolder:{tmp_path / 'pets'}", size=32)


@pytest.mark.parametrize("keep", [0, 60])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path, keep):
    bad = pets(tmp_path / "pets") / "test" / "dog" / "dog_s_000000.png"
    bad.write_bytes(bad.read_bytes()[:keep])
    with pytest.raises(
        DataError, match=r"pets: test/dog/dog_s_000000\.png cannot be decoded.*fetch it again or remove"
    ):
        load(f"imagefolder:{tmp_path / 'pets'}", size=32)


# -- the whole of CIFAR-100 ------------------------------------------------------------------------------------------


def test_a_cifar_tree_that_lacks_images_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR100_IMAGES", (4, 2))
    images = pictures(classes=[f"class{number:02d}" for number in range(100)])
    write_tree(tmp_path / "whole" / "cifar100", images)
    assert len(load("cifar100", root=tmp_path / "whole").classes) == 100
    one = {name: image for name, image in images.items() if name != "train/class07/class07_s_000000.png"}
    write_tree(tmp_path / "one" / "cifar100", one)
    with pytest.raises(DataError, match="train has 3 images of class class07 where it should have 4"):
        load("cifar100", root=tmp_path / "one")
    write_tree(tmp_path / "test" / "cifar100", {n: i for n, i in images.items() if not n.startswith("test/class99")})
    with pytest.raises(DataError, match="test has 0 images of class class99 where it should have 2"):
        load("cifar100", root=tmp_path / "test")


@pytest.mark.parametrize("above", ["", "download/cifar100/"], ids=["no top folder", "a nested one"])
def test_a_zip_is_read_wherever_in_it_the_splits_are(tmp_path, above):
    expected = write_zip(tmp_path / "usual", pictures())
    with zipfile.ZipFile(expected) as usual, zipfile.ZipFile(tmp_path / "cifar100.zip", "w") as other:
        for name in usual.namelist():
            other.writestr(above + name.removeprefix("cifar100/"), usual.read(name))
        for note in (
            "README.txt",
            f"{above}LICENSE",
            "__MACOSX/._cifar100",
            f"{above}train/apple/._apple_s_000000.png",
        ):
            other.writestr(note, b"?")
        other.mkdir(f"{above}train")
    assert load("cifar100", root=tmp_path).hash == load("cifar100", root=tmp_path / "usual").hash


def test_an_empty_class_folder_in_a_zip_is_named(tmp_path):
    with zipfile.ZipFile(write_zip(tmp_path, pictures()), "a") as archive:
        archive.mkdir("cifar100/train/emu")
    with pytest.raises(DataError, match=r"cifar100\.zip/train/emu holds no image; fill it or remove it"):
        load("cifar100", root=tmp_path)


def test_a_zip_of_two_top_folders_is_refused(tmp_path):
    archive = write_zip(tmp_path, pictures())
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("__MACOSX/cifar100/train/apple/._apple_s_000000.png", b"?")
    load("cifar100", root=tmp_path)
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("other/train/apple/apple_s_000000.png", png(np.zeros((32, 32, 3), np.uint8)))
    with pytest.raises(DataError, match=r"has 2 top folders, cifar100, other; expected one"):
        load("cifar100", root=tmp_path)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_of_the_pickles_that_name_no_class_are_refused(tmp_path, label):
    folder = write_pickles(tmp_path, pictures())
    content = official(pictures())
    content["train"]["fine_labels"][0] = label
    (folder / "train").write_bytes(python2_pickle(content["train"]))
    with pytest.raises(DataError, match=f"labels from .*{label}.* for 3 classes"):
        load("cifar100", root=tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("data", lambda given: given / 255, r"data are float64, the first .*, and no whole numbers"),
        ("data", lambda given: given.astype(int) - 300, r"data go from -\d+ to -?\d+, expected 0 to 255"),
        ("data", lambda given: given > 9, r"data are bool"),
        ("fine_labels", lambda given: [label + 0.5 for label in given], r"fine_labels are float64, the first 0\.5"),
    ],
)
def test_pickles_of_other_numbers_are_refused_with_the_value(tmp_path, name, change, said):
    folder = write_pickles(tmp_path, pictures())
    content = official(pictures())["train"]
    content[name] = change(content[name])
    (folder / "train").write_bytes(python2_pickle(content))
    with pytest.raises(DataError, match=f"train does not hold what CIFAR-100's does .*{said}"):
        load("cifar100", root=tmp_path)


# -- where things are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "cifar100-many", "cifar100-imb", ""])
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    with pytest.raises(DataError) as caught:
        load(name)
    for known in (repr(name), "digits", "cifar100", "cifar100-imb<factor>", "imagefolder:<path>"):
        assert known in str(caught.value)


def test_the_root_is_the_argument_then_the_environment_then_the_cache_folder(tmp_path, monkeypatch, own_cache):
    monkeypatch.setenv("KDNB_DATA", str(tmp_path / "environment"))
    assert datasets.data_root(tmp_path / "argument") == tmp_path / "argument"
    assert datasets.data_root() == tmp_path / "environment"
    monkeypatch.delenv("KDNB_DATA")
    assert datasets.data_root() == own_cache / "data"


def test_load_follows_the_environment_where_it_is_given_no_root(tmp_path, monkeypatch):
    write_zip(tmp_path / "elsewhere", pictures())
    monkeypatch.setenv("KDNB_DATA", str(tmp_path / "elsewhere"))
    assert load("cifar100").classes == CLASSES


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("KDNB_CACHE", "~/cache")
    assert datasets.data_root("~/data") == tmp_path / "data"
    assert datasets.cache_root() == tmp_path / "cache"


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_damaged_cache_file_is_reported_and_decoded_again(tmp_path, own_cache, keep):
    write_zip(tmp_path, pictures())
    first = load("cifar100", root=tmp_path)
    (path,) = (own_cache / "decoded").iterdir()
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.warns(UserWarning, match=f"{re.escape(path.name)} is damaged.*decoding again"):
        second = load("cifar100", root=tmp_path)
    assert content_hash(second) == second.hash == first.hash
    assert load("cifar100", root=tmp_path).hash == first.hash


def test_a_cache_that_cannot_be_written_costs_a_warning_and_not_the_images(tmp_path, own_cache):
    write_zip(tmp_path, pictures())
    own_cache.touch()
    with pytest.warns(UserWarning, match="cannot keep the decoded images.*KDNB_CACHE"):
        assert load("cifar100", root=tmp_path).classes == CLASSES


def test_files_that_changed_are_decoded_again(tmp_path):
    write_zip(tmp_path, pictures(train=1))
    assert len(load("cifar100", root=tmp_path).train) == 3
    write_zip(tmp_path, pictures(train=2))
    assert len(load("cifar100", root=tmp_path).train) == 6


def test_survey_of_an_empty_root_says_how_to_get_what_is_missing(tmp_path):
    found = {each.name: each for each in datasets.survey(tmp_path)}
    assert {name for name, each in found.items() if each.present} == {"digits", "cache"}
    python, flag, code = shlex.split(found["cifar100"].note.removeprefix("get it with: "))
    compile(code, "note", "exec")
    assert (python, flag) == ("python", "-c")
    assert f"CIFAR100({str(tmp_path)!r}, download=True)" in code


def test_survey_names_the_files_that_load_would_read_and_decodes_none(tmp_path, monkeypatch, own_cache):
    monkeypatch.setattr(readers, "_decode", refuse)
    write_zip(tmp_path, pictures())
    found = {each.name: each for each in datasets.survey(tmp_path)}
    assert all(each.present for each in found.values())
    assert found["cifar100"].note == str(tmp_path / "cifar100.zip")
    assert str(own_cache) in found["cache"].note
    assert not own_cache.exists()
