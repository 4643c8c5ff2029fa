"""What every page does first: its parameters, the records it opens, and how they can be made again."""

import json
import re
import shutil
from pathlib import Path

import pytest

from kdnb import environment
from kdnb.book import cards, opening, pages
from kdnb.book.opening import Parameters
from kdnb.environment import Code
from kdnb.errors import IncompleteError, ProfileError
from kdnb.evidence import integrity, results
from kdnb.evidence.results import home
from kdnb.study.store import Store

RECORDS = home() / "smoke"


@pytest.fixture
def shown(monkeypatch):
    """What a page displays, in order: (data, metadata)."""
    displayed = []
    monkeypatch.setattr(pages, "display", lambda data, metadata=None, raw=False: displayed.append((data, metadata)))
    return displayed


def test_an_unknown_parameter_is_an_error_that_lists_the_right_ones():
    with pytest.raises(ProfileError, match=r"no parameter 'sedes'; a page has profile: str, seeds: str, device: str"):
        opening.parameters(sedes="0")


@pytest.mark.parametrize(("name", "value"), [("device", 0), ("results", None), ("profile", 1.5), ("seeds", [0])])
def test_a_parameter_of_the_wrong_type_is_an_error(name, value):
    with pytest.raises(ProfileError, match=f"the parameter {name} is .*, not a string"):
        opening.parameters(**{name: value})


def test_papermill_makes_a_number_of_a_seed():
    assert opening.parameters(seeds=3).seeds == "3"


def test_what_papermill_injects_under_a_wrong_name_is_found(monkeypatch, shown):
    cells = ["profile: str = 'published'", '# Parameters\nprofile = "published"\nseed = 1\n', "import kdnb"]
    fake = type("Shell", (), {"user_ns": {"In": cells}})()
    monkeypatch.setattr(pages, "get_ipython", lambda: fake)
    with pytest.raises(ProfileError, match="no parameter 'seed'"):
        pages.start(profile="published")
    assert shown == []


def test_the_banner_of_the_stand_in_says_that_it_says_nothing(shown):
    there = pages.start(profile="published", results=str(RECORDS))
    (data, _) = shown[0]
    assert there.is_stand_in
    for words in ("Profile smoke", "seed 0", "say nothing about the paper", there.about["dataset"]["name"]):
        assert words in data["text/html"]
        assert words in data["text/plain"]


def test_published_needs_neither_store_nor_data(monkeypatch, tmp_path):
    monkeypatch.setenv("KDNB_STORE", str(tmp_path / "none"))
    assert opening.open_results(Parameters(results=str(RECORDS), seeds="0")).seeds == (0,)
    assert not (tmp_path / "none").exists()
    with pytest.raises(IncompleteError, match="seed 9 is not among"):
        opening.open_results(Parameters(results=str(RECORDS), seeds="9"))


TINY = """
name: mine
dataset: {name: digits}
seeds: [0]
teacher: &network
  model: {name: resnet8-w8}
  train: {epochs: 1, batch_size: 32, learning_rate: 0.05, schedule: {kind: one-cycle}}
student: *network
grid: [{teachers: [[], [weak, weak], [strong, strong]]}]
observe: {maps: 40, train_sample: 50, validate_sample: 60}
"""


@pytest.mark.usefixtures("some_digits")
def test_another_profile_is_trained_once_and_then_read(tmp_path, monkeypatch):
    profile = tmp_path / "mine.yaml"
    profile.write_text(TINY)
    store = Store(tmp_path / "store")
    made = opening.open_results(Parameters(profile=str(profile), device="cpu"), store)
    assert made.profile.name == "mine"
    assert made.effect("K2.interaction")
    monkeypatch.setattr(opening.execute, "execute", lambda *a, **k: pytest.fail("trains again"))
    again = opening.open_results(Parameters(profile=str(profile), device="cpu"), store)
    assert again.folder == made.folder
    profile.write_text(TINY.replace("epochs: 1", "epochs: 2"))
    with pytest.raises(pytest.fail.Exception, match="trains again"):
        opening.open_results(Parameters(profile=str(profile), device="cpu"), store)


@pytest.mark.usefixtures("some_digits")
def test_only_the_seeds_that_a_folder_lacks_are_trained(tmp_path):
    profile = tmp_path / "mine.yaml"
    profile.write_text(TINY)
    asked = Parameters(profile=str(profile), results=str(tmp_path / "records"), device="cpu")
    opening.open_results(asked, Store(tmp_path / "store"))
    other = Store(tmp_path / "other")
    assert opening.open_results(asked.model_copy(update={"seeds": "0,1"}), other).seeds == (0, 1)
    assert {other.entry(run.name).spec.seed for run in (other.root / "runs").iterdir()} == {1}
    profile.write_text(TINY + "objectives: {kd: {alpha: 0.5}}\n")
    with pytest.raises(IncompleteError, match=r"another study: objectives\.kd\.alpha is 0\.6 there and 0\.5 here"):
        opening.open_results(asked, Store(tmp_path / "none"))
    assert not (tmp_path / "none" / "runs").exists()


def test_uncommitted_code_adds_nothing_to_the_records_of_the_book(tmp_path, monkeypatch):
    profile = tmp_path / "mine.yaml"
    profile.write_text(TINY)
    monkeypatch.setattr(results, "home", lambda: tmp_path / "book")
    monkeypatch.setattr(environment, "read_code", lambda _: Code("a" * 40, True, "kdnb/x.py is in no commit"))
    asked = Parameters(profile=str(profile), results=str(tmp_path / "book" / "mine"), device="cpu")
    with pytest.raises(IncompleteError, match=r"code that no commit has.*: kdnb/x\.py is in no commit"):
        opening.open_results(asked, Store(tmp_path / "store"))
    assert not (tmp_path / "store" / "runs").exists()


def test_a_grid_that_the_pages_cannot_compare_is_refused_before_training(tmp_path, monkeypatch):
    profile = tmp_path / "mine.yaml"
    profile.write_text(TINY.replace("[strong, strong]", "[weak, weak, weak]"))
    monkeypatch.setattr(opening.execute, "execute", lambda *a, **k: pytest.fail("trains"))
    with pytest.raises(IncompleteError, match=r"lacks \[strong, strong\] with a weak student; \[strong"):
        opening.open_results(Parameters(profile=str(profile), device="cpu"), Store(tmp_path / "store"))


@pytest.mark.usefixtures("some_digits")
def test_records_made_by_an_older_version_are_made_again(tmp_path):
    profile = tmp_path / "mine.yaml"
    profile.write_text(TINY)
    asked, store = Parameters(profile=str(profile), seeds="0,1", device="cpu"), Store(tmp_path / "store")
    path = opening.open_results(asked, store).folder / "study.json"
    path.write_text(path.read_text().replace(f'"format": {results.FORMAT}', '"format": 1'))
    assert opening.open_results(asked.model_copy(update={"seeds": "1"}), store).seeds == (1,)
    assert f'"format": {results.FORMAT}' in path.read_text()


def test_a_card_names_every_commit_that_trained(tmp_path):
    folder = Path(shutil.copytree(RECORDS, tmp_path / "smoke"))
    (folder / integrity.NAME).unlink()
    path = folder / "seed-0" / "provenance.json"
    made = json.loads(path.read_text())
    made["environments"][0] |= {"commit": "b" * 40, "earlier_commits": ["a" * 40]}
    path.write_text(json.dumps(made))
    assert "aaaaaaaaaa, bbbbbbbbbb" in cards.card(results.read(folder), "kdnb.book.exhibits.plot")


def test_a_card_says_which_images_stand_in_the_data_twice(tmp_path):
    folder = Path(shutil.copytree(RECORDS, tmp_path / "smoke"))
    (folder / integrity.NAME).unlink()
    about = json.loads((folder / "study.json").read_text())
    for said in ("", "1 validation image is also in training: cat/0.png"):
        about["dataset"]["repeats"] = said
        (folder / "study.json").write_text(json.dumps(about))
        card = cards.card(results.read(folder), "kdnb.book.exhibits.plot")
        assert f"hash {about['dataset']['hash']}{'; ' if said else ''}{said}</dd>" in card


def test_a_card_says_what_differs_from_the_profile_of_that_name(tmp_path):
    folder = Path(shutil.copytree(RECORDS, tmp_path / "smoke"))
    (folder / integrity.NAME).unlink()
    text = (folder / "study.json").read_text()
    (folder / "study.json").write_text(text.replace('"alpha": 0.6', '"alpha": 0.5', 1))
    card = cards.card(results.read(folder), "kdnb.book.exhibits.plot")
    assert "smoke with objectives.kd.alpha=0.5" in card
    assert "--profile FILE.yaml" in card
    (folder / "study.json").write_text(text.replace('"name": "smoke"', '"name": "mine"'))
    assert "mine, a profile of one&#x27;s own" in cards.card(results.read(folder), "kdnb.book.exhibits.plot")


# -- what differs from the published study -------------------------------------------------------------------------------


def test_the_banner_says_in_what_a_study_differs_from_the_published_one(shown):
    pages.start(profile="published", results=str(RECORDS))
    said = shown[0][0]["text/html"]
    assert re.search(r"Differs from the published study cpu in \d+ settings", said)
    assert "<dt><code>teacher.train.epochs</code></dt><dd>8; published: 40</dd>" in said


def test_the_banner_of_the_published_study_names_no_difference(shown):
    pages.start(profile="published", results=str(home() / "cpu"))
    assert "Differs" not in shown[0][0]["text/html"]
