"""The steps of a group on a CUDA device: recorded once as CUDA graphs, then replayed, small networks several at a time.

A step of a small network is a few hundred kernels of a few microseconds each. Called from Python one by one, they leave
the GPU idle most of the time; a recorded graph launches all of them with one call. Each learner and each network that
answers has a graph of its own, so that learners still share nothing, and graphs of different networks run side by side as
long as they are small. Kernels and their order within a network are those of a step without a graph, and so are the results,
to the last bit (`tests/cuda.py`). `benchmarks/gpu.py` says what it is worth.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

STREAMS = 8
"""at most so many networks at a time"""

SIDE_BY_SIDE = 2e9
"""bytes of the device's memory that networks may take more for running side by side; with those used up, others take turns"""


Take = Callable[[Tensor, Tensor, Tensor, Sequence[Tensor]], None]
"""A learner's step, (images, labels, coin, the sources' answers) → nothing; every call changes the same tensors"""


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    place: int
    """number of its stream"""
    result: Tensor | None
    """where it puts what the call returned"""


class Recorder:
    """Takes the steps of a group, batch by batch.

    What is called for the first time runs as it is, which sets up the libraries and the optimiser's state; the second time it
    is recorded, and from then on replayed. Batches of another size than the first, such as an epoch's last, run as they are.

    Args:
        device: a CUDA device.
        streams: at most so many networks at a time.
    """

    def __init__(self, device: torch.device, *, streams: int = STREAMS) -> None:
        self._device, self._most = device, streams
        self._streams: list[torch.cuda.Stream] = []
        # Graphs of one stream run one after the other and can use the same memory: nothing in it outlives a graph.
        self._pools: list[Any] = []
        self._taken = 0
        self._batch: tuple[Tensor, Tensor, Tensor] | None = None
        self._first: dict[Hashable, Tensor | None] = {}
        self._recorded: dict[Hashable, _Recorded] = {}

    def __call__(
        self,
        batch: tuple[Tensor, Tensor, Tensor],
        sources: Mapping[Any, Callable[[Tensor], Tensor]],
        steps: Sequence[tuple[Hashable, Sequence[Hashable], Take]],
    ) -> None:
        """One step of each learner.

        Args:
            batch: images, labels and coin, on the device.
            sources: what gives each source's logits (N, K) of the images.
            steps: of each learner, what tells it from others of its group, whose answers it needs, and its step.
        """
        replay = self._put(batch)
        if replay and self._batch is not None:
            batch = self._batch

        def ask(source: Hashable) -> Callable[[], Tensor]:
            return lambda: sources[source](batch[0])

        def call(take: Take, needed: Sequence[Hashable]) -> Callable[[], None]:
            return lambda: take(*batch, [answers["source", source] for source in needed])

        answers = self._call({("source", source): ask(source) for source in sources}, replay)
        self._call({("step", key): call(take, needed) for key, needed, take in steps}, replay)

    def _put(self, batch: tuple[Tensor, Tensor, Tensor]) -> bool:
        """Puts a batch where graphs read it; False where it is of another size."""
        if self._batch is None:
            images, labels, coin = map(torch.empty_like, batch)
            self._batch = images, labels, coin
        if batch[0].shape != self._batch[0].shape:
            return False
        for there, given in zip(self._batch, batch, strict=True):
            there.copy_(given)
        return True

    def _call(self, calls: Mapping[Hashable, Callable[[], Any]], replay: bool) -> dict[Hashable, Any]:
        """What each call returns, by its key. Recorded ones run side by side; what comes after waits for all of them."""
        results: dict[Hashable, Any] = {}
        recorded: list[_Recorded] = []
        for key, call in calls.items():
            if not replay:
                results[key] = call()
            elif key not in self._first:
                results[key] = self._first[key] = call()
            else:
                if key not in self._recorded:
                    self._recorded[key] = self._record_call(call, self._first[key])
                recorded.append(self._recorded[key])
                results[key] = self._recorded[key].result
        now = torch.cuda.current_stream(self._device)
        used = [self._streams[place] for place in sorted({each.place for each in recorded})]
        for stream in used:
            stream.wait_stream(now)
        for each in recorded:
            with torch.cuda.stream(self._streams[each.place]):
                each.graph.replay()
        for stream in used:
            now.wait_stream(stream)
        return results

    def _record_call(self, call: Callable[[], Any], result: Tensor | None) -> _Recorded:
        """Args:
        result: of the call as it was, whose memory is taken for those to come.
        """
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_reserved(self._device)
        place = self._next_place()
        graph, stream = torch.cuda.CUDAGraph(), self._streams[place]
        # Another thread may use the device meanwhile: the mode concerns this one alone.
        with torch.cuda.graph(graph, pool=self._pools[place], stream=stream, capture_error_mode="thread_local"):
            given = call()
            if result is not None:
                result.copy_(given)
        self._taken += max(0, torch.cuda.memory_reserved(self._device) - before)
        return _Recorded(graph, place, result)

    def _next_place(self) -> int:
        """A new stream while few are open and memory is left, else the open ones in turn."""
        opened = len(self._streams)
        if not opened or (opened < self._most and self._taken * (opened + 1) / opened <= SIDE_BY_SIDE):
            self._streams.append(torch.cuda.Stream(self._device))
            self._pools.append(torch.cuda.graph_pool_handle())
            return opened
        return len(self._recorded) % opened
