"""Makes the notebooks from their text and runs them in place: `make notebooks`, after a page's text or code was changed.

The text in notebooks/markdown is what a person edits and reviews; the notebook beside it, with its outputs, is what the book
shows and what is checked. Nothing of the machine that ran them is kept: no times, no versions.
"""

import sys

import jupytext
import nbformat
from nbclient import NotebookClient

from kdnb.paths import CHECKOUT

NOTEBOOKS = CHECKOUT / "notebooks"


def execute(page: str) -> None:
    """Writes notebooks/<page>.ipynb from its text, with fresh outputs."""
    notebook = jupytext.read(NOTEBOOKS / "markdown" / f"{page}.md")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{page}-{number}"  # ids that do not change from one making to the next
    NotebookClient(
        notebook,
        timeout=900,
        record_timing=False,
        extra_arguments=["--log-level=CRITICAL"],
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    ).execute()
    notebook.metadata.pop("language_info", None)
    notebook.metadata.pop("widgets", None)
    nbformat.validate(notebook)
    nbformat.write(notebook, NOTEBOOKS / f"{page}.ipynb")


if __name__ == "__main__":
    for each in sys.argv[1:] or sorted(path.stem for path in (NOTEBOOKS / "markdown").glob("*.md")):
        print(each, flush=True)
        execute(each)
