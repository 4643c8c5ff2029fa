"""A seed's store in one file, and back: what comes out measures as what went in, and nothing else gets in."""

import json
import shutil
import zipfile

import pandas as pd
import pytest
import torch

from kdnb.errors import DamagedResultsError, IncompleteError, StoreError
from kdnb.evidence import integrity
from kdnb.evidence import table as tables
from kdnb.release import archive
from kdnb.study import execute
from kdnb.study import grid as grids
from kdnb.study.resources import Resources
from kdnb.study.store import FILES, Store
from tests.conftest import small_profile
from tests.release.test_crate import _no_network, findings  # noqa: F401


@pytest.fixture(scope="module")
def digits(some_digits):
    return some_digits


@pytest.fixture(scope="module")
def grid(digits):
    return grids.build(small_profile(ensembles=("", "ww"), students=("w",)), digits.hash)


@pytest.fixture(scope="module")
def store(grid, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    execute.execute(grid, store, Resources("cpu"), bar=False).require_complete()
    return store


@pytest.fixture(scope="module")
def packed(grid, store, digits, tmp_path_factory):
    return archive.pack(grid, store, digits, 0, tmp_path_factory.mktemp("packed"))


@pytest.fixture
def fresh(tmp_path):
    return Store(tmp_path / "fresh")


def rewritten(packed, path, change, compress=zipfile.ZIP_STORED):
    """A copy with other contents: `change` takes and returns name → bytes."""
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(path, "w", compress) as new:
        for name, content in change({each: old.read(each) for each in old.namelist()}).items():
            new.writestr(name, content)
    return path


def test_what_is_restored_measures_as_what_was_archived(grid, store, packed, fresh):
    restored = archive.restore(packed, fresh)
    ids = {run.spec.id for run in grid.every_run}
    assert set(restored.added) == ids
    assert restored.there == ()
    assert all(fresh.holds(run) for run in ids)
    before, after = tables.table(grid, store), tables.table(grid, fresh)
    keys = list(before.columns[:-1])
    assert after[keys].astype(str).equals(before[keys].astype(str))
    pd.testing.assert_series_equal(after["value"], before["value"], atol=0.04, rtol=0.01)  # two of 50 training images
    of_one = (before["measure"] == "accuracy") & before["role"].isin(["teacher", "student", "reference"])
    assert of_one.sum() > 20
    assert after["value"][of_one].equals(before["value"][of_one])


def test_networks_are_whole_and_answers_half_as_fine(grid, store, packed, fresh):
    archive.restore(packed, fresh)
    for run in grid.every_run:
        old, new = store.entry(run.spec.id), fresh.entry(run.spec.id)
        assert all(torch.equal(new.weights[name], tensor) for name, tensor in old.weights.items())
        assert new.log == old.log
        assert new.environment == old.environment | {"archived": "answers and maps in half precision"}
        for kind in ("predictions", "attention"):
            mine, whole = getattr(new, kind), getattr(old, kind)
            assert {name: t.dtype for name, t in mine.items()} == {name: t.dtype for name, t in whole.items()}
            for name, tensor in whole.items():
                assert torch.allclose(mine[name], tensor, rtol=2**-9, atol=1e-6), name
                if kind == "predictions" and tensor.ndim == 2:
                    assert torch.equal(mine[name].argmax(dim=1), tensor.argmax(dim=1)), name


def test_the_first_class_stays_first_where_halves_are_equal():
    near = torch.tensor([[1.0, 1.0001, 0.5], [-2.0, -5.0, -1.9999], [1e-9, 2e-9, -1.0], [3.0, 1.0, 2.0]])
    (back,) = archive.safetensors.torch.load(archive._whole(archive._halved({"logits": near}))).values()
    assert back.argmax(dim=1).tolist() == near.argmax(dim=1).tolist() == [1, 2, 1, 0]
    assert (back.sort(dim=1).values.diff(dim=1)[:, -1] > 0).all()
    assert torch.allclose(back, near, rtol=2**-10, atol=1e-7)


def test_numbers_without_room_in_half_precision_are_kept():
    tensors = {"large": torch.tensor([1e6]), "fine": torch.tensor([0.1]), "count": torch.tensor([70000])}
    back = archive.safetensors.torch.load(archive._whole(archive._halved(tensors)))
    assert back["large"].item() == 1e6
    assert back["fine"].item() == torch.tensor(0.1).half().float().item()
    assert back["count"].item() == 70000


def test_students_are_added_to_restored_teachers(digits, packed, fresh):
    archive.restore(packed, fresh)
    wider = grids.build(small_profile(ensembles=("", "ww"), students=("w", "s")), digits.hash)
    missing = [run for run in wider.every_run if not fresh.has(run.spec.id)]
    assert {run.spec.role for run in missing} == {"student"}
    done = execute.execute(wider, fresh, Resources("cpu"), bar=False)
    done.require_complete()
    assert done.trained == len(missing) > 0


def test_the_same_seed_is_the_same_file_and_half_the_size(grid, store, digits, packed, tmp_path):
    again = archive.pack(grid, store, digits, 0, tmp_path)
    assert again.name == "tiny-seed-0.zip"
    assert again.read_bytes() == packed.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [again.name]
    whole = sum(
        (store.entry(run.spec.id).folder / name).stat().st_size for run in grid.every_run for name in archive.HALVED
    )
    with zipfile.ZipFile(packed) as held:
        halved = sum(member.file_size for member in held.infolist() if member.filename.endswith(archive.HALVED))
    assert 0.5 < halved / whole < 0.65


@pytest.mark.usefixtures("_no_network")
@pytest.mark.filterwarnings("ignore")
def test_an_archive_is_a_valid_crate(packed, tmp_path):
    with zipfile.ZipFile(packed) as held:
        held.extractall(tmp_path)
    assert findings(tmp_path) <= {("RECOMMENDED", "The organization SHOULD have a URL.")}
    listed = {item["@id"] for item in integrity.read(tmp_path)["@graph"] if item["@type"] == "File"}
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert listed == there - {integrity.NAME}


def test_runs_that_the_store_has_stay_as_they_are(grid, store, packed, fresh):
    first = grid.every_run[0].spec.id
    shutil.copytree(store.entry(first).folder, fresh.root / "runs" / first)
    restored = archive.restore(packed, fresh)
    assert restored.there == (first,)
    assert "archived" not in fresh.entry(first).environment


def test_a_study_that_is_not_whole_is_not_archived(grid, fresh, digits, tmp_path):
    with pytest.raises(IncompleteError, match="train them with kdnb run"):
        archive.pack(grid, fresh, digits, 0, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def damaged(contents):
    name = next(name for name in contents if name.endswith("weights.safetensors"))
    return contents | {name: contents[name][:-1] + bytes([contents[name][-1] ^ 1])}


def lacking(contents):
    name = next(name for name in contents if name.endswith("log.json"))
    return {each: content for each, content in contents.items() if each != name}


def renamed(contents):
    """Another run's files under a run's id, with hashes that fit."""
    ids = sorted({name.split("/")[1] for name in contents if name.startswith("runs/")})
    first, second = ids[:2]
    contents |= {f"runs/{first}/{name}": contents[f"runs/{second}/{name}"] for name in FILES}
    described = json.loads(contents[integrity.NAME])
    hashes = {item["@id"]: item.get("sha256") for item in described["@graph"]}
    for item in described["@graph"]:
        if item["@id"].startswith(f"runs/{first}/"):
            item["sha256"] = hashes[item["@id"].replace(first, second)]
    return contents | {integrity.NAME: json.dumps(described).encode()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (damaged, "weights.safetensors is not the file that was archived"),
        (lacking, "lacks files of the run"),
        (renamed, "holds the run"),
        (lambda contents: contents | {"../out.txt": b"x"}, r"holds '\.\./out.txt', which no archive"),
        (lambda contents: contents | {"runs/0123456789abcdef/run.py": b"x"}, "which no archive of kdnb archive does"),
        (lambda contents: {"readme.txt": b"x"}, "is no archive of kdnb archive"),
    ],
    ids=["damaged", "lacking", "renamed", "outside", "code", "another zip"],
)
def test_nothing_else_gets_into_a_store(change, said, packed, fresh, tmp_path):
    path = rewritten(packed, tmp_path / "other.zip", change)
    with pytest.raises(StoreError, match=said):
        archive.restore(path, fresh)
    assert not (fresh.root / "runs").exists() or change is renamed
    assert not (tmp_path / "out.txt").exists()
    assert [each for each in fresh.root.rglob("*") if each.name.startswith(".")] == []


def test_a_bomb_and_a_file_that_is_no_archive_are_refused(packed, fresh, tmp_path):
    bomb = rewritten(packed, tmp_path / "bomb.zip", lambda contents: contents, zipfile.ZIP_DEFLATED)
    with pytest.raises(StoreError, match="compressed, which kdnb archive never does"):
        archive.restore(bomb, fresh)
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(StoreError, match=r"text\.zip cannot be read as an archive"):
        archive.restore(tmp_path / "text.zip", fresh)
    described = rewritten(packed, tmp_path / "odd.zip", lambda contents: contents | {integrity.NAME: b"{"})
    with pytest.raises(DamagedResultsError, match="fetch the archive again"):
        archive.restore(described, fresh)
