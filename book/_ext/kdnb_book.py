"""What the book's pages ask of the code while they are built: generated tables and figures, and assets of its own.

``{kdnb} NAME`` places what `kdnb.book.reference` generates, for the names in `Generated.parts`. The built book
loads nothing from elsewhere: MathJax comes from the npm registry in the version that package-lock.json pins, and is copied
beside the pages. Without npm the build says so, and formulas then need the network.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import SphinxError
from sphinx.util.docutils import SphinxDirective

from kdnb.book import look, measured, reference

VENDOR = "vendor/mathjax/tex-mml-chtml.js"


def say(text: str) -> None:
    """One line for whoever builds, also with ``-q``, and no warning, for ``-W`` would make it a failure."""
    print(text, file=sys.stderr)


class Generated(SphinxDirective):
    """Places a part of the reference that is generated from the code or from records."""

    required_arguments = 1
    parts: ClassVar[dict[str, Any]] = {
        "parameters": lambda book: reference.parameters(),
        "profiles": lambda book: reference.profiles(),
        "calibration": lambda book: measured.calibration(book / "calibration"),
        "cost": lambda book: measured.cost(book / "calibration"),
        "growth": lambda book: reference.growth(),
        "scaling": lambda book: measured.scaling(book / "calibration"),
        "released": lambda book: measured.released(book / "calibration"),
        "streaming": lambda book: measured.streaming(book / "calibration"),
        "claims": lambda book: reference.declared(),
        "second-round": lambda book: reference.declared("R"),
        "seeds": lambda book: reference.seeds(book / "results" / "cpu"),
        "power": lambda book: reference.power(book / "results" / "cpu-scratch"),
        "judging": lambda book: measured.judging(book / "calibration"),
        "judging-second-round": lambda book: measured.judging(book / "calibration", "second-round"),
    }
    """by name, what generates a part; each takes the folder ``book`` of the book that is built"""

    def run(self) -> list[nodes.Node]:
        try:
            generate = self.parts[self.arguments[0]]
        except KeyError:
            raise self.error(
                f"nothing is generated as {self.arguments[0]!r}; there are {', '.join(self.parts)}"
            ) from None
        text = generate(Path(self.env.srcdir) / "book")
        # With sections among it, nested parsing lays these directly into the page, before what a directive returns: so what
        # precedes the first heading is parsed first and stands where the directive stands.
        before, heading, rest = text.partition("\n## ")
        lead = nodes.container()
        self.state.nested_parse(StringList(before.splitlines(), "generated"), 0, lead)
        if not heading:
            return lead.children
        self.state._renderer.current_node.extend(lead.children)
        holder = nodes.container()
        lines = StringList(f"## {rest}".splitlines(), "generated")
        self.state.nested_parse(lines, 0, holder, match_titles=True)
        return holder.children


def vendor(app: Sphinx, config: Config) -> None:
    """Lays MathJax beside the pages, if npm can get it."""
    root = Path(app.srcdir)
    if not (root / "node_modules" / "mathjax").is_dir():
        npm = shutil.which("npm")
        if npm:
            done = subprocess.run(
                [npm, "ci", "--no-audit", "--no-fund"], cwd=root, capture_output=True, text=True, check=False
            )
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
                say(f"npm could not get the book's assets ({''.join(last) or 'no message'}): formulas need the network")
        else:
            say("npm is not installed, so the book cannot bring its assets along: formulas need the network")
    source = root / "node_modules" / "mathjax" / "es5"
    if source.is_dir():
        target = root / "book" / "_static" / "vendor" / "mathjax"
        for name in ("tex-mml-chtml.js", "output/chtml/fonts"):
            if (source / name).is_dir():
                shutil.copytree(source / name, target / name, dirs_exist_ok=True)
            else:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / name, target / name)
        config.mathjax_path = VENDOR


def lay_networks(app: Sphinx, config: Config) -> None:
    """Lays the published networks that a page runs beside it, and what runs them."""
    look.lay(Path(app.srcdir) / "book")


def move_plumbing(app: Sphinx, doctree: nodes.document) -> None:
    """Moves a page's folded parameters, and the call that opens its results, from the top to where its first section begins.

    In the notebook they come first, since all else needs them; a reader of the page wants the question and its answer first.
    What the call displays stays where it is.
    """
    page = next(iter(doctree.findall(nodes.section)), None)
    cells = [node for node in doctree.findall(nodes.container) if "cell" in node.get("classes", ())]
    moved: list[nodes.Element] = []
    for cell in cells:
        if {"tag_parameters", "tag_injected-parameters"} & set(cell["classes"]):
            cell.parent.remove(cell)
            moved.append(cell)
        elif "tag_start" in cell["classes"]:
            code = [part for part in cell.children if "cell_output" not in part.get("classes", ())]
            for part in code:
                cell.remove(part)
            if moved:
                moved[-1].extend(code)  # into the fold of the parameters
    if page is None or not moved:
        return
    place = next(
        (at for at, node in enumerate(page.children) if at and isinstance(node, nodes.section)), len(page.children)
    )
    for node in reversed(moved):
        page.insert(place, node)


def reach_all(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """What screen readers and keyboards stumble over: a bibliography is marked as a list whose entries are no list items, and
    a table that is too wide scrolls by itself and cannot be focused."""
    body = context.get("body", "")
    if "citation-list" in body:
        body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    if "body" in context:
        context["body"] = body.replace('<table class="', '<table tabindex="0" class="')


WIDGET = "application/vnd.jupyter.widget-view+json"

ELSEWHERE = re.compile(
    r"(?:<(?:script|img|iframe|link|source|video|audio|object|embed|image|use)\b[^>]*?\s(?:src|srcset|(?:xlink:)?href|data)\s*=\s*"
    r"|url\(\s*|@import\s+|\b(?:import|fetch)\s*\(?\s*|!\[[^\]]*\]\()"
    r"[\"']?((?:https?:)?//[^\s\"'<>)]+)"
)
"""what a browser loads by itself from another address"""


def not_for_a_book(notebook: dict[str, Any]) -> str:
    """Why a page as it was saved cannot stand in a book, which has no kernel and asks nobody for anything; or nothing."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    if code and not outputs:
        return "its outputs are stripped"
    shown = [output.get("data", {}) for output in outputs]
    if any(WIDGET in data for data in shown):
        return "it was saved from a running notebook, and shows widgets that need a kernel"
    texts = ["".join(data.get("text/html", "")) for data in shown]
    texts += ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    found = next(filter(None, map(ELSEWHERE.search, texts)), None)
    return f"it asks for {found[1]}" if found else ""


class SavedPageError(SphinxError):
    """A page that has to be run again before the book is built."""

    category = "a page"


def require_saved(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Raises:
    SavedPageError: a notebook that is to be read is none for a book."""
    for path in (Path(env.doc2path(name)) for name in docnames):
        if path.suffix == ".ipynb" and (why := not_for_a_book(json.loads(path.read_text(encoding="utf-8")))):
            raise SavedPageError(f"{path.name}: {why}; run it again: make notebooks PAGES={path.stem}")


PLACEHOLDER = "https://github.com/OWNER/"
"""Begins the repository's address in _config.yml until whoever hosts the book sets it."""


def address(app: Sphinx) -> None:
    """Says so where the book is built without its repository's address."""
    if str(app.config.html_theme_options.get("repository_url", "")).startswith(PLACEHOLDER):
        say(
            "repository.url in _config.yml is a placeholder: the buttons to the repository, Binder and Colab lead nowhere "
            "until it names yours (then make metadata)"
        )


COLON = "\ue000"


def hide_colons(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Napoleon takes what precedes a colon under an attribute for its type; the types are in the annotations."""
    if what in ("attribute", "data"):
        lines[:] = [line.replace(":", COLON) for line in lines]


def show_colons(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Undoes `hide_colons` when Napoleon has passed."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def without_thebe(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Thebe, which would run cells in the page, is not offered, and its scripts declare a constant twice."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "THEBE" not in str(getattr(script, "attributes", {}).get("body", "")) and "thebe" not in str(script)
    ]


def lead_to_pages(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Links that a cell said lead to another notebook or text, which in the book is a page."""
    if "body" in context:
        context["body"] = re.sub(r'href="([^":#]+)\.(?:ipynb|md)(#[^"]*)?"', r'href="\1.html\2"', context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.add_directive("kdnb", Generated)
    app.connect("config-inited", vendor)
    app.connect("config-inited", lay_networks)
    app.connect("builder-inited", address)
    app.connect("env-before-read-docs", require_saved)
    app.connect("doctree-read", move_plumbing)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("html-page-context", reach_all, priority=900)
    app.connect("html-page-context", lead_to_pages, priority=900)
    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", show_colons, priority=600)
    return {"parallel_read_safe": True}
