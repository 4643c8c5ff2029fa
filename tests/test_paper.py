"""The paper's tables, computed again: every number that is quoted of them."""

import re
import shlex

import pytest

from kdnb import cli
from kdnb.evidence import paper
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
