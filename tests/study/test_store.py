"""The store: whole entries or none, nothing damaged is ever used, nothing is deleted silently."""

import hashlib
import json
import multiprocessing
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load, save

from kdnb import environment
from kdnb.errors import DamageError, StoreError
from kdnb.study import weights
from kdnb.study.store import Store
from kdnb.training import checkpoint, observe, train
from kdnb.training.inference import Normaliser
from tests.conftest import HANGS, modes

CPU = torch.device("cpu")
FILES = (
    "spec.json", "weights.safetensors", "predictions.safetensors", "attention.safetensors", "log.json",
    "environment.json", "manifest.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(small_study, few_digits):
    """A run and what it leaves."""
    spec = next(run.spec for run in small_study.runs if run.name == "Sw")
    trained = train.train([spec], few_digits, {}, CPU)[spec.id]
    return spec, trained, observe.observe({spec.id: trained.network}, [spec], few_digits, {}, CPU)[spec.id]


@pytest.fixture
def store(finished, tmp_path):
    store = Store(tmp_path / "store")
    spec, trained, arrays = finished
    store.write(spec, trained, arrays, environment.describe(CPU))
    return store


def test_what_is_written_is_what_is_read(store, finished):
    spec, trained, arrays = finished
    entry = store.entry(spec.id)
    assert store.holds(spec.id)
    assert entry.spec == spec
    assert entry.log == trained.log
    assert torch.equal(entry.weights["classifier.weight"], trained.network.classifier.weight)
    assert entry.predictions.keys() == arrays.predictions.keys()
    assert all(torch.equal(entry.attention[name], maps) for name, maps in arrays.attention.items())


def test_the_store_holds_safetensors_and_json_and_nothing_else(store):
    files = [path for path in store.root.rglob("*") if path.is_file()]
    assert len(files) == len(FILES)
    assert {path.suffix for path in files} == {".safetensors", ".json"}


def test_a_network_comes_back_as_it_was(store, finished, few_digits):
    spec, trained, _ = finished
    network = weights.network(store, spec.id, few_digits, CPU)
    images = Normaliser(few_digits, CPU, spec)(few_digits.validation.images)
    assert torch.equal(network(images), trained.network(images))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_found_and_the_entry_set_aside(finished, name, place, bit):
    spec, trained, arrays = finished
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.write(spec, trained, arrays, environment.describe(CPU))
        path = store.root / "runs" / spec.id / name
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        path.write_bytes(content)
        # White space of the manifest is the one place where a bit can turn into something that means the same.
        if name == "manifest.json" and _means_the_same(content, store, spec.id):
            return
        with pytest.warns(UserWarning, match="to be trained again"):
            assert not store.holds(spec.id)
        aside = list((store.root / "set-aside").glob("*/*/" + name))
        assert [Path(p).read_bytes() for p in aside] == [bytes(content)]


def _means_the_same(content, store, run):
    try:
        files = json.loads(content)["files"]
    except (ValueError, KeyError, TypeError):
        return False
    folder = store.root / "runs" / run
    return files == {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in FILES if n != "manifest.json"}


@pytest.mark.parametrize("name", FILES)
def test_an_entry_with_a_file_missing_is_set_aside_with_the_reason(store, finished, name):
    (store.root / "runs" / finished[0].id / name).unlink()
    with pytest.warns(UserWarning, match="to be trained again"):
        assert not store.holds(finished[0].id)
    (reason,) = (store.root / "set-aside").glob("*/reason.txt")
    assert finished[0].id in reason.read_text()
    assert not (store.root / "runs" / finished[0].id).exists()


def test_an_entry_under_another_name_is_not_taken_for_that_run(store, finished):
    runs = store.root / "runs"
    (runs / finished[0].id).rename(runs / "0123456789abcdef")
    with pytest.warns(UserWarning, match="holds the run"):
        assert not store.holds("0123456789abcdef")


@pytest.mark.parametrize(
    ("name", "array", "change", "said"),
    [
        ("predictions", "train/labels", None, "it lacks train/labels"),
        ("predictions", "validation/clean", lambda given: given[:-1], "has the shape .* images"),
        ("predictions", "validation/clean", lambda given: given[:, 0], "has the shape .* images"),
        ("predictions", "validation/clean", lambda given: given.long(), "validation/clean holds torch.int64"),
        ("predictions", "validation/clean", lambda given: given[:, :3], "answers of 3 and 10 classes"),
        ("predictions", "train/labels", lambda given: given - 20, "train/labels holds -"),
        ("predictions", "validation/labels", lambda given: given + 20, "it has labels up to 29"),
        ("attention", "train/cam-sum/weak", lambda given: given[1:], "train/cam-sum/weak has the shape"),
        ("attention", "train/index", None, "it lacks train/index"),
    ],
)
def test_what_was_edited_with_its_hash_is_damage_all_the_same(store, finished, name, array, change, said):
    folder = store.root / "runs" / finished[0].id
    edit(folder, f"{name}.safetensors", array, change)
    with pytest.raises(DamageError, match=rf"{name}\.safetensors is not what this version writes: .*{said}"):
        getattr(store.entry(finished[0].id), name)
    with pytest.warns(UserWarning, match="to be trained again"):
        assert not store.holds(finished[0].id)


def test_weights_of_another_network_are_damage(store, finished, few_digits):
    edit(store.root / "runs" / finished[0].id, "weights.safetensors", "classifier.bias", lambda given: given[:-1])
    with pytest.raises(DamageError, match=r"weights\.safetensors does not fit the network .*; move .* away"):
        weights.network(store, finished[0].id, few_digits, CPU)


def edit(folder, name, array, change):
    """Changes an array of an entry and the manifest with it, or leaves it out."""
    tensors = load((folder / name).read_bytes())
    given = tensors.pop(array)
    content = save(tensors | ({array: change(given).contiguous()} if change else {}))
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_reading_a_damaged_file_names_it(store, finished):
    path = store.root / "runs" / finished[0].id / "predictions.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"predictions\.safetensors is not the file that was written"):
        _ = store.entry(finished[0].id).predictions


def test_a_run_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match=r"does not hold the run abc; train it with kdnb run"):
        Store(tmp_path).entry("abc")


def test_a_store_that_cannot_be_written_leaves_the_checkpoint(finished, tmp_path):
    (tmp_path / "runs").write_text("a file where a folder should be")
    store = Store(tmp_path)
    spec, trained, arrays = finished
    store.checkpoints.save(spec.id, {"x": torch.zeros(1)}, {})
    with pytest.raises(StoreError, match="cannot write the run"):
        store.write(spec, trained, arrays, {})
    assert store.checkpoints.load(spec.id) is not None


def test_a_store_that_cannot_be_is_one_clear_error(few_digits, tmp_path):
    (tmp_path / "store").write_text("a file where a folder should be")
    store = Store(tmp_path / "store")
    message = r"cannot write into the store .*store: .*; name another: --store or KDNB_STORE"
    with pytest.raises(StoreError, match=message), store.claim(["run"]):
        pass
    with pytest.raises(StoreError, match=message):
        store.note_dataset(few_digits)
    with pytest.raises(StoreError, match="cannot write the checkpoint"):
        store.checkpoints.save("run", {"x": torch.zeros(1)}, {})


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StoreError, match=r"cannot write the checkpoint .*No space left"):
        Store(tmp_path).checkpoints.save("run", {"x": torch.zeros(1)}, {})


def _hold(folder, run, taken, release):
    with Store(folder).claim([run]):
        taken.set()
        release.wait(60)


def test_a_claim_waits_for_the_process_that_holds_the_run_and_says_so(tmp_path):
    context = multiprocessing.get_context("spawn")
    taken, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, "run", taken, release))
    other.start()
    assert taken.wait(60)
    timer = context.Process(target=release.set)
    timer.start()
    with (
        pytest.warns(UserWarning, match="another process trains the run run; waiting"),
        Store(tmp_path).claim(["another", "run"]),
    ):
        assert release.is_set()
    other.join()
    timer.join()


def test_of_two_processes_that_want_the_same_runs_each_run_is_trained_once(tmp_path):
    command = [
        sys.executable, "-m", "kdnb.cli", "run", "--store", str(tmp_path / "store"), "--epochs", "1", "--set",
        "grid=[{teachers: [[], [weak]]}]", "--set", "origin=fresh", "--set",
        "observe={maps: 40, train_sample: 50, validate_sample: 60}", "--device", "cpu",
    ]  # fmt: skip
    command += ["--threads", "1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    texts = ["".join(process.communicate(timeout=HANGS)) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert sum(int(re.search(r"(\d+) runs trained", text)[1]) for text in texts) == 6
    store = Store(tmp_path / "store")
    entries = [path.name for path in (store.root / "runs").iterdir()]
    assert len(entries) == 6  # T1w, the reference, Sw, T1w_Sw, Ss, T1w_Ss
    assert all(store.holds(run) for run in entries)
    assert not (store.root / "set-aside").exists()
    assert list((store.root / "checkpoints").iterdir()) == []


def test_what_a_killed_writer_left_is_cleared_by_the_next(store, finished):
    spec, trained, arrays = finished
    left = store.root / "runs" / f".{spec.id}-abc"
    other = store.root / "runs" / ".0123456789abcdef-abc"
    for folder in (left, other):
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"half")
    shutil.rmtree(store.root / "runs" / spec.id)
    store.write(spec, trained, arrays, {})
    assert not left.exists()
    assert other.exists()  # another run's, which another process may be writing


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no modes of files")
def test_an_entry_has_the_modes_that_the_umask_gives(umask, finished, tmp_path):
    spec, trained, arrays = finished
    Store(tmp_path).write(spec, trained, arrays, {})
    assert set(modes(tmp_path, stat.S_ISREG).values()) == {0o666 & ~umask}
    assert set(modes(tmp_path, stat.S_ISDIR).values()) == {0o777 & ~umask}
