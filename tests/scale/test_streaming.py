"""Images that stay on disk train the networks that images in memory train: to the bit, and within a window of memory."""

import multiprocessing
import os
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdnb.errors import DataError
from kdnb.images import augment, decode
from kdnb.images.counter import Stream
from kdnb.images.datasets import content_hash, load
from kdnb.images.repeats import repeats
from kdnb.scale import streaming
from kdnb.scale.cost import Sizes
from kdnb.study import execute, grid, profile
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from kdnb.training import train
from kdnb.training.objectives import Objective
from kdnb.training.observe import observe
from tests.conftest import small_profile

CPU = torch.device("cpu")
SIDE = 32
WORKERS = pytest.mark.parametrize("workers", [0, 1, 2])


@pytest.fixture(scope="session")
def photographs(cifar100_root, tmp_path_factory) -> Path:
    """42 training and 12 test images of three classes of CIFAR-100, as JPEGs of 224 pixels and more in one direction."""
    whole, folder = load("cifar100", root=cifar100_root), tmp_path_factory.mktemp("photographs") / "few"
    for part, split, count in (("train", whole.train, 14), ("val", whole.validation, 4)):
        for label in range(3):
            for place in np.flatnonzero(split.labels.numpy() == label)[:count].tolist():
                path = folder / part / whole.classes[label] / f"{place}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(split.images[place].permute(1, 2, 0).numpy())
                picture.resize((224 + place % 3 * 40, 224)).save(path, quality=90)
    return folder


@pytest.fixture
def few_pieces(monkeypatch):
    """Pieces of four images, so that few images are many pieces."""
    monkeypatch.setattr(streaming, "PIECE", 4)


@pytest.fixture(scope="session")
def held(photographs):
    """in memory"""
    return load(f"imagefolder:{photographs}", size=SIDE)


def streamed(folder, workers, monkeypatch, **more):
    monkeypatch.setenv("KDNB_DECODERS", str(workers))
    return load(f"imagefolder:{folder}", size=SIDE, streamed=True, **more)


@pytest.fixture
def copy(photographs, tmp_path) -> Path:
    """of the images, for tests that damage them"""
    return Path(shutil.copytree(photographs, tmp_path / "few"))


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Counts how often each file is decoded, in whichever process."""
    log, real = tmp_path / "opened.txt", decode.square

    def square(where, file, read, side, *, fit=True):
        with log.open("a") as noted:
            noted.write(file + "\n")
        return real(where, file, read, side, fit=fit)

    monkeypatch.setattr(decode, "square", square)
    return lambda: Counter(log.read_text().split("\n")[:-1]) if log.exists() else Counter()


# -- the same data set -----------------------------------------------------------------------------------------------


@WORKERS
def test_a_streamed_folder_is_the_data_set_that_memory_would_hold(
    photographs, held, workers, few_pieces, own, monkeypatch
):
    there = streamed(photographs, workers, monkeypatch)
    assert there.streamed
    assert not held.streamed
    assert (there.hash, there.name, there.classes, there.side) == (held.hash, held.name, held.classes, SIDE)
    for ours, theirs in ((there.train, held.train), (there.validation, held.validation)):
        assert ours.names == theirs.names
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.pixels(), theirs.images)
        assert ours.fingerprints() == theirs.fingerprints()
    assert content_hash(there) == held.hash
    assert repeats(there) == repeats(held)
    assert Sizes.of(there).train == 42


@pytest.fixture
def own(monkeypatch, tmp_path):
    """a cache that no other test has written into"""
    monkeypatch.setenv("KDNB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_images_are_known_after_one_decoding(photographs, own, opened, monkeypatch):
    streamed(photographs, 0, monkeypatch)
    assert set(opened().values()) == {1}
    assert opened().total() == 54
    again = streamed(photographs, 0, monkeypatch)
    assert opened().total() == 54
    assert not list(own.glob("decoded/*"))
    again.train.select([3, 1]).pixels()
    assert opened().total() == 56


def test_a_damaged_index_is_said_and_made_again(photographs, own, monkeypatch):
    before = streamed(photographs, 0, monkeypatch)
    (index,) = own.glob("indexed/*.safetensors")
    content = bytearray(index.read_bytes())
    content[-1] ^= 1
    index.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        after = streamed(photographs, 0, monkeypatch)
    assert (after.hash, after.train.names) == (before.hash, before.train.names)


# -- the same views and networks -------------------------------------------------------------------------------------


@WORKERS
def test_views_are_the_same_whatever_the_number_of_workers(photographs, held, workers, few_pieces, monkeypatch):
    there = streamed(photographs, workers, monkeypatch)
    order = Stream(5, 1).permutation(42, 3)
    parts = [order[:20], order[20:25], order[25:]]
    recipe = augment.recipe("imagenet-strong")
    for part, images in zip(parts, there.train.stream(parts), strict=True):
        ours = augment.views(images, part, recipe, Stream(5, 1), 3, size=24)
        theirs = augment.views(held.train.images[part], part, recipe, Stream(5, 1), 3, size=24)
        assert torch.equal(ours, theirs)


@pytest.fixture(scope="module")
def group(held):
    """Students of two teachers, one with an objective that looks at the training images before, at a side of their own."""
    kinds = {"kd": Objective(), "zscore": Objective(kind="zscore", batch_norm="train")}
    rows = [{"teachers": [["weak", "weak"]], "students": ["strong"], "objectives": list(kinds)}]
    study = grid.build(small_profile(objectives=kinds, grid=rows, side=24), held.hash)
    teachers = {
        run.spec.id: train.initial(run.spec, 3, SIDE, CPU).eval() for run in study.runs if run.spec.role == "teacher"
    }
    return [run.spec for run in study.runs if run.spec.role == "student"], teachers


def outcome(group, dataset):
    """All bits of a training and of what is observed after it."""
    specs, teachers = group
    trained = train.train(specs, dataset, teachers, CPU)
    networks = {run: result.network for run, result in trained.items()}
    seen = observe(networks, specs, dataset, teachers, CPU)
    tensors = {
        f"{place}/{name}": tensor
        for place, spec in enumerate(specs)
        for kind in (networks[spec.id].state_dict(), seen[spec.id].predictions, seen[spec.id].attention)
        for name, tensor in kind.items()
    }
    logs = [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in trained[spec.id].log] for spec in specs]
    return tensors, logs


@pytest.fixture(scope="module")
def expected(group, held):
    return outcome(group, held)


@WORKERS
def test_streamed_training_equals_training_in_memory_to_the_bit(
    photographs, group, expected, workers, few_pieces, monkeypatch
):
    monkeypatch.setattr(train, "CHUNK", 32)  # so that an epoch is two parts
    tensors, logs = outcome(group, streamed(photographs, workers, monkeypatch))
    assert logs == expected[1]
    assert tensors.keys() == expected[0].keys()
    assert all(torch.equal(tensors[name], each) for name, each in expected[0].items())


def test_a_study_that_began_in_memory_goes_on_from_disk(photographs, tmp_path, monkeypatch):
    monkeypatch.setenv("KDNB_DECODERS", "0")
    images = {"name": f"imagefolder:{photographs}", "size": SIDE}
    settings = {"ensembles": ("",), "students": ("w",), "reference": False}
    here, there = (small_profile(**settings, dataset=images | more) for more in ({}, {"streamed": True}))
    store = Store(tmp_path / "store")
    assert execute.execute(grid.plan(here).study, store, Resources("cpu"), bar=False).trained == 1
    planned = grid.plan(there)
    assert planned.dataset.streamed
    report = execute.execute(planned.study, store, Resources("cpu"), bar=False)
    assert (report.trained, report.cached) == (0, 1)


def test_nothing_that_all_share_is_drawn_from(photographs, few_pieces, monkeypatch):
    there = streamed(photographs, 1, monkeypatch)
    before = torch.get_rng_state()
    there.train.pixels()
    assert torch.equal(torch.get_rng_state(), before)


# -- memory ----------------------------------------------------------------------------------------------------------


@WORKERS
def test_no_more_is_decoded_than_a_window(photographs, workers, few_pieces, opened, monkeypatch):
    there = streamed(photographs, workers, monkeypatch)
    before = opened().total()
    parts = list(np.arange(40).reshape(5, 8))
    images = there.train.stream(parts)
    next(images)
    ahead = 0 if workers == 0 else max(8, streaming.AHEAD * workers * streaming.PIECE)
    settled = -1
    while settled != opened().total():  # workers go on until they are as far ahead as they may be
        settled = opened().total()
        time.sleep(0.5)
    assert 8 <= settled - before <= 8 + ahead < 40
    for _ in images:
        pass
    assert opened().total() - before == 40


def test_workers_end_with_what_they_are_for(photographs, few_pieces, monkeypatch):
    there = streamed(photographs, 2, monkeypatch)
    images = there.train.stream([np.arange(20), np.arange(20, 40)])
    next(images)
    assert len(multiprocessing.active_children()) == 2
    images.close()
    assert multiprocessing.active_children() == []


# -- what is wrong ---------------------------------------------------------------------------------------------------


@WORKERS
def test_a_damaged_image_is_one_error_that_names_it(copy, workers, few_pieces, own, monkeypatch):
    bad = sorted(copy.glob("train/*/*"))[20]
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(DataError) as caught:
        streamed(copy, workers, monkeypatch)
    message = str(caught.value)
    assert message.startswith(f"{copy}: {bad.relative_to(copy).as_posix()} cannot be decoded")
    assert message.count("\n") == 0
    assert "fetch it again or remove it" in message


@WORKERS
@pytest.mark.parametrize(("change", "said"), [("cut", "cannot be decoded"), ("other", "is another image than when")])
def test_an_image_that_changes_while_a_study_runs_is_one_error_that_names_it(
    copy, group, workers, change, said, few_pieces, monkeypatch
):
    there = streamed(copy, workers, monkeypatch)
    name = there.train.names[20]
    bad, good = copy / "train" / name, copy / "train" / there.train.names[21]
    bad.write_bytes(bad.read_bytes()[:300] if change == "cut" else good.read_bytes())
    with pytest.raises(DataError, match=rf"^{re.escape(str(copy))}: train/{re.escape(name)} {said}") as caught:
        train.train(group[0], there, group[1], CPU)
    assert "\n" not in str(caught.value)


def test_a_worker_that_is_killed_is_one_error(photographs, few_pieces, monkeypatch):
    there = streamed(photographs, 1, monkeypatch)
    first = there.train.names[0]
    me, real = os.getpid(), decode.square

    def square(where, file, read, side, *, fit=True):
        if os.getpid() != me and file.endswith(first):
            os.kill(os.getpid(), 9)
        return real(where, file, read, side, fit=fit)

    monkeypatch.setattr(decode, "square", square)
    with pytest.raises(DataError, match=r"a process that decodes images was ended .* set KDNB_DECODERS to fewer"):
        there.train.pixels()


@pytest.mark.parametrize("number", ["-1", "two", "1.5"])
def test_a_number_of_workers_that_is_none_is_named(number, monkeypatch):
    monkeypatch.setenv("KDNB_DECODERS", number)
    with pytest.raises(DataError, match=f"KDNB_DECODERS is '{number}'; expected the number"):
        streaming.decoders()


def test_a_process_that_may_have_no_children_decodes_itself(monkeypatch):
    monkeypatch.setenv("KDNB_DECODERS", "3")
    assert streaming.decoders() == 3
    monkeypatch.setattr("multiprocessing.current_process", lambda: type("Worker", (), {"daemon": True}))
    assert streaming.decoders() == 0


def test_only_image_folders_are_streamed():
    with pytest.raises(DataError, match="streamed is for image folders; 'digits' fits in memory"):
        load("digits", streamed=True)


# -- lists -----------------------------------------------------------------------------------------------------------


def lists(folder, changes=lambda lines: lines):
    """What a tree says, as ImageNet-LT's lists say it: validation images in one folder without classes."""
    classes = sorted(path.name for path in (folder / "train").iterdir())
    (folder / "images").mkdir()
    written = {"train": [], "val": []}
    for part, into in written.items():
        for path in sorted((folder / part).rglob("*.JPEG"), reverse=True):  # the order of lines does not matter
            label = classes.index(path.parent.name)
            if part == "val":
                path = path.rename(folder / "images" / path.name)
            into.append(f"{path.relative_to(folder).as_posix()} {label}")
    written["train"] = changes(written["train"])
    for part, lines in written.items():
        (folder / f"LT_{part}.txt").write_text("\n".join(lines) + "\n")
    return {"train_list": "LT_train.txt", "validation_list": "LT_val.txt"}


@pytest.mark.parametrize("disk", [False, True], ids=["memory", "disk"])
def test_lists_of_paths_and_labels_name_the_images_of_a_folder(copy, held, disk, monkeypatch):
    monkeypatch.setenv("KDNB_DECODERS", "0")
    there = load(f"imagefolder:{copy}", size=SIDE, streamed=disk, **lists(copy))
    assert there.streamed == disk
    assert (there.hash, there.classes) == (held.hash, held.classes)
    assert there.train.names == tuple(f"train/{name}" for name in held.train.names)
    for ours, theirs in ((there.train, held.train), (there.validation, held.validation)):
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.pixels(), theirs.images)


def test_a_list_may_leave_images_out(copy, held, monkeypatch):
    there = streamed(
        copy, 0, monkeypatch, **lists(copy, lambda lines: [line for line in lines if line[-1] > "0"] + lines[-2:])
    )
    assert there.train.labels.bincount().tolist() == [2, 14, 14]
    assert there.hash != held.hash


def test_classes_without_a_folder_of_their_own_are_called_by_their_numbers(copy, monkeypatch):
    found = lists(copy, lambda lines: [*lines[1:], lines[0][:-1] + "0"])
    assert streamed(copy, 0, monkeypatch, **found).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [*lines[:3], "train/none/1.JPEG 0", "train/none/2.JPEG 1", *lines[3:]],
         r"LT_train\.txt: 2 of 44 images are not in .*few, the first train/none/1\.JPEG; fetch them"),
        (lambda lines: [*lines[:3], "", lines[3][:-1] + "cat"],
         r"line 5: 'train/.*\.JPEG cat' does not end with the whole number"),
        (lambda lines: [lines[0][:-1] + "-1"], r"line 1: .* does not end with the whole number of a class"),
        (lambda lines: [lines[0][:-1] + "1.0"], r"line 1: .* does not end with the whole number of a class"),
        (lambda lines: [lines[0].split(" ")[0]], r"line 1: .* does not end with the whole number of a class"),
        (lambda lines: [*lines, lines[7]], r"line 43: train/.*\.JPEG stood there before; name each image once"),
        (lambda lines: [*lines, lines[7][:-1] + "0"], r"line 43: train/.*\.JPEG stood there before"),
        (lambda lines: [line for line in lines if line[-1] != "1"],
         r"28 images have labels up to 2, and none has 1; labels go from 0"),
        (lambda lines: [line[:-1] + str(int(line[-1]) + 1) for line in lines], r"labels up to 3, and none has 0"),
        (lambda lines: [line for line in lines if line[-1] != "2"],
         r"LT_val\.txt has images of class 2, and .* the classes 0 to 1"),
        (lambda lines: [], r"LT_train\.txt names no image; expected lines as"),
    ],
    ids=["missing", "word", "negative", "decimal", "no label", "twice", "twice, another label", "gap", "from 1", "beyond",
         "empty"],
)  # fmt: skip
def test_what_is_wrong_with_a_list_is_named(copy, change, said, monkeypatch):
    with pytest.raises(DataError, match=said):
        streamed(copy, 0, monkeypatch, **lists(copy, change))


@pytest.mark.parametrize("alone", ["train_list", "validation_list"])
def test_a_folder_has_both_lists_or_none(copy, alone, monkeypatch):
    with pytest.raises(DataError, match=f"an image folder with a {alone} needs a .* too"):
        streamed(copy, 0, monkeypatch, **{alone: lists(copy)[alone]})


def test_a_list_that_is_nowhere_is_named_with_where_it_was_looked_for(copy, monkeypatch):
    with pytest.raises(DataError, match=f"no list of images 'LT.txt': not a file, nor one in {re.escape(str(copy))}"):
        streamed(copy, 0, monkeypatch, **lists(copy) | {"train_list": "LT.txt"})


@pytest.mark.parametrize("name", ["paper-imagenet", "paper-imagenet-lt"])
def test_the_papers_profiles_of_imagenet_leave_its_images_on_disk(name):
    assert profile.load(name).dataset.streamed
