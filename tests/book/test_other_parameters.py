"""Every page as whoever reruns it does: by papermill, at another profile. The records are those published of ``smoke``, so that
only the page on running trains."""

import nbformat
import papermill
import pytest

from kdnb.evidence import results
from kdnb.paths import CHECKOUT as ROOT
from kdnb.release import diff
from tests.book.test_notebooks import PAGES, PLAIN, UNCOMPARED, tags

SMOKE = results.home() / "smoke"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def settings_apart():
    """In how many settings ``smoke`` is another study than the book's."""
    return len(diff.changes(results.read(str(SMOKE)), results.read(results.published())))


def html_of(cell):
    return "".join(output.data.get("text/html", "") for output in cell.outputs if "data" in output)


def exhibits(notebook):
    """What shows an exhibit → the exhibit, of the cells that nbval compares."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and UNCOMPARED not in tags(cell)]
    return {cell.source: html_of(cell) for cell in cells if "kdnb-exhibit" in html_of(cell)}


@pytest.mark.parametrize("name", [name for name in PAGES if name != PLAIN])
def test_a_page_shows_another_profile(name, tmp_path, settings_apart):
    """All of its exhibits are there, those of results are of other results, and the banner says which."""
    stored, fresh = ROOT / "notebooks" / f"{name}.ipynb", tmp_path / "out.ipynb"
    asked = {"profile": "smoke", "results": str(SMOKE)}
    papermill.execute_notebook(str(stored), str(fresh), asked, progress_bar=False, cwd=str(tmp_path))
    of_the_book, made = (nbformat.read(path, as_version=4) for path in (stored, fresh))
    (start,) = [cell for cell in made.cells if "start" in tags(cell)]
    assert "Profile smoke, seed 0:" in html_of(start)
    assert f"Differs from the published study cpu in {settings_apart} settings" in html_of(start)
    before, after = exhibits(of_the_book), exhibits(made)
    assert after.keys() == before.keys()
    assert {source: html == before[source] for source, html in after.items()} == {
        source: "found" not in source for source in after
    }
