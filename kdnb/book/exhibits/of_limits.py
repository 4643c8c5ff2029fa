"""What did not reproduce, and what other studies show beside it."""

import html

import pandas as pd

from kdnb.book.cards import card, seeds_in_words
from kdnb.book.exhibits.exhibit import Exhibit, exhibit
from kdnb.errors import IncompleteError
from kdnb.evidence import claims, paper, results
from kdnb.evidence.estimands import PAIRS, papers, signed
from kdnb.evidence.results import Results
from kdnb.evidence.table import plain, select
from kdnb.study.cell import FRESH


@exhibit
def unlike(found: Results) -> Exhibit:
    """Every effect whose mean does not have the sign that the paper predicts."""
    judged = found.verdicts[found.verdicts["predicted"] != 0]
    apart = judged[judged["effect"] * judged["predicted"] <= 0]
    if judged.empty:
        raise IncompleteError("the grid has no cells for any claim")
    rows = [
        {
            "claim": row["claim"],
            "": f"<b>{html.escape(row['what'])}</b>" if row["primary"] else html.escape(row["what"]),
            "column": row["column"],
            "predicted": "+" if row["predicted"] > 0 else "−",
            "effect": signed(row["effect"]),
            "seeds as predicted": f"{round(row['share'] * row['seeds'])} of {row['seeds']}",
        }
        for row in apart.to_dict("records")
    ]
    frame = pd.DataFrame(rows, columns=["claim", "", "column", "predicted", "effect", "seeds as predicted"]).set_index(
        "claim"
    )
    caption = (
        f"Of {len(judged)} declared effects with a sign, these {len(apart)} do not have it in the mean over seeds. "
        f"Bold ones decide their claim ({found.scale})."
    )
    return Exhibit("unlike", frame, caption, "Effects that do not have the paper's sign")


@exhibit
def suspects(found: Results) -> Exhibit:
    """What augmentation moves besides what the claims are about."""
    table = plain(found.table)
    clean = {"form": "textbook", "view": "clean"}

    def mean(**where: str) -> float:
        rows = select(table, **({"split": "validation"} | where))
        if rows.empty:
            raise IncompleteError(f"these results have no {where['measure'].replace('_', ' ')} of {where['role']}s")
        return float(rows["value"].mean())

    def both(measure: str, role: str, taught: bool, **where: str) -> list[float]:
        values = []
        for end in ("weak", "strong"):
            teachers = f"{end}+{end}" if taught or role == "ensemble" else end if role == "teacher" else ""
            student = {"student": end} if role == "student" else {}
            values.append(mean(measure=measure, role=role, teachers=teachers, **student, **(clean | where)))
        return values

    rows = {
        "clean training images: student alone": both("accuracy", "student", False, split="train"),
        "clean training images: distilled student": both("accuracy", "student", True, split="train"),
        "validation accuracy: student alone": both("accuracy", "student", False),
        "validation accuracy: teachers": both("accuracy", "teacher", False),
        "area of a teacher's mask": both("mask_area", "teacher", False, method="cam-predicted"),
        "teachers' chance IoU": both("chance_iou", "ensemble", False, method="cam-predicted"),
        "error consistency of student and teachers": both("error_consistency", "student", True, against="ensemble"),
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["weak", "strong"])
    shown = frame.map("{:.3f}".format).assign(difference=(frame["strong"] - frame["weak"]).map(signed))
    caption = "Weak and strong networks, means over seeds; a distilled student has two teachers augmented as itself."
    return Exhibit("suspects", shown, caption, "What else augmentation moves")


def elsewhere(found: Results, profile: str, dataset: str = "") -> Exhibit:
    """What decides each claim in an exploratory study of other images or networks, beside the page's results and the paper.

    Args:
        profile: whose published results these are.
        dataset: that of the paper's which is like it, of `kdnb.evidence.paper.MEASURED`; empty where its tables have none.
    """
    other = results.read(results.home() / profile).judged_by("K")
    rows = {}
    for claim, _, primary, estimand in other.claim_set.estimands():
        there = select(other.effects, claim=claim.key, what=estimand.what)
        if not primary or there.empty:
            continue
        here = select(found.effects, claim=claim.key, what=estimand.what)["effect"]
        rows[claim.key] = {
            "what decides": html.escape(estimand.what),
            "predicted": {1: "+", -1: "−"}[estimand.predicted or 1],
            **{f"seed {seed}": signed(effect) for seed, effect in zip(there["seed"], there["effect"], strict=True)},
            f"{found.profile.name}, mean": signed(float(here.mean())) if len(here) else "",
        }
        if dataset:
            theirs = papers(estimand)
            rows[claim.key] |= {"the paper": signed(theirs[dataset]) if dataset in theirs else ""}
    caption = (
        f"What decides each claim in {profile} ({seeds_in_words(other)}, exploratory), beside the mean over "
        f"{seeds_in_words(found)} of {found.profile.name}. "
    )
    if dataset:
        caption += f"The paper's own values are of {paper.TITLES[dataset]}. "
    caption += "No verdict is drawn from it."
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return Exhibit(
        f"elsewhere-{profile}", frame, caption, f"The claims in {profile}", card(other, "kdnb.book.exhibits.elsewhere")
    )


MAPS = {
    "cam-predicted": "class map of the predicted class",
    "cam-true": "class map of the true class",
    "cam-sum": "class maps of all classes, summed",
    "grad-cam": "Grad-CAM",
    "rollout": "attention rollout",
    "attention-last": "attention nearest the answer",
    "attention-gradient": "gradient-weighted attention",
}
"""kinds of attention maps, in the order of a table, and what they are called there"""


def by_map(profile: str) -> Exhibit:
    """Attention IoU of teachers by kind of map, in an exploratory study: of one augmentation, of two, and their difference.

    Args:
        profile: whose published results these are.
    """
    other = results.read(results.home() / profile)

    def by_teachers(measure: str, method: str) -> pd.Series:
        where = {"role": "ensemble", "split": "train", "view": "clean", "form": "textbook", "against": ""}
        return select(plain(other.table), measure=measure, method=method, **where).groupby("teachers")["value"].mean()

    lines, less = {}, 0
    for method, name in MAPS.items():
        of, chance, beyond = (by_teachers(name, method) for name in ("attention_iou", "chance_iou", "excess_iou"))
        if of.empty:
            continue
        less += _mixed(of) < _pure(of)
        lines[f"{name} (<code>{method}</code>)"] = {
            "two weak": f"{of['weak+weak']:.3f}",
            "two strong": f"{of['strong+strong']:.3f}",
            "mixed": f"{_mixed(of):.3f}",
            "mixed − pure": signed(_mixed(of) - _pure(of)),
            "the same, IoU − chance": signed(_mixed(of - chance) - _pure(of - chance)),
            "the same beyond chance": signed(_mixed(beyond) - _pure(beyond)),
        }
    caption = (
        f"Attention IoU of pairs of teachers in {profile} ({seeds_in_words(other)}, exploratory), on clean training images, "
        "by kind of map. A mixed pair has a weak and a strong teacher. Beyond chance is (IoU − c) / (1 − c), where c is "
        f"the IoU that masks of the same areas have by chance. Mixed pairs overlap less by {less} of {len(lines)} kinds."
    )
    frame = pd.DataFrame.from_dict(lines, orient="index")
    return Exhibit(
        f"by-map-{profile}",
        frame,
        caption,
        f"Attention IoU in {profile}, by map",
        card(other, "kdnb.book.exhibits.by_map"),
    )


CLEAN = {"form": "textbook", "split": "train", "view": "clean"}
STARTS = {
    "imagenet": "ImageNet",
    "trained": "the same task",
    "file": "a file of weights",
    FRESH: "random weights",
}
"""where teachers start, and what that is called in a table"""

OPTIMISERS = {"sgd": "SGD", "adamw": "AdamW"}
"""what each is called in a table"""


@exhibit
def starts(found: Results, *profiles: str) -> Exhibit:
    """Teachers of several starts and trainings: how good they are, and how much pairs of them overlap.

    Args:
        profiles: exploratory ones, whose published results stand above the page's.
    """
    claim = claims.SETS["K"]["K4"]
    assert claim.primary is not None
    others = [results.read(results.home() / profile).judged_by("K") for profile in profiles]
    rows = {}
    for of in (*others, found):
        origin, training = of.profile.origins.get(of.profile.origin), of.profile.teacher.train
        answers = select(plain(of.table), role="teacher", measure="accuracy", **CLEAN | {"split": "validation"})
        right = answers.groupby("teachers")["value"].mean()
        apart = select(of.effects, claim="K4", what=claim.primary.what)["effect"]
        name = f"<code>{of.profile.name}</code>"
        rows[name] = {
            "start": STARTS[origin.kind if origin else FRESH],
            "training": f"{training.epochs} epochs, {OPTIMISERS[training.optimiser]}",
            "mixed − pure": "",
            "range (seeds)": "",
            "all pairs": "",
            "all pairs, summed maps": "",
            "weak teachers": f"{right['weak']:.3f}" if "weak" in right else "",
            "strong teachers": f"{right['strong']:.3f}" if "strong" in right else "",
        }
        if len(apart):  # it may have no mixed pairs
            rows[name] |= {
                "mixed − pure": signed(float(apart.mean())),
                "range (seeds)": f"{signed(float(apart.min()))} to {signed(float(apart.max()))} ({len(apart)})",
                "all pairs": f"{_mean_overlap(of, 'cam-predicted'):.3f}",
                "all pairs, summed maps": f"{_mean_overlap(of, 'cam-sum'):.3f}",
            }
    caption = (
        "Teachers by start and training: the share of the validation images that they get right, and the attention IoU of "
        "pairs of them on clean training images. K4 is decided by mixed − pure; beside its mean stand its range over seeds "
        f"and their number. Less than {claim.margin:.3f} counts as no effect. Exploratory: "
        f"{', '.join(profiles)}."
    )
    frame = pd.DataFrame.from_dict(rows, orient="index")
    made = "".join(card(each, "kdnb.book.exhibits.starts") for each in others)
    return Exhibit("starts", frame, caption, "Teachers by start and training", made)


def _mean_overlap(found: Results, method: str) -> float:
    """Attention IoU by a kind of map, the mean over pairs of one origin and seeds."""
    rows = select(plain(found.table), role="ensemble", measure="attention_iou", method=method, against="", **CLEAN)
    return float(rows.loc[rows["teachers"].isin(PAIRS), "value"].mean())


def _mixed(of: pd.Series) -> float:
    return float((of["weak+strong"] + of["strong+weak"]) / 2)


def _pure(of: pd.Series) -> float:
    return float((of["weak+weak"] + of["strong+strong"]) / 2)
