"""What the page *Look for yourself* computes in the browser is what kdnb computes: views, logits, maps, masks, deletion."""

import dataclasses
import json
import re
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
import torch

from kdnb.book import look
from kdnb.errors import IncompleteError
from kdnb.evidence import results
from kdnb.evidence.results import Results
from kdnb.images import augment
from kdnb.images.counter import Purpose, Stream
from kdnb.paths import CHECKOUT as ROOT

STATIC = ROOT / "kdnb" / "book" / "static"


@pytest.fixture(scope="module")
def found() -> Results:
    return results.read(ROOT / "book" / "results" / "cpu-scratch")


def node(body: str, given: object, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a body of JavaScript returns that has the page's modules as `network`, `views` and `look`, and `given`."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("modules")
    for path in STATIC.glob("*.js"):
        shutil.copy(path, folder / path.name)
    (folder / "package.json").write_text('{"type": "module"}')
    imports = "".join(
        f'import * as {name} from "./{file}.js";\n'
        for name, file in (("network", "look-network"), ("views", "look-views"), ("look", "look"))
    )
    code = f'{imports}import fs from "fs"; const given = JSON.parse(fs.readFileSync(0, "utf8"));\n'
    code += f"process.stdout.write(JSON.stringify(await (async () => {{ {body} }})()));"
    (folder / "run.js").write_text(code, encoding="utf-8")
    command = ["node", "run.js"]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_draws_are_those_of_the_counter(tmp_path_factory) -> None:
    where = [(0, 0, 0), (10, 3, 49_999), (2**32 - 1, 2**20, 7)]
    drawn = node("return given.map(([s, e, i]) => views.uniforms(s, e, i, 32));", where, tmp_path_factory)
    for (seed, epoch, index), row in zip(where, drawn, strict=True):
        assert row == Stream(seed).uniforms(Purpose.VIEW, epoch, np.array([index]), 32)[0].tolist()


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_views_are_those_that_networks_are_judged_on(name: str, found: Results, tmp_path_factory) -> None:
    """Crops may round a level otherwise, since one adds in single and the other in double precision."""
    explorer, count, epochs = found.explorer, 40, 10
    images, index = explorer.images[:count], explorer.index[:count].numpy().astype(np.int64)
    given = {
        "images": images.flatten(1).tolist(),
        "index": index.tolist(),
        "seed": explorer.seed,
        "recipe": dataclasses.asdict(augment.recipe(name)),
        "auto": look.autoaugment(32),
    }
    body = f"""return given.images.map((pixels, i) => Array.from({{ length: {epochs} }}, (_, epoch) => Array.from(
        views.view(Uint8Array.from(pixels), 32, given.recipe, given.auto, given.seed, epoch, given.index[i]).pixels)));"""
    made = np.array(node(body, given, tmp_path_factory)).reshape(count, epochs, 3, 32, 32)
    for epoch in range(epochs):
        expected = augment.views(
            images, index, augment.recipe(name), Stream(explorer.seed), epoch, purpose=Purpose.VIEW
        )
        apart = np.abs(made[:, epoch] - expected.numpy().astype(int))
        assert (apart > 1).mean() < 1e-3
        assert (apart > 0).mean() < 0.01


def test_a_widgets_module_imports_nothing_and_renders(tmp_path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    path = tmp_path / "module.mjs"
    path.write_text(look.module(), encoding="utf-8")
    assert not re.search("^import ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    code = f"import({json.dumps(path.as_uri())}).then((made) => process.stdout.write(typeof made.default.render));"
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=False)
    assert done.stdout == "function", done.stderr


def test_what_the_page_shows_is_four_teachers_and_students_of_two(found: Results) -> None:
    shown = look.of_results(found)
    assert shown.teachers == ("T1w", "T2w", "T1s", "T2s")
    assert {run for run in shown.students if "_" not in run} == {"Sw", "Ss"}
    assert all(run.count("T") in (0, 2) for run in shown.students)
    assert len(shown.images) == len(shown.labels) == 40


def test_without_published_networks_that_is_said_and_only_code_is_laid(tmp_path) -> None:
    with pytest.raises(IncompleteError, match="no published study has networks"):
        look.published(tmp_path / "results")
    look.lay(tmp_path)
    laid = {path.name for path in (tmp_path / "_static" / look.LAID).iterdir()}
    assert laid == {path.name for path in STATIC.iterdir()}


def test_deletion_is_worded_by_what_is_found(found: Results) -> None:
    shown = look.of_results(found)
    curve = torch.linspace(1, 0, 17)
    steep, flat = curve**4, torch.ones(17)
    shown.__dict__["deletion"] = {
        run: {"map": steep, "occlusion": flat, "random": curve, "reverse": flat} for run in shown.teachers
    }
    said = look.uses(shown)
    assert "sooner than in a random order in 4 of 4 teachers" in said
    assert "sooner still in 0 of 4" in said
    share = shown.area("T1w", "map") / 0.5
    assert f"weak {share:.2f}, {share:.2f}; strong {share:.2f}, {share:.2f}." in said
