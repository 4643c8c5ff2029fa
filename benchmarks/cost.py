"""What a seed of a profile costs, by role: arithmetic, speed, share of the machine's peak, memory.

    python benchmarks/cost.py --profile cpu [--store FOLDER] [--csv book/calibration/cost-cpu.csv]

Each role is a process of its own, so that its peak memory is its own: a teacher, the two lockstep groups of students with
their teachers, the observations of one student, and all measures of a seed, which need a store that holds it. A training is
timed over an epoch after one that warms up. The machine's peak is the best of several products of large float32 matrices
in the same process, so the two are measured side by side. Needs the profile's data set; networks that teach are untrained,
which costs the same. `kdnb.book.measured.COST` says what the columns are.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import pandas as pd
import torch

from kdnb import devices, environment
from kdnb.evidence import table
from kdnb.images.datasets import Dataset
from kdnb.scale import cost
from kdnb.study import grid as grids
from kdnb.study import profile
from kdnb.study.grid import Study
from kdnb.study.store import Store
from kdnb.training import models, observe, train
from kdnb.training.spec import FreshOrigin, RunSpec

ROLES = ("teachers", "students, weak", "students, strong", "observations", "measures")


def peak(size: int = 3072, rounds: int = 5) -> float:
    """FLOP/s of the best of some products of two matrices."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def members(grid: Study, role: str) -> list[RunSpec]:
    """The runs of a seed that a role stands for, from random weights: what they start from costs nothing."""
    if role == "teachers":
        specs = [run.spec for run in grid.runs if run.spec.role != "student"]
    else:
        student = role.split(", ")[1]
        specs = [run.spec for run in grid.runs if run.columns["student"] == student]
    return [spec.model_copy(update={"origin": FreshOrigin()}) for spec in specs]


def flops(specs: list[RunSpec], dataset: Dataset, by_id: dict[str, RunSpec]) -> float:
    """Of the trainings, with each teacher's answers once a batch, half views once for each side: a forward pass is a third of a
    step, and one of half a view half of that."""
    own = sum(cost.work(spec, dataset) for spec in specs)
    epochs = max(spec.train.epochs for spec in specs)
    heard = {passed for spec in specs for passed in cost.passes(spec)}
    answers = sum(
        cost.work(by_id[teacher], dataset) / by_id[teacher].train.epochs / 3 * (0.5 if side else 1.0)
        for teacher, side, _ in heard
    )
    return own + answers * epochs


def trained(grid: Study, dataset: Dataset, role: str) -> dict[str, float]:
    """Teachers, of which one is timed, or a lockstep group of students, which is timed as a whole."""
    whole = members(grid, role)
    timed = whole[:1] if role == "teachers" else whole
    networks = untrained(grid, timed, dataset)
    short = [s.model_copy(update={"train": s.train.model_copy(update={"epochs": 2})}) for s in timed]
    results = train.train(short, dataset, networks, devices.choose("auto"), stand_ins={"untrained": networks})
    epoch = sum(result.log[-1]["seconds"] for result in results.values() if isinstance(result, train.Trained))
    by_id = {run.spec.id: run.spec for run in grid.runs}
    rate = flops(timed, dataset, by_id) / max(spec.train.epochs for spec in timed) / epoch
    work = flops(whole, dataset, by_id)
    return {
        "runs": len(whole),
        "tflop": work / 1e12,
        "images_per_second": len(dataset.train) * len(timed) / epoch,
        "gflops": rate / 1e9,
        "minutes": work / rate / 60,
    }


def observed(grid: Study, dataset: Dataset) -> dict[str, float]:
    """The answers and maps of one student, times the runs of a seed."""
    device = devices.choose("auto")
    spec = members(grid, "students, weak")[0]
    network = train.initial(spec, len(dataset.classes), spec.side or dataset.side, device).eval()
    began = time.perf_counter()
    observe.observe({spec.id: network}, [spec], dataset, untrained(grid, [spec], dataset), device)
    seconds = time.perf_counter() - began
    images = (len(dataset.validation) + min(len(dataset.train), spec.observe.train_sample)) * len(observe.VIEWS)
    return {"runs": len(grid.runs), "images_per_second": images / seconds, "minutes": seconds * len(grid.runs) / 60}


def measured(grid: Study, store: str) -> dict[str, float]:
    """Every row of the tidy table of a seed."""
    began = time.perf_counter()
    table.table(grid, Store(store))
    return {"runs": len(grid.runs), "minutes": (time.perf_counter() - began) / 60}


def untrained(grid: Study, specs: list[RunSpec], dataset: Dataset) -> dict[str, models.Network]:
    """Networks in the place of these runs' teachers."""
    device = devices.choose("auto")
    by_id = {run.spec.id: run.spec for run in grid.runs}
    heard = sorted({teacher for spec in specs for teacher in spec.teachers})
    fresh = {t: by_id[t].model_copy(update={"origin": FreshOrigin()}) for t in heard}
    return {t: train.initial(fresh[t], len(dataset.classes), dataset.side, device).eval() for t in heard}


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """One role, in this process."""
    settings = profile.load(asked.profile)
    planned = grids.plan(settings, root=asked.data_root, seeds=settings.seeds[:1])
    grid, dataset = planned.study, planned.dataset
    if asked.role == "measures":
        row = measured(grid, asked.store)
    else:
        row = observed(grid, dataset) if asked.role == "observations" else trained(grid, dataset, asked.role)
    memory, best = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, peak() / 1e9
    about = environment.describe(devices.choose("auto"))
    return {
        "role": asked.role,
        **row,
        "share_of_peak": row.get("gflops", float("nan")) / best,
        "peak_gflops": best,
        "memory_gb": memory,
        "machine": f"{about['processor']}, {about['threads']} threads",
    }


def main() -> None:
    """Every role in a process of its own; a table, and a file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--data-root")
    parser.add_argument("--store", help="that holds the profile's first seed; without one, measures are not timed")
    parser.add_argument("--csv")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role:
        print(json.dumps(measure(asked)))
        return
    rows = []
    for role in ROLES if asked.store else ROLES[:-1]:
        command = [sys.executable, __file__, *sys.argv[1:], "--role", role]
        rows.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))
    costs = pd.DataFrame(rows)
    print(costs.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    if asked.csv:
        costs.to_csv(asked.csv, index=False, float_format="%.4g", lineterminator="\n")


if __name__ == "__main__":
    main()
