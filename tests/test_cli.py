"""The command line as a user meets it."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kdnb import cli

TINY = [
    "--epochs", "1", "--set", "grid=[{teachers: [[], [weak, weak], [strong, strong]]}]", "--set", "origin=fresh",
    "--set", "observe={maps: 40, train_sample: 50}",
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
    assert "profiles              cpu, cpu-lt, cpu-scratch, cpu-text, smoke" in told


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
    """The profile cpu with two images a class and its grid cut down: the path, not the result."""
    content = yaml.safe_load((Path(cli.__file__).parent / "profiles" / "cpu.yaml").read_text())
    content |= {"name": "mine", "dataset": {"name": "cifar100-2"}, "origin": "fresh", "reference": False}
    content["grid"] = [{"teachers": [["weak", "weak"], ["strong", "strong"]]}]
    content["observe"] = {"maps": 64, "train_sample": 64, "validate_sample": 64}
    for network in ("teacher", "student"):
        content[network]["model"] = {"name": "resnet8-w8"}
        content[network]["train"] |= {"epochs": 1}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    arguments = ["--profile", tmp_path / "mine.yaml", "--seeds", "0", "--data-root", cifar100_root, "--store", tmp_path]
    assert run("run", *arguments) == 0
    assert run("table", *arguments, "--claims") == 0
    told = capfd.readouterr().out
    assert "mine: 8 runs trained" in told
    assert "T1s_T2s_Ss" in told
