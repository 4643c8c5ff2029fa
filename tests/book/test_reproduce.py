"""`kdnb reproduce`: the pages at other parameters, and what happens when one fails."""

import json
import os
import re
import signal
import subprocess
import sys
import threading

import nbformat
import pytest

from kdnb import stopping
from kdnb.book import reproduce
from kdnb.errors import IncompleteError, KdnbError, ProfileError
from kdnb.evidence import results
from tests.book.test_pages import TINY

PAGE = "augmentation"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDNB_STORE", str(tmp_path / "store"))


def test_what_the_command_line_names_is_checked():
    asked = reproduce.parse("smoke", ["seeds=0-4", "device=cpu"])
    assert (asked.profile, asked.seeds, asked.device) == ("smoke", "0-4", "cpu")
    with pytest.raises(ProfileError, match=r"no parameter 'sedes'; a page has profile: str, seeds"):
        reproduce.parse("smoke", ["sedes=0"])
    with pytest.raises(ProfileError, match="'seeds' is not NAME=VALUE"):
        reproduce.parse("smoke", ["seeds"])


def test_an_unknown_page_is_an_error_before_anything_is_trained(tmp_path):
    with pytest.raises(ProfileError, match=r"no page 'atention'; there are attention, augmentation"):
        reproduce.reproduce(reproduce.parse("smoke", []), ["atention"])
    assert not (tmp_path / "store").exists()


def test_what_is_not_installed_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce.importlib.util, "find_spec", lambda name: None if name == "ipykernel" else name)
    with pytest.raises(KdnbError, match=r"this needs ipykernel, which is not installed: pip install kdnb\[book\]"):
        reproduce.reproduce(reproduce.parse("smoke", []), [PAGE])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "theirs",
    [
        "source/thesis.tex",
        "source/_toc.yml",
        "source/notebooks/mine.ipynb",
        "html/index.html",
        "html/_build/html/index.html",
    ],
)
def test_a_folder_of_something_else_is_not_removed(theirs, tmp_path):
    """Somebody's own Jupyter Book least of all, which has the names that ours has."""
    file = tmp_path / "project" / theirs
    file.parent.mkdir(parents=True)
    file.write_text("years of work")
    for other in ("source/_toc.yml", "source/notebooks/own.ipynb") if theirs.startswith("source") else ():
        (tmp_path / "project" / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / other).write_text("years of work")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        ProfileError, match=r"was not made by kdnb reproduce and would be replaced; name another folder"
    ):
        reproduce.reproduce(reproduce.parse("published", []), [PAGE], out=tmp_path / "project")
    assert sorted(tmp_path.rglob("*")) == before
    assert file.read_text() == "years of work"


def test_a_link_to_somebodys_folder_is_not_followed(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / reproduce.MARK).write_text("")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "source").symlink_to(tmp_path / "thesis")
    with pytest.raises(ProfileError, match="was not made by kdnb reproduce"):
        reproduce.reproduce(reproduce.parse("published", []), [PAGE], out=tmp_path / "out")
    assert (tmp_path / "thesis").is_dir()


def test_a_page_is_run_on_the_records_that_were_asked_for(tmp_path):
    records = results.home() / "smoke"
    made = reproduce.reproduce(reproduce.parse("published", [f"results={records}", "seeds=0"]), [PAGE], build=False)
    assert made.pages == (PAGE,)
    assert made.folder == tmp_path / "_build" / "reproduce" / "smoke"
    notebook = nbformat.read(made.folder / "source" / "notebooks" / f"{PAGE}.ipynb", as_version=4)
    injected = next(c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert str(records) in injected.source
    comparison = (made.folder / "source" / "book" / "diff.md").read_text()
    assert "same sign" in comparison


def test_the_book_is_built_from_what_came_out(tmp_path):
    records = results.home() / "smoke"
    made = reproduce.reproduce(reproduce.parse("published", [f"results={records}"]), [PAGE], out=tmp_path / "out")
    assert made.index is not None
    book = made.index.parent
    assert "Profile smoke, seed 0" in (book / "notebooks" / f"{PAGE}.html").read_text()
    assert "same sign" in (book / "book" / "diff.html").read_text()


def test_a_page_that_fails_is_kept_and_said(tmp_path, monkeypatch):
    broken = tmp_path / "root"
    (broken / "notebooks").mkdir(parents=True)
    (broken / "book").mkdir()
    source = nbformat.read(reproduce.ROOT / "notebooks" / f"{PAGE}.ipynb", as_version=4)
    source.cells.insert(2, nbformat.v4.new_code_cell("raise RuntimeError('no such image')"))
    nbformat.write(source, broken / "notebooks" / "broken.ipynb")
    monkeypatch.setattr(reproduce, "ROOT", broken)
    asked = reproduce.parse("published", [f"results={results.home() / 'smoke'}"])
    with pytest.raises(IncompleteError, match="1 of 1 pages failed; broken: RuntimeError: no such image"):
        reproduce.reproduce(asked, out=tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "source" / "notebooks" / "broken.ipynb").read_text())
    errors = [o for c in kept["cells"] for o in c.get("outputs", []) if o["output_type"] == "error"]
    assert errors[0]["evalue"] == "no such image"
    assert not (tmp_path / "out" / "html").exists()


def test_a_cell_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    slow = tmp_path / "root"
    (slow / "notebooks").mkdir(parents=True)
    (slow / "book").mkdir()
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import time\ntime.sleep(60)")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, slow / "notebooks" / "slow.ipynb")
    monkeypatch.setattr(reproduce, "ROOT", slow)
    asked = reproduce.parse("published", [f"results={results.home() / 'smoke'}"])
    with pytest.raises(IncompleteError, match="slow: a cell took more than 1 s; give it more with --timeout"):
        reproduce.reproduce(asked, out=tmp_path / "out", timeout=1)


# -- the plan, before anything begins ------------------------------------------------------------------------------------


def test_the_plan_is_said_before_it_is_carried_out_in_the_folder_of_the_call(tmp_path, monkeypatch):
    """Paths mean what they mean there, as in `kdnb reproduce --profile mine.yaml`."""
    (tmp_path / "mine.yaml").write_text(TINY)
    lines = []
    trained = reproduce.execute.execute

    def training(*given, **named):
        lines.append("training begins")
        return trained(*given, **named)

    monkeypatch.setattr("kdnb.book.opening.execute.execute", training)
    asked = reproduce.parse("mine.yaml", ["results=here", "device=cpu"])
    reproduce.reproduce(asked, [PAGE], build=False, say=lines.append)
    assert re.fullmatch(r"mine, seeds 0: \d+ runs to train, about \d+ s on this machine \(cpu\); stop it .*", lines[0])
    assert lines[1] == "training begins"
    folder = tmp_path / "_build" / "reproduce" / "mine"
    assert lines[2] == f"1 page to run, two at a time; all of it goes to {folder}"
    assert "differ in" in (folder / "source" / "book" / "diff.md").read_text()
    assert (tmp_path / "here" / "study.json").is_file()
    lines.clear()
    reproduce.reproduce(asked, [PAGE], build=False, say=lines.append)  # the results are there
    assert lines == [f"1 page to run, two at a time; all of it goes to {folder}"]


# -- where it is called ------------------------------------------------------------------------------------------------


def foreign_kernel(folder):
    """Another Python's kernel under the name that notebooks ask for."""
    (folder / "kernels" / "python3").mkdir(parents=True)
    spec = {"argv": ["/no/such/python", "-f", "{connection_file}"], "display_name": "theirs", "language": "python"}
    (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    return folder


def test_pages_run_in_this_environment_whatever_the_user_calls_python3(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(foreign_kernel(tmp_path / "theirs")))
    monkeypatch.setenv("JUPYTER_PATH", str(foreign_kernel(tmp_path / "more")))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    asked = reproduce.parse("published", [f"results={results.home() / 'smoke'}"])
    assert reproduce.reproduce(asked, [PAGE], build=False).pages == (PAGE,)
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "more")


def test_called_in_jupyter_the_pages_are_still_those_that_nobody_watches(tmp_path, monkeypatch):
    """A notebook's cells and terminals carry the name of its session, and a live widget cannot be built into a book."""
    monkeypatch.setenv("JPY_SESSION_NAME", "mine.ipynb")
    asked = reproduce.parse("published", [f"results={results.home() / 'smoke'}"])
    made = reproduce.reproduce(asked, [PAGE], build=False)
    text = (made.folder / "source" / "notebooks" / f"{PAGE}.ipynb").read_text()
    assert "application/vnd.jupyter.widget-view+json" not in text
    assert os.environ["JPY_SESSION_NAME"] == "mine.ipynb"


def test_a_command_that_is_stopped_ends_its_kernels_and_begins_no_other_page(tmp_path, monkeypatch):
    begun = []

    def waits(page, *_):
        begun.append(page)
        if len(begun) == 2:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return str(subprocess.run([sys.executable, "-c", "import time; time.sleep(3600)"], check=False).returncode)

    monkeypatch.setattr(reproduce, "_run", waits)
    monkeypatch.setattr(reproduce, "_lay_out", lambda source: None)
    with pytest.raises(stopping.Stopped), stopping.by_signals():
        reproduce.reproduce(reproduce.parse("published", ()), out=tmp_path, build=False)
    assert len(begun) == 2


def test_a_build_that_fails_ends_in_its_cause(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "_config.yml").write_text("title: a book")
    (source / "_toc.yml").write_text("format: jb-book\nroot: start")
    (source / "start.md").write_text("# Start\n\n{ref}`nowhere-at-all`\n" + "\nmore\n" * 50)
    with pytest.raises(KdnbError) as failed:
        reproduce._build(source, tmp_path / "html")
    lines = str(failed.value).splitlines()
    assert lines[0].startswith("the pages ran, but the book could not be built from")
    assert "nowhere-at-all" in lines[1]
    assert len(lines) <= 1 + reproduce.LINES
