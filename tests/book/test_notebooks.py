"""The book's notebooks: in step with their text, with real stored outputs, and compared with fresh ones in earnest."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import jupytext
import nbformat
import papermill
import pytest
from jupytext.config import load_jupytext_configuration_file

from kdnb.book import opening
from kdnb.evidence import results
from kdnb.paths import CHECKOUT as ROOT

NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
PAGES = [
    "attention", "augmentation", "cause", "controls", "fidelity", "findings", "generalisation", "limits", "look-for-yourself",
    "matching", "one-page", "paper", "pathology", "practice", "ruler", "run", "study", "welcome",
]  # fmt: skip
PLAIN = "one-page"
"""The page that opens no results: it trains networks of its own, before the reader's eyes."""
UNCOMPARED = "nbval-ignore-output"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(params=NAMES)
def page(request):
    return request.param


@pytest.fixture
def notebook(page):
    return nbformat.read(NOTEBOOKS / f"{page}.ipynb", as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def test_every_page_is_there():
    assert NAMES == PAGES


def test_a_notebook_is_in_step_with_its_text(page, notebook):
    text = jupytext.read(NOTEBOOKS / "markdown" / f"{page}.md")
    ours, theirs = ([(c.cell_type, c.source, tags(c)) for c in each.cells] for each in (notebook, text))
    assert ours == theirs, f"make notebooks brings {page}.ipynb up to its text"


def test_jupytext_writes_a_page_as_it_is(page, notebook):
    """So that jupytext --sync of an untouched page changes nothing."""
    config = load_jupytext_configuration_file(str(ROOT / "pyproject.toml"))
    text = (NOTEBOOKS / "markdown" / f"{page}.md").read_text(encoding="utf-8")
    assert jupytext.writes(notebook, fmt="md:myst", config=config) == text


def test_outputs_are_stored_for_what_is_compared(notebook):
    """A stripped notebook would agree with anything."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any("kdnb-exhibit" in o.get("data", {}).get("text/html", "") for cell in code for o in cell.outputs)
    assert any(cell.outputs and UNCOMPARED not in tags(cell) for cell in code)
    assert not any(o.output_type == "error" for cell in code for o in cell.outputs)


def test_only_what_a_machine_decides_is_not_compared(page, notebook):
    ignored = [cell for cell in notebook.cells if UNCOMPARED in tags(cell)]
    assert len(ignored) <= {"run": 4, PLAIN: 8}.get(page, 0)


def test_cells_that_a_reader_sees_are_short_and_plain(page, notebook):
    """Few lines, narrow enough not to be cut off, and no plumbing among them."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and not {"parameters", "start", "remove-input", "hide-cell"} & set(tags(cell)):
            lines = cell.source.splitlines()
            assert len(lines) <= (15 if page == PLAIN else 12), cell.source
            assert max(map(len, lines)) <= 88, cell.source
            assert not plumbing(cell.source), cell.source


def plumbing(source):
    """Whether a cell asks something of the system, or catches errors."""
    nodes = list(ast.walk(ast.parse(source)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    system = {name.split(".")[0] for name in imported} & {"os", "sys", "pathlib"}
    return bool(system) or any(isinstance(node, ast.Try) for node in nodes)


@pytest.mark.parametrize("source", ["import os.path", "from pathlib import Path", "try:\n    1\nexcept E:\n    2"])
def test_plumbing_is_found(source):
    assert plumbing(source)
    assert not plumbing("import numpy as np\nfrom kdnb.evidence import measures")


def test_cells_whose_code_is_hidden_name_effects_and_say_one_thing(notebook):
    """What a page says: effects by their names, then one call."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "remove-input" in tags(cell):
            *named, call = ast.parse(cell.source).body
            assert all(isinstance(each, ast.Assign) for each in named), cell.source
            assert isinstance(call.value, ast.Call), cell.source


def test_no_output_is_of_a_kind_that_nbval_skips(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "stream" or output.name != "stderr" or UNCOMPARED in tags(cell)
            assert not {"image/png", "image/jpeg"} & set(output.get("data", {}))
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def test_parameters_are_those_of_pages(notebook, page):
    (cell,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    assert cell is next(c for c in notebook.cells if c.cell_type == "code")
    found = papermill.inspect_notebook(str(NOTEBOOKS / f"{page}.ipynb"))
    defaults = {name: field.default for name, field in opening.Parameters.model_fields.items()}
    if page == PLAIN:
        defaults = {"seed": 0, "epochs": 20}
    assert {name: eval(each["default"]) for name, each in found.items()} == defaults
    for name, each in found.items():
        assert each["inferred_type_name"] == type(defaults[name]).__name__
        assert each["help"], f"{name} lacks its comment"


def shown(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            html = output.get("data", {}).get("text/html", "")
            if "kdnb-exhibit" in html:
                yield cell.source, html


def test_every_figure_has_alt_text_a_caption_and_its_card(page, notebook):
    for source, html in shown(notebook):
        if "<svg" in html or "kdnb-explorer" in html:
            assert re.search(r'(aria-label|alt)="[^"]{15,}"', html), f"{source} of {page} lacks alt text"
            caption = re.search(r"<figcaption>(.+?)</figcaption>", html, flags=re.S)
            assert caption, f"{source} of {page} has no caption"
            assert len(caption[1].split()) >= 6, f"{source} of {page} has no caption that says what to see"
        assert page == PLAIN or "kdnb-card" in html
        assert page == PLAIN or "<code>kdnb reproduce --profile" in html or "arXiv 2405.00739v1" in html


def test_nothing_is_lacking_in_the_published_results(notebook):
    assert [source for source, html in shown(notebook) if "kdnb-lacking" in html] == []


def test_a_page_has_an_explorer_that_is_live_in_a_running_kernel(page, notebook):
    """tests/book/test_exhibits.py holds that it is a live widget there."""
    assert page == PLAIN or any("kdnb-explorer" in html for _, html in shown(notebook))


def test_no_exhibit_stands_twice_on_a_page(page, notebook):
    names = [re.search(r'<figure class="kdnb-exhibit" id="([^"]+)"', html)[1] for _, html in shown(notebook)]
    assert len(names) == len(set(names)), page


def test_a_page_ends_in_exercises_with_folded_answers(page, notebook):
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "## Try it" in prose
    assert ":::{dropdown} Answer" in prose


TYPED = re.compile(
    r"(?<![\w.])[+−-]?\d+(?:[.,]\d+)?\s?(?:%|‰|per ?cent|percent|percentage|points?|nats?|bits?)(?!\w)"
    r"|(?:accuracy|agreement|IoU|overlap|gap|KL|divergence|affinity|ECE|kappa|κ|correlation|effect|information)"
    r"\s(?:of|is|was|=|at|to|by|falls to|rises to)?\s?[+−-]?\d"
    r"|(?<![\w.§])\d+\.\d+(?![\w.])"
)


def typed_numbers(source):
    """Measured numbers that somebody typed: digits beside a unit or a measure, or with a decimal point."""
    text = re.sub(r"^(`{3,}|~{3,})\{?math.*?^\1|^(`{3,}).*?^\2", "", source, flags=re.S | re.M)
    text = re.sub(
        r"\$\$.*?\$\$|\$[^$\n]+\$|\{[\w:-]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)|https?://\S+|arXiv\s[\d.]+",
        "",
        text,
        flags=re.S,
    )
    text = re.sub(r"\b95 %", "", text)  # the level of an interval is declared, not measured
    text = re.sub(r"\bsecs?\.\s[\d.]*\d(?:\s?(?:,|and)\s[\d.]*\d)*", "", text)  # nor is a section of the paper
    return [match[0] for match in TYPED.finditer(text)]


def test_no_measured_number_is_typed(page, notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert typed_numbers(cell.source) == []
        elif "remove-input" in tags(cell):
            constants = (each.value for each in ast.walk(ast.parse(cell.source)) if isinstance(each, ast.Constant))
            said = [each for each in constants if isinstance(each, str) and " " in each]
            assert [number for each in said for number in typed_numbers(each)] == []


@pytest.mark.parametrize(
    "sentence",
    [
        "Accuracy rises by 3 %.",
        "an IoU of 0.41",
        "agreement is 71.2",
        "it costs 2 points",
        "0.3 nats",
        "a correlation of −1",
    ],
)
def test_a_typed_number_is_found(sentence):
    assert typed_numbers(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "With `iou` of overlap",
        "$T = 3$ and 30 students",
        "a 95 % interval",
        "`--set x=0.5`",
        "arXiv 2405.00739",
    ],
)
def test_what_is_declared_or_glued_is_not_typed(sentence):
    assert typed_numbers(sentence) == []


def nbval(path):
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(path.parent), "-q",
        "--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(NOTEBOOKS / "sanitize.cfg"), str(path),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=path.parent)


def records(tmp_path):
    """A copy of a page that reads a copy of the records."""
    folder = tmp_path / "records"
    shutil.copytree(results.published(), folder)
    notebook = nbformat.read(NOTEBOOKS / "augmentation.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in tags(cell))
    cell.source = cell.source.replace('results: str = ""', f'results: str = "{folder}"')
    return notebook, folder


def test_nbval_agrees_with_an_unchanged_copy_and_bites_when_a_stored_number_is_altered(tmp_path):
    notebook, _ = records(tmp_path)
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    fine = nbval(tmp_path / "copy.ipynb")
    assert fine.returncode == 0, fine.stdout
    key = "text/markdown"
    output = next(
        o for c in notebook.cells for o in c.get("outputs", []) if re.search(r"\d", o.get("data", {}).get(key, ""))
    )
    output.data[key] = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), output.data[key], count=1)
    nbformat.write(notebook, tmp_path / "altered.ipynb")
    assert nbval(tmp_path / "altered.ipynb").returncode == 1


def test_nbval_bites_when_a_measure_in_the_records_is_altered(tmp_path):
    notebook, folder = records(tmp_path)
    for path in folder.glob("seed-*/measures.csv"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if ",T1w_T2w_Ss," in line and ",affinity,paper,validation,own," in line:
                start, value = line.rsplit(",", 1)
                lines[number] = f"{start},{float(value) - 0.1:.6f}"
        path.write_text("\n".join(lines) + "\n")
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    bitten = nbval(tmp_path / "copy.ipynb")
    assert bitten.returncode == 1, bitten.stdout


def test_an_unknown_parameter_stops_a_page_run_by_papermill(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="no parameter 'seed'; a page has profile"):
        papermill.execute_notebook(
            str(NOTEBOOKS / "augmentation.ipynb"),
            str(tmp_path / "out.ipynb"),
            {"seed": 1},
            progress_bar=False,
            cwd=str(tmp_path),
        )
    kept = json.loads((tmp_path / "out.ipynb").read_text())
    assert any(o["output_type"] == "error" for c in kept["cells"] for o in c.get("outputs", []))


def test_a_page_runs_from_any_folder(tmp_path):
    papermill.execute_notebook(
        str(NOTEBOOKS / "augmentation.ipynb"),
        str(tmp_path / "out.ipynb"),
        {"seeds": "2"},
        progress_bar=False,
        cwd=str(tmp_path),
    )


def test_the_plain_page_trains_at_other_parameters_what_the_engine_trains(tmp_path):
    """Its own cells assert that."""
    given = {"seed": 3, "epochs": 1}
    out = papermill.execute_notebook(
        str(NOTEBOOKS / f"{PLAIN}.ipynb"), str(tmp_path / "out.ipynb"), given, progress_bar=False, cwd=str(tmp_path)
    )
    said = "".join(o.text for cell in out.cells for o in cell.get("outputs", []) if o.output_type == "stream")
    assert re.findall(r"(.+): the same", said) == [
        "agreement, overlap and affinity", "loss and gradient", "300 images a step", "50 images a step"
    ]  # fmt: skip


def test_the_plain_page_is_plain_pytorch_until_it_is_compared():
    """Its network, loss, loop and measures owe nothing to kdnb."""
    before, _ = (NOTEBOOKS / "markdown" / f"{PLAIN}.md").read_text(encoding="utf-8").split("## The same, by the book's")
    assert re.findall(r"^(?:from|import) kdnb.*", before, flags=re.M) == [
        "from kdnb.book.exhibits import Exhibit  # only frames the figures"
    ]


# -- what make book refuses --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extension():
    """The book's Sphinx extension."""
    spec = importlib.util.spec_from_file_location("kdnb_book", NOTEBOOKS.parent / "book" / "_ext" / "kdnb_book.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_as_it_is_stored_can_stand_in_the_book(notebook, extension):
    assert extension.not_for_a_book(notebook) == ""


def saved(text, kind="text/html"):
    output = nbformat.v4.new_output("display_data", {kind: text})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()", outputs=[output])])


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (saved({"model_id": "0"}, "application/vnd.jupyter.widget-view+json"), "shows widgets that need a kernel"),
        (saved('<script src="https://cdn.example/x.js"></script>'), "it asks for https://cdn.example/x.js"),
        (saved("<style>p {background: url(//cdn.example/x.png)}</style>"), "it asks for //cdn.example/x.png"),
        (saved("<script>import('https://cdn.example/x.js')</script>"), "it asks for https://cdn.example/x.js"),
        (nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()")]), "its outputs are stripped"),
    ],
)
def test_a_page_that_needs_a_kernel_or_a_network_is_refused_with_what_to_do(page, why, extension, tmp_path):
    assert why in extension.not_for_a_book(page)
    nbformat.write(page, tmp_path / "mine.ipynb")
    env = SimpleNamespace(doc2path=lambda name: tmp_path / f"{name}.ipynb")
    with pytest.raises(extension.SavedPageError, match=r"^mine\.ipynb: .*; run it again: make notebooks PAGES=mine$"):
        extension.require_saved(None, env, ["mine"])


def test_a_page_may_link_to_anywhere(extension):
    assert extension.not_for_a_book(saved('<a href="https://arxiv.org/abs/2405.00739">the paper</a>')) == ""
