"""What a study costs, and how many workers can share it: against values computed by hand."""

import pytest

from kdnb.study import estimate, grid
from tests.conftest import small_profile


def test_a_worker_takes_the_first_task_whose_needs_are_there():
    #   teachers a (3) and b (1); students of a (2) and of b (4)
    costs, makes = [3, 1, 2, 4], [{"a"}, {"b"}, {"x"}, {"y"}]
    needs = [set(), set(), {"a"}, {"b"}]
    assert estimate.makespan(costs, makes, needs, workers=1) == 10
    assert estimate.makespan(costs, makes, needs, workers=2) == 5  # b, then y while a and x
    assert estimate.makespan(costs, makes, needs, workers=9) == 5


def test_what_nobody_makes_is_an_error():
    with pytest.raises(ValueError, match="no task makes what 1 tasks need"):
        estimate.makespan([1], [{"a"}], [{"b"}], workers=1)


def test_more_workers_are_faster_up_to_what_teachers_allow():
    one, five = (grid.build(small_profile(seeds=tuple(range(seeds))), "") for seeds in (1, 5))
    assert estimate.speed_up(one, 1, 10, 32) == 1
    most = [estimate.speed_up(each, 64, 10, 32) for each in (one, five)]
    assert 1 < most[0] < most[1] < 64
    assert all(estimate.speed_up(five, n, 10, 32) <= n for n in (2, 3, 4))


def test_the_parts_of_a_seed_by_hand():
    """Four teachers and a reference; two groups of three students, each of which hears all four teachers."""
    study = grid.build(small_profile(), "")
    found = estimate.parts(study, 10, 32)
    step = 3 * estimate._flops("resnet8-w8", 10, 32) * 2  # two epochs
    assert found == {"teachers": 5 * step, "students": 6 * step, "answers": 2 * 4 * step / 3}
    assert estimate.parts(study, 10, 64)["teachers"] == pytest.approx(4 * found["teachers"], rel=0.01)


def test_memory_grows_with_networks_batch_and_images(few_digits, small_study):
    specs = {run.spec.id: run.spec for run in small_study.every_run}
    student = next(spec for spec in specs.values() if spec.teachers)
    one = estimate.memory([student], specs, few_digits)
    assert one > estimate.RUNTIME
    wide = student.model_copy(update={"train": student.train.model_copy(update={"batch_size": 320})})
    kept = estimate._sizes("resnet8-w8", 10, few_digits.side)[1]
    assert estimate.memory([wide], specs, few_digits) - one == pytest.approx(1.2 * 4 * 2 * (320 - 32) * kept)
    parameters = estimate._sizes("resnet8-w8", 10, few_digits.side)[0]
    two = estimate.memory([student, student.model_copy(update={"seed": 7})], specs, few_digits)
    assert two - one == pytest.approx(1.2 * 4 * 3 * parameters)
