"""Many machines: tasks go to a Dask cluster through its `concurrent.futures` interface.

What hands tasks out is `kdnb.study.execute.execute`, as everywhere; what is here connects to the cluster, says what a task asks
of a worker, and looks after workers that come and go. A worker that is lost, to a wall-time limit or to whatever killed
it, costs the epoch that it was in: another one goes on from the checkpoint in the store. A task is given up only when
every worker that had it died before the end of a single epoch.

Each worker tries a lock that the caller holds in the store, so that a store which is not shared, or whose locks stay on
one machine, is an error and not a run that two machines write (`kdnb.scale.locks`).
"""

import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kdnb import devices, environment
from kdnb.errors import KdnbError, ProfileError, in_one_line
from kdnb.scale import locks
from kdnb.study.store import Store
from kdnb.study.worker import Task

LOCAL = "dask-local:"
"""begins the address of a cluster that is started here, and ends with the command"""

GPU, MEMORY = "GPU", "MEMORY"
"""What workers may declare (``dask worker --resources "GPU=1 MEMORY=16e9"``): devices, and bytes. A task asks for them where
any worker has declared them."""

CONNECT_WITHIN = 10.0
"""seconds in which a scheduler must answer"""

_SEEN_WITHIN = 90.0
"""seconds in which a shared file system shows one machine what another wrote"""


def local_workers(where: str) -> int | None:
    """N of ``dask-local:N``; None for the address of a scheduler.

    Raises:
        ProfileError: it is neither.
    """
    if found := re.fullmatch(rf"{LOCAL}([1-9]\d{{0,3}})", where):
        return int(found[1])
    if re.fullmatch(r"(tcp|tls|ws|wss|ucx|ucxx)://[^\s/]+:\d+/?", where):
        return None
    raise ProfileError(f"no cluster {where!r}; write tcp://HOST:8786, a scheduler's address, or {LOCAL}2")


@contextmanager
def connect(
    where: str,
    store: Store,
    *,
    say: Callable[[str], None] = lambda text: None,
    memory: Callable[[Task], float] | None = None,
) -> Iterator["ClusterExecutor"]:
    """An executor on a cluster's workers. A cluster that was started for it ends with it; of any other, what is training goes
    on to its end.

    Args:
        where: a scheduler's address (``tcp://HOST:8786``), or ``dask-local:N`` for N processes on this machine.
        store: that the tasks name; every worker must reach it under the same path.
        say: is given the dashboard's address, and of workers that are lost or missing.
        memory: bytes that a task needs, asked where workers have declared their memory.

    Raises:
        ProfileError: the address is none.
        KdnbError: no dask.distributed here, no scheduler there, or one of another version.
        StoreError: the store cannot be written or has no locks.
    """
    count = local_workers(where)
    dask = _distributed()
    with ExitStack() as stack:
        with store.writing():
            held_lock = stack.enter_context(locks.held_lock(store.root / "locks"))
        if count is None:
            client = _client(dask, where)
        else:
            # A worker that is lost comes back, and no worker is paused or killed for its memory: training takes what it takes.
            local = stack.enter_context(
                dask.LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            )
            client = dask.Client(local, set_as_default=False)
        stack.callback(client.close)
        if count is None:
            _require_same_scheduler(client, where)
        executor = ClusterExecutor(client, where, held_lock, say, memory)
        if dashboard := _dashboard(client):
            say(f"dashboard: {dashboard}")
        if not client.scheduler_info()["workers"]:
            say(f"no worker at {where} yet; waiting for the first")
        client.subscribe_topic("all", executor.hear)
        stack.callback(client.unsubscribe_topic, "all")
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise KdnbError(
            "a cluster needs dask.distributed, which is not installed: pip install 'kdnb[cluster]'"
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost worker is reported in one line, by `hear`
    return distributed


def _client(dask: Any, where: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions: compared below, by what matters
        try:
            return dask.Client(where, timeout=CONNECT_WITHIN, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            reason = in_one_line(error).partition(" after ")[0]
            raise KdnbError(
                f"no scheduler answers at {where} ({reason}); start one with dask scheduler, and name its address"
            ) from None


def _require_same_scheduler(client: Any, where: str) -> None:
    """What scheduler and client exchange must mean the same to both.

    Raises:
        KdnbError: another Python, dask or distributed.
    """
    found = client.get_versions()
    ours, theirs = ({"python": _minor(each["packages"]["python"])} | {
        name: each["packages"][name] for name in ("dask", "distributed")
    } for each in (found["client"], found["scheduler"]))  # fmt: skip
    _require_same(ours, theirs, f"the scheduler at {where}")


def _require_same(ours: Mapping[str, str], theirs: Mapping[str, str], who: str) -> None:
    for name, mine in ours.items():
        if theirs[name] != mine:
            raise KdnbError(
                f"{who} has {name} {theirs[name]}, and {mine} is here; install the same on both, or results would differ"
            )


def versions() -> dict[str, str]:
    """What must be the same on all machines, or networks that one trains would not be those of another."""
    made = {name: version(name).partition("+")[0] for name in ("kdnb", "torch", "torchvision")}
    code = environment.code()
    return {"python": _minor(sys.version.split()[0]), **made, **({"code of commit": code} if code else {})}


def _minor(full: str) -> str:
    return ".".join(full.split(".")[:2])


def _dashboard(client: Any) -> str:
    try:
        return client.dashboard_link or ""
    except KeyError:  # a scheduler without one
        return ""


def demands(task: Task, workers: Sequence[Mapping[str, float]], memory: float | None = None) -> dict[str, float]:
    """What a task asks of the worker that takes it: one GPU, unless it is for the processor, and its memory.

    Args:
        workers: the resources that each of the cluster's workers has declared.
        memory: bytes that the task needs; None asks for none.

    Raises:
        KdnbError: there are workers, and none has declared enough.
    """
    wanted = {}
    if task.resources.device != "cpu" and any(GPU in worker for worker in workers):
        wanted[GPU] = 1.0
    if memory is not None and any(MEMORY in worker for worker in workers):
        wanted[MEMORY] = memory
    if wanted and not any(all(worker.get(name, 0) >= much for name, much in wanted.items()) for worker in workers):
        asked = ", ".join(f"{name} {much:.3g}" for name, much in wanted.items())
        most = ", ".join(f"{name} {max(worker.get(name, 0) for worker in workers):.3g}" for name in wanted)
        raise KdnbError(
            f"no worker can take {describe(task)}: it asks for {asked}, and the most that one worker has declared is {most}; "
            "start larger workers, or change --resources to what they have"
        )
    return wanted


def fitted(task: Task, workers: Sequence[Mapping[str, float]], need: Callable[[Task], float]) -> tuple[Task, float]:
    """A task, and bytes to ask for it: what all of its group needs, or, where no worker has declared as much, the most that one
    has, if each of its runs by itself needs no more. Told what it asked for, the task trains the group in passes."""
    asked, most = need(task), max((worker.get(MEMORY, 0.0) for worker in workers), default=0.0)
    if asked > most and all(need(replace(task, specs=(spec,))) <= most for spec in task.specs):
        asked = most
    return (replace(task, process=asked) if most else task), asked


def describe(task: Task) -> str:
    """A task in a few words."""
    spec, count = task.specs[0], len(task.specs)
    return f"{count} {spec.role}{'s' if count > 1 else ''} of seed {spec.seed} ({spec.augmentation})"


class ClusterExecutor(Executor):
    """Runs calls on a cluster's workers; what a lost worker had is tried again elsewhere. Made by `connect`."""

    def __init__(
        self,
        client: Any,
        where: str,
        held_lock: Path,
        say: Callable[[str], None],
        memory: Callable[[Task], float] | None,
    ) -> None:
        self._client, self._where, self._held_lock, self._say, self._memory = client, where, str(held_lock), say, memory
        self._made = versions()
        self._attempts: dict[Future[Any], Future[Any]] = {}
        """what the caller waits for → what the cluster is doing for it"""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As any executor's. A call with a `Task` declares what the task asks for.

        Raises:
            KdnbError: no worker can take the task.
        """
        task = next((each for each in args if isinstance(each, Task)), None)
        asked: dict[str, float] = {}
        if task is not None:
            workers = [each["resources"] for each in self._client.scheduler_info()["workers"].values()]
            whole, memory = task, None
            if self._memory is not None:
                task, memory = fitted(whole, workers, self._memory)
            args = tuple(task if each is whole else each for each in args)
            asked = demands(task, workers, memory)
        if self._where.startswith(LOCAL):
            fn = partial(_on_own_gpu, fn)
        promise: Future[Any] = Future()
        self._attempt(promise, partial(on_worker, self._made, self._held_lock, fn, *args, **kwargs), task, asked)
        promise.add_done_callback(self._give_up)
        return promise

    def _give_up(self, promise: Future[Any]) -> None:
        attempt = self._attempts.pop(promise, None)
        if attempt is not None and promise.cancelled():
            attempt.cancel()

    def _attempt(
        self, promise: Future[Any], call: Callable[[], Any], task: Task | None, asked: Mapping[str, float]
    ) -> None:
        before = _reached(task)
        attempt: Future[Any] = self._client.get_executor(pure=False, resources=dict(asked) or None).submit(call)
        self._attempts[promise] = attempt

        def settle(attempt: Future[Any]) -> None:
            if promise.done():
                return
            error = None if attempt.cancelled() else attempt.exception()
            if attempt.cancelled():
                error = KdnbError(
                    f"the scheduler at {self._where} is gone; the next call goes on from the last whole epoch"
                )
            elif type(error).__name__ == "KilledWorker":
                if _reached(task) != before:
                    self._attempt(promise, call, task, asked)
                    return
                what = describe(task) if task is not None else "a call"
                error = KdnbError(
                    f"every worker that was given {what} died before the end of an epoch, perhaps for want of memory or of "
                    "time; start larger ones, or for longer"
                )
            elif isinstance(error, ImportError):
                error = KdnbError(f"a worker cannot import all of kdnb ({error}); install the same there")
            elif error is not None and type(error).__module__.startswith("distributed"):
                error = KdnbError(f"the cluster at {self._where} fails: {' '.join(str(error).split())}")
            if error is not None:
                promise.set_exception(error)
            else:
                promise.set_result(attempt.result())

        attempt.add_done_callback(settle)

    def hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """What happens in the cluster: says when a worker is lost that had something to do."""
        happened = event[1]
        if happened.get("action") == "remove-worker" and happened.get("processing-tasks") and self._attempts:
            self._say(f"lost {happened['worker']}; what it trained goes on elsewhere, from its last whole epoch")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As any executor's. What a worker is in the midst of goes on to its end, unless the worker ends."""
        if cancel_futures:
            for promise in list(self._attempts):
                promise.cancel()
        if wait:
            wait_for(list(self._attempts))


def _reached(task: Task | None) -> tuple[Any, ...]:
    """How far the runs of a task are: what differs once another epoch is done."""
    if task is None:
        return ()
    store = Store(task.store)
    store.refresh()
    paths = [store.checkpoints.path(spec.id) for spec in task.specs]
    return tuple(
        (store.has(spec.id), path.stat().st_mtime_ns if path.exists() else None)
        for spec, path in zip(task.specs, paths, strict=True)
    )


def _on_own_gpu(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a function on a worker of a cluster that was started here, whose workers are numbered from 0."""
    import distributed

    devices.take_gpu(int(distributed.get_worker().name))
    return fn(*args, **kwargs)


def on_worker(made: Mapping[str, str], held_lock: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a function on a worker that is fit for it.

    Args:
        made: the `versions` of who asks.
        held_lock: path of a lock that who asks holds in the store.

    Raises:
        KdnbError: other versions than `made`, or a worker that does several things at once.
        StoreError: the worker does not see the store, or its locks do not reach here.
    """
    import distributed

    worker = distributed.get_worker()
    who = f"the worker {worker.address}"
    here = versions()
    _require_same({name: made[name] for name in made if name in here}, here, who)
    if worker.state.nthreads > 1:
        raise KdnbError(
            f"{who} does {worker.state.nthreads} things at once; start workers with --nthreads 1, and give each training its "
            "threads with kdnb run --threads"
        )
    locks.require_held(Path(held_lock), who)
    for task in args:
        if isinstance(task, Task):
            _await_needs(task)
    return fn(*args, **kwargs)


def _await_needs(task: Task) -> None:
    """Until this machine sees what another one has just written: a shared file system may take a minute."""
    store, end = Store(task.store), time.monotonic() + _SEEN_WITHIN
    while not all(store.has(run) for run in task.needs) and time.monotonic() < end:
        store.refresh()
        time.sleep(0.5)


def whole_data_root(root: str | None) -> str | None:
    """The folder of the data sets as every machine must name it: whole, and not in a variable of this machine's."""
    chosen = root or os.environ.get("KDNB_DATA")
    return str(Path(chosen).expanduser().absolute()) if chosen else None
