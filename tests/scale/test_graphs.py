"""What is replayed, with what, and in which order; `tests/cuda.py` holds it against a real device."""

import contextlib

import pytest
import torch

from kdnb.scale import graphs

CPU = torch.device("cpu")


class Stream:
    def __init__(self, device=None):
        self.device = device

    def wait_stream(self, other):
        pass


class Replaying(graphs.Recorder):
    """Records without a device: a replay calls again what was recorded, on the tensors that it was recorded with."""

    def _record_call(self, call, result):
        class Graph:
            def replay(self):
                given = call()
                if result is not None:
                    result.copy_(given)

        self._streams.append(Stream())
        return graphs._Recorded(Graph(), len(self._recorded), result)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    return Replaying(CPU)


class Learner:
    """Adds up what it hears and sees, in an order that matters, and counts Python's calls."""

    def __init__(self, key, sources):
        self.key, self.sources, self.sum = key, sources, torch.zeros(3)

    def take(self, images, labels, coin, heard):
        self.sum.mul_(0.9).add_(images.mean(dim=0) + sum((each.mean(dim=0) for each in heard), torch.zeros(3)))
        self.sum.add_(labels.float().mean() + 3 * coin.float().mean())

    @property
    def step(self):
        return self.key, self.sources, self.take


SOURCES = {"double": lambda images: 2 * images, "square": lambda images: images**2}


def batches(count, size=4):
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.rand(size, 3, generator=generator),
            torch.randint(0, 9, (size,), generator=generator),
            torch.rand(size, generator=generator) < 0.5,
        )
        for _ in range(count)
    ]


def one_by_one(learner, seen):
    for images, *others in seen:
        learner.take(images, *others, [SOURCES[source](images) for source in learner.sources])
    return learner.sum


def heard_by(learners):
    return {source: SOURCES[source] for learner in learners for source in learner.sources}


def test_replayed_steps_see_each_batch_and_what_was_answered_to_it(recorder):
    learners = [Learner("alone", ()), Learner("one", ("double",)), Learner("two", ("double", "square"))]
    seen = batches(6)
    for batch in seen:
        recorder(batch, heard_by(learners), [each.step for each in learners])
    for learner in learners:
        assert torch.equal(learner.sum, one_by_one(Learner(learner.key, learner.sources), seen))
    assert set(recorder._recorded) == {("source", s) for s in SOURCES} | {("step", each.key) for each in learners}


def test_a_batch_of_another_size_runs_as_it_is_and_leaves_what_is_recorded(recorder):
    learner = Learner("two", ("double", "square"))
    seen = [*batches(4), *batches(1, size=2), *batches(3)]
    for batch in seen:
        recorder(batch, heard_by([learner]), [learner.step])
    assert torch.equal(learner.sum, one_by_one(Learner("two", learner.sources), seen))


def test_a_learner_may_join_with_a_source_of_its_own_and_another_may_leave(recorder):
    first, later = Learner("first", ("double",)), Learner("later", ("square", "double"))
    seen = batches(9)
    for number, batch in enumerate(seen):
        active = [each for each, there in ((later, number >= 3), (first, number < 6)) if there]
        recorder(batch, heard_by(active), [each.step for each in active])
    assert torch.equal(first.sum, one_by_one(Learner("first", first.sources), seen[:6]))
    assert torch.equal(later.sum, one_by_one(Learner("later", later.sources), seen[3:]))


def test_streams_are_opened_while_memory_is_left_and_then_taken_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)

    def places(each, count, most=graphs.STREAMS):
        recorder, found = graphs.Recorder(CPU, streams=most), []
        for number in range(count):
            place = recorder._next_place()
            recorder._taken += each if place == len(found) else 0  # a stream's first graph takes memory
            recorder._recorded[number] = None
            found.append(place)
        return found

    assert places(0, 10) == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    assert places(0, 4, most=2) == [0, 1, 0, 1]
    assert places(0.4 * graphs.SIDE_BY_SIDE, 5) == [0, 1, 0, 1, 0]
    assert places(2 * graphs.SIDE_BY_SIDE, 3) == [0, 0, 0]
