"""How many workers can share a study, and what each needs: against values computed by hand."""

import pytest

from kdnb.scale import cost
from kdnb.study import grid
from tests.conftest import small_profile

SIZES = {"": cost.Sizes(train=600, validation=1200, classes=10, side=32)}


def test_a_worker_takes_the_first_task_whose_needs_are_there():
    #   teachers a (3) and b (1); students of a (2) and of b (4)
    costs, makes = [3, 1, 2, 4], [{"a"}, {"b"}, {"x"}, {"y"}]
    needs = [set(), set(), {"a"}, {"b"}]
    assert cost.makespan(costs, makes, needs, workers=1) == 10
    assert cost.makespan(costs, makes, needs, workers=2) == 5  # b, then y while a and x
    assert cost.makespan(costs, makes, needs, workers=9) == 5


def test_what_nobody_makes_is_an_error():
    with pytest.raises(ValueError, match="no task makes what 1 tasks need"):
        cost.makespan([1], [{"a"}], [{"b"}], workers=1)


def test_more_workers_are_faster_up_to_what_teachers_allow():
    one, five = (grid.build(small_profile(seeds=tuple(range(seeds))), "") for seeds in (1, 5))
    assert cost.speed_up(one, 1, SIZES) == 1
    most = [cost.speed_up(each, 64, SIZES) for each in (one, five)]
    assert 1 < most[0] < most[1] < 64
    assert all(cost.speed_up(five, n, SIZES) <= n for n in (2, 3, 4))


def test_a_worker_needs_more_than_the_group_it_trains(few_digits, small_study):
    specs = {run.spec.id: run.spec for run in small_study.every_run}
    sizes = {few_digits.hash: cost.Sizes.of(few_digits)}
    student = next(spec for spec in specs.values() if spec.teachers)
    group = cost.of_group([student], specs, sizes)
    expected = 1.2 * (cost.RUNTIME + group.memory + group.disk)  # what is observed is held until it is written
    assert cost.of_worker([student], specs, sizes) == pytest.approx(expected)
