"""What is said of the code that made a run: the commit, or the true reason why none names it."""

import subprocess

import pytest

from kdnb import cli, devices, environment
from kdnb.environment import Code


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path):
    """A package in a source archive."""
    folder = tmp_path / "clone" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    return folder


@pytest.fixture
def committed(package):
    """The package in a clone, with nothing changed."""
    git(package.parent, "init", "--quiet")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "--quiet", "--message", "first")
    return package


@pytest.fixture(autouse=True)
def _asked_anew():
    environment.read_code.cache_clear()


def test_code_that_is_committed_has_its_commit(committed):
    (committed.parent / "beside.txt").write_text("no code")
    assert environment.read_code(committed) == Code(git(committed, "rev-parse", "HEAD"), False, "")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("__init__.py", "package/__init__.py differs from the commit"),
        ("__init__.py~", "package/__init__.py~ is in no commit"),
        (".__init__.py.swp", "package/.__init__.py.swp is in no commit"),
        ("mine.py", "package/mine.py is in no commit"),
    ],
)
def test_a_file_that_no_commit_has_is_named(committed, file, said):
    (committed / file).write_text("changed")
    found = environment.read_code(committed)
    assert (found.commit, found.changed) == (git(committed, "rev-parse", "HEAD"), True)
    assert found.unnamed == f"{said}; commit what is code, and move the rest away"
    environment.read_code.cache_clear()
    (committed / "z.py").write_text("")
    assert environment.read_code(committed).unnamed.startswith(f"{said}, and 1 more;")


def test_a_source_archive_is_named(package):
    assert environment.read_code(package).unnamed.startswith("the package is in no git clone, as of a source archive")


def test_a_package_in_a_clone_of_something_else_is_in_none(committed):
    archive = committed.parent / "unpacked"
    archive.mkdir()
    (archive / "__init__.py").write_text("")
    assert environment.read_code(archive).unnamed.startswith("the package is in no git clone")


def test_a_clone_of_another_user_is_named(committed, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = environment.read_code(committed)
    assert found.commit is None
    assert "belongs to another user, and git does not read it; allow it: git config --global --add" in found.unnamed


def test_a_machine_without_git_is_named(committed, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.read_code(committed) == Code(
        None, None, "git is not installed here, or not in the PATH; install it"
    )


def test_a_repository_without_a_commit_is_named(package):
    git(package.parent, "init", "--quiet")
    git(package.parent, "add", ".")
    assert environment.read_code(package).unnamed == "the repository has no commit yet; make one"


def test_the_reason_is_kept_with_what_was_made_and_only_there(committed, monkeypatch):
    cpu = devices.choose("cpu")
    monkeypatch.setattr(environment, "PACKAGE", committed)
    made = environment.describe(cpu)
    assert environment.why_unnamed(made) == ""
    assert environment.UNNAMED not in made
    begun = environment.describe(cpu, [environment.Provenance("b" * 40 + environment.CHANGED, "")])
    assert environment.why_unnamed(begun) == "its training was begun with other code, which no commit has"
    environment.read_code.cache_clear()
    (committed / "mine.py").write_text("")
    assert environment.why_unnamed(environment.describe(cpu)).startswith("package/mine.py is in no commit")
    assert environment.why_unnamed({"commit": "b" * 40, "uncommitted_changes": True})  # recorded before reasons were


def test_a_run_says_at_its_beginning_that_it_will_not_be_published(committed, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(environment, "PACKAGE", committed)
    study = ["--epochs", "1", "--set", "grid=[{teachers: [[]]}]", "--set", "reference=false", "--store", str(tmp_path)]
    cli.main(["run", *study, "--seeds", "1", "--device", "cpu"])
    assert "warning" not in capfd.readouterr().err
    (committed / "mine.py").write_text("")
    environment.read_code.cache_clear()
    cli.main(["run", *study, "--device", "cpu"])
    told = capfd.readouterr()
    assert told.err.startswith("kdnb: warning: no commit names this code: package/mine.py is in no commit; commit")
    assert "2 runs trained" in told.out
    with pytest.raises(SystemExit):
        cli.main(["publish", *study, "--results", str(tmp_path / "results")])
    assert "code that no commit has, so nobody could make it again: package/mine.py is in no" in capfd.readouterr().err
    assert not (tmp_path / "results").exists()
