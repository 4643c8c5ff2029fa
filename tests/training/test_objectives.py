"""The loss against its formula and its limits, and the learning rate against the paper's table of epochs."""

import itertools

import hypothesis
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from kdnb.training import objectives
from kdnb.training.objectives import Objective
from kdnb.training.schedule import learning_rate
from kdnb.training.spec import CosineSchedule, OneCycleSchedule, StepSchedule, TrainSpec

PAPER = Objective(temperature=3.0, alpha=0.6)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, list[Tensor]]:
    """A student's logits, labels, and the logits of two teachers."""
    random = torch.Generator().manual_seed(0)
    student, *teachers = 3.0 * torch.randn(3, 6, 4, generator=random, dtype=torch.float64)
    return student, torch.randint(4, (6,), generator=random), teachers


def gradient(student: Tensor, labels: Tensor, teachers: list[Tensor], settings: Objective) -> Tensor:
    student = student.clone().requires_grad_()
    (of_student,) = torch.autograd.grad(objectives.loss(student, labels, teachers, settings), student)
    return of_student


def softmax(logits: Tensor, temperature: float = 1.0) -> np.ndarray:
    powers = np.exp(logits.numpy() / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum(axis=1).mean())


# -- the loss --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "alpha"), [(3.0, 0.6), (1.0, 0.0), (8.0, 0.25)])
def test_the_loss_of_two_teachers_is_the_papers_formula(batch, temperature, alpha):
    student, labels, teachers = batch
    hard = -np.log(softmax(student)[np.arange(6), labels]).mean()
    q = softmax(student, temperature)
    each = [alpha * hard + (1 - alpha) * temperature**2 * kl(softmax(t, temperature), q) for t in teachers]
    settings = Objective(temperature=temperature, alpha=alpha)
    assert float(objectives.loss(student, labels, teachers, settings)) == pytest.approx(np.mean(each))


def test_without_teachers_the_loss_is_cross_entropy(batch):
    student, labels, _ = batch
    assert objectives.loss(student, labels, [], None) == F.cross_entropy(student, labels)


def test_with_all_weight_on_labels_the_loss_is_cross_entropy(batch):
    student, labels, teachers = batch
    settings = Objective(temperature=3.0, alpha=1.0)
    assert float(objectives.loss(student, labels, teachers, settings)) == pytest.approx(
        float(F.cross_entropy(student, labels))
    )


def test_a_student_equal_to_its_teacher_pays_only_for_the_labels(batch):
    student, labels, _ = batch
    expected = 0.6 * float(F.cross_entropy(student, labels))
    assert float(objectives.loss(student, labels, [student, student], PAPER)) == pytest.approx(expected)


def test_with_all_weight_on_a_teacher_that_the_student_equals_nothing_pulls(batch):
    student, labels, _ = batch
    pull = gradient(student, labels, [student], Objective(temperature=3.0, alpha=0.0))
    assert pull.abs().max() < 1e-12


def test_matching_each_teacher_costs_more_than_matching_their_mean(batch):
    student, labels, teachers = batch
    q = softmax(student, 3.0)
    to_their_mean = 9.0 * kl(np.mean([softmax(teacher, 3.0) for teacher in teachers], axis=0), q)
    each = float(objectives.loss(student, labels, teachers, Objective(temperature=3.0, alpha=0.0)))
    assert each > 1.05 * to_their_mean


def test_the_order_of_teachers_does_not_matter(batch):
    student, labels, (first, second) = batch
    forth, back = (float(objectives.loss(student, labels, pair, PAPER)) for pair in ([first, second], [second, first]))
    assert forth == pytest.approx(back)


def test_the_soft_gradient_keeps_its_size_as_the_temperature_grows(batch):
    warm, hot = (gradient(*batch, Objective(temperature=t, alpha=0.0)).norm() for t in (50.0, 200.0))
    assert float(hot / warm) == pytest.approx(1.0, abs=0.05)


def test_at_a_high_temperature_the_soft_gradient_is_the_difference_of_centred_logits(batch):
    student, labels, (teacher, _) = batch
    soft = gradient(student, labels, [teacher], Objective(temperature=1e4, alpha=0.0))
    apart = student - teacher
    expected = (apart - apart.mean(dim=1, keepdim=True)) / apart.numel()
    assert torch.allclose(soft, expected, rtol=1e-2, atol=1e-5)


def test_the_gradient_is_that_of_finite_differences(batch):
    student, labels, teachers = batch
    student = student.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: objectives.loss(logits, labels, teachers, PAPER), student)


def test_the_loss_stays_finite_for_logits_whose_probabilities_underflow():
    student = torch.tensor([[2000.0, -2000.0]], requires_grad=True)
    loss = objectives.loss(student, torch.tensor([0]), [torch.tensor([[-2000.0, 2000.0]])], PAPER)
    loss.backward()
    assert loss.item() == pytest.approx(0.4 * 9 * 4000 / 3)
    assert student.grad.isfinite().all()


# -- the learning rate -----------------------------------------------------------------------------------------------


def training(schedule, epochs: int = 61) -> TrainSpec:
    return TrainSpec(epochs=epochs, learning_rate=0.1, schedule=schedule)


def rates(settings: TrainSpec, steps_per_epoch: int) -> list[float]:
    steps = range(settings.epochs * steps_per_epoch)
    return [learning_rate(settings, step, steps_per_epoch) for step in steps]


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.0125), (3, 0.05), (7, 0.1), (24, 0.1), (25, 0.01), (39, 0.01), (40, 0.001), (59, 0.001), (60, 0.0001)],
)
def test_steps_warm_up_for_8_epochs_and_fall_at_25_40_and_60(epoch, expected):
    settings = training(StepSchedule(milestones=(25, 40, 60)))
    first, last = (learning_rate(settings, step, 391) for step in (391 * epoch, 391 * epoch + 390))
    assert first == last == pytest.approx(expected)


def test_without_a_warm_up_the_steps_begin_at_the_full_rate():
    assert rates(training(StepSchedule(milestones=(1,), warmup_epochs=0), epochs=2), 3) == pytest.approx(
        [0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    )


def test_one_cycle_rises_to_the_peak_and_falls_to_nearly_nothing():
    settings = training(OneCycleSchedule(rise=0.3), epochs=10)
    cycle = np.array(rates(settings, 20))
    top = int(cycle.argmax())
    assert top == 60
    assert cycle[top] == pytest.approx(0.1)
    assert (np.diff(cycle[: top + 1]) > 0).all()
    assert (np.diff(cycle[top:]) < 0).all()
    assert cycle[0] < 0.002
    assert cycle[-1] < 1e-4


def test_cosine_starts_at_the_full_rate_is_half_way_down_in_the_middle_and_ends_near_zero():
    cosine = rates(training(CosineSchedule(), epochs=10), 20)
    assert cosine[0] == pytest.approx(0.1)
    assert cosine[100] == pytest.approx(0.05)
    assert 0.0 < cosine[-1] < 1e-4
    assert (np.diff(cosine) < 0).all()


def test_a_warm_up_scales_the_cosine_epoch_by_epoch():
    plain, warmed = (rates(training(CosineSchedule(warmup_epochs=w), epochs=10), 5) for w in (0, 4))
    shares = np.array(warmed) / np.array(plain)
    assert shares == pytest.approx(np.repeat([0.25, 0.5, 0.75] + [1.0] * 7, 5))


schedules = st.one_of(
    st.builds(OneCycleSchedule, rise=st.floats(0.001, 0.999)),
    st.builds(CosineSchedule, warmup_epochs=st.integers(0, 10)),
    st.builds(StepSchedule, milestones=st.lists(st.integers(0, 20), max_size=4).map(tuple)),
)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(schedules, st.integers(1, 20), st.integers(1, 9))
def test_every_step_has_a_positive_rate_of_at_most_the_peak_that_depends_on_its_number_alone(schedule, epochs, steps):
    forth = rates(training(schedule, epochs), steps)
    assert all(0.0 < rate <= 0.1 * (1 + 1e-12) for rate in forth)
    total = epochs * steps
    back = [learning_rate(training(schedule, epochs), step, steps) for step in reversed(range(total))]
    assert back[::-1] == forth


# -- kinds -----------------------------------------------------------------------------------------------------------


def by_hand(student, answers, labels, tau, alpha=0.6, temperature=3.0, own=None):
    """α·CE + (1 − α)·T²·mean KL(softmax(answer/τ) ‖ softmax(own/T_s)), in numpy."""
    hard = -np.log(softmax(student)[np.arange(len(labels)), labels]).mean()
    soft = np.mean([kl(softmax(answer, tau), own) for answer in answers])
    return alpha * hard + (1 - alpha) * temperature**2 * soft


def test_the_papers_text_adds_soft_cross_entropy_to_that_of_the_labels(batch):
    student, labels, teachers = batch
    q = softmax(student, 10.0)
    soft = np.mean([-(softmax(t, 10.0) * np.log(q)).sum(axis=1).mean() for t in teachers])
    hard = -np.log(softmax(student)[np.arange(6), labels]).mean()
    text = Objective(mix="sum", temperature=10.0)
    assert float(objectives.loss(student, labels, teachers, text)) == pytest.approx(hard + 100.0 * soft)


def test_z_score_matches_standardised_logits_of_both_sides(batch):
    student, labels, teachers = batch

    def z(logits):
        logits = logits.numpy()
        return torch.tensor((logits - logits.mean(1, keepdims=True)) / (logits.std(1, ddof=1, keepdims=True) + 1e-7))

    objective = Objective(kind="zscore")
    given = objectives.answers(objective, teachers, labels)
    expected = by_hand(student, [z(t) for t in teachers], labels, 0.7, own=softmax(z(student), 0.7))
    assert float(objectives.loss(student, labels, given, objective, 0.7)) == pytest.approx(expected)


def test_z_score_does_not_see_how_large_logits_are(batch):
    student, labels, teachers = batch
    objective = Objective(kind="zscore", alpha=0.0)
    losses = [
        float(objectives.loss(scale * student, labels, objectives.answers(objective, teachers, labels), objective, 1.0))
        for scale in (1.0, 5.0)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_class_means_are_the_mean_prediction_of_each_class():
    logits = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    means = objectives.class_means(logits, torch.tensor([0, 0, 1]), 2).exp().numpy()
    p = softmax(logits)
    np.testing.assert_allclose(means, [(p[0] + p[1]) / 2, p[2]], rtol=1e-5)


def test_a_class_mean_answer_is_the_same_for_all_images_of_a_class(batch):
    _, labels, teachers = batch
    means = [objectives.class_means(t, labels, 4) for t in teachers]
    given = objectives.answers(Objective(kind="class-mean"), teachers, labels, means)
    for answer in given:
        for label in labels.unique():
            assert (answer[labels == label] == answer[labels == label][0]).all()


def test_shuffled_answers_are_those_of_other_images(batch):
    _, labels, teachers = batch
    (given, _) = objectives.answers(Objective(kind="shuffled"), teachers, labels)
    assert not (given == teachers[0]).all(dim=1).any()
    assert sorted(map(tuple, given.tolist())) == sorted(map(tuple, teachers[0].tolist()))


def test_label_smoothing_gives_one_share_to_the_label_and_another_to_all_others(batch):
    _, labels, teachers = batch
    (given, _) = objectives.answers(Objective(kind="label-smoothing"), teachers, labels)
    tau = objectives.matched_temperature([given], 0.9)
    p = softmax(given, tau)
    share = np.exp(1 / tau) / (np.exp(1 / tau) + 3)
    np.testing.assert_allclose(p[np.arange(6), labels], share, rtol=1e-6)
    others = np.sort(p, axis=1)[:, :3]
    np.testing.assert_allclose(others, (1 - share) / 3, rtol=1e-6)
    assert -(p * np.log(p)).sum(axis=1).mean() == pytest.approx(0.9, abs=1e-6)


def test_a_second_copy_of_a_teacher_is_one_teacher(batch):
    student, labels, (teacher, _) = batch
    once, twice = (float(objectives.loss(student, labels, [teacher] * n, PAPER)) for n in (1, 2))
    assert once == pytest.approx(twice, rel=1e-12)


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
@hypothesis.given(st.floats(0.05, 1.3))
def test_the_matched_temperature_gives_the_entropy_that_was_asked_for(entropy):
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    tau = objectives.matched_temperature([logits], entropy)
    p = softmax(logits.double(), tau)
    assert -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1).mean() == pytest.approx(entropy, abs=1e-6)


def test_an_entropy_that_no_temperature_gives_is_an_error():
    with pytest.raises(ValueError, match=r"no temperature gives targets of mean entropy 1\.5"):
        objectives.matched_temperature([torch.randn(5, 4)], 1.5)


# -- the released schedule -------------------------------------------------------------------------------------------


def test_the_released_schedule_is_one_epoch_early():
    released = training(StepSchedule(milestones=(25, 40, 60), early=True))
    expected = {0: 0.1 * 2 / 8, 6: 0.1, 23: 0.1, 24: 0.01, 38: 0.01, 39: 0.001, 59: 0.0001}
    for epoch, rate in expected.items():
        assert learning_rate(released, 391 * epoch, 391) == pytest.approx(rate)


def test_the_released_cosine_goes_by_epochs_and_is_early_too():
    released = training(CosineSchedule(per_epoch=True, early=True), epochs=10)
    for epoch in range(10):
        first, last = (learning_rate(released, 20 * epoch + step, 20) for step in (0, 19))
        assert first == last == pytest.approx(0.05 * (1 + np.cos(np.pi * (epoch + 1) / 10)))


# -- halves by a coin, and a pull that is equal ----------------------------------------------------------------------

HALVES = ("halves-different", "halves-both", "halves-same")


def expected_gradient(kind, student, labels, halves):
    """Over all coins of a batch, each as likely: the mean gradient in the student's logits."""
    settings, coins = (
        Objective(kind=kind, temperature=4.0, alpha=0.3),
        itertools.product([True, False], repeat=len(labels)),
    )
    total, count = torch.zeros_like(student), 0
    for coin in coins:
        answers = objectives.answers(settings, halves, labels, coin=torch.tensor(coin))
        total, count = total + gradient(student, labels, answers, settings), count + 1
    return total / count


@pytest.mark.parametrize("teachers", [2, 3])
def test_the_three_ways_of_showing_halves_have_one_expected_gradient_for_any_student_and_teachers(batch, teachers):
    student, labels, _ = batch
    random = torch.Generator().manual_seed(1)
    halves = list(3.0 * torch.randn(2 * teachers, 6, 4, generator=random, dtype=torch.float64))
    different, both, same = (expected_gradient(kind, student, labels, halves) for kind in HALVES)
    torch.testing.assert_close(different, both, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(same, both, rtol=1e-10, atol=1e-12)


def test_what_a_coin_shows_is_one_half_to_each_teacher_the_same_or_different(batch):
    _, labels, _ = batch
    left, right = torch.zeros(6, 4), torch.ones(6, 4)
    coin = torch.tensor([True, False] * 3)
    for kind, second in (("halves-same", [0.0, 1.0] * 3), ("halves-different", [1.0, 0.0] * 3)):
        answers = objectives.answers(Objective(kind=kind), [left, right, left, right], labels, coin=coin)
        assert [each[:, 0].tolist() for each in answers] == [[0.0, 1.0] * 3, second]
    with pytest.raises(ValueError, match="needs a coin"):
        objectives.answers(Objective(kind="halves-same"), [left, right], labels)


def test_with_both_halves_a_teacher_answers_with_the_mean_of_its_two_predictions(batch):
    _, labels, (left, right) = batch
    settings = Objective(kind="halves-both", temperature=4.0)
    (answer,) = objectives.answers(settings, [left, right], labels)
    np.testing.assert_allclose(softmax(answer, 4.0), (softmax(left, 4.0) + softmax(right, 4.0)) / 2, rtol=1e-10)


def test_the_gradient_of_z_score_at_equal_pull_is_that_of_vanilla_up_to_the_projection(batch):
    student, labels, teachers = batch
    tau, own, alpha = 0.7, 4.0, 0.3
    settings = Objective(kind="zscore-equal", temperature=own, alpha=alpha)
    answers = objectives.answers(settings, teachers, labels)
    logits = student.clone().requires_grad_()
    _, soft = objectives.terms(logits, labels, answers, settings, tau)
    (found,) = torch.autograd.grad(soft, logits)

    rows = student.numpy()
    centred = rows - rows.mean(axis=1, keepdims=True)
    z = centred / rows.std(axis=1, ddof=1, keepdims=True)
    q = softmax(torch.from_numpy(z), tau)
    p = np.mean([softmax(answer, tau) for answer in answers], axis=0)
    pull = (1 - alpha) * own * (q - p) / len(rows)
    # standardising takes away the mean and what lies along the logits themselves
    projected = pull - pull.mean(axis=1, keepdims=True)
    projected -= z * (projected * z).sum(axis=1, keepdims=True) / (rows.shape[1] - 1)
    np.testing.assert_allclose(found.numpy(), projected, rtol=1e-5, atol=1e-9)
    assert (np.linalg.norm(found.numpy(), axis=1) <= np.linalg.norm(pull, axis=1) + 1e-9).all()


def test_the_norms_of_the_two_gradients_are_those_of_single_images(batch):
    student, labels, teachers = batch
    hard, soft = objectives.gradient_norms(student, labels, teachers, PAPER)
    q, q_soft = softmax(student), softmax(student, 3.0)
    p = np.mean([softmax(teacher, 3.0) for teacher in teachers], axis=0)
    assert float(hard) == pytest.approx(np.linalg.norm(0.6 * (q - np.eye(4)[labels]), axis=1).sum())
    assert float(soft) == pytest.approx(np.linalg.norm(0.4 * 3.0 * (q_soft - p), axis=1).sum())
