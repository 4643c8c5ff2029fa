"""What the benchmarks measured, from the files that they write into ``book/calibration``.

Everything is MyST Markdown, for the book. A file that is not there yet becomes a sentence that says which command writes it.
"""

from pathlib import Path

import pandas as pd

from kdnb.book import figures

COST = {
    "runs": ("runs", "{:.0f}"),
    "tflop": ("TFLOP", "{:,.1f}"),
    "images_per_second": ("images/s", "{:,.0f}"),
    "gflops": ("GFLOP/s", "{:.0f}"),
    "share_of_peak": ("of the peak", "{:.0%}"),
    "memory_gb": ("peak memory, GB", "{:.2f}"),
    "minutes": ("minutes", "{:.1f}"),
}
"""The columns that ``benchmarks/cost.py`` writes, for a seed: how they are headed and shown."""


def cost(folder: Path) -> str:
    """What a seed of a profile costs, by role, on the machine that was measured."""
    parts = []
    if not any(folder.glob("cost-*.csv")):
        return "Not measured yet; `python benchmarks/cost.py` measures it."
    for path in sorted(folder.glob("cost-*.csv"), key=lambda path: path.stem):
        roles = pd.read_csv(path).set_index("role")
        (machine,) = roles["machine"].unique()
        peak, total = roles["peak_gflops"].median(), roles["minutes"].sum() / 60
        parts += [
            f"**{path.stem.removeprefix('cost-')}**, a seed on {machine}: {total:.1f} hours; large matrices multiply at "
            f"{peak:.0f} GFLOP/s there.",
            "",
            "| role | " + " | ".join(title for title, _ in COST.values()) + " |",
            "|---|" + "--:|" * len(COST),
        ]
        for role, row in roles.iterrows():
            cells = ["" if pd.isna(row[name]) else form.format(row[name]) for name, (_, form) in COST.items()]
            parts.append(f"| {role} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


SCALING = "scaling-*.csv"
"""What ``benchmarks/scaling.py`` writes: scaling-PROFILE.csv."""


def scaling(folder: Path) -> str:
    """How much faster more workers were, as it was measured; a sentence that says how to measure where it was not."""
    parts = []
    for path in sorted(folder.glob(SCALING), key=lambda path: path.stem):
        runs = pd.read_csv(path)
        (machine,) = runs["machine"].unique()
        (threads,) = runs["threads"].unique()
        alone = runs.sort_values("workers")["seconds"].iloc[0]
        parts += [
            f"**`{path.stem.removeprefix('scaling-')}`** on {machine}, {runs['runs'].iloc[0]} runs, {threads} "
            f"thread{'' if threads == 1 else 's'} a worker; the cluster's start is counted:",
            "",
            "| workers | seconds | faster | at best |",
            "|--:|--:|--:|--:|",
            *(
                f"| {row['workers']} | {row['seconds']:.0f} | {alone / row['seconds']:.2f} × | {row['at_best']:.2f} × |"
                for row in runs.to_dict("records")
            ),
            "",
        ]
    return "\n".join(parts) or "Not measured yet; `python benchmarks/scaling.py` measures it.\n"


RELEASED = "released-*.csv"
"""What ``benchmarks/released.py`` writes: a file for each profile and precision, a row for each group of networks and round."""


PAPERS_SHARE = 0.2
"""validation images for each training image of CIFAR-100 as the paper has it: 10,000 for 50,000"""


def released(folder: Path) -> str:
    """How long the released way of training takes beside ours, as it was measured: medians over rounds, least and most."""
    parts = []
    for path in sorted(folder.glob(RELEASED), key=lambda path: path.stem):
        rounds = pd.read_csv(path)
        about, count = rounds.iloc[0], rounds["round"].nunique()
        apart = f", ours in {about['workers']} processes"
        share = PAPERS_SHARE * about["images"] / about["validation_images"]
        papers = _mixed(rounds, "released", share) / _mixed(rounds, "ours", share)
        rows = {
            "training alone, times faster": rounds["released"] / rounds["ours"],
            f"training alone{apart}": rounds["released"] / rounds["shared"],
            "as it runs, times faster": rounds["released_looking"] / rounds["ours_looking"],
            f"as it runs{apart}": rounds["released_looking"] / rounds["shared_looking"],
            "as it runs, with the paper's share of validation images": papers,
            "our epochs over their bare passes": rounds["ours"] / rounds["bare"],
            "training alone, if ours were those passes alone": rounds["released"] / rounds["bare"],
        }
        groups = rounds.groupby("group", sort=False)
        heads = [f"{group} ({networks})" for group, networks in groups["networks"].first().items()]
        parts += [
            f"**`{about['profile']}`, {about['precision']}**, on {about['machine']}, {about['threads']} threads, "
            f"{about['images']:,} images to train on and {about['validation_images']:,} to validate on, {about['workers']} "
            f"processes that make views in the released way; {count} round{'' if count == 1 else 's'}:",
            "",
            f"| | {' | '.join(heads)} |",
            "|---|" + "--:|" * len(heads),
        ]
        for name, ratios in rows.items():
            cells = [_spread(of_group) for _, of_group in ratios.groupby(rounds["group"], sort=False)]
            parts.append(f"| {name} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts) or "Not measured yet; `python benchmarks/released.py` measures it.\n"


def _mixed(rounds: pd.DataFrame, way: str, share: float) -> pd.Series:
    """Seconds of an epoch, where looks have so much of the validation images that they had."""
    return rounds[way] + share * (rounds[f"{way}_looking"] - rounds[way])


def _spread(values: pd.Series) -> str:
    """The median of rounds, with the least and the most."""
    return f"{values.median():.2f} ({values.min():.2f}–{values.max():.2f})"


STREAMING = "streaming.csv"
"""What ``benchmarks/streaming.py`` writes: a row for each number of workers, kind of image and round."""


def streaming(folder: Path) -> str:
    """Images a second from disk, a plain torchvision loader's beside ours."""
    if not (folder / STREAMING).is_file():
        return "Not measured yet; `python benchmarks/streaming.py` measures it.\n"
    rounds = pd.read_csv(folder / STREAMING)
    about = rounds.iloc[0]
    rows = [
        f"On {about['machine']}, {about['threads']} threads, {about['images']:,} images, {rounds['round'].nunique()} rounds:",
        "",
        "| workers | images | torchvision, a second | ours | ours / torchvision |",
        "|--:|---|--:|--:|--:|",
    ]
    for (workers, kind), of in rounds.groupby(["workers", "kind"], sort=False):
        rates = [f"{of[name].median():,.0f}" for name in ("torchvision", "ours")]
        rows.append(f"| {workers} | {kind} | {' | '.join(rates)} | {_spread(of['ours'] / of['torchvision'])} |")
    return "\n".join([*rows, ""])


PILOTS = "pilot-*.csv"
"""What ``benchmarks/pilot.py`` writes: pilot-PROFILE.csv."""

_PILOT_ROLES = {
    ("teacher", ""): "teachers' network, fine-tuned",
    ("student", "none"): "student's network, no teacher",
    ("student", "kd"): "student of two weak teachers",
}


def calibration(folder: Path) -> str:
    """The pilot networks of each profile: where each ended, and the curves of those without teachers."""
    parts = []
    for path in sorted(folder.glob(PILOTS), key=lambda path: path.stem):
        curves = pd.read_csv(path, keep_default_na=False, na_values={"validation_accuracy": [""]})
        for column in ("validation_accuracy", "train_accuracy"):
            curves[column] = pd.to_numeric(curves[column])
        ends = curves[curves["epoch"] == curves.groupby(["seed", "run"])["epoch"].transform("max")]
        rows = [
            "| seed | network | augmentation | epochs | training accuracy (own views) | validation accuracy |",
            "|---|---|---|--:|--:|--:|",
        ]
        for end in ends.to_dict("records"):
            kind = _PILOT_ROLES[end["role"], end["objective"]]
            augmentation = end["student"] or end["teachers"]
            rows.append(
                f"| {end['seed']} | {kind} (`{end['run']}`) | {augmentation} | {end['epoch']} | {end['train_accuracy']:.1%} | "
                f"{end['validation_accuracy']:.1%} |"
            )
        name = path.stem.removeprefix("pilot-")
        alt = f"Accuracy by epoch of the student's network of {name}, trained alone with weak and with strong augmentation."
        parts += [
            f"**`{name}`**",
            "",
            *rows,
            "",
            "```{raw} html",
            f'<div class="kdnb-figure">{figures.to_svg(figures.pilot_curves(curves), alt)}</div>',
            "```",
            "",
        ]
    return "\n".join(parts)


def judging(folder: Path, name: str = "judging") -> str:
    """How often synthetic studies are judged right and wrong, as ``benchmarks/judging.py`` measured it.

    Args:
        name: ``judging`` for the claims K, ``second-round`` for R.
    """
    rates = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
    rows = ["| question | seeds | answer |", "|---|--:|--:|"]
    rows += [f"| {row['question']} | {row['seeds']} | {row['answer']} |" for row in rates.to_dict("records")]
    return "\n".join(rows)
