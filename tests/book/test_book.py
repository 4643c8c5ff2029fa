"""The book as it is published: it builds without a warning, hangs together, needs no network, and works in a browser."""

import functools
import http.server
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urlparse

import pytest
import yaml

from kdnb.book import exhibits, reproduce
from kdnb.paths import CHECKOUT as ROOT

THEMES = ("light", "dark")
WIDTHS = (390, 1440)


def contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(each["file"] for chapter in chapters for each in (chapter, *chapter.get("sections", ())))]


PAGES = contents()


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The folder of the built book."""
    out = tmp_path_factory.mktemp("book")
    command = [*reproduce.JUPYTER_BOOK, "build", str(ROOT), "--path-output", str(out)]
    command += ["-q", "-W", "-n", "--keep-going"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return out / "_build" / "html"


class Page(HTMLParser):
    """Links, anchors, what is loaded, and pictures of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.loads, self.unnamed = [], set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        self.anchors |= {has[key] for key in ("id", "name") if has.get(key)}
        if tag == "a" and has.get("href"):
            self.links.append(has["href"])
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed") and has.get("src"):
            self.loads.append(has["src"])
        if tag in ("image", "use", "object"):
            self.loads += [has[key] for key in ("href", "xlink:href", "data") if has.get(key)]
        if tag == "link" and has.get("rel") in ("stylesheet", "preload", "icon", "modulepreload") and has.get("href"):
            self.loads.append(has["href"])
        if tag == "img" and not has.get("alt"):
            self.unnamed.append(has.get("src"))
        if tag == "svg" and not (has.get("aria-label") or has.get("aria-hidden") or has.get("aria-labelledby")):
            self.unnamed.append("svg")


@pytest.fixture(scope="session")
def pages(html):
    return {
        path.relative_to(html).as_posix(): Page(path) for path in html.rglob("*.html") if "_static" not in path.parts
    }


def test_the_pages_of_the_contents_are_built_and_no_others(pages):
    made = {name.removesuffix(".html") for name in pages if not name.startswith("_modules")}
    assert made == {*PAGES, "index", "search", "genindex", "py-modindex"} & made | set(PAGES)
    assert not [name for name in made if "markdown" in name or "results" in name]


def test_every_internal_link_and_anchor_leads_somewhere(html, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(link)
            if urlparse(target).scheme or target.startswith("//"):
                continue
            path = ((html / name).parent / unquote(target)).resolve() if target else (html / name)
            if not path.exists():
                broken.append((name, link))
            elif anchor and path.suffix == ".html":
                there = pages.get(path.relative_to(html).as_posix())
                if there and unquote(anchor) not in there.anchors and anchor != "top":
                    broken.append((name, link))
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(html, pages):
    if not shutil.which("npm"):
        pytest.skip("needs npm, which lays the book's assets beside it")
    foreign = {(name, load) for name, page in pages.items() for load in page.loads if urlparse(load).netloc}
    assert foreign == set()
    styles = "".join(path.read_text(encoding="utf-8", errors="ignore") for path in (html / "_static").glob("*.css"))
    assert not re.search(r"url\(['\"]?(https?:)?//", styles)


def test_every_picture_has_a_text(pages):
    assert {name: page.unnamed for name, page in pages.items() if page.unnamed} == {}


def test_every_claim_has_its_place_on_its_page(pages):
    from kdnb.evidence import claims as evidence

    for claim in evidence.SETS["K"].claims:
        if claim.key.startswith("K"):
            assert f"claim-{claim.key.lower()}" in pages[f"notebooks/{claim.page}.html"].anchors


def article(html, name):
    """What a page says, without navigation."""
    body = (html / f"{name}.html").read_text(encoding="utf-8")
    return body[body.index("<article") :]


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("notebooks/")])
def test_a_reader_meets_the_answer_before_the_plumbing(html, name):
    """The folded parameters, first in the notebook, stand where the page's first section begins or later."""
    body = article(html, name)
    parameters, section = body.index("tag_parameters"), body.index("<h2")
    assert body.index("kdnb-banner") < parameters < section
    assert body.count("tag_parameters") == 1
    first = body.index("kdnb-exhibit")
    assert first < parameters or first > section


def test_generated_text_stands_in_its_order(html):
    for name, first in (("book/seeds", "Profile "), ("book/claims", "Set K, version")):
        body = article(html, name)
        assert body.index(f"<p>{first}") < body.index("<h2")


def test_every_module_is_in_the_reference(pages):
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "kdnb").rglob("*.py")
        if path.name != "__init__.py"
    }
    internal = {"kdnb.cli", "kdnb.progress", "kdnb.book.reference"}
    anchors = set().union(*(page.anchors for name, page in pages.items() if name.startswith("book/api/")))
    # The files of a package within a package stand there under its name.
    shown = {".".join(name.split(".")[:3]) for name in modules - internal}
    missing = {name for name in shown if f"module-{name}" not in anchors}
    assert missing == set()
    assert {name for name in exhibits.__all__ if f"kdnb.book.exhibits.{name}" not in anchors} == set()


def test_every_setting_says_what_it_means():
    from kdnb.book import reference

    for model in reference.MODELS:
        silent = [name for name, field in model.model_fields.items() if not field.description and name != "kind"]
        assert silent == []
    assert "Annotated" not in reference.parameters()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(html):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium():
    """The browser, for this module alone and not until the last test of all. Its driver closes it and gives it 30 s for that;
    a call to close it would wait for as long as it takes."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs a browser: Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def tab(chromium, address):
    """Opens a page with every other host cut off; what the console says of errors is in ``tab.errors``."""
    contexts = []

    def opened(name, width=1440, theme="light"):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        context.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
        context.route(lambda url: not url.startswith(address), lambda route: route.abort())
        page = context.new_page()
        page.errors = []
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        assert page.goto(f"{address}/{name}.html", wait_until="load").ok
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_without_a_network_and_does_not_scroll_sideways(tab, name):
    for width in WIDTHS:
        page = tab(name, width)
        page.wait_for_timeout(300)
        assert page.errors == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_first_visit_logs_no_error(chromium, address):
    """With nothing in the browser's storage, as the theme keeps its mode there."""
    context, errors = chromium.new_context(), []
    page = context.new_page()

    def note(message):
        browsers_own = message.location["url"].endswith(
            "/favicon.ico"
        )  # asked for of a page without an icon, as the redirect is
        if message.type == "error" and not browsers_own:
            errors.append(f"{message.text} ({message.location['url']})")

    page.on("console", note)
    page.goto(f"{address}/index.html", wait_until="load")
    page.wait_for_url("**/welcome.html")
    page.wait_for_timeout(300)
    context.close()
    assert errors == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_serious_violation(tab, name, theme):
    axe = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("needs axe-core: npm ci")
    page = tab(name, theme=theme)
    page.add_script_tag(path=str(axe))
    found = page.evaluate("axe.run(document.querySelector('main') || document, {resultTypes: ['violations']})")
    serious = {
        each["id"]: [node["target"] for node in each["nodes"]][:4]
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    }
    assert serious == {}


EXPLORERS = {
    "attention": "notebooks/attention",
    "dial": "notebooks/study",
    "directions": "notebooks/attention",
    "scatter": "notebooks/pathology",
    "specifications": "notebooks/ruler",
    "tables": "notebooks/paper",
}


@pytest.mark.parametrize("kind", EXPLORERS)
def test_an_explorer_answers_with_no_kernel(tab, kind):
    name = EXPLORERS[kind]
    page = tab(name)
    explorer = page.locator(f'.kdnb-explorer[data-kind="{kind}"]')
    told = explorer.locator("[aria-live]").first
    before = told.inner_text()
    slider = explorer.locator("input[type=range]")
    if slider.count():
        slider.first.evaluate(
            "e => { e.value = e.value === e.max ? e.min : e.max; e.dispatchEvent(new Event('input', {bubbles: true})) }"
        )
    else:
        explorer.locator("select").first.select_option(index=2)
    assert told.inner_text() != before
    assert page.errors == []


CONTROLS = "input:visible, select:visible, button:visible"
WORKS = {
    "range": ("ArrowRight", "ArrowLeft"),
    "select-one": ("ArrowDown", "ArrowUp"),
    "checkbox": ("Space", "Space"),
    "button": ("Enter", ""),
}
"""a control's type → the key that changes it, and the one that changes it back"""


def focused(page):
    """The name and the kind of what has the focus."""
    return page.evaluate(
        "e => { e = document.activeElement; return [e.getAttribute('aria-label') || e.closest('label')?.textContent, e.type] }"
    )


@pytest.mark.parametrize("kind", EXPLORERS)
def test_every_control_of_an_explorer_works_by_keyboard(tab, kind):
    """Tab leads from one to the next in their order, keys change it, and what they change is drawn and said."""
    page = tab(EXPLORERS[kind])
    live = page.locator(f'.kdnb-explorer[data-kind="{kind}"] .kdnb-live')
    said, controls = live.locator("[aria-live]"), live.locator(CONTROLS)
    controls.first.focus()
    place = 0
    while place < controls.count():  # which a choice may change
        name, sort = focused(page)
        assert controls.nth(place).evaluate("e => e === document.activeElement"), f"Tab goes to {name}"
        assert name
        drawn, words = live.inner_html(), said.inner_text()
        forth, back = WORKS[sort]
        page.keyboard.press(forth)
        at_its_end = live.inner_html() == drawn
        if at_its_end:
            page.keyboard.press(back)
        assert live.inner_html() != drawn, f"{name}: {forth} and {back} change nothing"
        if sort != "checkbox":  # which says both numbers, whatever is drawn
            assert said.inner_text() != words, f"{name}: nothing is said of it"
        if back and not at_its_end:
            page.keyboard.press(back)
        assert controls.nth(place).evaluate("e => e === document.activeElement"), f"{name} loses the focus"
        page.keyboard.press("Tab")
        place += 1
    assert not controls.evaluate_all("all => all.includes(document.activeElement)")
    assert page.errors == []


@pytest.mark.parametrize("kind", ["scatter", "tables"])
def test_the_points_of_a_plot_are_read_by_keyboard(tab, kind):
    """One Tab reaches them, arrow keys go from one to the next and stop at the last, the next Tab leaves."""
    page = tab(EXPLORERS[kind])
    live = page.locator(f'.kdnb-explorer[data-kind="{kind}"] .kdnb-live')
    points, tip = live.locator(".kdnb-point"), live.locator(".kdnb-tip")
    names = points.evaluate_all("all => all.map(each => each.getAttribute('aria-label'))")
    assert len(names) > 2

    def press(key):
        page.keyboard.press(key)
        at = points.evaluate_all("all => all.indexOf(document.activeElement)")
        if at >= 0 and key != "Escape":
            assert tip.is_visible()
            assert tip.inner_text() == names[at]
        return at

    live.locator(CONTROLS).last.focus()
    for key, at in [
        ("Tab", 0), ("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowUp", 2), ("ArrowDown", 1), ("End", len(names) - 1),
        ("ArrowRight", len(names) - 1), ("Home", 0), ("ArrowRight", 1),
    ]:  # fmt: skip
        assert press(key) == at, key
    assert press("Escape") == 1
    assert tip.is_hidden()
    assert press("Tab") == -1
    assert press("Shift+Tab") == 1, "whoever comes back is where they were"
    assert page.errors == []


@pytest.mark.parametrize("kind", EXPLORERS)
def test_an_explorer_has_a_picture_and_a_table_without_scripts(chromium, address, kind):
    name = EXPLORERS[kind]
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{name}.html")
    explorer = page.locator(f'.kdnb-explorer[data-kind="{kind}"]')
    assert explorer.locator("svg, img").first.is_visible()
    assert explorer.locator("table").count() >= 1
    context.close()
