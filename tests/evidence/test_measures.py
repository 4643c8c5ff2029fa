"""Each measure against a case worked out by hand, against an independent library, and against its own symmetries."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import special, stats
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import adjusted_mutual_info_score, cohen_kappa_score, mutual_info_score
from torch import Tensor
from torch.distributions import Categorical, kl_divergence
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from kdnb.evidence import measures

examples = settings(max_examples=40, deadline=None, derandomize=True)

NAN = float("nan")


def voting(*classes: int, of: int = 3) -> Tensor:
    """Logits whose top classes are these."""
    return F.one_hot(torch.tensor(classes), of).double()


def noise(images: int, classes: int, seed: int) -> Tensor:
    return 2.0 * torch.randn(images, classes, generator=torch.Generator().manual_seed(seed))


def numbers(images: int, classes: int, seed: int) -> Tensor:
    return torch.randint(classes, (images,), generator=torch.Generator().manual_seed(seed))


@st.composite
def two_networks(draw) -> tuple[Tensor, Tensor, Tensor]:
    """Teacher, student and labels; whole logits, so that shifting them is exact and ties occur."""
    images, classes = draw(st.integers(1, 12)), draw(st.integers(2, 5))
    logits = arrays.arrays(np.float64, (images, classes), elements=st.integers(-9, 9).map(float))
    labels = arrays.arrays(np.int64, images, elements=st.integers(0, classes - 1))
    return torch.from_numpy(draw(logits)), torch.from_numpy(draw(logits)), torch.from_numpy(draw(labels))


def released_information(theirs, ours) -> float:
    """What scikit-learn makes of the labels of a batch, called as the released code calls it."""
    return mutual_info_classif(ours[:, None], theirs, random_state=0)[0]


OF_LABELS = {
    "accuracy": measures.accuracy,
    "calibration": measures.calibration_error,
    "calibration, as released": partial(measures.calibration_error, form="as-released"),
}

OF_PAIRS = {
    "agreement": measures.agreement,
    "divergence": measures.divergence,
    "information": measures.mutual_information,
    "information, adjusted": partial(measures.mutual_information, form="adjusted"),
}

OF_BATCHES = {
    "agreement, as released": measures.agreement_as_released,
    "divergence, as released": measures.divergence_as_released,
    "information, as released": partial(measures.mutual_information, form="as-released"),
    "information score, as released": partial(measures.mutual_information, form="as-released-score"),
}

OF_PAIRS_AND_LABELS = {
    "agreement on errors": measures.agreement_on_errors,
    "error consistency": measures.error_consistency,
}


# -- one network -----------------------------------------------------------------------------------------------------


def test_accuracy_is_the_share_of_right_top_classes():
    assert measures.accuracy(voting(0, 1, 2, 2), torch.tensor([0, 1, 2, 0])) == 0.75


def test_accuracy_is_the_micro_average_which_on_imbalanced_data_is_not_the_macro_average():
    labels = torch.tensor([0] * 90 + [1] * 10)
    logits = voting(*[0] * 98, 1, 1, of=2)
    micro, macro = (float(multiclass_accuracy(logits, labels, 2, average)) for average in ("micro", "macro"))
    assert measures.accuracy(logits, labels) == pytest.approx(micro) == pytest.approx(0.92)
    assert macro == pytest.approx((1.0 + 0.2) / 2)


def test_entropy_of_uniform_predictions_is_the_logarithm_of_the_number_of_classes():
    assert measures.entropy(torch.full((4, 7), 3.0)) == pytest.approx(math.log(7))


def test_entropy_of_certain_predictions_is_zero():
    assert measures.entropy(1000.0 * voting(0, 2, 1)) == 0.0


def test_entropy_is_that_of_torch_distributions():
    logits = noise(200, 10, 0)
    assert measures.entropy(logits) == pytest.approx(float(Categorical(logits=logits.double()).entropy().mean()))


def test_calibration_error_weighs_bins_with_their_images_and_as_released_averages_empty_bins_too():
    likely, sure = torch.tensor([0.65, 0.35]).log(), torch.tensor([0.95, 0.05]).log()
    logits, labels = torch.stack([likely, likely, sure, sure, sure, sure]), torch.tensor([0, 1, 0, 0, 0, 0])
    assert measures.calibration_error(logits, labels) == pytest.approx((2 * 0.15 + 4 * 0.05) / 6)
    assert measures.calibration_error(logits, labels, "as-released") == pytest.approx((0.15 + 0.05) / 10)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_calibration_error_is_that_of_torchmetrics(classes):
    logits, labels = noise(500, classes, 1), numbers(500, classes, 2)
    expected = multiclass_calibration_error(logits.double().softmax(dim=1), labels, classes, n_bins=10, norm="l1")
    assert measures.calibration_error(logits, labels) == pytest.approx(float(expected), abs=1e-6)


def test_a_confidence_of_exactly_one_is_counted_in_the_last_bin():
    logits, labels = 1000.0 * voting(0, 0, 1, 1), torch.tensor([0, 0, 1, 0])
    counts, confidence, accuracy = measures.reliability(logits, labels)
    assert counts.tolist() == [0] * 9 + [4]
    assert (confidence[-1], accuracy[-1]) == (1.0, 0.75)
    assert measures.calibration_error(logits, labels) == 0.25


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    counts, _, _ = measures.reliability(torch.zeros(5, 2), torch.zeros(5, dtype=torch.long))
    assert counts.tolist() == [0, 0, 0, 0, 5, 0, 0, 0, 0, 0]


@examples
@given(two_networks(), st.integers(1, 20))
def test_reliability_counts_every_image_once_and_empty_bins_as_zero(networks, bins):
    logits, _, labels = networks
    counts, confidence, accuracy = measures.reliability(logits, labels, bins)
    assert counts.sum() == len(logits)
    assert not confidence[counts == 0].any()
    assert not accuracy[counts == 0].any()
    assert (counts * accuracy).sum() / len(logits) == pytest.approx(measures.accuracy(logits, labels))


def test_calibration_needs_a_bin():
    with pytest.raises(ValueError, match="at least one bin, not 0"):
        measures.calibration_error(voting(0), torch.tensor([0]), bins=0)


def test_affinity_is_a_difference_or_a_ratio():
    assert measures.affinity(0.3, 0.6) == pytest.approx(-0.3)
    assert measures.affinity(0.3, 0.6, "ratio") == pytest.approx(0.5)


def test_affinity_of_an_augmentation_that_changes_nothing_is_zero_and_as_a_ratio_one():
    assert measures.affinity(0.7, 0.7) == 0.0
    assert measures.affinity(0.7, 0.7, "ratio") == 1.0


@pytest.mark.parametrize(("augmented", "clean"), [(1.2, 0.5), (0.5, -0.1), (60.0, 70.0), (NAN, 0.5)])
def test_affinity_is_of_accuracies_between_zero_and_one(augmented, clean):
    with pytest.raises(ValueError, match="between 0 and 1"):
        measures.affinity(augmented, clean)


def test_the_ratio_to_an_accuracy_of_zero_is_undefined():
    assert measures.affinity(0.0, 0.0) == 0.0
    assert math.isnan(measures.affinity(0.0, 0.0, "ratio"))


def test_temperature_scaling_takes_out_all_miscalibration_that_is_one_temperature():
    draw = torch.Generator().manual_seed(0)
    logits = 2.0 * torch.randn(20_000, 5, generator=draw, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=draw)[:, 0]  # so the logits are calibrated
    assert measures.fitted_temperature(3.0 * logits, labels) == pytest.approx(3.0, rel=0.03)
    assert measures.calibration_error(3.0 * logits, labels) > 0.1
    assert measures.scaled_calibration_error(3.0 * logits, labels) < 0.015


def test_a_measure_among_teachers_is_the_mean_over_pairs_and_leaves_one_out_where_there_are_three():
    first, second, third = torch.eye(3)[[0, 0, 1, 2]], torch.eye(3)[[0, 1, 1, 2]], torch.eye(3)[[0, 1, 1, 1]]
    pairs = [measures.agreement(a, b) for a, b in ((first, second), (first, third), (second, third))]
    assert measures.among(measures.agreement, [first, second, third]) == pytest.approx(np.mean(pairs))
    rest = [
        measures.agreement((second + third) / 2, first),
        measures.agreement((first + third) / 2, second),
        measures.agreement((first + second) / 2, third),
    ]
    assert measures.rest_against_each(measures.agreement, [first, second, third]) == pytest.approx(np.mean(rest))
    with pytest.raises(ValueError, match="takes three or more, not 2"):
        measures.rest_against_each(measures.agreement, [first, second])


def test_the_gap_is_large_where_a_network_overfits():
    assert measures.train_validation_gap(0.95, 0.6) == pytest.approx(0.35)
    assert measures.train_validation_gap(0.5, 0.6) == pytest.approx(-0.1)


def test_the_gap_as_released_is_that_of_the_best_epoch_anybody_looked_at():
    assert measures.gap_as_released([0.2, 0.5, 0.8, 0.9], [0.1, 0.4, None, 0.3]) == pytest.approx(0.5 - 0.4)


def test_the_gap_as_released_is_that_of_the_first_of_equally_good_epochs():
    assert measures.gap_as_released([0.2, 0.5, 0.9], [None, 0.4, 0.4]) == pytest.approx(0.5 - 0.4)


@pytest.mark.parametrize(("running", "validation"), [([], []), ([0.5], [None]), ([0.5, 0.6], [0.4])])
def test_the_gap_as_released_needs_a_log_with_a_look_at_the_validation_set(running, validation):
    with pytest.raises(ValueError, match="one training accuracy an epoch"):
        measures.gap_as_released(running, validation)


# -- two networks ----------------------------------------------------------------------------------------------------


def test_an_ensemble_is_the_mean_of_its_logits():
    ensemble = measures.ensemble_logits([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0]])])
    assert ensemble.tolist() == [[2.0, 1.0]]


def test_agreement_is_the_share_of_equal_top_classes():
    assert measures.agreement(voting(0, 1, 2, 2), voting(0, 1, 2, 0)) == 0.75


def test_agreement_as_released_leaves_out_images_that_fill_no_batch():
    teacher, student = voting(0, 1, 2), voting(0, 0, 2)
    assert measures.agreement_as_released(teacher, student, batch_size=2) == 0.5
    assert measures.agreement_as_released(teacher, student, batch_size=4) == pytest.approx(2 / 3)


def test_a_last_batch_that_is_kept_weighs_as_much_as_a_whole_one():
    teacher, student = voting(0, 1, 2), voting(0, 0, 2)
    assert measures.agreement_as_released(teacher, student, batch_size=2, drop_last=False) == (1 / 2 + 1) / 2
    parts = [measures.divergence(student[part], teacher[part]) for part in (slice(2), slice(2, 3))]
    kept = measures.divergence_as_released(teacher, student, batch_size=2, drop_last=False)
    assert kept == pytest.approx(10 * sum(parts) / 2)


@pytest.mark.parametrize(
    ("form", "of_batch"), [("as-released", released_information), ("as-released-score", mutual_info_score)]
)
def test_the_released_information_of_training_images_keeps_the_last_batch(form, of_batch):
    teacher = noise(300, 5, 26)
    student = teacher + noise(300, 5, 27)
    theirs, ours = teacher.argmax(dim=1).numpy(), student.argmax(dim=1).numpy()
    batches = [of_batch(theirs[i : i + 128], ours[i : i + 128]) for i in (0, 128, 256)]
    assert measures.mutual_information(teacher, student, form, drop_last=False) == pytest.approx(np.mean(batches))
    assert measures.mutual_information(teacher, student, form) == pytest.approx(np.mean(batches[:2]))


def test_agreement_as_released_is_over_batches_of_128():
    teacher, student = voting(*[0] * 257), voting(*[1] * 128, *[0] * 129)
    assert measures.agreement_as_released(teacher, student) == 0.5


def test_agreement_on_errors_owes_nothing_to_images_that_either_gets_right():
    labels = torch.tensor([0, 0, 0, 0, 0])
    teacher, student = voting(0, 1, 1, 2, 1), voting(0, 0, 1, 1, 1)
    assert measures.agreement_on_errors(teacher, student, labels) == pytest.approx(2 / 3)


def test_agreement_on_errors_is_undefined_where_no_image_fools_both():
    assert math.isnan(measures.agreement_on_errors(voting(0, 1), voting(1, 0), torch.tensor([0, 0])))


def test_error_consistency_is_agreement_in_being_right_beyond_what_two_accuracies_force():
    labels = torch.zeros(10, dtype=torch.long)
    teacher, student = voting(0, 0, 0, 0, 0, 0, 1, 1, 1, 1), voting(0, 0, 0, 0, 0, 2, 0, 0, 0, 2)
    observed, expected = 6 / 10, 0.6 * 0.8 + 0.4 * 0.2
    consistency = measures.error_consistency(teacher, student, labels)
    assert consistency == pytest.approx((observed - expected) / (1 - expected))


def test_error_consistency_is_cohens_kappa_of_being_right():
    labels = numbers(300, 4, 5)
    teacher, student = noise(300, 4, 6) + 2 * F.one_hot(labels), noise(300, 4, 7) + 3 * F.one_hot(labels)
    right = [logits.argmax(dim=1) == labels for logits in (teacher, student)]
    assert measures.error_consistency(teacher, student, labels) == pytest.approx(cohen_kappa_score(*right))


def test_error_consistency_is_one_for_networks_that_are_right_on_the_same_images():
    labels = torch.tensor([0, 0, 0, 0])
    assert measures.error_consistency(voting(0, 0, 1, 1), voting(0, 0, 2, 1), labels) == 1.0


def test_error_consistency_is_negative_for_networks_that_err_on_different_images():
    labels = torch.tensor([0, 0, 0, 0])
    assert measures.error_consistency(voting(0, 0, 1, 1), voting(1, 2, 0, 0), labels) == -1.0


@pytest.mark.parametrize("answer", [0, 1])
def test_error_consistency_is_undefined_where_both_are_always_right_or_always_wrong(answer):
    logits = voting(answer, answer, answer)
    assert math.isnan(measures.error_consistency(logits, logits, torch.tensor([0, 0, 0])))


def test_error_consistency_is_zero_where_one_network_never_varies():
    labels = torch.tensor([0, 0, 0])
    assert measures.error_consistency(voting(0, 0, 0), voting(0, 1, 1), labels) == 0.0
    assert measures.error_consistency(voting(0, 0, 0), voting(1, 1, 1), labels) == 0.0


def test_divergence_is_the_expected_logarithm_of_the_ratio_under_the_teacher():
    teacher, student = torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert measures.divergence(teacher, student) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_divergence_is_that_of_scipy_and_of_torch(temperature):
    teacher, student = noise(100, 10, 8).double(), noise(100, 10, 9).double()
    p, q = (special.softmax(logits.numpy() / temperature, axis=1) for logits in (teacher, student))
    divergence = measures.divergence(teacher, student, temperature)
    assert divergence == pytest.approx(stats.entropy(p, q, axis=1).mean())
    assert divergence == pytest.approx(special.rel_entr(p, q).sum(axis=1).mean())
    torchs = kl_divergence(Categorical(logits=teacher / temperature), Categorical(logits=student / temperature))
    assert divergence == pytest.approx(float(torchs.mean()))


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        ([0.0, -2000.0], [0.0, -1000.0], 0.0),
        ([0.0, -1000.0], [0.0, -2000.0], 0.0),
        ([-1000.0, 0.0], [0.0, -1000.0], 1000.0),
        ([0.0, 0.0], [0.0, -4000.0], 2000.0 - math.log(2)),
        ([1e30, 0.0], [0.0, 1e30], 1e30),
    ],
)
def test_divergence_stays_right_where_probabilities_underflow(teacher, student, expected):
    teacher, student = torch.tensor([teacher]), torch.tensor([student])
    assert measures.divergence(teacher, student) == pytest.approx(expected)


def test_divergence_at_a_temperature_of_zero_is_an_error_and_not_zero():
    with pytest.raises(ValueError, match="temperature"):
        measures.divergence(voting(0, 1), voting(1, 0), temperature=0.0)


@examples
@given(two_networks())
def test_divergence_is_zero_for_equal_networks_and_never_negative(networks):
    teacher, student, _ = networks
    assert measures.divergence(teacher, teacher) == 0.0
    assert measures.divergence(teacher, student) >= 0.0


def test_divergence_as_released_is_ten_times_the_mean_over_batches_of_the_student_from_the_teacher():
    teacher, student = noise(300, 5, 10), noise(300, 5, 11)
    batches = [measures.divergence(student[i : i + 128], teacher[i : i + 128]) for i in (0, 128)]
    released = measures.divergence_as_released(teacher, student)
    assert released == pytest.approx(10 * sum(batches) / 2)
    assert released != pytest.approx(10 * measures.divergence(student, teacher))


# -- mutual information ----------------------------------------------------------------------------------------------


def test_mutual_information_of_a_bijection_between_equal_classes_is_their_entropy():
    assert measures.mutual_information(voting(0, 1, 2, 0, 1, 2), voting(2, 0, 1, 2, 0, 1)) == pytest.approx(math.log(3))


def test_mutual_information_of_an_independent_table_is_zero():
    pairs = [(i, j) for i in range(3) for j in range(4)]
    teacher, student = voting(*[i for i, _ in pairs], of=4), voting(*[j for _, j in pairs], of=4)
    assert measures.mutual_information(teacher, student) == pytest.approx(0.0, abs=1e-12)


def test_mutual_information_is_that_of_scikit_learn_plain_and_adjusted():
    teacher = noise(400, 6, 12)
    student = teacher + noise(400, 6, 13)
    theirs, ours = teacher.argmax(dim=1), student.argmax(dim=1)
    assert measures.mutual_information(teacher, student) == pytest.approx(mutual_info_score(theirs, ours))
    adjusted = measures.mutual_information(teacher, student, "adjusted")
    assert adjusted == pytest.approx(adjusted_mutual_info_score(theirs, ours, average_method="arithmetic"))


def test_adjusted_mutual_information_is_one_for_renamed_classes_and_about_zero_for_independent_ones():
    logits = noise(500, 10, 14)
    renamed = logits[:, [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]]
    assert measures.mutual_information(logits, renamed, "adjusted") == pytest.approx(1.0)
    assert measures.mutual_information(logits, noise(500, 10, 15), "adjusted") == pytest.approx(0.0, abs=0.02)


def test_mutual_information_as_released_takes_class_numbers_for_continuous_batch_by_batch():
    teacher = noise(300, 10, 16)
    student = teacher + noise(300, 10, 17)
    theirs, ours = teacher.argmax(dim=1).numpy(), student.argmax(dim=1).numpy()
    batches = [released_information(theirs[i : i + 128], ours[i : i + 128]) for i in (0, 128)]
    assert measures.mutual_information(teacher, student, "as-released") == pytest.approx(np.mean(batches))


def test_mutual_information_as_released_leaves_out_a_batch_without_two_images_of_one_label():
    teacher, student = noise(128, 130, 18), noise(128, 130, 19)
    longer = [torch.cat([logits, voting(*range(128), of=130)]) for logits in (teacher, student)]
    released = measures.mutual_information(teacher, student, "as-released")
    assert measures.mutual_information(*longer, "as-released") == released


def test_mutual_information_as_released_is_undefined_where_no_batch_repeats_a_label():
    assert math.isnan(measures.mutual_information(voting(0, 1, 2), voting(0, 1, 2), "as-released"))


def test_mutual_information_as_released_takes_a_hundred_classes_without_a_warning():
    teacher, student = noise(128, 100, 20), noise(128, 100, 21)
    assert teacher.argmax(dim=1).unique().numel() > 64
    assert measures.mutual_information(teacher, student, "as-released") >= 0.0


def test_the_released_score_is_the_plain_form_batch_by_batch():
    teacher, student = noise(300, 5, 22), noise(300, 5, 23)
    theirs, ours = teacher.argmax(dim=1), student.argmax(dim=1)
    batches = [mutual_info_score(theirs[i : i + 128], ours[i : i + 128]) for i in (0, 128)]
    assert measures.mutual_information(teacher, student, "as-released-score") == pytest.approx(np.mean(batches))


def test_finite_batches_inflate_the_released_score_of_independent_predictions():
    teacher, student = noise(2560, 20, 24), noise(2560, 20, 25)
    plain = measures.mutual_information(teacher, student)
    assert plain < 0.1
    assert measures.mutual_information(teacher, student, "as-released-score") > 5 * plain


# -- symmetries ------------------------------------------------------------------------------------------------------


@examples
@given(two_networks())
def test_agreement_is_symmetric_and_a_share(networks):
    teacher, student, _ = networks
    agreement = measures.agreement(teacher, student)
    assert agreement == measures.agreement(student, teacher)
    assert 0.0 <= agreement <= 1.0
    assert measures.agreement(teacher, teacher) == 1.0


@examples
@given(two_networks())
def test_mutual_information_is_symmetric_and_at_most_the_entropy_of_the_labels(networks):
    teacher, student, _ = networks
    information = measures.mutual_information(teacher, student)
    assert information == pytest.approx(measures.mutual_information(student, teacher), abs=1e-12)
    assert 0.0 <= information <= math.log(teacher.shape[1]) + 1e-12


@examples
@given(two_networks(), st.integers(-50, 50))
def test_a_constant_added_to_an_images_logits_changes_nothing(networks, constant):
    teacher, student, labels = networks
    shifted = student + constant * (1 + torch.arange(len(student)).unsqueeze(1) % 3)
    assert measures.entropy(shifted) == pytest.approx(measures.entropy(student))
    assert measures.agreement(teacher, shifted) == measures.agreement(teacher, student)
    assert measures.divergence(teacher, shifted) == pytest.approx(measures.divergence(teacher, student))
    assert measures.accuracy(shifted, labels) == measures.accuracy(student, labels)


@examples
@given(two_networks(), st.randoms(use_true_random=False))
def test_the_order_of_images_changes_no_measure_of_the_whole_set(networks, random):
    teacher, student, labels = networks
    order = random.sample(range(len(labels)), len(labels))
    for measure in OF_LABELS.values():
        assert measure(teacher[order], labels[order]) == pytest.approx(measure(teacher, labels))
    for measure in OF_PAIRS.values():
        assert measure(teacher[order], student[order]) == pytest.approx(measure(teacher, student), abs=1e-12)
    for measure in OF_PAIRS_AND_LABELS.values():
        reordered = measure(teacher[order], student[order], labels[order])
        assert reordered == pytest.approx(measure(teacher, student, labels), nan_ok=True)


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [*OF_PAIRS.values(), *OF_BATCHES.values()], ids=[*OF_PAIRS, *OF_BATCHES])
@pytest.mark.parametrize("shapes", [((3, 2), (4, 2)), ((3, 2), (3, 3)), ((3,), (3,)), ((0, 2), (0, 2))])
def test_two_networks_answer_for_the_same_images_and_classes(measure, shapes):
    with pytest.raises(ValueError, match=r"one shape \(N, K\)"):
        measure(*map(torch.zeros, shapes))


@pytest.mark.parametrize("measure", OF_LABELS.values(), ids=OF_LABELS)
def test_every_image_has_one_label(measure):
    with pytest.raises(ValueError, match="labels do not fit"):
        measure(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"one shape \(N, K\)"):
        measure(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize("measure", OF_PAIRS_AND_LABELS.values(), ids=OF_PAIRS_AND_LABELS)
def test_every_image_of_two_networks_has_one_label(measure):
    with pytest.raises(ValueError, match="labels do not fit"):
        measure(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(ValueError, match=r"one shape \(N, K\)"):
        measure(torch.zeros(3, 2), torch.zeros(2, 2), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_a_network_that_diverged_has_no_measures(value):
    logits, broken = torch.zeros(2, 2), torch.tensor([[0.0, value], [0.0, 0.0]])
    labels = torch.zeros(2, dtype=torch.long)
    calls = [
        partial(measures.entropy, broken),
        partial(measures.ensemble_logits, [logits, broken]),
        *(partial(measure, broken, labels) for measure in OF_LABELS.values()),
        *(partial(measure, logits, broken) for measure in (*OF_PAIRS.values(), *OF_BATCHES.values())),
        *(partial(measure, logits, broken, labels) for measure in OF_PAIRS_AND_LABELS.values()),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="not finite"):
            call()


def test_an_unknown_form_is_named_with_those_there_are():
    logits, labels = voting(0, 1), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"'median'.*weighted or as-released"):
        measures.calibration_error(logits, labels, "median")
    with pytest.raises(ValueError, match=r"'median'.*difference or ratio"):
        measures.affinity(0.5, 0.5, "median")
    with pytest.raises(ValueError, match=r"'median'.*plain, adjusted, as-released or as-released-score"):
        measures.mutual_information(logits, logits, "median")
