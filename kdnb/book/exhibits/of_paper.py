"""The paper's own tables, and what differs between it, its code and the claims here."""

import html
from collections.abc import Callable

import pandas as pd

from kdnb.book import explorers, figures, style
from kdnb.book import ledger as sizes
from kdnb.book.cards import paper_card
from kdnb.book.exhibits.exhibit import Exhibit, exhibit, signed_r
from kdnb.evidence import paper
from kdnb.evidence.estimands import MIXED, PAIRS, PURE, STUDENTS, signed
from kdnb.evidence.results import Results

_WEAK, _STRONG = PURE


def paper_plot(x: str = "agreement", y: str = "accuracy") -> Exhibit:
    """Two measures of the paper's eight trials in each data set that has both."""
    panels = {}
    for dataset in paper.DATASETS:
        there = paper.trials(dataset)
        if {x, y} <= set(there.columns):
            points = there[[x, y]].set_axis(["x", "y"], axis=1).reset_index()
            panels[f"{paper.TITLES[dataset]}, r = {signed_r(paper.correlation(x, y, dataset))}"] = points
    across, up = (style.LABELS.get(name, name) for name in (x, y))
    caption = (
        "The paper's own trials, from its tables: letters are the teachers, colour is the student. The correlations "
        "are ours; the paper prints none."
    )
    drawn = figures.trials(panels, across.replace("agreement with the teachers", "agreement"), up)
    return Exhibit(
        f"paper-{x}-{y}", drawn, caption, f"{up} against {across} in the paper's tables.", paper_card("paper_plot")
    )


def tables() -> Exhibit:
    """The paper's eight trials, any two measures, with the student's augmentation free or held fixed."""
    caption = (
        "The paper's eight trials on each data set, from its tables. Hold the student's augmentation fixed, and see what stays "
        "of a correlation. Correlations are ours; the paper prints none. Each one among students of one augmentation "
        "rests on four single trainings: a hint, not a proof."
    )
    return Exhibit("tables", explorers.paper_tables(), caption, "The paper's eight trials.", paper_card("tables"))


PLOTTED_TOGETHER = {
    "IoU and accuracy": ("attention_iou", "accuracy"),
    "agreement and accuracy": ("agreement", "accuracy"),
    "IoU and affinity": ("attention_iou", "affinity"),
    "agreement and IoU": ("agreement", "attention_iou"),
    "agreement and affinity": ("agreement", "affinity"),
}


def paper_held_fixed() -> Exhibit:
    """What stays of the paper's correlations when one of the two augmentations is held fixed."""
    columns: dict[str, Callable[[str, str, str], float]] = {
        "all eight": paper.correlation,
        "student's held fixed": lambda x, y, dataset: paper.correlation(x, y, dataset, "student"),
        "weak students": lambda x, y, dataset: paper.correlation_at(x, y, dataset, "weak"),
        "strong students": lambda x, y, dataset: paper.correlation_at(x, y, dataset, "strong"),
    }
    rows = {
        pair: {
            title: " / ".join(signed_r(value(x, y, dataset)) for dataset in paper.MEASURED)
            for title, value in columns.items()
        }
        for pair, (x, y) in PLOTTED_TOGETHER.items()
    }
    caption = (
        "Pearson's r in the paper's tables: CIFAR-100 / its long tail / ImageNet-LT. Over all eight trials, among students "
        "with the same augmentation (the means of each group taken off), and over four trials each. A value of four single "
        "trainings is a hint, not a proof."
    )
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit("held-fixed", frame, caption, "Correlations in the paper's tables", paper_card("paper_held_fixed"))


def paper_contrasts() -> Exhibit:
    """Contrasts in the paper's own tables."""
    pairs, students = PAIRS, STUDENTS
    both = {
        "strong − weak student, mean over teachers": ([(p, "strong") for p in pairs], [(p, "weak") for p in pairs]),
        "strong − weak teachers, strong student": ([(_STRONG, "strong")], [(_WEAK, "strong")]),
        "strong − weak teachers, weak student": ([(_STRONG, "weak")], [(_WEAK, "weak")]),
        "mixed − pure teachers, strong student": (
            [(p, "strong") for p in MIXED],
            [(p, "strong") for p in PURE],
        ),
        "mixed − pure teachers, both students": (
            [(p, s) for p in MIXED for s in students],
            [(p, s) for p in PURE for s in students],
        ),
    }
    measures = {"IoU": "attention_iou", "agreement": "agreement", "accuracy": "accuracy", "gap": "train_validation_gap"}
    rows = {
        name: {
            title: " / ".join(signed(paper.contrast(measure, dataset, *sides)) for dataset in paper.MEASURED)
            for title, measure in measures.items()
        }
        for name, sides in both.items()
    }
    caption = (
        "Differences in the paper's tables, one factor at a time: CIFAR-100 / its long tail / ImageNet-LT. Each rests "
        "on single trainings; the paper gives no spread over seeds."
    )
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit("contrasts", frame, caption, "Contrasts in the paper's tables", paper_card("paper_contrasts"))


def paper_halves() -> Exhibit:
    """Half-image distillation − vanilla in each of the paper's trials: how many of eight fall, and the mean."""
    measures = {"IoU": "attention_iou", "agreement": "agreement", "gap": "train_validation_gap"}
    rows: dict[str, dict[str, str]] = {}
    for dataset in paper.MEASURED:
        half, whole = paper.trials(dataset, "h"), paper.trials(dataset)
        rows[paper.TITLES[dataset]] = {}
        for title, measure in measures.items():
            change = half[measure] - whole[measure]
            said = f"{signed(float(change.mean()))}; falls in {int((change < 0).sum())} of {len(change)}"
            rows[paper.TITLES[dataset]][title] = said
    caption = "Half images minus whole ones in tables C.2 to C.4: the mean over eight trials, and in how many it falls."
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit("paper-halves", frame, caption, "Half images in the paper's tables", paper_card("paper_halves"))


def differences() -> Exhibit:
    """What the paper's text or tables say, and what its released code does."""
    rows = {each.what: {"text or tables": each.text, "released code": each.code} for each in paper.differences()}
    frame = pd.DataFrame.from_dict(rows, orient="index").map(html.escape)
    caption = "Where text, tables and released code differ, or leave a question open."
    return Exhibit("differences", frame, caption, "Text and released code", paper_card("differences"))


@exhibit
def ledger(found: Results) -> Exhibit:
    """Each difference with what it moves, how much in these results, and what shows it."""
    items = []
    for each in paper.differences():
        facts = {"text or tables": each.text, "released code": each.code, "what it moves": each.moves}
        facts["how much"] = sizes.size(each, found)
        rows = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
        rows += f"<dt>shown by</dt><dd><code>{html.escape(each.shows)}</code></dd>"
        what = html.escape(each.what[0].upper() + each.what[1:])
        items.append(f'<details class="kdnb-card kdnb-entry"><summary>{what}</summary><dl>{rows}</dl></details>')
    caption = (
        "Open an entry for both sides, what it moves, how much, and a command that shows it. Numbers are means over the "
        "seeds of these results, or of the paper's tables where it says so; <em>not measured</em> means that nobody knows."
    )
    return Exhibit("ledger", "".join(items), caption, "Ledger of differences")
