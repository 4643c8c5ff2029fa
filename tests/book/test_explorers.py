"""Explorers carry the results as they are, say what they show without a script, and compute as `kdnb.evidence.overlap` does."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from kdnb.book import explorers as making
from kdnb.errors import IncompleteError
from kdnb.evidence import estimands, overlap, paper, results
from kdnb.evidence.results import Results
from kdnb.evidence.table import plain, select
from kdnb.paths import CHECKOUT as ROOT
from kdnb.ruler import curves, directions
from kdnb.study import weights
from kdnb.training.objectives import Objective, loss
from kdnb.training.spec import ModelSpec, RunSpec
from kdnb.training.train import initial

SCRIPT = ROOT / "book" / "_static" / "explorers.js"
STYLE = ROOT / "book" / "_static" / "explorers.css"
KINDS = {
    "attention": making.attention_explorer,
    "dial": making.dial,
    "scatter": making.scatter,
    "tables": lambda found: making.paper_tables(),
    "specifications": lambda found: making.specifications(curves.specifications(found.judged_by("K"))),
}
VOID = {"br", "hr", "img", "input", "link", "meta"}


@pytest.fixture(scope="module")
def found() -> Results:
    return results.read(ROOT / "book" / "results" / "smoke")


@pytest.fixture(scope="module")
def explorers(found: Results) -> dict[str, making.Interactive]:
    return {kind: make(found) for kind, make in KINDS.items()}


class Page(HTMLParser):
    """What is open, and whether every end tag closes the last one opened; the elements, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def parsed(explorer: making.Interactive) -> Page:
    page = Page()
    page.feed(explorer.html)
    page.close()
    assert page.open == []
    return page


def embedded(explorer: making.Interactive) -> dict:
    return json.loads("".join(parsed(explorer).scripts))


def node(body: str, given: object) -> object:
    """What a body of JavaScript returns that has explorers.js as `x` and `given`."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    code = f"const x = require({json.dumps(str(SCRIPT))}); const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    code += f"process.stdout.write(JSON.stringify((() => {{ {body} }})()));"
    done = subprocess.run(["node", "-e", code], input=json.dumps(given), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_the_html_is_the_same_each_time(kind: str, found: Results, explorers: dict[str, making.Interactive]) -> None:
    assert KINDS[kind](found).html == explorers[kind].html


@pytest.mark.parametrize("kind", KINDS)
def test_the_html_is_small_well_formed_and_says_what_it_shows(
    kind: str, explorers: dict[str, making.Interactive]
) -> None:
    page = parsed(explorers[kind])
    assert len(explorers[kind].html.encode()) < 400_000
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert pictures
    assert all((picture.get("aria-label") or "").strip() for picture in pictures)
    assert ("div", {"class": "kdnb-explorer", "data-kind": kind}) in page.elements
    assert [tag for tag, _ in page.elements].count("table") == 1
    assert [attributes for tag, attributes in page.elements if tag == "script"] == [{"type": "application/json"}]
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_displayed_has_no_state_of_a_widget(kind: str, explorers: dict[str, making.Interactive]) -> None:
    shown = explorers[kind]._repr_mimebundle_()
    assert set(shown) == {"text/html", "text/plain"}
    assert shown["text/html"] == explorers[kind].html


def test_text_cannot_end_the_data(explorers: dict[str, making.Interactive]) -> None:
    given = explorers["scatter"]
    told = {"told": "</script><!--<script><b>&amp;"}
    made = making.Interactive("scatter", told, "", given.table, "", given.draw, given.controls)
    assert embedded(made) == told
    assert "<!--" not in made.html


def test_the_attention_explorer_holds_the_maps_of_the_found(
    found: Results, explorers: dict[str, making.Interactive]
) -> None:
    data = embedded(explorers["attention"])
    assert data["teachers"][:2] == ["T1w", "T2w"]
    for run in data["teachers"]:
        maps = found.explorer.maps[run]["cam-predicted/clean"][: making.IMAGES].numpy()
        np.testing.assert_allclose(np.array(data["maps"][run]), maps, rtol=5.1e-4)
    assert len(data["images"]) == len(data["labels"]) == making.IMAGES


def test_the_dial_holds_the_affinity_of_the_found(found: Results, explorers: dict[str, making.Interactive]) -> None:
    data = embedded(explorers["dial"])
    rows = select(found.dial, run="reference").groupby("strength")["affinity"].mean()
    assert data["strengths"] == rows.index.tolist()
    np.testing.assert_allclose(data["affinity"], rows.to_numpy())
    assert {len(row) for row in data["images"]} == {len(data["labels"])}
    assert len(data["images"]) == len(data["strengths"])


def test_the_scatter_holds_every_distilled_student(found: Results, explorers: dict[str, making.Interactive]) -> None:
    points = {(point["run"], point["seed"]): point for point in embedded(explorers["scatter"])["points"]}
    students = select(plain(found.table), role="student", measure="accuracy", split="validation", view="clean")
    students = students[students["teachers"] != ""]
    expected = {(row.run, row.seed): row.value for row in students.itertuples()}
    assert {key: point["values"]["accuracy"] for key, point in points.items()} == expected
    overlap = select(
        found.table,
        run="T1w_T2w",
        measure="attention_iou",
        form="textbook",
        view="clean",
        method="cam-predicted",
        split="validation",
        against="",
    )
    seed = found.seeds[0]
    assert points["T1w_T2w_Ss", seed]["values"]["attention_iou"] == select(overlap, seed=seed)["value"].item()
    assert points["T1w_Ss", seed]["values"]["attention_iou"] is None


def test_every_seed_is_there(found: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    once = len(embedded(making.scatter(found))["points"])
    for name, column in (("table", "value"), ("dial", "affinity")):
        first = getattr(found, name)
        second = first.assign(seed=1, **{column: first[column] / 2})
        monkeypatch.setitem(found.__dict__, name, pd.concat([first, second], ignore_index=True))
    assert len(embedded(making.scatter(found))["points"]) == 2 * once
    data = embedded(making.dial(found))
    assert list(data["seeds"]) == ["0", "1"]
    np.testing.assert_allclose(data["affinity"], 0.75 * np.array(data["seeds"]["0"]))


def test_the_script_computes_heat_masks_and_overlap_as_python_does(
    found: Results, explorers: dict[str, making.Interactive]
) -> None:
    data = embedded(explorers["attention"])
    first, second = (torch.tensor(data["maps"][run]) for run in ("T1w", "T1s"))
    side = data["side"]
    body = """return given.pairs.map(([a, b]) => given.thresholds.map((level) => {
        const heats = [a, b].map((map) => x.heatmap(map, given.side));
        const masks = heats.map((heat) => x.mask(heat, level)), areas = masks.map(x.area);
        return { heat: Array.from(heats[0]), areas, iou: x.iou(...masks), chance: x.chanceIou(...areas) };
    }));"""
    count, thresholds = 12, [0.0, 0.4, 0.85]
    pairs = [[first[i].tolist(), second[i].tolist()] for i in range(count)]
    answers = node(body, {"pairs": pairs, "thresholds": thresholds, "side": side})
    raw = overlap.heatmaps(found.explorer.maps["T1w"]["cam-predicted/clean"][:count], side)
    for i, of_image in enumerate(answers):
        for threshold, answer in zip(thresholds, of_image, strict=True):
            masks = [overlap.masks(maps[i : i + 1], side, threshold) for maps in (first, second)]
            assert answer["heat"] == pytest.approx(raw[i].flatten().tolist(), abs=1e-3)
            assert answer["areas"] == pytest.approx([float(overlap.area(mask)) for mask in masks], abs=1e-3)
            assert answer["iou"] == pytest.approx(overlap.iou(masks), abs=1e-3)
            assert answer["chance"] == pytest.approx(overlap.chance_iou(masks), abs=1e-3)


def test_the_script_knows_constant_maps_and_grids_that_are_not_square() -> None:
    maps = [torch.full((1, 3, 3), 0.3), torch.tensor([[[0.0, 1.0, -2.0], [3.0, 0.5, 0.25]]]), torch.ones(1, 1, 1)]
    heats = node("return given.map((map) => Array.from(x.heatmap(map, 7)));", [each[0].tolist() for each in maps])
    for each, heat in zip(maps, heats, strict=True):
        assert heat == pytest.approx(overlap.heatmaps(each, 7).flatten().tolist(), abs=1e-6)
    empty = node("return [x.iou([0, 0], [0, 0]), x.chanceIou(0, 0), x.chanceIou(1, 1)];", None)
    assert empty == [1, 1, 1]


def test_the_script_shows_a_signed_number_as_python_does() -> None:
    values = [0.0, 1e-12, -1e-12, -0.0002, 0.0016, -0.4, 0.123456]
    for digits in (2, 3):
        shown = node(f"return given.map((value) => x.number(value, {digits}, true));", values)
        assert shown == [estimands.signed(value, digits) for value in values]


def test_the_script_correlates_within_each_seed() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 9, 2)) + np.array([[[0.0, 0.0]], [[50.0, -50.0]]])
    points = [{"seed": seed, "values": {"x": x, "y": y}} for seed in range(2) for x, y in values[seed].tolist()]
    expected = np.mean([np.corrcoef(of_seed.T)[0, 1] for of_seed in values])
    assert node("return x.correlationBySeed(given, 'x', 'y');", points) == pytest.approx(expected)
    assert node("return [x.correlation([1, 2], [1, 2]), x.correlation([1, 1, 1], [1, 2, 3])];", None) == [None, None]


@pytest.mark.parametrize("dataset", paper.MEASURED)
def test_the_script_holds_the_students_augmentation_fixed_as_python_does(dataset: str) -> None:
    points = embedded(making.paper_tables())["datasets"][dataset]["points"]
    body = """return ['attention_iou', 'agreement'].map((name) => [x.centred(given, name), x.centred(given, 'accuracy')])
        .map(([a, b]) => x.correlation(a, b));"""
    expected = [paper.correlation(name, "accuracy", dataset, "student") for name in ("attention_iou", "agreement")]
    assert node(body, points) == pytest.approx(expected)


@pytest.fixture(scope="module")
def of_cifar() -> Results:
    return results.read(ROOT / "book" / "results" / "cpu")


def test_directions_read_one_network_along_many(of_cifar: Results) -> None:
    data = embedded(making.directions(of_cifar))
    assert len(data["teachers"]) == directions.DIRECTIONS
    maps = np.array([data["maps"][name] for name in data["teachers"]])
    assert maps.shape == (directions.DIRECTIONS, directions.READ, 8, 8)
    assert len(data["images"]) == directions.READ
    # Weighted sums of one set of features: twelve maps of an image have no higher rank than its features.
    assert np.linalg.matrix_rank(maps.reshape(directions.DIRECTIONS, -1)) == directions.DIRECTIONS
    assert "direction A" in [control.description for control in making.directions(of_cifar).live().children[:-1]]


def test_published_directions_are_those_of_the_packaged_origin(of_cifar: Results) -> None:
    published = of_cifar.explorer.directions
    again = directions.maps(of_cifar.explorer.images, of_cifar.about["dataset"], of_cifar.profile.teacher.model)
    assert list(published) == list(again) == [f"direction {number}" for number in range(1, directions.DIRECTIONS + 1)]
    for name, maps in again.items():
        assert torch.allclose(published[name], maps, rtol=2e-3, atol=2e-3 * float(maps.abs().max())), name


def test_a_head_of_more_than_one_layer_has_no_directions(of_cifar: Results) -> None:
    images, about = of_cifar.explorer.images, of_cifar.about["dataset"]
    assert directions.maps(images, about, ModelSpec(name="cct-4-3x2")) == {}


def test_directions_need_an_origin_of_these_teachers(found: Results) -> None:
    with pytest.raises(IncompleteError, match=r"no pretrained .* for digits"):
        making.directions(found)


def test_training_leaves_the_direction_of_the_summed_head_where_it_was() -> None:
    specs = {
        folder: RunSpec.model_validate_json((folder / "spec.json").read_text()) for folder in weights.all_packaged()
    }
    folder, spec = next((folder, spec) for folder, spec in specs.items() if spec.model.name == "resnet8-w32")
    head = initial(spec, 100, 32, torch.device("cpu")).classifier.weight.detach()
    trained = safetensors.torch.load_file(folder / "weights.safetensors")["classifier.weight"]
    along = torch.cosine_similarity(head.sum(dim=0), trained.sum(dim=0), dim=0)
    assert float(along) == pytest.approx(1.0, abs=1e-4)
    rows = torch.cosine_similarity(head, trained, dim=1)
    assert float(rows.max()) < 0.9
    assert float(trained.sum(dim=0).norm()) < float(head.sum(dim=0).norm())  # by weight decay


@pytest.mark.parametrize("kind", ["kd", "zscore", "half", "class-mean", "label-smoothing"])
def test_the_gradient_in_the_direction_of_the_summed_head_is_zero(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    features, weight = torch.randn(16, 6, generator=draw), torch.randn(10, 6, generator=draw).requires_grad_()
    labels = torch.randint(0, 10, (16,), generator=draw)
    answers = [3 * torch.randn(16, 10, generator=draw) for _ in range(2)]
    sides = {"sides": ("left", "right")} if kind == "half" else {}
    loss(features @ weight.T, labels, answers, Objective(kind=kind, **sides)).backward()
    assert weight.grad is not None
    assert float(weight.grad.abs().max()) > 1e-3
    assert float(weight.grad.sum(dim=0).abs().max()) < 1e-6


def test_the_script_keeps_and_counts_specifications_as_python_does(found: Results) -> None:
    specs = curves.specifications(found.judged_by("K"))
    data = embedded(making.specifications(specs))["claims"]
    every = curves.over_seeds(specs)
    body = "const rows = x.kept(given.of, given.values); return x.signs(given.of, rows);"
    for claim, values in (("K1", {"view": "own"}), ("K4", {"map": "cam-sum", "threshold": "0.4"}), ("K6", {})):
        group = every[every["claim"] == claim]
        for name, value in values.items():
            group = group[group[name] == value]
        counted = node(body, {"of": data[claim], "values": values})
        agree, whole = int(group["as_predicted"].sum()), int((group["agree"] == group["seeds"]).sum())
        assert counted == {"all": len(group), "mean": agree, "every": whole}
        said = making.specifications(specs).draw(claim, **values)
        assert f"the paper's sign in {agree} of {len(group)} ways" in said.replace("&#x27;", "'")


def test_the_tables_explorer_offers_what_a_data_set_prints() -> None:
    datasets = embedded(making.paper_tables())["datasets"]
    assert set(datasets) == set(paper.DATASETS)
    assert {len(each["points"]) for each in datasets.values()} == {8}
    assert set(datasets["imagenet"]["points"][0]["values"]) == {"accuracy", "affinity", "calibration_error"}
    assert datasets["cifar100"]["points"][0]["trial"] == "T1s T2s Ss"
    assert "prints no such pair" in making.paper_tables().draw("imagenet", "agreement", "accuracy", False)


def test_the_script_names_every_control_and_announces_what_it_computes() -> None:
    script = SCRIPT.read_text(encoding="utf-8")
    made = re.findall(r"(\w+) = (?:select|slider)\(", script.replace(", y = select", ";\ny = select"))
    assert len(made) == 11
    assert all(re.search(rf'labelled\(["`][^"`]+["`], {name}\b', script) for name in made if name != "made")
    assert script.count('"aria-live": "polite"') == 5
    assert ":focus-visible" in STYLE.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_live_controls_compute_in_python(kind: str, explorers: dict[str, making.Interactive]) -> None:
    box = explorers[kind].live()
    *controls, shown = box.children
    before = shown.value
    assert "<svg" in before
    assert all(control.description for control in controls)
    last = controls[0] if kind == "specifications" else controls[-1]
    last.value = {"attention": 0.8, "tables": True, "scatter": "agreement"}.get(kind) or last.options[-1]
    assert shown.value != before


def test_too_few_teachers_and_no_reference_are_told(found: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = {run: of for run, of in found.explorer.maps.items() if run in ("T1w", "Sw")}
    monkeypatch.setitem(found.__dict__, "explorer", replace(found.explorer, maps=maps))
    with pytest.raises(IncompleteError, match="maps of 1 teachers"):
        making.attention_explorer(found)
    monkeypatch.setitem(found.__dict__, "dial", found.dial[found.dial["run"] != "reference"])
    with pytest.raises(IncompleteError, match="no dial of the reference"):
        making.dial(found)
