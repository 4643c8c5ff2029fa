"""The locks, the package and the texts around it agree with each other."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement

from kdnb.paths import CHECKOUT as ROOT
from kdnb.zoo import pretrained
from tests.conftest import HANGS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
RANGES = [Requirement(text) for text in [*PROJECT["dependencies"], *EXTRAS["book"], *EXTRAS["cluster"], *EXTRAS["dev"]]]


def pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]


LOCK, CPU_LOCK = pins("requirements.txt"), pins("requirements-cpu.txt")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


# -- the locks ---------------------------------------------------------------------------------------------------------


def test_every_line_of_the_lock_pins_one_version_and_names_no_address():
    for requirement in LOCK:
        assert [part.operator for part in requirement.specifier] == ["=="], requirement
        assert requirement.url is None


@pytest.mark.parametrize("wanted", RANGES, ids=lambda wanted: wanted.name)
def test_the_lock_pins_every_dependency_within_its_range(wanted):
    found = [pin for pin in LOCK if canonical(pin.name) == canonical(wanted.name)]
    assert found
    for pin in found:
        (version,) = (part.version for part in pin.specifier)
        assert version in wanted.specifier


def test_the_lock_has_markers_for_other_systems_than_linux():
    markers = " ".join(str(requirement.marker) for requirement in LOCK if requirement.marker)
    assert "win32" in markers
    assert "darwin" in markers
    assert "linux" in markers


def cpu():
    """The module that makes the lock of machines without a GPU."""
    spec = importlib.util.spec_from_file_location("cpu", ROOT / ".ci" / "cpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_of_machines_without_a_gpu_is_the_other_without_what_a_gpu_needs():
    made = cpu().without_gpu((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert made == (ROOT / "requirements-cpu.txt").read_text(encoding="utf-8"), "make lock brings it up to date"
    left_out = {pin.name for pin in LOCK} - {pin.name for pin in CPU_LOCK}
    assert {"nvidia-cudnn-cu13", "triton", "cuda-bindings"} <= left_out
    assert {"torch", "torchvision", "numpy"} <= {pin.name for pin in CPU_LOCK}


def needed_by(lock):
    """package → who needs it, as the lock's own notes say."""
    needed, name = {}, ""
    for line in lock.splitlines():
        if line and line[0].isalnum():
            name = re.match(r"[\w.-]+", line)[0]
            needed[name] = set()
        elif name and (found := re.fullmatch(r"\s+#\s+(?:via\s+)?([\w.-]+)(?: \(.*\))?", line)) and found[1] != "via":
            needed[name].add(found[1])
    return needed


def test_nothing_but_torchs_gpu_build_needs_what_the_lock_without_a_gpu_leaves_out():
    left_out = {pin.name for pin in LOCK} - {pin.name for pin in CPU_LOCK}
    needed = needed_by((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert all(needed[name] for name in left_out)
    assert set().union(*(needed[name] for name in left_out)) <= {"torch", *left_out}


def test_the_installation_without_a_gpu_resolves_with_nothing_downloaded():
    """Here the packages are installed, so the resolver finds all that it needs without asking anybody."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--offline", "--no-config"]
    command += ["--python", sys.executable, "--torch-backend", "cpu", "-r", str(ROOT / "requirements-cpu.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert "Would make no changes" in done.stderr


def test_make_sets_up_either_of_the_two():
    def recipe(*arguments):
        command = ["make", "--dry-run", "--always-make", ".venv/.installed", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    assert "pip install --quiet --disable-pip-version-check -r requirements.txt" in recipe("CPU=")
    assert "--torch-backend cpu -r requirements-cpu.txt" in recipe("CPU=1")
    assert "requirements.txt uv" in recipe("CPU=1")  # uv in the locked version


# -- the package -------------------------------------------------------------------------------------------------------


def test_what_is_imported_is_a_declared_dependency_and_the_other_way_round():
    """A dependency that no module imports has no reason; one that is not declared comes only by chance."""
    module_names = {"ipython": "IPython", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
    declared = {module_names.get(canonical(r.name), r.name) for r in map(Requirement, PROJECT["dependencies"])}
    imported = set()
    for path in (ROOT / "kdnb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports by a relative name"
                names = [node.module]
            imported |= {name.split(".")[0] for name in names}
    optional = {Requirement(text).name for text in EXTRAS["cluster"]} - {"bokeh"}  # distributed imports bokeh
    optional |= {Requirement(text).name for text in EXTRAS["imagenet"]} - {pretrained.PACKAGE}  # a file, no code
    optional |= {Requirement(text).name for text in EXTRAS["export"]}
    assert imported - sys.stdlib_module_names - {"kdnb"} == declared | optional


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What a wheel of this tree holds, by path."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "kdnb", folder / "kdnb", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", "import setuptools.build_meta as b; print(b.build_wheel('out'))"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=HANGS)
    (made,) = (folder / "out").glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        return set(archive.namelist())


def test_the_package_carries_every_file_of_its_folder(wheel):
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kdnb").rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name and not name.rpartition("/")[2].startswith(".")}
    assert {name for name in wheel if name.startswith("kdnb/")} == files


@pytest.mark.parametrize(
    "name",
    [
        "kdnb/py.typed",
        "kdnb/cli.py",
        "kdnb/images/augment.py",
        "kdnb/training/train.py",
        "kdnb/study/grid.py",
        "kdnb/evidence/claims.py",
        "kdnb/book/pages.py",
        "kdnb/profiles/smoke.yaml",
        "kdnb/profiles/cpu.yaml",
        "kdnb/data/cifar100_train_imb100.txt",
        "kdnb/data/paper/tables.csv",
    ],
)
def test_the_package_carries(wheel, name):
    assert name in wheel


def test_nothing_but_the_package_is_installed(wheel):
    assert {name.split("/")[0] for name in wheel} == {"kdnb", f"kdnb-{PROJECT['version']}.dist-info"}


def test_the_papers_list_of_training_images_is_whole():
    assert len((ROOT / "kdnb" / "data" / "cifar100_train_imb100.txt").read_text(encoding="utf-8").split()) == 10_847


# -- versions ----------------------------------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert metadata.version("kdnb") == PROJECT["version"] == citation["version"]
    assert citation["references"][0]["doi"] == "10.1016/j.eswa.2024.125579"


def test_the_changelog_has_an_entry_for_the_version_and_the_newest_comes_first():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", changes, flags=re.MULTILINE)
    assert versions[0] == PROJECT["version"]
    assert versions == sorted(versions, key=lambda text: [int(part) for part in text.split(".")], reverse=True)
