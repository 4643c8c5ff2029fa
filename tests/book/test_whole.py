"""Results that are not whole are refused by name, wherever they are read; nothing of them is left out or counted twice."""

import hashlib
import json
import shutil

import pytest

from kdnb import cli
from kdnb.book import opening, pages
from kdnb.book.opening import Parameters
from kdnb.errors import DamagedResultsError
from kdnb.evidence import integrity, results

PUBLISHED = results.home() / "cpu-scratch"
"""seeds 0 and 1"""


@pytest.fixture
def folder(tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(PUBLISHED, tmp_path / "mine")


def cut(name, by=1):
    def change(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-by])

    return change


def removed(name):
    def change(folder):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def copied(name, to):
    def change(folder):
        shutil.copytree(folder / name, folder / to, dirs_exist_ok=True)

    return change


def renamed(name, to):
    return lambda folder: (folder / name).rename(folder / to)


NO_SEEDS_NAME = "{0} is no seed's folder by its name, as seed-2 is one; move it elsewhere"

WITH_OR_WITHOUT_A_CRATE = {
    "a copy beside": (copied("seed-1", "seed-1-copy"), NO_SEEDS_NAME.format("seed-1-copy")),
    "a copy by a file manager": (copied("seed-1", "Copy of seed-1"), NO_SEEDS_NAME.format("Copy of seed-1")),
    "a number in two digits": (copied("seed-1", "seed-01"), NO_SEEDS_NAME.format("seed-01")),
    "a capital letter": (renamed("seed-1", "Seed-1"), NO_SEEDS_NAME.format("Seed-1")),
    "another seed's results": (copied("seed-0", "seed-1"), "seed-1 holds the results of seed 0; put it back"),
    "a seed under a new number": (renamed("seed-1", "seed-7"), "seed-7 holds the results of seed 1; put it back"),
    "a seed without provenance": (removed("seed-1/provenance.json"), "provenance.json cannot be read"),
    "a table cut short": (cut("seed-0/measures.csv", 100_000), "measures.csv is not the file that was published"),
    "settings cut short": (cut("study.json", 10), "study.json cannot be read"),
}

WITH_A_CRATE = {
    "a seed that is gone": (removed("seed-1"), "lacks seed 1, which its ro-crate-metadata.json lists; put it back"),
    "a table that nothing reads here": (removed("seed-1/dial.csv"), "dial.csv cannot be read (No such file"),
    "curves cut short": (cut("seed-0/curves.csv"), "curves.csv is not the file that was published: it has "),
    "logits cut short": (
        cut("explorer.safetensors"),
        "explorer.safetensors is not the file that was published: it has",
    ),
    "networks that are gone": (removed("weights.safetensors"), "weights.safetensors cannot be read"),
    "settings that are gone": (removed("study.json"), "study.json is missing; put it back"),
    "a crate cut short": (cut(integrity.NAME, 10), f"{integrity.NAME} cannot be read"),
}


@pytest.fixture(params=[*WITH_OR_WITHOUT_A_CRATE, *WITH_A_CRATE])
def damaged(request, folder):
    """The folder, something in it not whole, and what is to be said of it."""
    change, said = (WITH_OR_WITHOUT_A_CRATE | WITH_A_CRATE)[request.param]
    change(folder)
    return folder, said


def test_diff_names_what_is_not_whole_in_one_line_with_exit_code_2(damaged, capfd):
    folder, said = damaged
    for pair in ([folder, PUBLISHED], [PUBLISHED, folder]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["diff", *map(str, pair)])
        told = capfd.readouterr()
        assert stop.value.code == 2
        assert told.out == ""
        assert len(told.err.splitlines()) == 1
        assert told.err.startswith(f"kdnb: {folder}")
        assert said in told.err


def test_a_page_refuses_what_is_not_whole(damaged):
    folder, said = damaged
    with pytest.raises(DamagedResultsError) as error:
        _ = opening.open_results(Parameters(results=str(folder))).table
    assert said in str(error.value)


@pytest.mark.parametrize("kind", WITH_OR_WITHOUT_A_CRATE)
def test_older_results_without_a_crate_are_refused_where_they_say_it_themselves(kind, folder):
    (folder / integrity.NAME).unlink()
    assert results.read(folder).seeds == (0, 1)
    change, said = WITH_OR_WITHOUT_A_CRATE[kind]
    change(folder)
    with pytest.raises(DamagedResultsError) as error:
        _ = results.read(folder).table
    assert said in str(error.value)


def test_a_seed_that_the_crate_does_not_list_is_not_counted(folder):
    shutil.copytree(folder / "seed-1", folder / "seed-2")
    path = folder / "seed-2" / "measures.csv"
    path.write_text(path.read_text().replace("cpu-scratch,1,", "cpu-scratch,2,"))
    with pytest.raises(
        DamagedResultsError, match=r"seed-2 is not among what was published: .* does not list it; move it"
    ):
        results.read(folder)
    with pytest.raises(DamagedResultsError, match=r"seed-2.provenance\.json is not among what was published"):
        results.read(folder, [2])


def test_what_is_not_used_is_not_asked_for(folder):
    removed("seed-1")(folder)
    assert results.read(folder, [0]).seeds == (0,)
    with pytest.raises(DamagedResultsError, match="lacks seed 1"):
        results.read(folder, [1])


def test_a_seed_that_is_named_twice_counts_once(folder):
    assert results.read(folder, [1, 1]).seeds == (1,)


def test_predictions_cut_short_are_refused_with_and_without_a_crate(tmp_path):
    folder = shutil.copytree(results.home() / "smoke", tmp_path / "smoke")
    name = f"seed-0/{results.PREDICTIONS}"
    cut(name, 1000)(folder)
    with pytest.raises(
        DamagedResultsError, match=r"predictions\.safetensors\.xz is not the file that was published: it has"
    ):
        results.read(folder)
    (folder / integrity.NAME).unlink()
    with pytest.raises(
        DamagedResultsError, match=r"predictions\.safetensors\.xz is not the file that was published: its hash"
    ):
        results.read(folder).predictions(0)
    path = folder / "seed-0" / "provenance.json"
    made = json.loads(path.read_text())
    made["files"][results.PREDICTIONS] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(made))
    with pytest.raises(DamagedResultsError, match=r"seed-0/predictions\.safetensors\.xz cannot be read"):
        results.read(folder).predictions(0)


@pytest.mark.parametrize("name", ["explorer.safetensors", "weights.safetensors"])
def test_tensors_cut_short_are_refused_also_without_a_crate(name, folder):
    (folder / integrity.NAME).unlink()
    cut(name)(folder)
    with pytest.raises(DamagedResultsError, match=f"{name} cannot be read"):
        _ = results.read(folder).explorer if name.startswith("explorer") else results.read(folder).network("Sw")


@pytest.mark.parametrize("graph", [None, [{"@id": "./"}, "x"], [{"@id": "./"}, {"@id": "study.json", "@type": "File"}]])
def test_a_crate_that_was_edited_is_refused(graph, folder):
    (folder / integrity.NAME).write_text(json.dumps({"@graph": graph}))
    with pytest.raises(DamagedResultsError, match=f"{integrity.NAME} (cannot be read|does not say what it lists)"):
        results.read(folder)


def test_the_banner_of_a_page_does_not_hide_that_the_published_study_is_not_whole(folder, monkeypatch):
    shown = results.read(PUBLISHED)
    removed("study.json")(folder)
    monkeypatch.setattr(results, "home", lambda: folder.parent)
    with pytest.raises(DamagedResultsError, match=r"study\.json is missing"):
        pages.banner(shown)


def test_reading_takes_in_no_more_than_what_is_used(folder, monkeypatch):
    """The large files are measured by their length alone."""
    read = []
    whole = type(folder).read_bytes
    monkeypatch.setattr(type(folder), "read_bytes", lambda path: read.append(path.name) or whole(path))
    _ = results.read(folder).table
    assert set(read) == {integrity.NAME, "study.json", "provenance.json", "measures.csv"}
