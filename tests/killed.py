"""A training that kills itself with SIGKILL at a chosen point: run by test_killed.py in a process of its own.

    python -m tests.killed STORE POINT

POINT is one of: between-epochs, writing-checkpoint, replacing-checkpoint, observing, writing-entry, replacing-entry.
"""

import os
import signal
import sys

from kdnb.study import store as stores
from kdnb.study import worker
from kdnb.study.resources import Resources
from kdnb.training import checkpoint, observe
from tests.conftest import small_profile


def command(*arguments, ctrl_c="default_int_handler"):
    """Of `kdnb`, to which Ctrl-C (unless it is SIG_IGN here) and a terminal that closes mean what they usually do: tests that
    run in the background, or by nohup, hand on that they ignore them."""
    says = (
        f"import signal; signal.signal(signal.SIGINT, signal.{ctrl_c}); signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "from kdnb import cli; cli.main()"
    )
    return [sys.executable, "-c", says, *map(str, arguments)]


def task(store, dataset_hash):
    """Two students without teachers, on the real digits."""
    from kdnb.study import grid as grids

    grid = grids.build(small_profile(ensembles=("",)), dataset_hash)
    specs = [run.spec for run in grid.runs if run.columns["student"] == "strong"]
    other = specs[0].model_copy(update={"train": specs[0].train.model_copy(update={"learning_rate": 0.02})})
    return worker.Task((specs[0], other), grid.profile.dataset, str(store), resources=Resources("cpu"))


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def after(count, then=die, before=None):
    """A function that behaves as `before` the first times and then as `then`."""
    calls = []

    def function(*arguments, **keywords):
        calls.append(1)
        return (then if len(calls) > count else before)(*arguments, **keywords)

    return function


def half(tensors, path, header):
    """Writes the beginning of a file, as a process does that is killed while it writes."""
    from safetensors.torch import save

    content = save(tensors, header)
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        die()


def main(folder, point):
    from kdnb.images import datasets

    on_epoch = None
    if point == "between-epochs":
        on_epoch = after(0)
    elif point == "writing-checkpoint":
        checkpoint.save_file = after(2, half, checkpoint.save_file)  # the first member's second epoch
    elif point == "replacing-checkpoint":
        checkpoint.os.replace = after(1, die, os.replace)  # the second member's first epoch
    elif point == "observing":
        observe.attention_maps = die
    elif point == "writing-entry":
        stores.os.fsync = after(8, die, os.fsync)  # in the second member's entry
    elif point == "replacing-entry":
        stores.os.rename = die
    else:
        raise SystemExit(f"no point {point!r}")
    worker.run_task(task(folder, datasets.load("digits").hash), on_epoch)


if __name__ == "__main__":
    main(*sys.argv[1:])
