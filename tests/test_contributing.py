"""What the texts beside the code say is there, is there; hooks and hosted runs do what `make test` does."""

import functools
import importlib
import re
import subprocess
import tomllib

import pytest
import yaml

from kdnb import cli
from kdnb.paths import CHECKOUT as ROOT
from kdnb.study import profile

TEXTS = ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")
FOLDERS = ("kdnb", "tests", "notebooks", "book", "benchmarks", ".ci", ".github")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@functools.cache
def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def quoted(name):
    """What a text has in backticks, and the lines of its blocks of code."""
    body = re.sub(r"^```.*?^```", "", text(name), flags=re.DOTALL | re.MULTILINE)
    inline = [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", body)]
    blocks = re.findall(r"^```console\n(.*?)^```", text(name), flags=re.DOTALL | re.MULTILINE)
    lines = [line.removeprefix("$ ").split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [*inline, *(part.strip() for line in lines if line for part in line.split("&&"))]


def every(pattern):
    """(text, match) wherever something in quotes begins with the pattern."""
    return [(name, found) for name in TEXTS for each in quoted(name) if (found := re.match(pattern, each))]


@pytest.mark.parametrize("name", TEXTS)
def test_every_file_that_a_text_names_is_there(name):
    named = [each for each in quoted(name) if re.match(rf"({'|'.join(map(re.escape, FOLDERS))})/[\w./-]+$", each)]
    named += [each for each in quoted(name) if re.fullmatch(r"\w[\w.-]*\.(md|yml|toml|txt|cff)", each)]
    assert named
    made = ("NAME", "mine.yaml")  # names that stand for the reader's own
    assert [each for each in named if not any(part in each for part in made) and not (ROOT / each).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_every_name_of_the_code_that_a_text_gives_is_there(name):
    for dotted in [each for each in quoted(name) if re.fullmatch(r"kdnb(\.\w+)+", each)]:
        parts = dotted.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                thing = importlib.import_module(".".join(parts[:cut]))
                break
            except ModuleNotFoundError:
                continue
        for part in parts[cut:]:
            assert hasattr(thing, part), f"{name} names {dotted}"
            thing = getattr(thing, part)


def test_every_make_target_that_a_text_or_a_workflow_names_is_there():
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), flags=re.MULTILINE))
    named = {
        word for _, found in every(r"make ((?:[A-Z]+=\S+ )*[a-z]+)") for word in found[1].split() if "=" not in word
    }
    for path in [*WORKFLOWS, ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml"]:
        named |= set(re.findall(r"\bmake ([a-z]+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {"test", "reproduce", "lint"} <= named <= targets | {"clean"}


def test_every_command_and_option_that_a_text_names_is_there():
    seen = set()
    for name, found in every(r"kdnb ([a-z]+)((?: .*)?)$"):
        assert found[1] in cli.cli.commands, f"{name}: kdnb {found[1]}"
        options = {option for each in cli.cli.commands[found[1]].params for option in each.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", found[2])) <= options, f"{name}: {found[0]}"
        seen.add(found[1])
    assert {"plan", "run", "table", "reproduce", "publish", "diff", "doctor"} <= seen


def test_every_setting_that_the_readme_changes_can_be_changed():
    changes = re.findall(r"--set ([a-z_.]+)=([^\s`]+)", text("README.md"))
    own = {"dataset.name": "imagefolder:pictures"}  # PATH stands for the reader's own
    assert {path for path, _ in changes} >= {"objectives.kd.alpha", "student.train.epochs"}
    profile.load("cpu", [f"{path}={own.get(path, value)}" for path, value in changes])


def test_the_readme_lists_every_profile_and_no_other():
    rows = re.findall(r"^\| `(cpu[\w-]*|smoke|gpu|paper[\w-]*)` \|", text("README.md"), flags=re.MULTILINE)
    assert sorted(rows) == profile.names()


def test_the_readme_lists_every_claim_that_gets_a_verdict():
    from kdnb.evidence import claims

    rows = re.findall(r"^\| (K\d+) \|", text("README.md"), flags=re.MULTILINE)
    assert rows == [claim.key for claim in claims.SETS["K"].claims if claim.primary is not None]


def test_nothing_is_left_to_be_filled_in():
    for name in TEXTS:
        assert not re.findall(r"EXAMPLE-OUTPUT|README-DIAGRAM|TODO|FIXME", text(name))


@pytest.mark.parametrize("name", profile.names())
def test_a_profiles_file_opens_with_what_to_expect_and_how_long_it_takes(name):
    lines = text(f"kdnb/profiles/{name}.yaml").splitlines()
    header = " ".join(
        line.removeprefix("#") for line in lines[: next(n for n, each in enumerate(lines) if each[:1] != "#")]
    )
    assert re.search(r"\b(minutes?|hours?)\b", header)
    assert re.search(r"\bexpect(ed)?\b|\bnot run\b|\bnot calibrated\b", header, flags=re.IGNORECASE)


# -- hooks and hosted runs ---------------------------------------------------------------------------------------------


def commands(*targets):
    """The checks that make would run."""
    done = subprocess.run(["make", "--dry-run", *targets], capture_output=True, text=True, check=True, cwd=ROOT)
    return {line.strip() for line in done.stdout.splitlines() if re.search(r"ruff|mypy|pytest", line)}


def test_a_hook_runs_what_ci_runs_and_no_less():
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    assert {hook["entry"]: hook["stages"] for hook in hooks} == {"make lint": ["pre-commit"], "make test": ["pre-push"]}
    assert commands("lint") < commands("test")
    assert commands("lint", "unit", "pages") == commands("test")
    assert text(".ci/run").rstrip().endswith("\nmake test")


def test_a_skip_that_is_not_listed_fails_every_part_of_the_tests():
    tests = [line for line in commands("test") if "pytest" in line]
    assert len(tests) == 2
    assert all("-m pytest -p tests.skips" in line for line in tests)


def jobs(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def test_the_hosted_tests_run_on_every_system_and_python_that_is_promised():
    promised = tomllib.loads(text("pyproject.toml"))["project"]["classifiers"]
    pythons = {found[1] for each in promised if (found := re.search(r"Python :: (3\.\d+)$", each))}
    matrix = jobs(ROOT / ".github" / "workflows" / "test.yml")["test"]["strategy"]["matrix"]
    assert set(matrix["python"]) == pythons == {"3.11", "3.12", "3.13"}
    assert {system.split("-")[0] for system in matrix["system"]} == {"ubuntu", "macos", "windows"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_hides_no_failure_and_pins_what_it_uses(path):
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\|\s*(true|:)(\s|$)|continue-on-error|set \+e", source)
    workflow = yaml.safe_load(source)
    assert workflow["permissions"]["contents"] == "read"
    assert (
        not [scope for scope, right in workflow["permissions"].items() if right == "write"]
        or path.name == "publish.yml"
    )
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job or "environment" in job
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.search(r"(@v\d+|:[\d.]+)$", step.get("uses", "@v1")), step
