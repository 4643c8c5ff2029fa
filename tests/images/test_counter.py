"""The counter-based stream: known answers, independence, uniformity."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kdnb.images.counter import Purpose, Stream, philox4x32

PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)
KNOWN_ANSWERS = {
    "zeros": ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    "ones": ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    "pi": (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
}
WORD = st.integers(0, 2**32 - 1)
STREAM = st.builds(Stream, seed=WORD, member=st.integers(0, 3))
PLACE = st.tuples(st.sampled_from(Purpose), st.integers(0, 1000))


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS.values(), ids=KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    assert philox4x32(np.array(counter, dtype=np.uint32), key).tolist() == list(answer)


def test_philox_answers_each_counter_of_an_array_by_itself():
    counters = np.array([counter for counter, _, _ in KNOWN_ANSWERS.values()] * 2, dtype=np.uint32).reshape(2, 3, 4)
    together = philox4x32(counters, (1, 2))
    assert together.dtype == np.uint32
    assert together.tolist() == [[philox4x32(counter, (1, 2)).tolist() for counter in row] for row in counters]


def test_the_first_draws_of_the_first_stream_are_the_published_words():
    _, _, words = KNOWN_ANSWERS["zeros"]
    first = Stream(0).uniforms(Purpose.ORDER, 0, np.array([0]), 4)
    assert first.tolist() == [[word / 2**32 for word in words]]


@PROPERTY
@given(STREAM, PLACE, st.lists(WORD, min_size=1, max_size=20), st.integers(1, 40))
def test_the_draws_of_an_index_depend_on_nothing_beside_it(stream, place, index, count):
    together = stream.uniforms(*place, np.array(index), count)
    alone = [stream.uniforms(*place, np.array([i]), 40)[0, :count] for i in index]
    assert together.shape == (len(index), count)
    assert np.array_equal(together, alone)


@pytest.mark.parametrize(
    ("stream", "purpose", "epoch"),
    [
        (Stream(seed=1), Purpose.AUGMENT, 0),
        (Stream(seed=0, member=1), Purpose.AUGMENT, 0),
        (Stream(seed=1, member=1), Purpose.AUGMENT, 0),
        (Stream(seed=0), Purpose.ORDER, 0),
        (Stream(seed=0), Purpose.VIEW, 0),
        (Stream(seed=0), Purpose.SAMPLE, 0),
        (Stream(seed=0), Purpose.AUGMENT, 1),
    ],
)
def test_another_seed_member_purpose_or_epoch_gives_other_draws(stream, purpose, epoch):
    index = np.arange(100)
    some = Stream(seed=0).uniforms(Purpose.AUGMENT, 0, index, 8)
    others = stream.uniforms(purpose, epoch, index, 8)
    assert not np.isin(others, some).any()


def test_no_two_places_share_a_draw():
    streams = [Stream(seed, member) for seed in range(3) for member in range(3)]
    index = np.arange(20)
    draws = [stream.uniforms(p, epoch, index, 8) for stream in streams for p in Purpose for epoch in range(3)]
    values, times = np.unique(np.stack(draws), return_counts=True)
    # 17,280 words of 32 bits hold 0.03 equal pairs by chance, a shared block would hold four
    assert len(values) >= np.size(draws) - 1
    assert times.max() <= 2


@PROPERTY
@given(STREAM, PLACE)
def test_draws_lie_in_the_unit_interval_on_a_grid_of_32_bits(stream, place):
    draws = stream.uniforms(*place, np.arange(50), 10)
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    assert np.array_equal(draws * 2**32, np.floor(draws * 2**32))


@pytest.mark.parametrize("axis", ["index", "column", "epoch"])
def test_draws_are_uniform_and_neighbours_independent_along(axis):
    size = 40_000
    stream = Stream(5, 2)
    draws = {
        "index": lambda: stream.uniforms(Purpose.AUGMENT, 3, np.arange(size), 1),
        "column": lambda: stream.uniforms(Purpose.AUGMENT, 3, np.array([7]), size),
        "epoch": lambda: np.array([stream.uniforms(Purpose.AUGMENT, e, np.array([7]), 1) for e in range(2_000)]),
    }[axis]().ravel()
    assert stats.kstest(draws, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / math.sqrt(len(draws))


@PROPERTY
@given(STREAM, st.integers(0, 300), st.integers(0, 100))
def test_a_permutation_holds_every_image_once(stream, size, epoch):
    assert np.array_equal(np.sort(stream.permutation(size, epoch)), np.arange(size))


def test_the_order_changes_with_epoch_seed_and_member_and_with_nothing_else():
    order = Stream(0).permutation(100, 0)
    assert np.array_equal(order, Stream(0).permutation(100, 0))
    for other in (Stream(0).permutation(100, 1), Stream(1).permutation(100, 0), Stream(0, 1).permutation(100, 0)):
        assert (order != other).mean() > 0.9


def test_every_image_comes_equally_often_at_every_place():
    size, epochs = 8, 2_000
    orders = np.array([Stream(0).permutation(size, epoch) for epoch in range(epochs)])
    share = np.array([(orders == image).mean(axis=0) for image in range(size)])
    assert np.abs(share - 1 / size).max() < 5 * math.sqrt((1 / size) * (1 - 1 / size) / epochs)
