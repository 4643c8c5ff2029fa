"""The networks that a profile is calibrated on, and their curves.

    python benchmarks/pilot.py --profile cpu --seeds 901 --csv book/calibration/cpu-901.csv [--set student.train.epochs=80]

On seeds that no study uses (900 and above) and with no claim looked at: the teachers' network trained with weak and with
strong augmentation, the student's network alone with both, and one distilled student, of two weak teachers and weak itself.
Three things are read from them: strong augmentation underfits neither network, and distillation makes a clear difference.
The curves are those of `kdnb table --curves`, with a column that says which role a network has.
"""

import argparse

import pandas as pd

from kdnb.study import execute, grid, profile
from kdnb.study.grid import Run, Study
from kdnb.study.store import Store

CELLS = (("", "weak"), ("", "strong"), ("weak+weak", "weak"))
"""(teachers, student) of the students that are looked at"""


def chosen(study: Study, seed: int) -> list[Run]:
    """The runs of a seed that calibrate, those that they need first."""
    runs = study.of_seed(seed)
    origin = study.profile.origin
    students = [
        run
        for run in runs
        if (run.columns["teachers"], run.columns["student"]) in CELLS
        and run.columns["objective"] in ("none", "kd")
        and set(run.columns["origin"].split("+")) <= {origin, ""}
    ]
    needed = {teacher for run in students for teacher in run.spec.teachers}
    first = {"weak": "", "strong": ""}
    for run in runs:
        if run.spec.role == "teacher" and run.spec.member == 1 and run.columns["origin"] == origin:
            first[run.columns["teachers"]] = run.spec.id
    return [run for run in runs if run.spec.id in {*needed, *first.values()}] + students


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--seeds", default="901")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--store")
    parser.add_argument("--data-root")
    parser.add_argument("--csv", required=True)
    asked = parser.parse_args()
    seeds = profile.parse_seeds(asked.seeds)
    settings = profile.load(asked.profile, ["observe.validate_sample=10000", *asked.overrides])
    planned, store = grid.plan(settings, root=asked.data_root, seeds=seeds), Store(asked.store)
    rows = []
    for seed in seeds:
        runs = chosen(planned.study, seed)
        wanted = Study(settings, planned.study.origins, tuple(runs), planned.study.files)
        execute.execute(wanted, store, data_root=asked.data_root).require_complete()
        for run in runs:
            for epoch in store.entry(run.spec.id).log:
                about = {"profile": settings.name, "seed": seed} | dict(run.columns)
                rows.append(about | epoch | {"epoch": epoch["epoch"] + 1})
        pd.DataFrame(rows).to_csv(asked.csv, index=False, float_format="%.6g", lineterminator="\n")


if __name__ == "__main__":
    main()
