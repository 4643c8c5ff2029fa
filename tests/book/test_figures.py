"""Figures show every seed, in one vocabulary, and become SVG that suits both themes and every reader."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from kdnb.book import figures, style
from kdnb.errors import IncompleteError
from kdnb.evidence import overlap
from kdnb.evidence.estimands import PURE, STUDENTS
from kdnb.evidence.results import Explorer
from kdnb.evidence.statistics import interval
from kdnb.evidence.table import COLUMNS

SMALL_GRID = ("", "w", "s", "ww", "ws", "ss", "www", "sss")
VIEWS = ("clean", "weak", "strong")
WORDS = {"w": "weak", "s": "strong"}
ENSEMBLES = ("", "w", "s", "ww", "ws", "sw", "ss", "www", "wws", "wsw", "wss", "sww", "sws", "ssw", "sss")


def teachers_of(letters: str) -> list[str]:
    return [f"T{place}{letter}" for place, letter in enumerate(letters, start=1)]


def columns_of(letters: str, student: str = "") -> dict[str, str]:
    """The columns of a cell whose teachers are written as letters."""
    teachers = {"teachers": "+".join(WORDS[letter] for letter in letters), "origin": "+".join(["fresh"] * len(letters))}
    objective = ("kd" if letters else "none") if student else ""
    return teachers | {"student": WORDS.get(student, ""), "objective": objective}


def made_table(seeds: int, ensembles: tuple[str, ...] = SMALL_GRID) -> pd.DataFrame:
    """A tidy table with the rows that figures read; values are drawn."""
    draw = np.random.default_rng(seeds)
    rows = []

    def add(seed: int, run: str, role: str, measure: str, view: str, **more: str) -> None:
        cell = {"profile": "made", "seed": seed, "run": run, "role": role, "measure": measure, "view": view}
        value = {"form": "textbook", "split": "validation", "value": draw.uniform(0.2, 0.8)}
        rows.append(dict.fromkeys(COLUMNS, "") | cell | value | more)

    for seed in range(seeds):
        for run in ("T1w", "T1s"):
            add(seed, run, "teacher", "accuracy", "clean", **columns_of(run[-1]))
        for view in ("weak", "strong"):
            add(seed, "reference", "reference", "affinity", view)
        for letters, student in product(ensembles, "ws"):
            run = "_".join([*teachers_of(letters), f"S{student}"])
            about = columns_of(letters, student)
            for view in VIEWS:
                add(seed, run, "student", "accuracy", view, **about)
                for against in ["ensemble", *teachers_of(letters)] if letters else []:
                    for measure in ("agreement", "divergence", "mutual_information"):
                        add(seed, run, "student", measure, view, against=against, **about)
            add(seed, run, "student", "train_validation_gap", "own", **about)
            # what no figure may take for one of the trials
            other = about | {"objective": "zscore"} if letters else about | {"objective": "odd"}
            add(seed, run + "_zscore", "student", "accuracy", "clean", **other)
        for letters in ensembles:
            if len(letters) > 1:
                for measure, method in product(
                    ("attention_iou", "chance_iou", "excess_iou"), ("cam-predicted", "cam-sum")
                ):
                    run = "_".join(teachers_of(letters))
                    add(seed, run, "ensemble", measure, "clean", method=method, **columns_of(letters))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def trials(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["objective"].isin(("kd", "none"))]


def named(teachers: str, student: str) -> dict[str, str]:
    """A student's row of a table of logs: its name and its cell, the teachers as the column has them."""
    letters = "".join({"weak": "w", "strong": "s"}[each] for each in teachers.split("+") if each)
    run = "_".join([*teachers_of(letters), f"S{student[0]}"])
    return {"run": run, "role": "student"} | columns_of(letters, student[0])


def made_curves(seeds: int, cells: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    epochs = range(1, 11)
    rows = [
        named(*cell) | {"seed": seed, "epoch": epoch, "train_accuracy": epoch / 10, "validation_accuracy": epoch / 20}
        for seed, cell, epoch in product(range(seeds), cells, epochs)
    ]
    curves = pd.DataFrame(rows)
    curves.loc[curves["epoch"] % 2 == 1, "validation_accuracy"] = float("nan")
    return curves


@pytest.fixture(params=[1, 3], ids=["one seed", "three seeds"])
def seeds(request) -> int:
    return request.param


@pytest.fixture
def table(seeds: int) -> pd.DataFrame:
    return made_table(seeds)


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    draw = torch.Generator().manual_seed(0)
    runs = ("T1w", "T2w", "T3w", "T1s", "T2s", "T3s")
    return Explorer(
        seed=0,
        classes=("ant", "sweet_pepper"),
        index=torch.arange(4),
        images=torch.randint(0, 256, (4, 3, 32, 32), generator=draw, dtype=torch.uint8),
        labels=torch.tensor([0, 1, 0, 1]),
        maps={run: {"cam-predicted/clean": torch.rand((4, 4, 4), generator=draw)} for run in runs},
        logits={},
        cells={run: columns_of(run[-1]) | {"role": "teacher"} for run in runs},
    )


def points(drawn) -> list:
    """What holds a point for each seed, in all the axes."""
    return [line for ax in np.ravel(drawn) for line in ax.get_lines() if line.get_gid() == style.SEEDS]


def count(drawn) -> int:
    return sum(len(line.get_xdata()) for line in points(drawn))


def heights(drawn) -> list[float]:
    return sorted(float(value) for line in points(drawn) for value in line.get_ydata())


# -- every seed ------------------------------------------------------------------------------------------------------


def test_cells_show_every_student_in_every_seed(table, seeds):
    rows = trials(table)[(trials(table)["measure"] == "accuracy") & (trials(table)["view"] == "clean")]
    ax = figures.by_cell(table, "accuracy")
    assert heights(ax) == pytest.approx(sorted(rows["value"]))
    assert ax.get_ylabel() == "validation accuracy"


def test_cells_of_fidelity_leave_out_students_without_teachers(table, seeds):
    ax = figures.by_cell(table, "agreement", against="ensemble")
    assert count(ax) == 2 * (len(SMALL_GRID) - 1) * seeds
    assert [tick.get_text() for tick in ax.get_xticklabels()][:3] == ["w", "s", "w\nw"]


def test_the_papers_whole_grid_fits_the_page():
    ax = figures.by_cell(made_table(1, ENSEMBLES), "accuracy")
    figure = ax.get_figure()
    figure.draw_without_rendering()
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels()]
    assert len(boxes) == 15
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_the_gain_is_paired_within_seed_and_augmentation(table, seeds):
    clean = trials(table)
    clean = clean[(clean["measure"] == "accuracy") & (clean["view"] == "clean")]
    value = clean.set_index(["seed", "run"])["value"]
    gains = [value[seed, run] - value[seed, run[-2:]] for seed, run in value.index if "_" in run]
    assert heights(figures.distillation_gain(table)) == pytest.approx(sorted(gains))


def test_overlap_shows_each_ensemble_beside_its_chance_level(table, seeds):
    ax = figures.overlap(table)
    ensembles = [letters for letters in SMALL_GRID if len(letters) > 1]
    assert count(ax) == len(ensembles) * seeds
    chance = [line for line in ax.get_lines() if line.get_label() == "chance"]
    expected = table[(table["measure"] == "chance_iou") & (table["method"] == "cam-predicted")]
    assert [line.get_ydata()[0] for line in chance] == pytest.approx(
        [expected[expected["teachers"] == columns_of(letters)["teachers"]]["value"].mean() for letters in ensembles]
    )
    assert count(figures.overlap(table, "excess_iou", "cam-sum")) == len(ensembles) * seeds


def test_the_dial_has_a_point_for_each_network_strength_and_seed(seeds):
    rows = [
        {"seed": seed, "run": run, "strength": step / 10, "affinity": -step * seed / 100, "student": ""}
        | {"role": "reference" if run == "reference" else "teacher", "teachers": WORDS.get(run[-1], "")}
        for seed, run, step in product(range(seeds), ("reference", "T1w", "T1s"), range(11))
    ]
    ax = figures.dial_response(pd.DataFrame(rows))
    assert count(ax) == len(rows)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["reference", "T1w", "T1s"]


def test_learning_curves_have_a_line_for_each_run_seed_and_kind(seeds):
    ax = figures.learning_curves(made_curves(seeds, figures.ENDS))
    assert len(points(ax)) == 2 * 2 * seeds
    validation = [line for line in points(ax) if line.get_linestyle() == "-"]
    assert all(len(line.get_xdata()) == 5 for line in validation)  # no gap where nobody looked
    assert len(points(figures.pilot_curves(made_curves(seeds, (("", "weak"), ("", "strong")))))) == 2 * 2 * seeds


def test_reliability_diagrams_leave_out_empty_bins(seeds):
    rows = [
        {
            **named(*cell),
            "seed": seed,
            "view": "clean",
            "bin": place,
            "count": place - 1,
            "confidence": place / 10 - 0.05,
            "accuracy": 0.5,
        }
        for seed, cell, place in product(range(seeds), product(PURE, STUDENTS), range(1, 11))
    ]
    assert count(figures.reliability_diagram(pd.DataFrame(rows))) == 2 * 9 * seeds


def test_a_mean_needs_two_seeds_and_its_interval_three():
    def drawn(seeds: int) -> set[tuple[float, ...]]:
        rows = made_table(seeds, ("", "ww"))
        lines = figures.by_cell(rows[rows["teachers"] == ""], "accuracy").get_lines()
        return {tuple(line.get_ydata()) for line in lines if line.get_gid() is None and line.get_color() == style.WEAK}

    assert drawn(1) == set()
    assert [low == high for low, high in drawn(2)] == [True]
    table = made_table(3, ("", "ww"))
    of = (table["measure"] == "accuracy") & (table["view"] == "clean") & (table["run"] == "Sw")
    values = table[of]["value"].tolist()
    assert drawn(3) == {interval(values), (np.mean(values),) * 2}


def test_a_strip_fills_the_points_on_the_side_that_the_paper_predicts():
    strip = figures.Strip("accuracy", [0.01, -0.02, 0.03], 1, papers=(0.005,))
    (ax,) = figures.strips({"difference": [strip, figures.Strip("agreement", [0.04, 0.05], 0)]})
    filled = [line for line in ax.get_lines() if line.get_gid() is None and line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in filled] == [[0.01, 0.03], [0.04, 0.05]]
    assert [list(line.get_xdata()) for line in ax.get_lines() if line.get_marker() == "x"] == [[0.005], []]
    assert count(ax) == 5
    grey = [bar.get_width() for bar in ax.patches]
    assert grey == pytest.approx([0.05, 0.0])


def test_each_measure_has_a_scale_of_its_own():
    small, large = figures.Strip("agreement", [0.01], 1), figures.Strip("attention IoU", [-0.7], -1)
    axes = figures.strips({"difference in agreement": [small], "difference in attention IoU": [large]})
    assert [ax.get_xlim()[1] for ax in axes] == pytest.approx([0.0112, 0.784])
    assert [ax.get_xlabel() for ax in axes] == ["difference in agreement", "difference in attention IoU"]
    assert [count(ax) for ax in axes] == [1, 1]


def test_trials_show_every_seed_and_name_the_teachers_once():
    pairs = ("weak+weak", "strong+weak", "weak+strong", "strong+strong")
    rows = [
        {"teachers": pair, "student": student, "seed": seed, "x": seed, "y": -seed}
        for pair, student, seed in product(pairs, ("weak", "strong"), range(3))
    ]
    one = pd.DataFrame(rows).query("seed == 0").drop(columns="seed")
    axes = figures.trials({"theirs": one, "here": pd.DataFrame(rows)}, "agreement", "accuracy")
    assert count(axes[0]) == 8
    assert count(axes[1]) == 24
    assert sorted(text.get_text() for text in axes[1].texts) == sorted(["ww", "sw", "ws", "ss"] * 2)


def test_an_interaction_shows_the_four_corners(table, seeds):
    ax = figures.interaction(table, "agreement", against="ensemble")
    assert count(ax) == 4 * seeds
    assert [text.get_text() for text in ax.texts] == ["weak student", "strong student"]


def test_objectives_stand_in_the_order_of_their_rows(table, seeds):
    rows = {"z-score": ("weak+weak", "zscore"), "vanilla": ("weak+weak", "kd"), "lacking": ("weak+weak", "half-LR")}
    (ax,) = figures.by_objective(table, rows, measures=(("accuracy", ""),))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["z-score", "vanilla"]
    assert count(ax) == 4 * seeds


def test_a_dose_has_a_point_for_each_weight_and_seed():
    rows = [
        {"alpha": alpha, "seed": seed, "accuracy": alpha, "agreement": -alpha}
        for alpha, seed in product((0.2, 0.6, 0.9), range(2))
    ]
    axes = figures.dose(pd.DataFrame(rows))
    assert count(axes) == 2 * 6


def test_the_papers_values_stand_as_crosses(table):
    ax = figures.by_cell(table, "accuracy", papers={("weak+weak", "weak"): 0.7})
    assert [list(line.get_ydata()) for line in ax.get_lines() if line.get_marker() == "x"] == [[0.7]]


# -- the vocabulary --------------------------------------------------------------------------------------------------


def test_colour_filling_and_shape_tell_networks_apart(table):
    students = {line.get_label(): line for line in points(figures.by_view(table))}
    weak, strong = students["weak student"], students["strong student"]
    assert (to_hex(weak.get_color()), weak.get_fillstyle(), weak.get_marker()) == (style.WEAK, "none", "o")
    assert (to_hex(strong.get_color()), strong.get_fillstyle(), strong.get_marker()) == (style.STRONG, "full", "o")
    looks = {line.get_label(): line for line in points(figures.overlap(table))}
    mixed = looks["mixed"]
    assert (to_hex(mixed.get_color()), mixed.get_fillstyle(), mixed.get_marker()) == (style.MIXED, "left", "s")
    assert {line.get_marker() for line in points(figures.by_cell(table, "accuracy"))} == {"o", "^"}


def test_given_axes_are_drawn_on_and_returned(table):
    ax = Figure().add_subplot()
    assert figures.by_cell(table, "accuracy", ax=ax) is ax
    two = Figure().subplots(1, 2)
    points = pd.DataFrame({"alpha": [0.2, 0.6], "seed": [0, 0], "accuracy": [0.3, 0.2], "agreement": [0.5, 0.4]})
    assert list(figures.dose(points, two)) == list(two.flat)


def test_what_results_lack_is_named():
    with pytest.raises(IncompleteError, match=r"teachers 'strong\+strong\+strong'"):
        figures.by_view(made_table(1, ("", "w")), teachers=("strong+strong+strong",))
    with pytest.raises(IncompleteError, match="no effect is shown here"):
        figures.strips({})
    with pytest.raises(IncompleteError, match="no student of half-LR"):
        figures.by_objective(made_table(1), {"left and right half": ("weak+weak", "half-LR")})


# -- images and maps -------------------------------------------------------------------------------------------------


def test_a_gallery_shows_the_pixels_as_they_are(explorer):
    ax = figures.gallery(explorer.images, {"negative": 255 - explorer.images})
    sheet = ax.get_images()[0].get_array()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["clean", "negative"]
    assert np.array_equal(sheet[:32, :32, :3], explorer.images[0].permute(1, 2, 0))
    assert np.array_equal(sheet[-32:, -32:, :3], 255 - explorer.images[3].permute(1, 2, 0))
    with pytest.raises(ValueError, match="'few' is"):
        figures.gallery(explorer.images, {"few": explorer.images[:2]})


@pytest.mark.parametrize("teachers", [("T1w", "T2w"), ("T1s", "T2s", "T3s")])
def test_attention_maps_say_the_iou_of_that_image(explorer, teachers):
    axes = figures.attention_maps(explorer, 1, teachers)
    titles = [ax.get_title(loc="left") for ax in axes]
    masks = [overlap.masks(explorer.maps[run]["cam-predicted/clean"][1:2], 32) for run in teachers]
    assert titles[: len(teachers) + 2] == ["sweet pepper", *teachers, f"IoU {overlap.iou(masks):.2f}"]


def test_a_constant_map_has_no_outline(explorer):
    explorer = Explorer(
        **{**vars(explorer), "maps": {run: {"cam-predicted/clean": torch.ones(4, 4, 4)} for run in "ab"}}
    )
    assert all(not ax.collections for ax in figures.attention_maps(explorer, 0, ("a", "b")))


@pytest.mark.filterwarnings("error")
def test_a_threshold_that_takes_the_whole_image_has_no_outline(explorer):
    assert all(not ax.collections for ax in figures.attention_maps(explorer, 0, ("T1w", "T2w"), threshold=0.0))


def test_a_long_name_keeps_to_its_picture(explorer):
    longer = Explorer(**{**vars(explorer), "classes": ("American Staffordshire terrier",) * len(explorer.classes)})
    assert figures.attention_maps(longer, 0, ("T1w", "T2w"))[0].get_title(loc="left") == "American Staf…"


def test_attention_maps_name_what_is_not_there(explorer):
    with pytest.raises(ValueError, match="no image 4 among the 4"):
        figures.attention_maps(explorer, 4, ("T1w", "T2w"))
    with pytest.raises(ValueError, match=r"of 'T9w' .* T1w, T2w"):
        figures.attention_maps(explorer, 0, ("T1w", "T9w"))


# -- SVG -------------------------------------------------------------------------------------------------------------

ALT = 'Accuracy of <students> & "teachers"'


def test_svg_is_the_same_each_time(table):
    ax = figures.by_cell(table, "accuracy")
    assert figures.to_svg(ax, ALT) == figures.to_svg(ax, ALT)
    assert figures.to_svg(figures.by_cell(table, "accuracy"), ALT) == figures.to_svg(ax, ALT)


def test_a_figures_bytes_do_not_hang_on_last_bits():
    """Those of a rectangle that clips, which the layout's solver finds anew each time."""

    def drawn(left):
        ax = Figure().add_axes((left, 0.1, 0.8, 0.8))
        ax.plot([0, 1], [0, 1])
        return figures.to_svg(ax, ALT)

    assert np.nextafter(0.1, 1) * 345.6 != 0.1 * 345.6
    assert drawn(np.nextafter(0.1, 1)) == drawn(0.1)


def test_svg_is_well_formed_and_says_its_alt_text(table):
    root = ET.fromstring(figures.to_svg(figures.interaction(table, "accuracy"), ALT))
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext("{http://www.w3.org/2000/svg}title") == ALT
    assert root.get("width") == "100%"
    assert "max-width" in root.get("style")
    assert root.get("viewBox")


@pytest.mark.parametrize("alt", ["", "  "])
def test_alt_text_is_required(alt):
    with pytest.raises(ValueError, match="alt text"):
        figures.to_svg(Figure(), alt)


def test_svg_takes_the_colour_of_the_pages_text(table, explorer):
    for drawn in (figures.by_cell(table, "accuracy"), figures.attention_maps(explorer, 0, ("T1w", "T2w"))):
        svg = figures.to_svg(drawn, ALT)
        assert "currentColor" in svg
        assert not re.search(r"#000\b|#000000|black", svg)
        assert "<style" not in svg  # it would apply to the whole page
    assert ">validation accuracy</text>" in figures.to_svg(figures.by_cell(table, "accuracy"), ALT)


def test_svgs_of_one_page_share_no_id(table):
    one, other = (figures.to_svg(figures.by_cell(table, "accuracy"), alt) for alt in ("one", "other"))
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', one))
    assert used == ids[0]


def test_a_users_own_settings_have_no_part_in_a_figure(table):
    import matplotlib

    ours = figures.to_svg(figures.by_cell(table, "accuracy"), ALT)
    with matplotlib.rc_context(
        {"font.size": 30.0, "axes.facecolor": "red", "axes.grid": False, "lines.linewidth": 9.0}
    ):
        assert figures.to_svg(figures.by_cell(table, "accuracy"), ALT) == ours


def test_a_recipe_of_ones_own_has_a_colour_of_its_own_and_its_name_in_the_legend():
    table = made_table(1, ("", "ww"))
    rows = table[table["student"] == "strong"].assign(student="dial:0.5")
    ax = figures.by_cell(pd.concat([table, rows], ignore_index=True), "accuracy")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "weak student",
        "strong student",
        "dial:0.5 student",
    ]
    assert style.colour("dial:0.5") not in (style.WEAK, style.STRONG, style.MIXED, style.NEUTRAL)
    assert style.colour("dial:0.5") == style.colour("dial:0.5")


def test_a_dollar_sign_in_a_name_is_no_formula(explorer):
    priced = Explorer(**{**vars(explorer), "classes": ("$5 note", "a $10")})
    svg = figures.to_svg(figures.attention_maps(priced, 0, ("T1w", "T2w")), ALT)
    assert "$5 note" in svg
