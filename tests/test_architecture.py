"""What holds of all the code: which way imports point, and that no data is ever taken for code."""

import ast
import subprocess
import sys

import pytest

from kdnb.paths import CHECKOUT as ROOT

ORDER = ("images", "training", "study", "evidence", "release", "book")
"""the packages, each of which may import those before it"""

MODULES = sorted((ROOT / "kdnb").rglob("*.py"))
CODE = [*MODULES, *(path for folder in ("book", "benchmarks", ".ci") for path in sorted((ROOT / folder).rglob("*.py")))]


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    """The names of all modules that a file imports, wherever in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package(name):
    """``kdnb.images.augment`` → ``images``; modules beside the packages and other libraries have none."""
    parts = name.split(".")
    return parts[1] if parts[0] == "kdnb" and len(parts) > 1 and parts[1] in ORDER else None


def test_these_packages_are_all_there_are():
    assert {path.parent.name for path in (ROOT / "kdnb").glob("*/__init__.py")} == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_up_the_list(path):
    """The command line stands above all; what all share (errors, devices, progress and others) imports no package."""
    own = next((name for name in path.relative_to(ROOT / "kdnb").parts[:-1] if name in ORDER), None)
    if path.name in ("cli.py", "__main__.py") and own is None:
        return
    may = ORDER[: ORDER.index(own) + 1] if own else ()
    wrong = [name for name in imports(path) if package(name) and package(name) not in may]
    assert wrong == []


def test_one_module_writes_what_must_be_whole():
    """Temporary files of the standard library are their owner's alone, whatever the umask (`kdnb.atomic`)."""
    temporary = {path for path in MODULES if any(name.split(".")[0] == "tempfile" for name in imports(path))}
    saved = {path for path in MODULES if any(name.endswith(".save_file") for name in imports(path))}
    atomic = {path for path in MODULES if "kdnb.atomic" in imports(path)}
    assert temporary == set()
    assert saved <= atomic


def test_every_package_says_in_its_first_lines_what_it_answers():
    for name in ORDER:
        said = ast.get_docstring(tree(ROOT / "kdnb" / name / "__init__.py")) or ""
        assert "?" in said.splitlines()[0] if said else False, f"kdnb/{name}/__init__.py opens with no question"


ONLY_TRAINING_NEEDS = {"torchvision", "torch._dynamo", "captum", "distributed", "timm", "sklearn", "scipy.stats"}


def test_a_page_loads_nothing_that_only_training_needs():
    """torch's compiler alone would double the time in which a page opens."""
    code = "import sys; from kdnb.book import exhibits, pages, sentences; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ONLY_TRAINING_NEEDS & set(done.stdout.split()) == set()


# -- data is never code ----------------------------------------------------------------------------------------------

MODULES_THAT_RUN_DATA = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
CALLS_THAT_RUN_DATA = {
    "eval", "exec", "compile", "__import__", "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load",
    "torch.load", "os.system", "os.popen", "pd.eval", "pd.read_pickle", "pandas.read_pickle",
}  # fmt: skip
KEYWORDS_THAT_RUN_DATA = {"shell", "allow_pickle"}

REASONED = {("kdnb/images/readers.py", "import pickle"), ("kdnb/training/pretrained.py", "torch.load()")}
"""CIFAR-100 is published as pickles; they are read by an unpickler that knows arrays and nothing else. EfficientNet-Lite0's
weights are published in torch's form; only the one file with the known hash is read, and by a reader of tensors alone."""


def dotted(node):
    """``yaml.load`` of the call's function; empty for anything that is not a plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def dangers(parsed):
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.split(".")[0] in MODULES_THAT_RUN_DATA)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES_THAT_RUN_DATA:
            yield f"import {node.module}"
        elif isinstance(node, ast.Call):
            if dotted(node.func) in CALLS_THAT_RUN_DATA:
                yield f"{dotted(node.func)}()"
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in KEYWORDS_THAT_RUN_DATA and not off:
                    yield f"{keyword.arg}="


def test_no_data_is_ever_run():
    found = {(path.relative_to(ROOT).as_posix(), danger) for path in CODE for danger in dangers(tree(path))}
    assert found == REASONED


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", ["import pickle"]),
        ("from joblib import load", ["import joblib"]),
        ("yaml.load(text, Loader=Safe)", ["yaml.load()"]),
        ("eval(text)", ["eval()"]),
        ("subprocess.run(text, shell=True)", ["shell="]),
        ("np.load(path, allow_pickle=sure)", ["allow_pickle="]),
        ("network.eval()", []),
        ("re.compile(text)", []),
        ("yaml.safe_load(text)", []),
        ("np.load(path, allow_pickle=False)", []),
    ],
)
def test_the_scan_finds(code, found):
    assert list(dangers(ast.parse(code))) == found


def test_the_one_unpickler_refuses_all_but_arrays(tmp_path):
    import pickle

    from kdnb.errors import DataError
    from kdnb.images import readers

    for content in (print, pickle.Unpickler, {"data": ast.parse}):
        for name in ("meta", "train", "test"):
            (tmp_path / name).write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match="python pickle"):
            readers.cifar100_pickles(tmp_path)
