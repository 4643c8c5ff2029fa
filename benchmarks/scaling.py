"""How much faster a study is on more workers, measured on a Dask cluster on this machine.

    python benchmarks/scaling.py --profile smoke --workers 1,2 [--csv book/calibration/scaling-smoke.csv]

Each number of workers trains the whole study into a store of its own, by the command that a user gives, so the start of the
cluster and of its workers is counted. The threads of a worker are the same each time: one worker does not get what two
share. Beside it stands what the grid allows at best (`kdnb.scale.cost.speed_up`). Measure with nothing else running.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from kdnb import devices, environment
from kdnb.scale import cost
from kdnb.study import grid as grids
from kdnb.study import profile


def seconds(asked: argparse.Namespace, workers: int) -> float:
    """Of `kdnb run` on so many workers, from nothing."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "kdnb.cli", "run", "--profile", asked.profile, "--store", store]
        command += ["--cluster", f"dask-local:{workers}", "--threads", str(asked.threads)]
        command += [f"--set={each}" for each in asked.overrides]
        command += ["--seeds", asked.seeds] if asked.seeds else []
        command += ["--data-root", asked.data_root] if asked.data_root else []
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def main() -> None:
    """A row for each number of workers; a table, and a file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--seeds")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--data-root")
    parser.add_argument(
        "--workers", default="1,2", help="numbers of workers, the first of which the others are compared with"
    )
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--csv", type=Path)
    asked = parser.parse_args()
    settings = profile.load(asked.profile, asked.overrides)
    seeds = profile.parse_seeds(asked.seeds) if asked.seeds else None
    planned = grids.plan(settings, root=asked.data_root, seeds=seeds)
    sizes = {hash_: cost.Sizes.of(each) for hash_, each in planned.datasets.items()}
    rows = [
        {
            "workers": workers,
            "threads": asked.threads,
            "runs": len(planned.study.runs),
            "seconds": seconds(asked, workers),
            "at_best": cost.speed_up(planned.study, workers, sizes),
            "machine": environment.describe(devices.choose("cpu"))["processor"],
        }
        for workers in map(int, asked.workers.split(","))
    ]
    measured = pd.DataFrame(rows)
    print(measured.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    if asked.csv:
        measured.to_csv(asked.csv, index=False, float_format="%.4g", lineterminator="\n")


if __name__ == "__main__":
    main()
