"""What archives, Binder, Colab and Codespaces read."""

import importlib.util
import json
import re
import subprocess

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from kdnb import __version__
from kdnb.paths import CHECKOUT as ROOT
from tests.conftest import HANGS


def made_by(path, name):
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


metadata = made_by(".ci/metadata.py", "metadata")

FILES = ("codemeta.json", ".zenodo.json", "CITATION.cff", ".binder/colab.ipynb")


@pytest.mark.parametrize("name", FILES)
def test_what_archives_read_is_up_to_date(name):
    assert metadata.files(ROOT)[name] == (ROOT / name).read_text(encoding="utf-8"), "make metadata brings it up to date"


@pytest.fixture
def hosted(tmp_path):
    """The files of a repository whose address is set."""
    for name in ("pyproject.toml", "_config.yml", *FILES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = (ROOT / name).read_text(encoding="utf-8")
        if name == "_config.yml":
            text = re.sub(r"url: https://github\.com/\S+", "url: https://example.org/lab/kdnb", text)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_one_setting_holds_the_repositorys_address(hosted):
    made = metadata.files(hosted)
    assert json.loads(made["codemeta.json"])["codeRepository"] == "https://example.org/lab/kdnb"
    related = json.loads(made[".zenodo.json"])["related_identifiers"]
    assert "https://example.org/lab/kdnb" in [each["identifier"] for each in related]
    assert yaml.safe_load(made["CITATION.cff"])["repository-code"] == "https://example.org/lab/kdnb"
    assert "!git clone --quiet --depth 1 https://example.org/lab/kdnb kdnb" in made[".binder/colab.ipynb"]
    for name, text in made.items():
        (hosted / name).write_text(text, encoding="utf-8")
    assert metadata.files(hosted) == made  # once more changes nothing
    set_elsewhere = subprocess.run(
        ["git", "grep", "-lE", r"github\.com/(OWNER|kdnb)/", "--", ".", ":!tests", ":!.ci/metadata.py"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout.split()  # fmt: skip
    assert sorted(set_elsewhere) == [".binder/colab.ipynb", "_config.yml", "book/_ext/kdnb_book.py"]


def test_a_placeholder_is_no_address_in_what_archives_read():
    if not metadata.read(ROOT)["address"].startswith(metadata.PLACEHOLDER):
        pytest.fail("the address is set: drop this test")
    for name in ("codemeta.json", ".zenodo.json", "CITATION.cff"):
        assert "OWNER" not in (ROOT / name).read_text(encoding="utf-8")


def test_versions_and_titles_agree():
    codemeta, zenodo = (json.loads((ROOT / name).read_text(encoding="utf-8")) for name in FILES[:2])
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert codemeta["version"] == zenodo["version"] == citation["version"] == __version__
    assert zenodo["title"] == citation["title"]
    assert codemeta["referencePublication"]["@id"].endswith(citation["references"][0]["doi"])
    assert zenodo["license"] in codemeta["license"]
    assert len(codemeta["referencePublication"]["author"]) == 5


def test_the_build_says_that_the_address_is_a_placeholder(capsys):
    extension = made_by("book/_ext/kdnb_book.py", "extension")

    def built(address):
        config = type("Config", (), {"html_theme_options": {"repository_url": address}})()
        extension.address(type("App", (), {"config": config})())
        return capsys.readouterr().err

    assert "repository.url in _config.yml is a placeholder" in built("https://github.com/OWNER/kdnb")
    assert built("https://example.org/lab/kdnb") == ""
    assert extension.PLACEHOLDER == metadata.PLACEHOLDER


# -- Binder, Colab, Codespaces -----------------------------------------------------------------------------------------


def test_binder_installs_what_make_installs():
    script = (ROOT / ".binder" / "postBuild").read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(ROOT / ".binder" / "postBuild")], check=True)
    assert (ROOT / ".binder" / "postBuild").stat().st_mode & 0o111
    dry = subprocess.run(
        ["make", "--dry-run", "--always-make", "CPU=1", ".venv/.installed"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout  # fmt: skip
    for part in ("-c requirements.txt uv", "--torch-backend cpu -r requirements-cpu.txt", "--no-build-isolation -e ."):
        assert part in script
        assert part in dry
    assert (ROOT / ".binder" / "runtime.txt").read_text(encoding="utf-8").strip() == "python-3.11"


def test_the_codespace_is_set_up_by_make():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    command = container["postCreateCommand"].split()
    assert command[0] == "make"
    subprocess.run([*command, "--dry-run"], check=True, cwd=ROOT, capture_output=True)
    interpreter = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter == "${workspaceFolder}/.venv/bin/python"
    assert ":3.11-" in container["image"]


def test_colabs_notebook_runs_once_the_package_is_there():
    notebook = nbformat.read(ROOT / ".binder" / "colab.ipynb", as_version=4)
    (install,) = (cell for cell in notebook.cells if "install" in cell.metadata.get("tags", []))
    lines = install.source.splitlines()
    assert lines[0].startswith("!git clone --quiet --depth 1 https://")
    assert "!pip install --quiet -r requirements.txt" in lines
    notebook.cells.remove(install)
    NotebookClient(notebook, timeout=HANGS, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("kdnb-scorecard" in output.get("data", {}).get("text/html", "") for output in shown)
