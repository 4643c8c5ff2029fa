"""The RO-Crate of published results: valid by the validator of its makers, and a proof of the files."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
import rocrate
from rocrate_validator import models, services
from rocrate_validator.utils import document_loader, http

from kdnb.errors import DamagedResultsError
from kdnb.evidence import claims, integrity, results
from kdnb.release import crate, publish

STUDIES = sorted(path.parent for path in results.home().glob("*/study.json"))

CONTEXT = json.loads((Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text(encoding="utf-8"))
"""The vocabulary as the library brings it: the validator would fetch it."""


class Answer:
    """What the validator takes for the vocabulary's page."""

    status_code = 200
    ok = True
    headers = {"Content-Type": "application/ld+json"}  # noqa: RUF012
    text = json.dumps(CONTEXT)

    def json(self):
        return CONTEXT

    def raise_for_status(self):
        return None


@pytest.fixture
def _no_network(monkeypatch):
    monkeypatch.setattr(http.HttpRequester, "__getattr__", lambda self, name: lambda *rest, **named: Answer())
    for name in ("get", "head"):
        monkeypatch.setattr(http.HttpRequester, name, lambda self, *rest, **named: Answer(), raising=False)
    monkeypatch.setattr(document_loader, "_fetch_json_ld", lambda source: CONTEXT)


@pytest.fixture
def folder(tmp_path):
    """A copy of a small published study, that a test may change."""
    return shutil.copytree(results.home() / "smoke", tmp_path / "smoke")


def findings(folder):
    asked = services.ValidationSettings(
        rocrate_uri=str(folder), profile_identifier="ro-crate-1.1", requirement_severity=models.Severity.RECOMMENDED
    )
    return {(issue.severity.name, issue.message) for issue in services.validate(asked).get_issues()}


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")
def test_each_published_study_is_a_valid_crate(study, tmp_path):
    copy = tmp_path / "crate"  # the validator cannot read a folder whose path holds a space, as a checkout's may
    shutil.copytree(study, copy)
    assert findings(copy) <= {("RECOMMENDED", "The organization SHOULD have a URL.")}  # the authors have none


@pytest.mark.usefixtures("_no_network")
@pytest.mark.filterwarnings("ignore")
def test_the_validator_finds_what_is_wrong(folder):
    there = json.loads((folder / integrity.NAME).read_text())
    del there["@graph"][1]["datePublished"], there["@graph"][1]["license"]
    (folder / integrity.NAME).write_text(json.dumps(there))
    assert {"REQUIRED"} <= {severity for severity, _ in findings(folder)}


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_the_crate_lists_every_file_that_is_there(study):
    listed = {
        item["@id"] for item in json.loads((study / integrity.NAME).read_text())["@graph"] if item["@type"] == "File"
    }
    there = {path.relative_to(study).as_posix() for path in study.rglob("*") if path.is_file()}
    assert listed == there - {integrity.NAME}


def read_all(folder):
    there = results.read(folder)
    for part in ("table", "curves", "reliability", "dial", "specifications", "explorer"):
        getattr(there, part)
    there.predictions(0)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", names(results.home() / "smoke"))
def test_a_flipped_byte_is_found_in_every_file(name, folder):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 0x10
    (folder / name).write_bytes(content)
    if name == "verdicts.csv":  # for readers of the folder: nothing reads it, it is computed from the others
        assert (folder / name).read_bytes() != publish.verdicts_csv(folder)
        return
    if name == integrity.NAME:  # of what it says, only the hashes are relied on; a description may have another letter
        place = content.index(b'"sha256": "') + 15
        content = bytearray((results.home() / "smoke" / name).read_bytes())
        content[place] ^= 0x01
        (folder / name).write_bytes(content)
    with pytest.raises(DamagedResultsError, match="publish"):
        read_all(folder)


def test_results_that_did_not_change_keep_their_date(folder):
    earlier = integrity.read(folder)
    again = crate.describe(folder, earlier, today=date(2099, 1, 1))
    assert again == (folder / integrity.NAME).read_bytes()
    (folder / "seed-0" / "dial.csv").write_text("")
    assert '"datePublished": "2099-01-01"' in crate.describe(folder, earlier, today=date(2099, 1, 1)).decode()


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_the_verdicts_in_the_folder_are_those_of_its_tables_and_carry_their_scale(study):
    if json.loads((study / "study.json").read_text())["claims"] in claims.SETS:  # and not by an earlier one
        assert (study / "verdicts.csv").read_bytes() == publish.verdicts_csv(study)
    rows = results.read(study).verdicts
    assert set(rows["scale"]) == {results.read(study).scale}
    assert rows["scale"].str.match("reduced scale: |stand-in: ").all()
