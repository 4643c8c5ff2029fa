"""How closely students follow their teachers, and how well they generalise."""

import pandas as pd

from kdnb.book import explorers, figures, style
from kdnb.book.exhibits.exhibit import Exhibit, exhibit, of_two_teachers
from kdnb.errors import IncompleteError
from kdnb.evidence.estimands import PAIRS, STUDENTS
from kdnb.evidence.results import Results
from kdnb.evidence.table import plain
from kdnb.ruler import curves


def _sets(table: pd.DataFrame) -> list[str]:
    """The sets of two teachers that both students have."""
    students = plain(table)
    students = students[(students["role"] == "student") & students["teachers"].isin(PAIRS)]
    both = students.groupby("teachers")["student"].nunique()
    if not (both == len(STUDENTS)).any():
        raise IncompleteError("the grid has no weak and strong student of the same two teachers")
    return [pair for pair in PAIRS if both.get(pair) == len(STUDENTS)]


@exhibit
def same_views(found: Results) -> Exhibit:
    """Agreement of weak and strong students of the same teachers on the same images, the mean over the sets of teachers."""
    sets = _sets(found.table)
    drawn = figures.by_view(found.table, teachers=sets)
    caption = (
        f"Weak and strong students of the same two teachers, asked about the same images: the mean over {len(sets)} sets of "
        "teachers, a point for each seed. Compare the two colours above one view: same images, so only the student differs. "
        "Then compare the blue point above weak views with the orange one above strong: that is each student on its own "
        "views, as the paper measures, and the images differ too."
    )
    alt = "Agreement with the teachers on clean, weak and strong views, of weak and strong students, a point for each seed."
    return Exhibit("same-views", drawn, caption, alt)


@exhibit
def interaction(found: Results, measure: str = "agreement") -> Exhibit:
    """Teachers' times student's augmentation: the four corners of a measure."""
    against = "ensemble" if measure in curves.OF_BOTH else ""
    drawn = figures.interaction(found.table, measure, against=against)
    caption = (
        "The student's augmentation (colours) by the teachers' (left and right), on clean validation images; thin "
        "lines are seeds. A comparison along the diagonal, all strong minus all weak, adds two steps that may have "
        "opposite signs."
    )
    label = style.LABELS.get(measure, measure)
    return Exhibit(
        f"interaction-{measure}", drawn, caption, f"{label} of weak and strong students of weak and strong teachers."
    )


@exhibit
def by_trial(found: Results, measure: str, view: str = "clean", split: str = "validation") -> Exhibit:
    """A measure of the eight trials."""
    against = "ensemble" if measure in curves.OF_BOTH else ""
    drawn = figures.by_cell(of_two_teachers(found), measure, view=view, against=against, split=split)
    label = style.LABELS.get(measure, measure)
    images = "validation images" if split == "validation" else "training images"
    seen = {"clean": f"clean {images}", "own": f"each student's own views of the {images}"}.get(
        view, f"{view} views of the {images}"
    )
    caption = (
        f"{label[0].upper()}{label[1:]} of each of the eight trials, on {seen}, a point for each seed. Compare colours above "
        "one pair of teachers for the student's augmentation, and places of one colour for the teachers'."
    )
    alt = f"{label} of the eight trials on {seen}, a point for each seed."
    return Exhibit(f"trials-{measure}", drawn, caption, alt)


@exhibit
def gain(found: Results) -> Exhibit:
    """What two teachers add to a student of the same augmentation."""
    table = plain(found.table)
    two = table[(table["teachers"] == "") | (table["teachers"].str.count(r"\+") == 1) | (table["role"] == "teacher")]
    caption = (
        "Validation accuracy of each student minus that of its twin without teachers, the same seed, views and order. "
        "Above zero, being taught helps."
    )
    return Exhibit(
        "gain", figures.distillation_gain(two), caption, "What teachers add to validation accuracy, by teachers."
    )


@exhibit
def learning(found: Results) -> Exhibit:
    """Training and validation accuracy over the epochs."""
    caption = (
        "Accuracy over the epochs of a weak student of weak teachers and a strong one of strong teachers: dashed on "
        "its own augmented training views, solid on validation images. The distance between the two is the gap that "
        "the paper plots; it closes when training gets harder, whether or not validation gets better."
    )
    return Exhibit(
        "learning", figures.learning_curves(found.curves), caption, "Learning curves of a weak and a strong student."
    )


@exhibit
def reliability(found: Results) -> Exhibit:
    """Accuracy against confidence."""
    sets = _sets(found.table)
    drawn = figures.reliability_diagram(found.reliability, sets)
    caption = (
        "How often students are right (up) when they are so sure (across), on clean validation images: weak and strong "
        f"students, {len(sets)} sets of two teachers together. Below the diagonal a network is too sure of itself, above it "
        "too modest."
    )
    return Exhibit("reliability", drawn, caption, "Reliability diagram of weak and strong students.")


@exhibit
def scatter(found: Results) -> Exhibit:
    """Any two measures of the distilled students."""
    caption = (
        "Choose two measures. Each point is a student of one cell and seed. Try pairs that have no business with each "
        "other: with so few cells, many look related."
    )
    return Exhibit("scatter", explorers.scatter(found), caption, "Scatter of two measures of the distilled students.")
