"""The command line as a user meets it."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kdnb import cli, paths
from kdnb.book import reproduce
from kdnb.evidence import results
from kdnb.progress import Progress
from kdnb.release import publish as publishing
from kdnb.study import execute, grid
from kdnb.study import profile as profiles
from kdnb.study.store import Store
from tests.conftest import everything

TINY = [
    "--epochs", "1", "--set", "grid=[{teachers: [[], [weak, weak], [strong, strong]]}]", "--set", "origin=fresh",
    "--set", "observe={maps: 40, train_sample: 50, validate_sample: 60}",
]  # fmt: skip


def run(*arguments):
    """Exit code of a call in this process."""
    try:
        cli.main([str(a) for a in arguments])
    except SystemExit as stop:
        return stop.code
    return 0


def test_a_study_from_plan_to_claims(tmp_path, capfd):
    store = ["--store", tmp_path / "store"]
    assert run("plan", *TINY, *store) == 0
    planned = capfd.readouterr().out
    assert "smoke: 11 runs, 0 in" in planned
    assert "11 to train, on digits-30 (300 + 1198 images" in planned
    assert "about" in planned.splitlines()[-1]
    assert run("run", *TINY, *store) == 0
    assert "smoke: 11 runs trained" in capfd.readouterr().out
    assert run("run", *TINY, *store) == 0
    assert "smoke: 0 runs trained" in capfd.readouterr().out
    assert run("plan", *TINY, *store) == 0
    assert "smoke: 11 runs, 11 in" in capfd.readouterr().out
    assert run("status", *TINY, *store) == 0
    assert "smoke, seed 0: 11 of 11 runs" in capfd.readouterr().out
    assert run("table", *TINY, *store, "--claims") == 0
    shown = capfd.readouterr().out
    assert "T1s_T2s_Ss" in shown
    for claim in ("K1", "K2", "K3", "K4", "K9", "controls"):
        assert f"\n{claim}  " in shown
    assert run("table", *TINY, *store, "--csv", tmp_path / "table.csv") == 0
    assert f"measurements written to {tmp_path / 'table.csv'}" in capfd.readouterr().out
    assert run("table", *TINY, *store, "--curves", "--csv", tmp_path / "curves.csv") == 0
    assert "11 epochs written to" in capfd.readouterr().out
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False, na_values={"value": [""]})
    assert set(table["run"]) >= {"T1w", "T1w_T2w", "T1w_T2w_Sw", "reference"}


def test_a_plan_and_a_look_at_the_status_change_nothing(tmp_path, capfd):
    store = Store(tmp_path)
    where = ["--epochs", "1", "--set", "grid=[{teachers: [[]]}]", "--store", tmp_path]
    assert run("run", *where) == 0
    damaged, unfinished, _ = sorted((tmp_path / "runs").iterdir())
    (damaged / "log.json").write_text("[]")
    shutil.rmtree(unfinished)
    (tmp_path / "runs" / f".{unfinished.name}-0123").mkdir()
    checkpoint = store.checkpoints.path(unfinished.name)
    checkpoint.write_bytes(b"half")
    with store.claim([damaged.name]):
        before = everything(tmp_path)
        capfd.readouterr()
        assert run("plan", *where) == 0
        assert "3 runs, 1 in" in capfd.readouterr().out
        assert run("status", *where) == 0
        said = capfd.readouterr().out
        assert everything(tmp_path) == before
    assert f"to be trained again: {damaged / 'log.json'} is not the file that was written" in said
    assert f"to be begun again: the checkpoint {checkpoint} is damaged" in said


def test_a_plan_leaves_the_origins_of_the_package_where_they_are(tmp_path, monkeypatch):
    """They count as there; only a run puts them into the store."""
    study = grid.plan(profiles.load("smoke")).study
    monkeypatch.setattr(execute.weights, "packaged", lambda run: Path("the package"))
    _, held = execute.tasks(study, Store(tmp_path / "store"))
    assert [run.name for run in held] == [run.name for run in reversed(study.origins)]
    assert not (tmp_path / "store").exists()


def test_a_pool_of_processes_trains_a_study(tmp_path, capfd):
    arguments = ["--epochs", "1", "--set", "grid=[{teachers: [[]]}]", "--store", tmp_path]
    assert run("run", *arguments, "--workers", "2", "--device", "cpu") == 0
    assert "smoke: 3 runs trained" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "gpux"], "no profile 'gpux'; choose from"),
        (["run", "--set", "student.train.epochs=none"], "student.train.epochs"),
        (["run", "--set", "dataset.name=cifar11"], "no data set 'cifar11'; choose from digits"),
        (["run", "--device", "toaster"], "no device 'toaster' here"),
        (["run", "--seeds", "3-1"], "'3-1' is not a list of seeds; write 0,1,2 or 0-4"),
        (["table"], "runs of smoke are not in"),
        (["run", "--workers", "0"], "--workers"),
        (["run", "--colour"], "No such option '--colour'"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capfd):
    assert run(*arguments) == 2
    told = capfd.readouterr()
    assert message in told.err
    assert told.err.startswith("kdnb: ")
    assert len(told.err.splitlines()) == 1
    assert told.out == ""


def test_what_the_operating_system_says_is_one_line_with_the_path(tmp_path, monkeypatch, capfd):
    for error, said in (
        (PermissionError(13, "Permission denied", str(tmp_path / "x")), f"kdnb: {tmp_path / 'x'}: Permission denied"),
        (OSError(40, "Too many levels of symbolic links", "loop"), "kdnb: loop: Too many levels of symbolic links"),
        (OSError(28, "No space left on device"), "kdnb: No space left on device"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "kdnb: 'utf-8' codec can't decode"),
        (MemoryError(), "kdnb: the memory is used up; take fewer workers"),
    ):

        def fails(*arguments, error=error, **options):
            raise error

        monkeypatch.setattr("kdnb.study.profile.load", fails)
        assert run("status") == 2
        shown = capfd.readouterr().err
        assert shown.startswith(said)
        assert len(shown.splitlines()) == 1
        with pytest.raises(type(error)):
            run("status", "--traceback")


@pytest.mark.parametrize("option", ["--store", "--data-root"])
def test_a_home_that_does_not_exist_is_named(option, capfd):
    assert run("status", option, "~nobody-of-that-name/x") == 2
    assert "~nobody-of-that-name/x begins in a home folder that does not exist here" in capfd.readouterr().err


def test_a_tilde_that_the_shell_leaves_is_the_home_folder(tmp_path, monkeypatch, capfd):
    """As in ``--results=~/x``, which no shell but zsh expands."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    study = ["--epochs", "1", "--set", "grid=[{teachers: [[]]}]", "--set", "origin=fresh", "--store=~/store"]
    assert run("run", *study, "--device", "cpu") == 0
    assert run("table", *study, "--csv=~/table.csv") == 0
    assert run("publish", *study, "--results=~/results", "--uncommitted") == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"store", "table.csv", "results"}
    assert not (tmp_path / "~").exists()
    capfd.readouterr()
    assert run("diff", "~/results", "~/nowhere") == 2
    assert f"no published results in {tmp_path / 'nowhere'}" in capfd.readouterr().err
    assert run("publish", *study, "--results=~nobody-of-that-name/x") == 2
    assert "begins in a home folder that does not exist here" in capfd.readouterr().err


def test_a_user_without_a_home_is_shown_what_to_name(tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_DATA_HOME", "KDNB_STORE")
    }
    code = "import pwd; pwd.getpwuid = {}.__getitem__; from kdnb.cli import main; main(['status'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert "give the whole path (--store and --data-root" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_lacks_a_sign_shows_a_question_mark(tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    code = (
        "import click; from kdnb import cli; "
        "cli.cli.add_command(click.command('say')(lambda: click.echo('κ − 1'))); cli.main(['say'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "? ? 1\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_device_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kdnb.cli", "--version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_an_installed_package_takes_nothing_beside_it_for_the_books_and_writes_nothing_there(
    tmp_path, monkeypatch, capfd
):
    installed = tmp_path / "site-packages"
    shutil.copytree(paths.CHECKOUT / "book" / "results" / "smoke", installed / "book" / "results" / "smoke")
    before = everything(installed)
    for module in (paths, results, reproduce):
        monkeypatch.setattr(module, "ROOT" if module is reproduce else "CHECKOUT", installed)
    monkeypatch.chdir(tmp_path)
    for arguments, said in (
        (["diff", installed / "book" / "results" / "smoke"], "the published results come with the repository"),
        (["reproduce"], "the pages come with the repository"),
    ):
        assert run(*arguments) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"kdnb: {said} and not with an installed package; clone it (git clone)")
    asked = []
    monkeypatch.setattr(publishing, "publish", lambda *given, **options: asked.append(given[3]))
    with pytest.raises(AttributeError):  # of what was published, which is nothing here
        run("publish", *TINY)
    assert asked == [Path("results") / "smoke"]
    assert everything(installed) == before


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no POSIX shell")
@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_is_closed_stops_nothing_and_no_file_takes_its_number(closed, tmp_path):
    code = f"""
import os, sys, warnings
from kdnb import cli
from kdnb.progress import Progress

@cli.cli.command()
def work():
    with open({str(tmp_path / "file")!r}, "w") as file:
        assert file.fileno() > 2
        print("said"), warnings.warn("said"), Progress(1).line("said"), os.write(1, b"said"), os.write(2, b"said")
        file.write("done")

cli.main(["work"])
"""
    done = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code], check=False)
    assert (done.returncode, (tmp_path / "file").read_text()) == (0, "done")


def test_progress_that_nobody_can_hear_goes_on(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    with Progress(2, bar=True) as heard:
        monkeypatch.setattr(heard._bar, "update", Gone().write)
        heard.advance(1)
        monkeypatch.setattr(sys, "stderr", Gone())
        heard.line("said")
        heard.advance(1)
    assert heard.left == 0


def test_traceback_shows_where_an_error_came_from():
    from kdnb.errors import ProfileError

    with pytest.raises(ProfileError):
        run("run", "--profile", "gpux", "--traceback")


def test_a_diverging_study_ends_with_exit_code_2_and_says_which_run(tmp_path, capfd):
    arguments = ["--epochs", "1", "--set", "grid=[{teachers: [[]]}]", "--set", "reference=false", "--store", tmp_path]
    assert run("run", *arguments, "--set", "student.train.learning_rate=1.0e+30") == 2
    assert "2 runs are missing; Sw, seed 0:" in capfd.readouterr().err.splitlines()[-1]


def test_seeds_are_lists_and_ranges(tmp_path, capfd):
    assert run("status", "--seeds", "0,4-6,5", "--set", "grid=[{teachers: [[]]}]", "--store", tmp_path) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("smoke")]
    assert [line.split()[2] for line in lines] == ["0:", "4:", "5:", "6:"]


def test_the_doctor_says_what_is_found_and_how_to_get_what_is_missing(tmp_path, capfd):
    assert run("doctor", "--data-root", tmp_path / "nowhere") == 0
    told = capfd.readouterr().out
    assert "found   digits" in told
    assert "missing cifar100" in told
    assert "torchvision.datasets.CIFAR100" in told
    assert f"profiles              {', '.join(profiles.names())}" in told


def test_a_plan_says_what_a_study_costs_at_a_given_rate(tmp_path, capfd):
    assert run("plan", *TINY, "--store", tmp_path, "--rate", "0.001") == 0
    lines = capfd.readouterr().out.splitlines()
    told = {line.split()[0]: line for line in lines}
    assert told["grid"] == "grid        4 teachers, 1 reference, 6 students, in 7 groups"
    assert re.fullmatch(
        r"arithmetic  [\d.,]+ TFLOP: teachers .* students .* teachers' answers .* looking .*", told["arithmetic"]
    )
    assert re.fullmatch(
        r"memory      [\d.]+ [MG]B on the device for the largest group, .* of it images", told["memory"]
    )
    assert re.fullmatch(r"disk        [\d.]+ [MG]B in the store", told["disk"])
    flop = float(told["arithmetic"].split()[1].replace(",", "")) * 1e12
    hours = float(re.search(r"about ([\d.]+) h at 0.001 TFLOP/s, as given", lines[-1])[1])
    assert hours == pytest.approx(flop / 1e9 / 3600, abs=0.06)


def test_a_plan_says_in_how_many_passes_groups_train_that_memory_cannot_hold(tmp_path, capfd):
    arguments = ["plan", *TINY, "--store", tmp_path, "--rate", "0.001"]
    assert run(*arguments) == 0
    assert "passes" not in capfd.readouterr().out  # of a device elsewhere nothing is known
    assert run(*arguments, "--memory", "1kB") == 2
    alone = float(re.search(r"a single \w+ \(resnet8.*\) needs ([\d.]+) GB of memory, and", capfd.readouterr().err)[1])
    assert run(*arguments, "--memory", f"{alone / 1.1:.3f}GB") == 0
    told = capfd.readouterr().out
    assert re.search(r"\n  seed 0  Sw, .*, in 3 passes\n", told)
    assert "on the device for the largest pass" in told
    assert "\npasses      6 for 2 groups, to fit 0.9 GB; results do not change\n" in told
    assert run(*arguments, "--memory", "much") == 2
    assert "'much' is no memory" in capfd.readouterr().err


def test_a_study_of_images_that_are_elsewhere_is_planned_from_their_sizes(capfd):
    elsewhere = ["--profile", "paper-imagenet", "--sizes", "1281167,50000,1000"]
    assert run("plan", *elsewhere, "--rate", "30") == 0
    told = capfd.readouterr().out
    assert told.startswith(
        "paper-imagenet: 15 runs on 1281167 + 50000 images of 1000 classes that are not here, 256 pixels"
    )
    assert "grid        4 teachers, 1 reference, 10 students, in 7 groups" in told
    assert "23,079 PFLOP" in told
    assert "about 213.7 h at 30 TFLOP/s" in told
    assert run("plan", *elsewhere) == 2
    assert "nothing can be timed; give a --rate too" in capfd.readouterr().err
    assert run("plan", "--profile", "smoke", "--sizes", "300,100,10", "--rate", "1") == 2
    assert "has several data sets, and --sizes describes one" in capfd.readouterr().err


def test_the_installed_command_answers_help_at_once_without_torch():
    code = "import sys; from kdnb.cli import main\ntry: main(['run', '--help'])\nfinally: print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--profile" in told.stdout
    assert told.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("profile", ["cpu", "cpu-lt"])
def test_the_profiles_of_cifar100_plan_on_the_real_images(profile, cifar100_root, tmp_path, capfd):
    arguments = ["--profile", profile, "--data-root", cifar100_root, "--seeds", "0", "--store", tmp_path]
    assert run("plan", *arguments, "--no-probe") == 0
    data = {"cpu": "cifar100-50 (5000 + 10000 images", "cpu-lt": "cifar100-imb100 (10847 + 10000 images"}[profile]
    told = capfd.readouterr().out
    counts = {"cpu": "43 runs, 2 in", "cpu-lt": "16 runs, 0 in"}  # both origins of cpu come with the package
    assert told.startswith(f"{profile}: {counts[profile]}")
    assert f"to train, on {data}" in told


def test_a_small_study_of_real_cifar100_runs_from_end_to_end(cifar100_root, tmp_path, capfd):
    """The profile cpu with two images a class and one cell of its grid: the path, not the result."""
    content = yaml.safe_load((Path(cli.__file__).parent / "profiles" / "cpu.yaml").read_text())
    content |= {"name": "mine", "dataset": {"name": "cifar100-2"}, "origin": "fresh", "reference": False}
    content["grid"] = [{"teachers": [["strong", "strong"]], "students": ["strong"]}]
    content["observe"] = {"maps": 64, "train_sample": 64, "validate_sample": 64}
    for network in ("teacher", "student"):
        content[network]["model"] = {"name": "resnet8-w8"}
        content[network]["train"] |= {"epochs": 1}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    arguments = ["--profile", tmp_path / "mine.yaml", "--seeds", "0", "--data-root", cifar100_root, "--store", tmp_path]
    assert run("run", *arguments) == 0
    assert run("table", *arguments, "--claims") == 0
    told = capfd.readouterr().out
    assert "mine: 3 runs trained" in told
    assert "T1s_T2s_Ss" in told
