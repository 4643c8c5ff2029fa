"""The core does without the rings: its tests pass in a copy that has none."""

import os
import shutil
import subprocess
import sys

import pytest

from kdnb.paths import CHECKOUT as ROOT
from tests.conftest import HANGS
from tests.test_architecture import RINGS

TESTS = (
    "images/test_counter", "images/test_randaugment", "training/test_objectives", "training/test_spec", "training/test_observe",
    "study/test_grid", "study/test_execute", "study/test_store", "evidence/test_measures", "evidence/test_overlap",
    "evidence/test_effects", "evidence/test_claims",
)  # fmt: skip
"""Of each of the core's packages some, from a draw to a verdict: all of them take six minutes on two cores."""


@pytest.mark.slow
def test_the_cores_tests_pass_without_the_rings(tmp_path):
    for folder in ("kdnb", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns(*RINGS, "__pycache__"))
    for name in ("pyproject.toml", "_toc.yml", "_config.yml", "book", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert not any((tmp_path / folder / ring).exists() for folder in ("kdnb", "tests") for ring in RINGS)
    command = [sys.executable, "-m", "pytest", "-m", "not rings and not slow", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, *(f"tests/{name}.py" for name in TESTS)],
        cwd=tmp_path,
        env={name: value for name, value in environment.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
