"""The array job over seeds, run by a stand-in for ``sbatch`` that does what Slurm does with the script."""

import os
import re
import subprocess
import sys

import pytest

from kdnb.paths import CHECKOUT as ROOT
from kdnb.study.store import Store
from tests.conftest import HANGS

SCRIPT = ROOT / "book" / "array.sh"
TINY = ["--epochs", "1", "--set", "grid=[{teachers: [[]], students: [weak]}]", "--set", "origin=fresh", "--device", "cpu",
        "--threads", "1", "--set", "observe={maps: 20, train_sample: 20, validate_sample: 20}"]  # fmt: skip

SBATCH = '''"""sbatch [--array=A-B] SCRIPT ARGUMENT…: the script once for each index, one after the other."""
import os, re, subprocess, sys
options = [each for each in sys.argv[1:] if each.startswith("--array=")][:1]
at = next(n for n, each in enumerate(sys.argv) if each.endswith(".sh"))
script, arguments = sys.argv[at], sys.argv[at + 1:]
directives = re.findall(r"^#SBATCH (--\\S+)$", open(script).read(), re.MULTILINE)
asked = dict(each[2:].split("=", 1) for each in [*directives, *options] if "=" in each)
first, last = map(int, asked["array"].split("-"))
for index in range(first, last + 1):
    job = {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_CPUS_PER_TASK": asked["cpus-per-task"]}
    subprocess.run(["/bin/sh", script, *arguments], env=os.environ | job, check=True)
'''

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this system has no POSIX shell")


@pytest.fixture
def slurm(tmp_path):
    """An environment whose PATH has ``sbatch`` and ``kdnb``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "sbatch.py").write_text(SBATCH)
    for name, asked in (("sbatch", f'"{tmp_path}/sbatch.py"'), ("kdnb", "-m kdnb.cli")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {asked} "$@"\n')
    for each in folder.iterdir():
        each.chmod(0o755)
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths}


def test_an_array_trains_each_seed_in_a_job_of_its_own(slurm, tmp_path):
    store = tmp_path / "store"
    command = ["sbatch", "--array=3-4", str(SCRIPT), *TINY, "--store", str(store)]
    done = subprocess.run(command, env=slurm, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"smoke: 2 runs trained", done.stdout)) == 2
    seeds = sorted(Store(store).entry(folder.name).spec.seed for folder in (store / "runs").iterdir())
    assert seeds == [3, 3, 4, 4]


def test_outside_an_array_the_script_says_how_to_submit_it(slurm, tmp_path):
    alone = {name: value for name, value in slurm.items() if not name.startswith("SLURM")}
    done = subprocess.run(["/bin/sh", str(SCRIPT)], env=alone, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "is the seed: submit this script with sbatch --array=0-4" in done.stderr


def test_the_script_may_be_requeued_and_names_no_partition_or_account():
    text = SCRIPT.read_text()
    assert "#SBATCH --requeue\n" in text
    assert "--partition" not in text
    assert "--account" not in text
