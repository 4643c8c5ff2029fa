"""The book's figures: one function for each, named after what it shows; it takes a table or arrays and axes, and returns them.

One vocabulary throughout (`kdnb.book.style`). Every seed is a point; where there are several a bar is their mean, and from
three on a line is its 95 % interval. What is not asked for otherwise is of students of the objective ``kd``, or without
teachers, whose teachers have the study's default origin.

Without axes a function makes its own figure (matplotlib's object interface: no window, no global state); `to_svg` turns it
into inline SVG for a page. No statistic is computed here that is not the business of another module.
"""

import hashlib
import html
import io
import re
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any, cast

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from kdnb.book.style import BOTH, FAMILY, HEIGHT, LABELS, LINES, NEUTRAL, SEEDS, WIDTH, literal, look, styled
from kdnb.errors import IncompleteError
from kdnb.evidence.overlap import THRESHOLD, chance_iou, heatmaps, iou, masks
from kdnb.evidence.statistics import interval
from kdnb.evidence.table import select
from kdnb.images import augment

if TYPE_CHECKING:
    from kdnb.evidence.results import Explorer

_styled = styled()


# -- into a page -----------------------------------------------------------------------------------------------------


def to_svg(drawn: Axes | Figure | Sequence[Axes] | NDArray[Any], alt: str) -> str:
    """Inline SVG of a figure, the same bytes each time: transparent, black as ``currentColor``, so that it suits both themes.

    Args:
        drawn: a figure, or axes of it.
        alt: what the figure shows, for those who do not see it. Its hash makes ids unique among the SVGs of a page.

    Raises:
        ValueError: no alt text.
    """
    if not alt.strip():
        raise ValueError("a figure needs alt text: a sentence that says what it shows")
    figure = drawn if isinstance(drawn, Figure) else np.ravel(np.asarray(drawn, dtype=object))[0].get_figure(root=True)
    salt = "f" + hashlib.sha256(alt.encode()).hexdigest()[:8]
    buffer = io.StringIO()
    with styled(), matplotlib.rc_context({"svg.hashsalt": salt}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    body = re.sub(r"<!--.*?-->|<style.*?</style>|<defs>\s*</defs>", "", buffer.getvalue(), flags=re.S)
    body = body[body.index("<svg") :]
    opening = body[: body.index(">") + 1]
    found = re.search(r'viewBox="([^"]+)"', opening)
    assert found is not None  # matplotlib always writes it
    width = float(found[1].split()[2])
    body = body.removeprefix(opening).replace("#000000", "currentColor").replace("'DejaVu Sans'", FAMILY)
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([^"]+)"', lambda match: f' id="{salt}-{match[1]}"' if match[1] in used else "", body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{salt}-", body)
    said = html.escape(alt.strip())
    opened = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{found[1]}" '
        f'width="100%" style="max-width: {width * 1.4:.0f}px; height: auto" fill="currentColor" stroke-linejoin="round" '
        f'stroke-linecap="butt" role="img" aria-label="{said}"><title>{said}</title>'
    )
    return "\n".join(line for line in map(str.strip, (opened + body).splitlines()) if line)


# -- the vocabulary --------------------------------------------------------------------------------------------------


def _axes(ax: Axes | None, height: float = HEIGHT) -> Axes:
    return ax if ax is not None else Figure((WIDTH, height), layout="constrained").add_subplot()


def _grid(axes: Sequence[Axes] | NDArray[Any] | None, rows: int, columns: int, height: float) -> NDArray[Any]:
    """Axes in the order of reading: those given, or of a new figure."""
    if axes is None:
        axes = Figure((WIDTH, height), layout="constrained").subplots(rows, columns, squeeze=False)
    return np.ravel(np.asarray(axes, dtype=object))


def _rows(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    rows = select(table, **where)
    if rows.empty:
        wanted = ", ".join(f"{column} {value!r}" for column, value in where.items())
        raise IncompleteError(
            f"these results have nothing with {wanted}; kdnb.evidence.table names the columns and their values"
        )
    return rows


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the objective ``kd``, of students without teachers, and of what is no student; of teachers, those of the
    default origin, which is the first teacher's."""
    rows = table[table["objective"].isin(("", "kd", "none"))]
    first = table.loc[table["role"] == "teacher", "origin"]
    if first.empty:
        return rows
    alike = {"+".join([first.iloc[0]] * count) for count in range(1, 10)}
    return rows[rows["origin"].isin({"", *alike})]


def _look_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run or an ensemble, by its columns."""
    if row["role"] == "student":
        return look(row["student"], "o" if row["teachers"] else "^")
    return look(row["teachers"], "D" if row["role"] == "reference" else "s")


def _looks(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """run → what it looks like"""
    columns = ["run", "role", "teachers", "student"]
    rows = cast(list[dict[str, str]], table[columns].drop_duplicates("run").to_dict("records"))
    return {row["run"]: _look_of(row) for row in rows}


def symbols(teachers: str) -> list[str]:
    """``weak+strong`` → w, s: how a column's augmentations are written on an axis."""
    return [augment.symbol(each) for each in teachers.split("+")] if teachers else []


def _points(
    ax: Axes,
    place: float,
    values: Sequence[float],
    look: Mapping[str, Any],
    *,
    label: str = "",
    spread: float = 0.08,
    bar: float = 0.06,
    between: tuple[float, float] | None = None,
    sideways: bool = False,
) -> None:
    """A point a seed at a place on the x axis (or, sideways, on the y axis); the mean, if there are more, and its interval, if
    there are three: Student's of two seeds is so wide that it would hide all else."""
    count = len(values)
    beside = np.linspace(-spread, spread, count) if count > 1 else np.zeros(1)

    def draw(across: Any, along: Any, **style: Any) -> None:
        ax.plot(*((along, across) if sideways else (across, along)), **style)

    if count > 1:
        low, high = between or interval(values)
        mean, wide = float(np.mean(values)), spread + bar
        plain = {"color": look["color"], "linewidth": 1.4}
        if count > 2:
            draw([place, place], [low, high], **plain)
        draw([place - wide, place + wide], [mean, mean], **plain | {"linewidth": 2.6})
    draw(place + beside, np.asarray(values), linestyle="none", label=label or "_", gid=SEEDS, **look)


def _legend(ax: Axes, handles: Sequence[Line2D] | None = None, columns: int = 2) -> None:
    """Above the axes, each label once."""
    if handles is None:
        found = {str(line.get_label()): line for line in ax.get_lines() if not str(line.get_label()).startswith("_")}
        handles = list(found.values())
    ax.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.1,
    )


def _zero(ax: Axes) -> None:
    ax.axhline(0.0, color=NEUTRAL, linewidth=1.2, zorder=1)


def _name_teachers(ax: Axes, ensembles: Sequence[str]) -> None:
    """Ticks with a symbol a teacher, the first on top."""
    ax.set_xticks(range(len(ensembles)), ["\n".join(map(literal, symbols(each))) or "–" for each in ensembles])
    ax.tick_params(axis="x", length=0)
    ax.grid(False, axis="x")
    none = "; – none" if "" in ensembles else ""
    ax.set_xlabel(f"teachers, first on top: w weak, s strong{none}")
    ax.set_xlim(-0.6, len(ensembles) - 0.4)
    for place in range(1, len(ensembles)):
        if len(symbols(ensembles[place])) != len(symbols(ensembles[place - 1])):
            ax.axvline(place - 0.5, color=NEUTRAL, linewidth=0.8, linestyle=":")


# -- the whole -------------------------------------------------------------------------------------------------------

CHAIN = {
    "attention_iou": (-1, "attention IoU"),
    "agreement": (-1, "agreement"),
    "train_validation_gap": (-1, "train–validation gap"),
    "accuracy": (1, "validation accuracy"),
}
"""The links of the paper's explanation, in its order, with the sign that it predicts."""

ENDS = (("weak+weak", "weak"), ("strong+strong", "strong"))
"""The students at the ends of the grid, as (teachers, student): all weak, all strong."""


@_styled
def chain(table: pd.DataFrame, axes: Sequence[Axes] | NDArray[Any] | None = None) -> NDArray[Any]:
    """The paper's explanation in four panels, weak to strong: attention IoU of two teachers, and of their student agreement,
    train–validation gap and validation accuracy; a line a seed, and an arrow the way the paper predicts.

    Args:
        axes: four; none makes a figure.

    Raises:
        IncompleteError: a cell that the picture compares is missing.
    """
    axes, table = _grid(axes, 2, 2, 5.4), plain(table)
    for ax, (measure, (sign, title)) in zip(axes, CHAIN.items(), strict=True):
        values = {}
        for teachers, student in ENDS:
            where = {
                "measure": measure,
                "form": "textbook",
                "split": "validation",
                "view": "clean",
                "teachers": teachers,
            }
            if measure == "attention_iou":
                where |= {"role": "ensemble", "method": "cam-predicted", "against": ""}
            else:
                where |= {
                    "role": "student",
                    "student": student,
                    "against": "ensemble" if measure == "agreement" else "",
                }
            if measure == "train_validation_gap":
                where["view"] = "own"
            rows = _rows(table, **where)
            values[student] = rows.set_index("seed")["value"]
        by_seed = pd.DataFrame(values)
        ax.plot([0, 1], by_seed.to_numpy().T, color=NEUTRAL, linewidth=1.2)
        for place, end in enumerate(by_seed):
            marker = "s" if measure == "attention_iou" else "o"
            _points(ax, place, by_seed[end].dropna().tolist(), look(str(end), marker), spread=0.0)
        ax.set_xticks([0, 1], list(by_seed))
        ax.set_xlim(-0.4, 1.4)
        ax.margins(y=0.2)
        ax.set_title(f"{title}\nthe paper predicts {'↑' if sign > 0 else '↓'}")
    return axes


@_styled
def forest(effects: pd.DataFrame, verdicts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The primary of each claim: its effect in each seed, as a share of the largest, beside the side that the paper
    predicts (grey). Filled points lie on that side, hollow ones do not. An interval may run out of the picture.

    Args:
        effects, verdicts: as `kdnb.evidence.claims.effects` and `verdicts` give them.

    Raises:
        IncompleteError: no effects.
    """
    rows = []
    for judged in verdicts[verdicts["primary"]].to_dict("records"):
        group = select(effects, claim=judged["claim"], what=judged["what"])
        largest = float(group["effect"].abs().max()) or 1.0
        note = judged["verdict"]
        rows.append((f"{judged['claim']}  {judged['what']}", note, group, judged["low"], judged["high"], largest))
    ax = _strips(rows, ax)
    ax.set_xticks([-1, 0, 1], ["−largest", "0", "largest"])
    ax.set_xlabel("effect in each seed, as a share of the claim's largest")
    return ax


@_styled
def correlations(effects: pd.DataFrame, verdicts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """C6's correlations of agreement and validation accuracy in each seed, with bootstrap intervals over seeds.

    Args:
        effects, verdicts: as `kdnb.evidence.claims.effects` and `verdicts` give them.

    Raises:
        IncompleteError: no correlation could be computed.
    """
    of_claim = select(effects, claim="C6")
    rows = []
    for judged in select(verdicts, claim="C6").to_dict("records"):
        group = select(of_claim, what=judged["what"])
        label = fill(judged["what"].removeprefix("correlation "), 60)
        rows.append((label, "", group, judged["low"], judged["high"], 1.0))
    ax = _strips(rows, ax)
    ax.set_xlabel("correlation of agreement and validation accuracy")
    return ax


def _strips(rows: Sequence[tuple[str, str, pd.DataFrame, float, float, float]], ax: Axes | None) -> Axes:
    """A strip for each (label, note, effects, low, high, scale), the label above its points."""
    if not rows:
        raise IncompleteError("no claim is decided here: these results lack the cells that the claims compare")
    ax = _axes(ax, 1.2 + 0.62 * len(rows))
    for place, (label, note, group, low, high, scale) in enumerate(rows):
        side = int(group["predicted"].iloc[0])
        ax.vlines([-1, 0, 1], place - 0.2, place + 0.2, color=NEUTRAL, linewidth=[0.6, 1.4, 0.6])
        ax.barh(place, side, height=0.34, color=NEUTRAL, alpha=0.28, linewidth=0)
        values = (group["effect"] / scale).tolist()
        between = (low / scale, high / scale)
        ring = {"color": "black", "marker": "o", "fillstyle": "none"}
        _points(ax, place, values, ring, spread=0.0, between=between, sideways=True)
        ax.plot([value for value in values if value * side > 0], [place] * int(group["as_predicted"].sum()), "ko")
        ax.text(-1.14, place - 0.24, label, va="bottom")
        ax.text(1.14, place - 0.24, note, va="bottom", ha="right", style="italic")
    ax.set_xlim(-1.16, 1.16)
    ax.set_ylim(len(rows) - 0.6, -0.75)
    ax.set_yticks([])
    ax.grid(False)
    ax.spines["left"].set_visible(False)
    return ax


# -- augmentation ----------------------------------------------------------------------------------------------------


@_styled
def gallery(images: Tensor, rows: Mapping[str, Tensor], ax: Axes | None = None) -> Axes:
    """Images, and below them the same ones in other views.

    Args:
        images: uint8 (N, 3, S, S), the row called clean.
        rows: title → uint8 (N, 3, S, S), the same N images.

    Raises:
        ValueError: a row of another shape.
    """
    every = {"clean": images, **rows}
    for title, row in every.items():
        if row.shape != images.shape:
            raise ValueError(f"the row {title!r} is {tuple(row.shape)}; it shows the images, {tuple(images.shape)}")
    count, _, side, _ = images.shape
    step = side + max(1, side // 10)
    sheet = np.zeros((step * len(every) - (step - side), step * count - (step - side), 4), dtype=np.uint8)
    for i, row in enumerate(every.values()):
        for j, image in enumerate(row):
            place = sheet[i * step : i * step + side, j * step : j * step + side]
            place[..., :3], place[..., 3] = image.permute(1, 2, 0).numpy(), 255
    ax = _axes(ax, 0.1 + (WIDTH - 0.9) * sheet.shape[0] / sheet.shape[1])
    ax.imshow(sheet, interpolation="none")
    ax.set_yticks([i * step + side / 2 for i in range(len(every))], list(every))
    _bare(ax)
    return ax


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)


@_styled
def dial_response(dial: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Affinity (accuracy on views − accuracy on clean images) against the strength of augmentation, a line a network.

    Args:
        dial: columns as `kdnb.evidence.results.Results.dial`; a line for each run in it.
    """
    ax = _axes(ax)
    _zero(ax)
    looks, handles = _looks(dial), []
    for (run, shown), line in zip(looks.items(), LINES, strict=False):
        rows = select(dial, run=run)
        ax.plot(rows.groupby("strength")["affinity"].mean(), color=shown["color"], linestyle=line)
        handles.append(Line2D([], [], label=run, **shown | {"linestyle": line}))
        for strength, group in rows.groupby("strength"):
            _points(ax, float(str(strength)), group["affinity"].tolist(), shown, spread=0.0, bar=0.015)
    ax.set_xlabel("strength of augmentation (0 clean, 1 strong)")
    ax.set_ylabel(LABELS["affinity"])
    _legend(ax, handles, columns=len(looks))
    return ax


@_styled
def affinity(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Affinity of weak and strong views, to the network trained on clean images; a line a seed."""
    ax = _axes(ax)
    _zero(ax)
    by_view = {
        view: _rows(table, measure="affinity", form="textbook", role="reference", view=view).set_index("seed")["value"]
        for view in ("weak", "strong")
    }
    ax.plot([0, 1], pd.DataFrame(by_view).to_numpy().T, color=NEUTRAL, linewidth=1.2)
    for place, (view, values) in enumerate(by_view.items()):
        _points(ax, place, values.tolist(), look(view, "D"), spread=0.0)
    ax.set_xticks([0, 1], ["weak views", "strong views"])
    ax.set_xlim(-0.5, 1.5)
    ax.set_ylabel("affinity (difference of accuracies)")
    return ax


# -- attention -------------------------------------------------------------------------------------------------------


@_styled
def attention_maps(
    explorer: "Explorer",
    image: int,
    teachers: Sequence[str],
    threshold: float = THRESHOLD,
    method: str = "cam-predicted",
    axes: Sequence[Axes] | NDArray[Any] | None = None,
) -> NDArray[Any]:
    """An image, where each teacher looks (heat, and the outline of the mask), and where all of them do (yellow).

    Args:
        image: its place in ``explorer.images``.
        teachers: two or more runs.
        axes: one for the image, one for each teacher, one for the overlap; none makes a figure.

    Raises:
        ValueError: no such image, or a run without such maps.
    """
    if not 0 <= image < len(explorer.images):
        raise ValueError(f"no image {image} among the {len(explorer.images)} of the explorer, counted from 0")
    heats = [_maps(explorer, teacher, method)[image : image + 1] for teacher in teachers]
    side = explorer.images.shape[-1]
    marked = [masks(maps, side, threshold) for maps in heats]
    count = len(teachers) + 2
    columns = count if count <= 4 else 3
    lines = -(-count // columns)
    axes = _grid(axes, lines, columns, lines * (WIDTH / columns + 0.2))
    for ax in axes:
        _bare(ax)
        ax.set_yticks([])
    picture = explorer.images[image].permute(1, 2, 0).numpy()
    grey = picture.mean(axis=2)
    first, *middle, last = axes[:count]
    first.imshow(picture, interpolation="none")
    name = literal(explorer.classes[int(explorer.labels[image])].replace("_", " "))
    first.set_title(name if len(name) <= 14 else name[:13] + "…")
    faint = {"cmap": "gray", "vmin": -100, "vmax": 320, "interpolation": "none"}
    last.imshow(grey, **faint)
    together = np.zeros((side, side, 4))
    together[..., :3] = matplotlib.colors.to_rgb(BOTH)
    together[..., 3] = 0.6 * np.all([mask[0].numpy() for mask in marked], axis=0)
    last.imshow(together, interpolation="none")
    for ax, teacher, maps, line in zip(middle, teachers, heats, LINES, strict=False):
        heat = heatmaps(maps, side)[0].numpy()
        ax.imshow(grey, **faint)
        ax.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.65, interpolation="none")
        ax.set_title(teacher)
        if heat.min() < threshold < heat.max():
            ax.contour(heat, levels=[threshold], colors="white", linestyles=line, linewidths=1.6)
            last.contour(
                heat,
                levels=[threshold],
                colors=_of_teacher(explorer, teacher)["color"],
                linestyles=line,
                linewidths=2.2,
            )
    last.set_title(f"IoU {iou(marked):.2f}")
    return axes


def _of_teacher(explorer: "Explorer", run: str) -> dict[str, Any]:
    return look(explorer.cells.get(run, {}).get("teachers", ""), "s")


def alike(explorer: "Explorer", augmentation: str) -> list[str]:
    """The teachers of an augmentation, of the first teacher's origin, that the explorer has maps of; in order."""
    cells = {run: explorer.cells[run] for run in explorer.maps}
    first = next(iter(cells.values()))["origin"]
    return [run for run, cell in cells.items() if cell["teachers"] == augmentation and cell["origin"] == first]


def _maps(explorer: "Explorer", run: str, method: str) -> Tensor:
    try:
        return explorer.maps[run][f"{method}/clean"]
    except KeyError:
        raise ValueError(
            f"no maps {method!r} of {run!r} in the explorer; choose from the runs {', '.join(explorer.maps)}"
        ) from None


@_styled
def overlap(
    table: pd.DataFrame,
    measure: str = "attention_iou",
    method: str = "cam-predicted",
    view: str = "clean",
    split: str = "validation",
    ax: Axes | None = None,
) -> Axes:
    """How much the attention of each ensemble's teachers overlaps; for the IoU, beside its area-matched chance level.

    Args:
        measure: attention_iou, chance_iou or excess_iou.
    """
    ax, table = _axes(ax), plain(table)
    where = {"form": "textbook", "role": "ensemble", "split": split, "method": method, "view": view, "against": ""}
    rows = _rows(table, measure=measure, **where)
    ensembles = list(dict.fromkeys(rows["teachers"]))
    for place, teachers in enumerate(ensembles):
        kinds = set(teachers.split("+"))
        word = "mixed" if len(kinds) > 1 else f"all {literal(kinds.pop())}"
        _points(ax, place, select(rows, teachers=teachers)["value"].tolist(), look(teachers, "s"), label=word)
    if measure == "attention_iou":
        chance = _rows(table, measure="chance_iou", **where).groupby("teachers")["value"].mean()
        for place, teachers in enumerate(ensembles):
            ax.plot([place - 0.36, place + 0.36], [chance[teachers]] * 2, color=NEUTRAL, linewidth=2.2, label="chance")
    elif measure == "excess_iou":
        _zero(ax)
    _name_teachers(ax, ensembles)
    ax.set_ylabel(LABELS[measure])
    _legend(ax, columns=4)
    return ax


@_styled
def threshold_sweep(
    explorer: "Explorer",
    pairs: Sequence[Sequence[str]] = (),
    ax: Axes | None = None,
) -> Axes:
    """IoU (solid) and area-matched chance IoU (dashed) of teachers' masks, against the threshold that makes them; one seed.

    Args:
        pairs: of runs; none takes the first two weak and the first two strong teachers.

    Raises:
        ValueError: a run without maps.
    """
    ax = _axes(ax)
    pairs = pairs or [alike(explorer, augmentation)[:2] for augmentation in ("weak", "strong")]
    thresholds = np.arange(1, 10) / 10
    for pair in pairs:
        maps = [_maps(explorer, run, "cam-predicted") for run in pair]
        side = explorer.images.shape[-1]
        several = [[masks(each, side, threshold) for each in maps] for threshold in thresholds]
        shown = look("+".join(explorer.cells[run]["teachers"] for run in pair), "s")
        ax.plot(thresholds, [iou(each) for each in several], label=" and ".join(pair), gid=SEEDS, **shown)
        ax.plot(thresholds, [chance_iou(each) for each in several], "--", color=shown["color"])
    ax.axvline(THRESHOLD, color=NEUTRAL, linestyle=":", linewidth=1.6)
    ax.set_xlabel("threshold of the mask (dotted: the paper's)")
    ax.set_ylabel(LABELS["attention_iou"])
    ax.set_xticks(thresholds)
    handles = [line for line in ax.get_lines() if line.get_gid() == SEEDS]
    _legend(ax, [*handles, Line2D([], [], color=NEUTRAL, linestyle="--", label="chance")], columns=3)
    return ax


# -- the grid --------------------------------------------------------------------------------------------------------


@_styled
def by_cell(
    table: pd.DataFrame,
    measure: str,
    view: str = "clean",
    against: str = "",
    form: str = "textbook",
    split: str = "validation",
    ax: Axes | None = None,
) -> Axes:
    """A measure of every student: teachers along the axis, colour by the student's own augmentation.

    Args:
        measure, view, against, form, split: which rows, as in `kdnb.evidence.table`; of fidelity, `against` is ``ensemble``.

    Raises:
        IncompleteError: no such rows.
    """
    rows = _rows(plain(table), role="student", measure=measure, view=view, against=against, form=form, split=split)
    return _cells(rows, LABELS.get(measure, measure.replace("_", " ")), ax)


@_styled
def distillation_gain(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What teachers add: validation accuracy of each distilled student − that of the one without teachers, the same
    augmentation, paired within a seed.

    Raises:
        IncompleteError: no student without teachers.
    """
    rows = _rows(plain(table), role="student", measure="accuracy", view="clean", form="textbook", split="validation")
    alone = _rows(rows, teachers="").set_index(["seed", "student"])["value"]
    taught = rows[rows["teachers"] != ""].join(alone.rename("alone"), on=["seed", "student"], how="inner")
    ax = _cells(taught.assign(value=taught["value"] - taught["alone"]), "gain in validation accuracy", ax)
    _zero(ax)
    return ax


def _cells(rows: pd.DataFrame, label: str, ax: Axes | None) -> Axes:
    ax = _axes(ax)
    ensembles = list(dict.fromkeys(rows["teachers"]))
    students = list(dict.fromkeys(rows["student"]))
    beside = np.linspace(-0.2, 0.2, len(students)) if len(students) > 1 else [0.0]
    for place, teachers in enumerate(ensembles):
        for student, shift in zip(students, beside, strict=True):
            values = select(rows, teachers=teachers, student=student)["value"].tolist()
            if values:
                _points(ax, place + shift, values, look(student, "o" if teachers else "^"), spread=0.06)
    _name_teachers(ax, ensembles)
    ax.set_ylabel(label)
    handles = [_handle(student) for student in students]
    _legend(ax, handles)
    return ax


def _handle(student: str) -> Line2D:
    return Line2D([], [], linestyle="none", label=f"{literal(student)} student", **look(student, "o"))


# -- fidelity --------------------------------------------------------------------------------------------------------


@_styled
def by_view(
    table: pd.DataFrame,
    measure: str = "agreement",
    cells: Sequence[tuple[str, str]] = ENDS,
    against: str = "ensemble",
    ax: Axes | None = None,
) -> Axes:
    """A measure of students on clean, weak and strong views of the validation images.

    Args:
        cells: (teachers, student), as the table's columns have them.
    """
    ax, table = _axes(ax), plain(table)
    views = ("clean", "weak", "strong")
    for (teachers, student), shift, line in zip(cells, np.linspace(-0.12, 0.12, len(cells)), LINES, strict=False):
        shown, means = look(student, "o" if teachers else "^"), []
        where = {"role": "student", "teachers": teachers, "student": student, "form": "textbook", "split": "validation"}
        for place, view in enumerate(views):
            rows = _rows(table, measure=measure, view=view, against=against, **where)
            _points(ax, place + shift, rows["value"].tolist(), shown, label=rows["run"].iloc[0], spread=0.05)
            means.append(float(rows["value"].mean()))
        ax.plot(np.arange(len(views)) + shift, means, color=shown["color"], linestyle=line, linewidth=1.2)
    ax.set_xticks(range(len(views)), [f"{view} views" for view in views])
    ax.set_xlim(-0.4, len(views) - 0.6)
    ax.set_ylabel(LABELS.get(measure, measure.replace("_", " ")))
    _legend(ax)
    return ax


@_styled
def against(
    table: pd.DataFrame,
    measure: str = "agreement",
    view: str = "clean",
    cell: tuple[str, str] = ENDS[1],
    ax: Axes | None = None,
) -> Axes:
    """How closely a student follows its teachers together (the mean of their logits) and each of them; a line a seed.

    Args:
        cell: (teachers, student), as the table's columns have them.
    """
    ax = _axes(ax)
    where = {"teachers": cell[0], "student": cell[1], "form": "textbook", "split": "validation", "view": view}
    rows = _rows(plain(table), role="student", measure=measure, **where)
    run, shown = rows["run"].iloc[0], look(cell[1], "o")
    compared = list(dict.fromkeys(rows["against"]))
    by_seed = rows.pivot(index="seed", columns="against", values="value")[compared]
    ax.plot(range(len(compared)), by_seed.to_numpy().T, color=NEUTRAL, linewidth=1.0)
    for place, name in enumerate(compared):
        _points(ax, place, by_seed[name].tolist(), shown, label=run, spread=0.0)
    ax.set_xticks(range(len(compared)), [{"ensemble": "the ensemble"}.get(name, f"{name} alone") for name in compared])
    ax.set_xlim(-0.5, len(compared) - 0.5)
    ax.set_ylabel({"agreement": "agreement"}.get(measure, LABELS.get(measure, measure.replace("_", " "))))
    _legend(ax)
    return ax


@_styled
def fidelity_and_accuracy(table: pd.DataFrame, x: str = "agreement", ax: Axes | None = None) -> Axes:
    """Fidelity to the teachers against validation accuracy, of every distilled student in every seed; the larger the point,
    the more teachers.

    Args:
        x: a measure of fidelity on clean images, as in `kdnb.evidence.table`.
    """
    ax, table = _axes(ax, 4.2), plain(table)
    key = ["seed", "run", "teachers", "student"]
    where = {"role": "student", "form": "textbook", "split": "validation", "view": "clean"}
    fidelity = _rows(table, measure=x, against="ensemble", **where)
    accuracy = _rows(table, measure="accuracy", **where)
    both = fidelity[[*key, "value"]].merge(accuracy[[*key, "value"]], on=key, suffixes=("_x", "_y"))
    sizes = both["teachers"].map(lambda teachers: len(symbols(teachers)))
    for student in dict.fromkeys(both["student"]):
        for teachers in sorted(set(sizes)):
            of = both[(both["student"] == student) & (sizes == teachers)]
            style = look(student, "o") | {"linestyle": "none", "alpha": 0.85, "markersize": 3 + 2 * teachers}
            ax.plot(of["value_x"], of["value_y"], gid=SEEDS, **style)
    ax.set_xlabel(LABELS.get(x, x.replace("_", " ")))
    ax.set_ylabel(LABELS["accuracy"])
    handles = [_handle(student) for student in dict.fromkeys(both["student"])]
    _legend(ax, handles)
    return ax


# -- generalisation --------------------------------------------------------------------------------------------------


@_styled
def learning_curves(curves: pd.DataFrame, cells: Sequence[tuple[str, str]] = ENDS, ax: Axes | None = None) -> Axes:
    """Running training accuracy (dashed, on augmented views) and validation accuracy (solid) over the epochs; a line a seed,
    their mean in bold.

    Args:
        curves: as `kdnb.evidence.results.Results.curves`.
        cells: (teachers, student), as the table's columns have them.

    Raises:
        IncompleteError: no curve of a run.
    """
    ax = _axes(ax)
    handles = []
    for teachers, student in cells:
        rows = _rows(plain(curves), role="student", teachers=teachers, student=student)
        run, shown = rows["run"].iloc[0], look(student, "o" if teachers else "^")
        for column, line in (("train_accuracy", "--"), ("validation_accuracy", "-")):
            seen = rows.dropna(subset=[column])
            several = seen["seed"].nunique() > 1
            style = {"color": shown["color"], "linestyle": line}
            for _, of_seed in seen.groupby("seed"):
                thin = {"linewidth": 0.8, "alpha": 0.6} if several else {}
                ax.plot(of_seed["epoch"], of_seed[column], gid=SEEDS, **style | thin)
            mean = seen.groupby("epoch")[column].mean()
            ax.plot(mean.index, mean.to_numpy(), markevery=max(1, len(mean) // 6), **shown | style)
        handles.append(Line2D([], [], label=run, **shown))
    ax.set_xlabel("epoch")
    ax.set_ylabel("accuracy")
    handles.append(Line2D([], [], color=NEUTRAL, linestyle="--", label="training"))
    handles.append(Line2D([], [], color=NEUTRAL, linestyle="-", label="validation"))
    _legend(ax, handles)
    return ax


def pilot_curves(curves: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The curves that a profile was calibrated on: undistilled networks with weak and with strong augmentation, on pilot
    seeds that no study uses.

    Args:
        curves: columns as `kdnb.evidence.results.Results.curves`, of the students without teachers.
    """
    return learning_curves(curves, (("", "weak"), ("", "strong")), ax)


@_styled
def reliability_diagram(
    reliability: pd.DataFrame, cells: Sequence[tuple[str, str]] = ENDS, view: str = "clean", ax: Axes | None = None
) -> Axes:
    """Accuracy against confidence in ten bins, a point for each bin that is not empty and each seed; the line pools seeds.
    Above the diagonal a network is too modest, below it too sure.

    Args:
        reliability: as `kdnb.evidence.results.Results.reliability`.
        cells: (teachers, student), as the table's columns have them.
    """
    ax = _axes(ax, 4.2)
    ax.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1.2)
    for (teachers, student), line in zip(cells, LINES, strict=False):
        rows = _rows(plain(reliability), role="student", teachers=teachers, student=student, view=view)
        rows = rows[rows["count"] > 0]
        run, shown = rows["run"].iloc[0], look(student, "o" if teachers else "^")
        pooled = rows[["confidence", "accuracy"]].mul(rows["count"], axis=0).groupby(rows["bin"]).sum()
        pooled = pooled.div(rows.groupby("bin")["count"].sum(), axis=0)
        ax.plot(pooled["confidence"], pooled["accuracy"], color=shown["color"], linestyle=line)
        ax.plot(rows["confidence"], rows["accuracy"], linestyle="none", label=run, gid=SEEDS, **shown)
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("confidence")
    ax.set_ylabel("accuracy")
    _legend(ax)
    return ax
