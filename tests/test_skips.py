"""A skip that is not on the list fails the run, and what CI needs it installs or says."""

import shutil
import subprocess
import sys

import pytest

from kdnb.paths import CHECKOUT as ROOT
from tests import skips
from tests.conftest import HANGS


def run(folder, source, *options):
    """pytest on a file of its own, with the list of skips."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text("import pytest\n" + source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.skips",
        "-p",
        "no:cacheprovider",
        *options,
        str(folder / "test_it.py"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=HANGS)


FINE = "def test_fine():\n    pass\n"


@pytest.mark.parametrize(
    "skip",
    [
        "def test_other():\n    pytest.skip('needs npm')\n",
        "@pytest.mark.skip(reason='needs npm')\ndef test_other():\n    pass\n",
        "@pytest.fixture\ndef browser():\n    pytest.skip('needs npm')\ndef test_other(browser):\n    pass\n",
    ],
    ids=["call", "mark", "fixture"],
)
def test_a_skip_without_a_place_on_the_list_fails_the_run_and_is_named(tmp_path, skip):
    done = run(tmp_path, FINE + skip)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_other: needs npm" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout


def test_several_processes_skip_no_more_than_one(tmp_path):
    done = run(tmp_path, FINE + "def test_other():\n    pytest.skip('needs npm')\n", "-n", "2")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_other: needs npm" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two"])
def test_a_module_that_skips_itself_fails_the_run(tmp_path, options):
    done = run(tmp_path, "pytest.skip('no such library', allow_module_level=True)\n", *options)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "no such library" in done.stdout


@pytest.mark.parametrize(
    "source",
    [
        "def test_other():\n    pytest.skip('needs the real images: no cifar100.zip in /data')\n",
        "@pytest.mark.xfail\ndef test_other():\n    assert False\n",
        "",
    ],
    ids=["on the list", "an expected failure", "none"],
)
def test_other_runs_pass(tmp_path, source):
    assert run(tmp_path, FINE + source).returncode == pytest.ExitCode.OK


def test_a_failure_stays_a_failure_beside_a_skip(tmp_path):
    done = run(tmp_path, "def test_wrong():\n    assert 1 == 2\ndef test_other():\n    pytest.skip('needs npm')\n")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 skipped" in done.stdout


def test_the_browser_is_not_optional_on_linux(monkeypatch):
    assert skips.allowed("needs a browser: Debian's package chromium") == (sys.platform != "linux")
    assert not skips.allowed("it also needs the real images")  # a reason begins with what the list has


# -- .ci/run ---------------------------------------------------------------------------------------------------------

NEEDS = ("git", "node", "npm", "chromium")


@pytest.fixture
def machine(tmp_path):
    """Runs .ci/run on a machine that has only some commands; returns the exit status, what was called, and what was printed.
    On this machine ``python3``, ``make`` and ``apt-get`` only write down that they were called."""
    if sys.platform != "linux":
        pytest.skip(".ci/run is for Debian")

    def calling(*, there=(), user="0", apt=0, sudo=1):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in ("bash", "dirname", "env", "true"):
            (folder / name).symlink_to(shutil.which(name))
        statuses = {"make": 0, "python3": 0, **dict.fromkeys(there, 0)}
        if apt is not None:
            statuses["apt-get"] = apt
        for name, status in statuses.items():
            script(folder / name, f'echo "{name} $*" >> "{tmp_path}/calls"; exit {status}')
        script(folder / "id", f"echo {user}")
        script(folder / "sudo", f'[ {sudo} = 0 ] && shift && exec "$@"; exit {sudo}')
        (tmp_path / "calls").touch()
        done = subprocess.run(
            [shutil.which("bash"), str(ROOT / ".ci" / "run")],
            env={"PATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=HANGS,
        )
        calls = [line for line in (tmp_path / "calls").read_text().splitlines() if not line.startswith("python3")]
        return done.returncode, calls, done.stdout + done.stderr

    return calling


def script(path, body):
    path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
    path.chmod(0o755)


def test_ci_runs_the_readmes_command_and_installs_nothing_that_is_there(machine):
    assert machine(there=NEEDS) == (0, ["make test"], "")


def test_ci_installs_what_is_missing_as_root(machine):
    status, calls, _ = machine(there=("git", "node"))
    assert status == 0
    assert calls == [
        "apt-get update -qq",
        "apt-get install -qq --yes --no-install-recommends npm chromium",
        "make test",
    ]


def test_ci_installs_with_sudo_where_that_needs_no_password(machine):
    _, calls, _ = machine(there=("git", "node", "npm"), user="1000", sudo=0)
    assert calls[1] == "apt-get install -qq --yes --no-install-recommends chromium"


@pytest.mark.parametrize("lacking", [{"user": "1000"}, {"apt": None}], ids=["no rights", "no Debian"])
def test_ci_says_what_it_cannot_install_and_leaves_the_rest_to_the_list_of_skips(machine, lacking):
    status, calls, said = machine(there=("git", "node", "npm"), **lacking)
    assert (status, calls) == (0, ["make test"])
    assert "this machine lacks chromium" in said


def test_ci_fails_where_an_installation_fails(machine):
    status, calls, _ = machine(there=("git", "node", "npm"), apt=100)
    assert status == 100
    assert "make test" not in calls
