"""*Look for yourself* in a real browser: it answers as PyTorch does, follows the brush, and takes pictures of odd kinds."""

import functools
import http.server
import io
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdnb.book import look
from kdnb.evidence import deletion, overlap
from kdnb.paths import CHECKOUT as ROOT
from kdnb.release import export
from kdnb.training.maps import cam

STATIC = ROOT / "kdnb" / "book" / "static"


@pytest.fixture(scope="module")
def shown() -> look.Shown:
    return look.published()


@pytest.fixture(scope="module")
def explorer(shown: look.Shown) -> look.Look:
    return look.explorer(shown)


@pytest.fixture(scope="module")
def site(shown: look.Shown, explorer: look.Look, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with the explorer and nothing else, in a folder of its own, with its static files as a book has them."""
    root = tmp_path_factory.mktemp("site")
    static = root / "sub" / "_static"
    static.mkdir(parents=True)
    for name in ("explorers.js", "explorers.css"):
        shutil.copy(ROOT / "book" / "_static" / name, static / name)
    shutil.copytree(STATIC, static / look.LAID)
    (static / look.LAID / "networks.safetensors").write_bytes(export.browser(shown.networks, half=True))
    sheets = ("explorers.css", f"{look.LAID}/look.css")
    styles = "".join(f'<link rel="stylesheet" href="../_static/{name}">' for name in sheets)
    colours = "--pst-color-text-base:#111;--pst-color-background:#fff;--pst-color-surface:#eee;--pst-color-border:#ccc"
    dark = "--pst-color-text-base:#eee;--pst-color-background:#121212;--pst-color-surface:#222;--pst-color-border:#444"
    style = f":root{{{colours}}} @media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    style += (
        "body{background:var(--pst-color-background);font-family:sans-serif;max-width:60rem;margin:auto;padding:.5rem}"
    )
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">{styles}'
    page += f'<style>{style}</style><script defer src="../_static/explorers.js"></script><main>{explorer.html}</main></html>'
    (root / "sub" / "notebooks").mkdir()
    (root / "sub" / "notebooks" / "look.html").write_text(page, encoding="utf-8")
    return root


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs a browser: Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def opened(chromium: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page with every other host cut off and loads the networks; ``page.errors`` are the console's."""
    contexts = []

    def opening(width: int = 1440, theme: str = "light") -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.set_default_timeout(120_000)
        contexts.append(context)
        context.route(lambda url: not url.startswith((address, "data:", "blob:")), lambda route: route.abort())
        page = context.new_page()
        page.errors = []
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(f"{address}/sub/notebooks/look.html")
        page.get_by_role("button", name="Load the networks").click()
        drawn(page)
        return page

    yield opening
    for context in contexts:
        context.close()


def drawn(page: Any, after: str = "") -> str:
    """Waits until everything is drawn and answered, and says the number of the drawing."""
    page.wait_for_function("n => (document.querySelector('.kdnb-look')?.dataset.drawn ?? n) !== n", arg=after)
    return page.locator(".kdnb-look").get_attribute("data-drawn")


def number_of(page: Any) -> str:
    return page.locator(".kdnb-look").get_attribute("data-drawn") or ""


IN_PAGE = """async (given) => {
    const base = new URL("../_static/", location.href);
    const names = ["look-network.js", "look.js"];
    const [net, looking] = await Promise.all(names.map((name) => import(`${base}vendor/look/${name}`)));
    const data = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
    const { tensors, metadata } = net.readTensors(await (await fetch(base + data.file)).arrayBuffer());
    const strides = JSON.parse(metadata.strides), x = globalThis.kdnbExplorers;
    const made = (run) => net.network(tensors, run, strides[run]);
    const values = given.images.map((pixels) => net.normalised(Uint8Array.from(pixels), data.mean, data.std));
    return (%s)(given, { net, looking, data, made, values, x });
}"""


def in_page(page: Any, body: str, shown: look.Shown, **given: object) -> Any:
    return page.evaluate(IN_PAGE % body, {"images": shown.images.flatten(1).tolist()} | given)


def test_logits_are_pytorchs_for_all_images_and_networks(opened: Any, shown: look.Shown) -> None:
    body = "(g, p) => g.runs.map(p.made).map((of) => p.values.map((v) => Array.from(of.answer(v, 32))))"
    page, runs = opened(), list(shown.networks)
    answers = torch.tensor(in_page(page, body, shown, runs=runs))
    for run, logits in zip(runs, answers, strict=True):
        with torch.no_grad():
            assert (shown.networks[run](shown.normalised) - logits).abs().max() < 1e-3, run
    assert page.errors == []


@pytest.mark.parametrize("of", ["predicted", "sum"])
def test_masks_overlap_as_kdnbs_do(of: str, opened: Any, shown: look.Shown) -> None:
    body = """(g, p) => p.values.map((v) => { const masks = g.runs.map(p.made).map((of) => {
        const map = of.features(v, 32);
        const z = Array.from(of.logitsOf(map)), k = g.of === "sum" ? null : z.indexOf(Math.max(...z));
        return p.x.mask(p.x.heatmap(of.cam(map, k), 32), 0.4); }); return p.x.iou(...masks); })"""
    pair = shown.teachers[:2]
    found = in_page(opened(), body, shown, runs=pair, of=of)
    with torch.no_grad():
        maps = [cam(net, net.features(shown.normalised), of) for net in (shown.networks[run] for run in pair)]
    expected = overlap.iou_per_image([overlap.masks(each, 32) for each in maps])
    assert np.abs(np.array(found) - expected.numpy()).max() < 0.01


def test_deletion_and_occlusion_are_kdnbs(opened: Any, shown: look.Shown) -> None:
    run, few = shown.teachers[0], 3
    body = """(g, p) => p.values.slice(0, 3).map((v, i) => { const of = p.made(g.run), z = Array.from(of.answer(v, 32));
        const best = z.indexOf(Math.max(...z)), map = p.looking.occlusion(of, v, 32, best, 4);
        const order = p.looking.falling(p.x.heatmap(map, 32));
        const curve = [...p.looking.curve(of, v, 32, best, order, 16)];
        return { map, order: p.looking.permutation(1024, p.data.seed, i), curve }; })"""
    found = in_page(opened(), body, shown, run=run)
    network, images = shown.networks[run], shown.normalised[:few]
    maps = deletion.occlusion(network, images)
    curves = deletion.curve(network, images, deletion.falling(overlap.heatmaps(maps, 32)))
    random = deletion.at_random(few, 32, shown.seed)
    for each, map_, curve, order in zip(found, maps, curves, random, strict=True):
        assert torch.allclose(torch.tensor(each["map"]), map_, atol=1e-3)
        assert torch.allclose(torch.tensor(each["curve"]), curve, atol=2e-3)
        assert each["order"] == order.tolist()


def test_brushing_changes_what_is_drawn_and_said(opened: Any) -> None:
    page = opened()
    before, drawing = page.locator(".kdnb-look tbody").inner_text(), number_of(page)
    said = page.locator(".kdnb-said").all_inner_texts()
    canvas = page.locator("canvas.kdnb-brush")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.6, steps=4)
    page.mouse.up()
    drawing = drawn(page, drawing)
    assert page.locator(".kdnb-look tbody").inner_text() != before
    assert page.locator(".kdnb-said").all_inner_texts() != said
    page.get_by_role("button", name="undo all").click()
    drawing = drawn(page, drawing)
    assert page.locator(".kdnb-look tbody").inner_text() == before
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    drawn(page, drawing)
    assert page.locator(".kdnb-look tbody").inner_text() != before
    assert page.errors == []


def test_a_guess_is_answered_and_a_curve_is_drawn(opened: Any) -> None:
    page = opened()
    page.get_by_role("button", name="it will not").click()
    page.get_by_text("of the picture erased, T").wait_for()
    page.get_by_role("button", name="erase step by step").click()
    page.get_by_text("For image 1: the map's order").wait_for()
    assert page.locator(".kdnb-plots path.kdnb-order").count() == 2 * len(look.ORDERS)
    assert page.errors == []


def test_a_view_says_what_was_done(opened: Any) -> None:
    page = opened()
    first = number_of(page)
    page.get_by_label("view").select_option("strong")
    second = drawn(page, first)
    one = page.locator(".kdnb-hint[aria-live]").inner_text()
    page.get_by_role("button", name="draw anew").click()
    drawn(page, second)
    assert one.startswith("strong view 1: crop of")
    assert page.locator(".kdnb-hint[aria-live]").inner_text().startswith("strong view 2:")


def encoded(image: Image.Image, kind: str, **more: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **more)
    return content.getvalue()


def odd_pictures() -> dict[str, tuple[str, bytes]]:
    half = Image.fromarray(np.repeat(np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8), 64, axis=1).repeat(32, axis=0))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    clear = Image.new("RGBA", (50, 40), (255, 0, 0, 0))
    return {
        "turned": ("image/jpeg", encoded(half, "JPEG", exif=exif)),
        "transparent": ("image/png", encoded(clear, "PNG")),
        "thin": ("image/png", encoded(Image.new("RGB", (1, 5000), (0, 200, 0)), "PNG")),
        "large": ("image/jpeg", encoded(Image.new("RGB", (5200, 3900), (10, 20, 200)), "JPEG")),
        "text": ("image/png", b"this is no picture"),
    }


def test_pictures_of_odd_kinds_give_a_view_or_one_line(opened: Any) -> None:
    page = opened()
    corner = """() => { const context = document.querySelector('.kdnb-frame canvas').getContext('2d');
        const d = context.getImageData(16, 2, 1, 1).data; return Array.from(d.slice(0, 3)); }"""
    expected = {"turned": (0, 0, 255), "transparent": (255, 255, 255), "thin": (0, 200, 0), "large": (10, 20, 200)}
    drawing = number_of(page)
    for name, (mime, content) in odd_pictures().items():
        page.get_by_label("your own, from a file").set_input_files(
            [{"name": name, "mimeType": mime, "buffer": content}]
        )
        if name in expected:
            drawing = drawn(page, drawing)
            assert np.abs(np.array(page.evaluate(corner)) - expected[name]).max() <= 3, name
            assert page.locator(".kdnb-frame + figcaption").first.inner_text() == "your picture"
        else:
            page.get_by_text("text is not a picture that this browser reads").wait_for()
    assert page.errors == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_the_page_and_every_control_has_a_name(width: int, theme: str, opened: Any) -> None:
    page = opened(width, theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = page.locator(".kdnb-look :is(select, input, button, canvas[role])").evaluate_all(
        "all => all.filter(e => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).length"
    )
    assert unnamed == 0
    axe = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if axe.is_file():
        page.add_script_tag(path=str(axe))
        found = page.evaluate("axe.run(document.querySelector('main'), {resultTypes: ['violations']})")
        assert [each["id"] for each in found["violations"] if each["impact"] in ("serious", "critical")] == []
    assert page.errors == []


def test_a_missing_file_of_networks_is_one_line(chromium: Any, address: str, site: Path) -> None:
    page = chromium.new_page()
    page.route("**/networks.safetensors", lambda route: route.fulfill(status=404))
    page.goto(f"{address}/sub/notebooks/look.html")
    page.get_by_role("button", name="Load the networks").click()
    page.get_by_text("The networks could not be loaded").wait_for()
    assert page.get_by_role("button", name="Load the networks").is_enabled()
    assert page.locator(".kdnb-static svg").first.is_visible()
    page.close()


def test_the_published_networks_and_their_code_stay_small(explorer: look.Look, shown: look.Shown) -> None:
    code = sum(path.stat().st_size for path in STATIC.iterdir())
    assert explorer.data["bytes"] == len(export.browser(shown.networks, half=True))
    assert code + explorer.data["bytes"] < 6_000_000
