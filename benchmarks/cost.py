"""What a seed of a profile costs, by role: arithmetic, speed, share of the machine's peak, memory.

    python benchmarks/cost.py --profile cpu [--csv book/calibration/cost-cpu.csv]

Each role is a process of its own, so that its peak memory is its own: a teacher, the two lockstep groups of students with
their teachers, and the records with all measures of one student. A role is timed over an epoch after a first one that warms
up. The machine's peak is the best of several products of large float32 matrices in the same process, so the two are
measured side by side. Needs the profile's data set; networks that teach are untrained, which costs the same.
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

from kdnb import environment, estimate, models, record, study, train
from kdnb.datasets import Dataset
from kdnb.spec import RunSpec
from kdnb.study import Study

ROLES = ("teacher", "students w", "students s", "records")


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
    """The runs of a seed that a role stands for, and is timed on."""
    if role == "teacher":
        return [run.spec for run in grid.runs if run.spec.role != "student"]
    letter = role[-1] if role.startswith("students") else "w"
    return [run.spec for run in grid.runs if run.spec.role == "student" and run.name.endswith(letter)]


def flops(specs: list[RunSpec], dataset: Dataset, by_id: dict[str, RunSpec]) -> float:
    """Of the trainings, with each teacher's answers once a batch: a forward pass is a third of a step."""
    own = sum(estimate.work(spec, dataset) for spec in specs)
    epochs = max(spec.train.epochs for spec in specs)
    heard = {teacher for spec in specs for teacher in spec.teachers}
    return own + sum(estimate.work(by_id[t], dataset) / by_id[t].train.epochs / 3 * epochs for t in heard)


def measure(profile: str, role: str, data_root: str | None) -> dict[str, Any]:
    """One role, in this process."""
    loaded = study.load_profile(profile)
    dataset = loaded.dataset.load(data_root)
    grid = study.build(loaded, dataset.hash, [900])
    by_id = {run.spec.id: run.spec for run in grid.runs}
    device = environment.choose_device("auto")
    whole = members(grid, role)
    timed = whole[:1] if role == "teacher" else whole
    side = loaded.side or dataset.side
    networks = {
        teacher: models.build(by_id[teacher].model, len(dataset.classes), side, seed=0).to(device).eval()
        for spec in timed
        for teacher in spec.teachers
    }
    if role == "records":
        spec = timed[0]
        network = train.initial(spec, len(dataset.classes), side, device).eval()
        began = time.perf_counter()
        record.record({spec.id: network}, [spec], dataset, networks, device)
        rate, seconds = float("nan"), (time.perf_counter() - began) * len(grid.runs)
        work = float("nan")
        images = len(dataset.validation) * len(record.VIEWS) / (seconds / len(grid.runs))
    else:
        short = [s.model_copy(update={"train": s.train.model_copy(update={"epochs": 2})}) for s in timed]
        results = train.train(short, dataset, networks, device)
        epoch = sum(result.log[-1]["seconds"] for result in results.values() if isinstance(result, train.Trained))
        rate = flops(timed, dataset, by_id) / max(spec.train.epochs for spec in timed) / epoch
        work = flops(whole, dataset, by_id)
        seconds, images = work / rate, len(dataset.train) * len(timed) / epoch
    best = peak()
    return {
        "role": role,
        "runs": len(grid.runs) if role == "records" else len(whole),
        "tflop": work / 1e12,
        "images_per_second": images,
        "gflops": rate / 1e9,
        "share_of_peak": rate / best,
        "peak_gflops": best / 1e9,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "minutes_a_seed": seconds / 60,
    }


def main() -> None:
    """Every role in a process of its own; a table, and a file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--data-root")
    parser.add_argument("--csv")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role:
        print(json.dumps(measure(asked.profile, asked.role, asked.data_root)))
        return
    rows = []
    for role in ROLES:
        command = [sys.executable, __file__, "--profile", asked.profile, "--role", role]
        command += ["--data-root", asked.data_root] if asked.data_root else []
        rows.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    if asked.csv:
        table.to_csv(asked.csv, index=False, float_format="%.4g", lineterminator="\n")


if __name__ == "__main__":
    main()
