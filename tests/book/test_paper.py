"""The paper's tables, computed again: every number that is quoted of them."""

import re
import shlex
from string import Formatter

import pandas as pd
import pytest

from kdnb import cli
from kdnb.book import ledger
from kdnb.evidence import paper, results
from kdnb.evidence.estimands import PAIRS
from kdnb.evidence.results import home
from kdnb.paths import CHECKOUT
from kdnb.study import profile


@pytest.mark.parametrize(
    ("x", "y", "all_eight", "weak", "strong", "teachers_off"),
    [
        ("attention_iou", "accuracy",
         (-0.77, -0.64, -0.71), (-0.59, -0.44, -0.16), (-0.72, 0.08, -0.81), (-0.89, -0.94, -0.91)),
        ("agreement", "accuracy", (-0.69, -0.77, -0.87), (-0.71, -0.91, -0.47), (0.30, 0.83, 0.62), (-0.97, -0.98, -0.99)),
        ("attention_iou", "affinity", (0.50, 0.50, 0.64), (0.08, 0.90, 0.92), (-0.57, -0.51, 0.15), (0.87, 0.92, 0.86)),
        ("agreement", "attention_iou", (0.50, 0.49, 0.56), (0.69, 0.48, -0.79), (-0.50, -0.48, -0.04), (0.82, 0.86, 0.86)),
    ],
)  # fmt: skip
def test_correlations_over_the_eight_trials(x, y, all_eight, weak, strong, teachers_off):
    for dataset, *expected in zip(paper.MEASURED, all_eight, weak, strong, teachers_off, strict=True):
        found = [
            paper.correlation(x, y, dataset),
            paper.correlation_at(x, y, dataset, "weak"),
            paper.correlation_at(x, y, dataset, "strong"),
            paper.correlation(x, y, dataset, "teachers"),
        ]
        assert found == pytest.approx(expected, abs=0.0051), dataset


def test_half_images_lower_agreement_in_all_twenty_four_trials_and_raise_the_gap_in_nineteen():
    fell = raised = 0
    for dataset in paper.MEASURED:
        half, whole = paper.trials(dataset, "h"), paper.trials(dataset)
        fell += int((half["agreement"] < whole["agreement"]).sum())
        raised += int((half["train_validation_gap"] > whole["train_validation_gap"]).sum())
    assert (fell, raised) == (24, 19)


def test_two_weak_teachers_and_a_strong_student_have_the_lowest_affinity_in_every_data_set():
    for dataset in paper.DATASETS:
        assert paper.trials(dataset)["affinity"].idxmin() == ("weak+weak", "strong")


def test_every_trial_of_every_table_is_there():
    for dataset in paper.DATASETS:
        assert len(paper.trials(dataset)) == 8
    assert len(paper.best()) == 14
    with pytest.raises(ValueError, match="no table of 'mnist'"):
        paper.trials("mnist")


# -- the ledger ------------------------------------------------------------------------------------------------------

FACTS = {
    "temperature and weight of the labels": (
        ("T = 10", "0.2", "app. A", "soft cross-entropy"),
        ("3 and 0.6", "main.py"),
    ),
    "learning rate": (("no factor", "no warm-up"), ("warm-up over 8 epochs", "epoch e has the rate of e + 1")),
    "affinity": (("eq. 5", "clean"), ("base views", "prints accuracy on clean images, too")),
    "calibration error: images": (
        ("validation samples",),
        ("augmented training images", "all other networks weak ones"),
    ),
    "calibration error: bins": (("weighted", "H.2"), ("unweighted mean over ten bins",)),
    "KL divergence": (("KL(teachers ‖ student)",), ("ten times KL(student ‖ teachers)",)),
    "mutual information": (("eq. 4",), ("nearest-neighbour", "shuffled")),
    "attention maps on CIFAR": (("sec. 4.1",), ("summed over all classes", "random direction")),
    "threshold of the mask": (("none stated",), ("0.5 until 3 May 2024, then 0.4",)),
    "size of the mask": (("none stated",), ("224",)),
    "images on which IoU, agreement and information are measured": (
        ("both the training and the validation images", "do not say which"),
        ("IoU on training, validation and augmented", "information on training and augmented validation"),
    ),
    "input size": (("none stated",), ("224", "middle 224")),
    "weak augmentation": (("colour jitter",), ("rotation",)),
    "strong augmentation on CIFAR": (("AutoAugment (sec. 5)",), ("Cutout of 16 of 224",)),
    "AutoAugment": (("sec. 5",), ("never draw a sign", "bicubic", "fractional")),
    "strong augmentation on ImageNet": (
        ("AutoAugment on ImageNet, RandAugment on ImageNet-LT",),
        ("RandAugment on both",),
    ),
    "shared start of the teachers": (("pretrained on ImageNet",), ("one file", "on ImageNet it stays", "no seed")),
    "epochs of the teachers": (
        ("60", "ImageNet-LT 30", "35 and 50 never come"),
        ("61 epochs (T1w, T2w), 80 (T1s) and 45 (T2s, T3w, T3s)", "ImageNet of 30", "ImageNet-LT of 60", "reverse"),
    ),
    "students without teachers": (("not mentioned",), ("90 epochs (Sw) and 75 (Ss)",)),
    "teachers of the long tail": (("respective target",), ("balanced CIFAR-100 teachers by name",)),
    "batch norm of teachers": (("not mentioned",), ("training mode", "IoU, affinity and calibration error")),
    "precision": (("not mentioned",), ("distilled students in float32",)),
    "which epoch is reported": (("app. A",), ("best", "of teachers too")),
    "validation images of ImageNet": (("not mentioned",), ("20,000", "on ImageNet ", "no overlap is shown")),
    "last, smaller batches": (
        ("not mentioned",),
        ("left out on ImageNet", "kept in training and in validation on CIFAR"),
    ),
    "schedules of ImageNet": (
        ("T_max 30", "60 epochs"),
        ("T_max 35 and eta_min 50 for strong", "T_max 30 and eta_min 0"),
    ),
    "half images, z-score and transformers": (("half images for ResNets", "app. E"), ("none of the three",)),
    "the A/B test's p": (("share of trials", "eq. 9"), ("–",)),
    "hKD's gap": (("comparable", "lower gap"), ("–",)),
    "which trial is strongest": (("not the strongest trial (sec. 5, sec. 6.1)", "two weak teachers"), ("–",)),
    "tables G.5 and 1": (("T1s T2w Ss", "T1w T2s Ss"), ("–",)),
    "table C.3": ((".9467", ".6892"), ("–",)),
}
"""entry → what the paper's text and tables say, and what its code does, in words that must stand there"""

NEVER = {
    "learning rate": r"text.*warm-up over 8",
    "threshold of the mask": r"text: .*0\.4",
    "strong augmentation on CIFAR": r"text: .*Cutout",
    "AutoAugment": r"[Ss]olarize",
    "batch norm of teachers": r"changes while",
    "validation images of ImageNet": r"accuracy and gap on ImageNet and ImageNet-LT",
}
"""entry → what was once said there, and is not so"""


def test_the_ledger_has_every_fact_and_says_where_it_is_from():
    assert [entry.what for entry in paper.differences()] == list(FACTS)
    for entry in paper.differences():
        text, code = FACTS[entry.what]
        assert all(words in entry.text for words in text), entry.what
        assert all(words in entry.code for words in code), entry.what
        assert not re.search(NEVER.get(entry.what, "$^"), f"text: {entry.text}\ncode: {entry.code}\n{entry.moves}")


def test_every_difference_says_how_much_it_moves_or_that_nobody_knows(study):
    named = set()
    for entry in paper.differences():
        names = [name for _, name, _, _ in Formatter().parse(entry.size) if name]
        named |= set(names)
        assert names or entry.size == ledger.NOT_MEASURED or "recomputation from outside" in entry.size
        assert bool(re.search(r"\d", ledger.size(entry, study))) == (entry.size != ledger.NOT_MEASURED)
    assert named == set(ledger.NUMBERS)


def test_the_ledgers_numbers_are_those_of_the_published_results(study):
    verdicts = pd.read_csv(home() / "cpu" / "verdicts.csv").set_index(["claim", "what"])["effect"]
    for name, key in {
        "alpha_accuracy": ("K6", "α = 0.2 − α = 0.6: accuracy"),
        "maps_sum": ("K4", "the same by maps cam-sum"),
        "own_training": ("K1", "agreement, own training views, as the paper"),
    }.items():
        assert ledger.NUMBERS[name](study) == pytest.approx(verdicts[key], rel=1e-5)
    measures = pd.concat(pd.read_csv(path) for path in sorted((home() / "cpu").glob("seed-*/measures.csv")))
    trials = measures[
        measures["teachers"].isin(PAIRS) & (measures["origin"] == "A+A") & (measures["objective"] == "kd")
    ]
    own = trials[(trials["measure"] == "affinity") & (trials["view"] == "own") & (trials["role"] == "student")]
    affinity = own.groupby("form")["value"].mean()
    assert ledger.NUMBERS["affinity"](study) == pytest.approx(affinity["as-released"] - affinity["paper"])


def test_what_results_lack_is_said():
    entry = next(each for each in paper.differences() if each.what.startswith("temperature"))
    said = ledger.size(entry, results.read(home() / "cpu-scratch").judged_by("K"))
    assert said == "not measured in these results: K6: α = 0.2 − α = 0.6: accuracy"


@pytest.fixture(scope="module")
def study():
    return results.read(home() / "cpu").judged_by("K")


@pytest.mark.parametrize("entry", paper.differences(), ids=lambda entry: entry.what)
def test_what_shows_a_difference_is_there(entry):
    """A test that is named exists, a command names what the command line has, a file is in the repository."""
    words = shlex.split(entry.shows.partition("   (")[0])
    if words[:3] == ["python", "-m", "pytest"]:
        path, _, pattern = words[3:]
        names = re.findall(r"^def (test_\w+)", (CHECKOUT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert any(pattern in name for name in names)
    elif words[0] == "kdnb":
        command = cli.cli.commands[words[1]]
        given = command.make_context(words[1], words[2:], resilient_parsing=False).params
        overrides = given.get("overrides", ())
        if given["profile"] != "published":
            assert profile.load(given["profile"], overrides).cells
    elif words[0] == "python":
        assert "html" in words[2]
        exec(words[2].replace("print(", "assert ("), {})
    elif words[0].startswith(("kdnb/", "book/")):
        assert (CHECKOUT / words[0]).is_file()
    else:
        assert entry.shows.endswith("of the released code")
