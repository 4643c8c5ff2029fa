"""Makes the notebooks from their text and runs them in place: `make notebooks`, after a page's text or code was changed.

The text in notebooks/markdown is what a person edits and reviews; the notebook beside it, with its outputs, is what the book
shows and what is checked. Nothing of the machine that ran them is kept: no times, no versions.
"""

import argparse

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
    notebook.metadata["jupytext"].pop("text_representation", None)  # as jupytext --sync leaves it
    nbformat.validate(notebook)
    nbformat.write(notebook, NOTEBOOKS / f"{page}.ipynb")


def main() -> None:
    known = sorted(path.stem for path in (NOTEBOOKS / "markdown").glob("*.md"))
    parser = argparse.ArgumentParser(description="Runs pages of the book in place.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"all of them, or some of {', '.join(known)}")
    pages = parser.parse_args().pages
    if unknown := [page for page in pages if page not in known]:
        parser.error(f"no page {unknown[0]!r}; there are {', '.join(known)}")
    for each in pages or known:
        print(each, flush=True)
        execute(each)


if __name__ == "__main__":
    main()
