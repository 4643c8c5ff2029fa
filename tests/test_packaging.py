"""The lock, the package and the texts around it agree with each other."""

import re
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
RANGES = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_line_of_the_lock_pins_one_version_and_names_no_address():
    for requirement in LOCK:
        assert [part.operator for part in requirement.specifier] == ["=="], requirement
        assert requirement.url is None


@pytest.mark.parametrize("wanted", RANGES, ids=lambda wanted: wanted.name)
def test_the_lock_pins_every_dependency_within_its_range(wanted):
    pins = [pin for pin in LOCK if canonical(pin.name) == canonical(wanted.name)]
    assert pins
    for pin in pins:
        (version,) = (part.version for part in pin.specifier)
        assert version in wanted.specifier


def test_the_lock_has_markers_for_other_systems_than_linux():
    markers = " ".join(str(requirement.marker) for requirement in LOCK if requirement.marker)
    assert "win32" in markers
    assert "linux" in markers


def test_what_is_imported_is_a_declared_dependency_and_the_other_way_round():
    """A dependency that no module imports has no reason; one that is not declared comes only by chance."""
    module_names = {"ipython": "IPython", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
    declared = {module_names.get(canonical(r.name), r.name) for r in map(Requirement, PROJECT["dependencies"])}
    sources = "\n".join(path.read_text() for path in (ROOT / "kdnb").glob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", sources, flags=re.MULTILINE))
    standard = __import__("sys").stdlib_module_names
    assert imported - standard - {"kdnb"} == declared


def test_the_package_carries_its_profiles_and_the_papers_list():
    package = resources.files("kdnb")
    assert (package / "profiles" / "smoke.yaml").is_file()
    assert len((package / "data" / "cifar100_train_imb100.txt").read_text().split()) == 10_847


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert metadata.version("kdnb") == PROJECT["version"] == citation["version"]
    assert citation["references"][0]["doi"] == "10.1016/j.eswa.2024.125579"
