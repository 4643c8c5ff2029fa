"""Files are there whole or not at all, with the modes that the umask gives; what cannot be read is left as it is."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kdnb import atomic
from kdnb.errors import DataError, StoreError
from kdnb.evidence import integrity
from kdnb.images import datasets
from kdnb.release import archive, publish
from kdnb.study import execute
from kdnb.study import grid as grids
from kdnb.study.resources import Resources
from kdnb.study.store import FILES, Store
from kdnb.training.checkpoint import Checkpoints
from tests.conftest import HANGS, everything, modes, small_profile
from tests.images.test_datasets import pets

ROOT = Path(__file__).parents[1]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="this system has no modes of files")
SOME = {"x": torch.arange(3)}
ABOUT = {"epoch": 1}


@pytest.fixture(scope="module")
def digits(some_digits):
    return some_digits


@pytest.fixture(scope="module")
def grid(digits):
    return grids.build(small_profile(ensembles=("", "ww"), students=("w",)), digits.hash)


@pytest.fixture(scope="module")
def trained(grid, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("trained"))
    execute.execute(grid, store, Resources("cpu"), bar=False).require_complete()
    return store


@pytest.fixture
def store(trained, tmp_path):
    """A copy that a test may change."""
    return Store(shutil.copytree(trained.root, tmp_path / "store"))


@pytest.fixture
def unreadable(monkeypatch):
    """Makes a path one that may not be read, for whoever runs the tests, who may be root."""

    def make(refused):
        def refusing(method):
            def asked(path, *arguments, **keywords):
                if path == refused:
                    raise PermissionError(13, "Permission denied", str(path))
                return method(path, *arguments, **keywords)

            return asked

        for name in ("open", "read_bytes"):
            monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))

    return make


# -- whole or not at all ---------------------------------------------------------------------------------------------


def test_a_file_that_fails_leaves_the_old_one_and_nothing_beside(tmp_path):
    path = tmp_path / "new" / "file"
    atomic.write(path, b"old")
    with pytest.raises(IsADirectoryError), atomic.file(path) as unfinished:
        unfinished.parent.write_bytes(b"half")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_beside(tmp_path):
    atomic.write_folder(tmp_path / "folder", {"a": b"old"})
    for contents, replace in (({"b": b"new", "missing/c": b""}, True), ({"b": b"new"}, False)):
        with pytest.raises(OSError, match=r"missing/c|not empty"):
            atomic.write_folder(tmp_path / "folder", contents, replace=replace)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == {
            tmp_path / "folder" / "a": b"old"
        }


def test_a_folder_takes_the_place_of_another(tmp_path):
    atomic.write_folder(tmp_path / "folder", {"a": b"old"})
    atomic.write_folder(tmp_path / "folder", {"b": b"new"}, replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["b"]


def test_only_what_was_left_for_a_path_is_cleared(tmp_path):
    for name in (".a-1", ".a.zip-1", ".b-1"):
        (tmp_path / name).mkdir()
    atomic.clear(tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {".a.zip-1", ".b-1"}


# -- modes -----------------------------------------------------------------------------------------------------------


@POSIX
def test_a_library_that_writes_a_private_file_does_not_decide_its_mode(tmp_path, umask):
    save_file(SOME, tmp_path / "theirs")
    with atomic.file(tmp_path / "ours") as unfinished:
        save_file(SOME, unfinished)
        unfinished.chmod(0o600)
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == 0o666 & ~umask
    assert torch.equal(load_file(tmp_path / "ours")["x"], SOME["x"])


@POSIX
def test_every_kind_of_file_has_the_modes_that_the_umask_gives(umask, grid, trained, digits, tmp_path, monkeypatch):
    """Under umask 002 two people of one group can go on with each other's work."""
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.setenv("KDNB_CACHE", str(made / "cache"))
    store = Store(made / "store")
    archive.restore(archive.pack(grid, trained, digits, 0, made / "archives"), store)
    publish.publish(grid, store, digits, made / "results", strict=False)
    publish.publish(grid, store, digits, made / "results", strict=False)  # in the place of the first
    store.note_dataset(digits)
    run = grid.runs[0].spec.id
    with store.claim([run]):
        store.checkpoints.save(run, SOME, ABOUT)
    (made / "store" / "runs" / run / "log.json").write_text("[]")
    with pytest.warns(UserWarning, match="to be trained again"):
        assert not store.holds(run)
    for streamed in (False, True):
        datasets.load(f"imagefolder:{pets(tmp_path / 'pets')}", size=32, streamed=streamed)
    files, folders = modes(made, stat.S_ISREG), modes(made, stat.S_ISDIR)
    assert {path.parts[:2] for path in files if len(path.parts) > 2} == {
        ("cache", "decoded"), ("cache", "indexed"), ("results", "seed-0"), ("store", "checkpoints"), ("store", "datasets"),
        ("store", "locks"), ("store", "runs"), ("store", "set-aside"),
    }  # fmt: skip
    assert {path: oct(mode) for path, mode in files.items() if mode != 0o666 & ~umask} == {}
    assert {path: oct(mode) for path, mode in folders.items() if mode != 0o777 & ~umask} == {}


# -- what merely cannot be read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_an_entry_that_cannot_be_read_is_one_error_and_stays(name, grid, store, monkeypatch, unreadable):
    path = store.root / "runs" / grid.runs[0].spec.id / name
    before = everything(store.root)
    unreadable(path)
    with pytest.raises(StoreError) as told:
        execute.execute(grid, store, Resources("cpu"), bar=False)
    assert str(told.value) == f"{path} cannot be read (Permission denied); it is left as it is"
    monkeypatch.undo()
    assert everything(store.root) == before


def test_a_checkpoint_that_cannot_be_read_is_one_error_and_stays(tmp_path, unreadable):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("run", SOME, ABOUT)
    unreadable(checkpoints.path("run"))
    with pytest.raises(StoreError, match=r"run\.safetensors cannot be read .*Permission denied"):
        checkpoints.load("run")
    assert list(tmp_path.iterdir()) == [checkpoints.path("run")]


AS_NOBODY = """
import os
from pathlib import Path
from kdnb.errors import StoreError
from kdnb.training.checkpoint import Checkpoints
here = Checkpoints(Path("."))
assert here.load("other") is not None
if os.geteuid() == 0:
    os.setuid(65534)
try:
    here.load("run")
except StoreError as error:
    print(error)
"""


@POSIX
def test_a_checkpoint_of_somebody_else_is_one_error_and_stays(tmp_path):
    """The library says of such a file that there is none."""
    checkpoints = Checkpoints(tmp_path)
    for run in ("other", "run"):
        checkpoints.save(run, SOME, ABOUT)
    tmp_path.chmod(0o777)
    checkpoints.path("run").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=True, timeout=HANGS,
    )  # fmt: skip
    assert "run.safetensors cannot be read" in done.stdout
    assert "Permission denied" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"other.safetensors", "run.safetensors"}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cache_that_cannot_be_read_is_one_error_and_stays(streamed, tmp_path, monkeypatch, unreadable):
    monkeypatch.setenv("KDNB_CACHE", str(tmp_path / "cache"))
    name = f"imagefolder:{pets(tmp_path / 'pets')}"
    datasets.load(name, size=32, streamed=streamed)
    (kept,) = (tmp_path / "cache").rglob("*.safetensors")
    before = everything(tmp_path / "cache")
    unreadable(kept)
    with pytest.raises(DataError, match=r"cannot be read .*Permission denied.*KDNB_CACHE") as told:
        datasets.load(name, size=32, streamed=streamed)
    assert str(kept) in str(told.value)
    monkeypatch.undo()
    assert everything(tmp_path / "cache") == before


def test_results_that_cannot_be_read_are_not_replaced(grid, trained, digits, tmp_path, monkeypatch, unreadable):
    publish.publish(grid, trained, digits, tmp_path / "results", strict=False)
    before = everything(tmp_path / "results")
    unreadable(tmp_path / "results" / integrity.NAME)
    with pytest.raises(StoreError, match=rf"{integrity.NAME}: Permission denied"):
        publish.publish(grid, trained, digits, tmp_path / "results", strict=False)
    monkeypatch.undo()
    assert everything(tmp_path / "results") == before
