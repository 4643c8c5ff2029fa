"""The command line: `kdnb plan`, `run`, `status`, `table`, `publish`, `export`, `diff`, `reproduce`, `doctor`. It parses, calls
and prints; it decides nothing.

An error that a user can fix is one line on standard error and exit code 2; ``--traceback`` shows the rest.
"""

import functools
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from kdnb import __version__, stopping
from kdnb.errors import DamageError, KdnbError, ProfileError, in_one_line
from kdnb.paths import is_clone, user_path
from kdnb.progress import duration

if TYPE_CHECKING:
    from kdnb.scale.cost import Cost
    from kdnb.study.grid import Plan
    from kdnb.study.store import Store
    from kdnb.training.spec import RunSpec

# torch and what is built on it take seconds to import: each command imports what it needs, so that --help and a mistyped
# option answer at once.


@dataclass(frozen=True)
class Where:
    """What every command needs: which study, and where things lie."""

    profile: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...] | None
    data_root: str | None
    store: str | None

    epochs: int | None = None
    """of every network, for a quick look"""

    def plan(self) -> "Plan":
        """The study, and the images it is about."""
        from kdnb.study import grid, profile

        return grid.plan(profile.load(self.profile, self.settings()), root=self.data_root, seeds=self.seeds)

    def settings(self) -> list[str]:
        """What is changed of the profile, epochs among it."""
        from kdnb.study import profile

        overrides = list(self.overrides)
        if self.epochs is not None:
            settings = profile.load(self.profile, self.overrides)
            trained = [f"origins.{name}" for name, origin in settings.origins.items() if origin.kind == "trained"]
            overrides += [f"{each}.train.epochs={self.epochs}" for each in ("teacher", "student", *trained)]
            overrides += [f"epochs_of.{name}={self.epochs}" for name in settings.epochs_of]
            overrides += [f"alone.epochs={self.epochs}"] if settings.alone else []
        return overrides

    def open_store(self) -> "Store":
        from kdnb.study.store import Store

        return Store(self.store)


class _Path(click.Path):
    """A path in which ``~`` is a home folder also where the shell leaves it, as in ``--results=~/x``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(user_path(value), param, ctx)


def _seeds(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    from kdnb.study.profile import parse_seeds

    try:
        return parse_seeds(value)
    except ProfileError as error:
        raise click.BadParameter(str(error)) from None


def _study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which study."""

    @functools.wraps(command)
    def wrapped(
        profile: str,
        overrides: tuple[str, ...],
        epochs: int | None,
        seeds: Any,
        data_root: str,
        store: str,
        **rest: Any,
    ) -> Any:
        return command(Where(profile, overrides, seeds, data_root, store, epochs), **rest)

    for option in (
        click.option("--store", help="Folder of the results (default: $KDNB_STORE, else in the user's data folder)."),
        click.option("--data-root", help="Folder of the data sets (default: $KDNB_DATA, else in the user's cache)."),
        click.option("--epochs", type=click.IntRange(min=1), help="Shorthand: this many epochs for every network."),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="PATH=VALUE",
            help="Change a setting, e.g. objectives.kd.alpha=0.5.",
        ),
        click.option("--seeds", callback=_seeds, help="Which seeds: 0,1,2 or 0-4 (default: the profile's)."),
        click.option("--profile", default="smoke", show_default=True, help="A profile's name, or your own YAML file."),
    ):
        wrapped = option(wrapped)
    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--traceback", is_flag=True, help="Show where an error came from (anywhere on the line).")
@click.version_option(__version__, prog_name="kdnb")
def cli(traceback: bool) -> None:  # read by main
    """Rerun the study of attention and fidelity in knowledge distillation, at any scale."""


_on_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps, …")
_in_memory = click.option(
    "--memory",
    metavar="SIZE",
    help="Of the device, for each worker, as 8GiB: groups that need more train in passes (default: what is free).",
)


@cli.command()
@_study_options
@_on_device
@_in_memory
@click.option("--probe/--no-probe", default=True, help="Time two batches of each kind of network.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="TFLOP/s of a device elsewhere, not timed here."
)
@click.option("--sizes", help="TRAIN,VALIDATION,CLASSES of images that are not here; needs --rate.")
def plan(where: Where, device: str, memory: str | None, probe: bool, rate: float | None, sizes: str | None) -> None:
    """Say what a run would train, what the store holds, and what it would cost: arithmetic, memory, disk, hours. Nothing in the
    store changes."""
    from kdnb import devices
    from kdnb.images.repeats import repeats
    from kdnb.scale import cost, estimate
    from kdnb.scale import memory as memories
    from kdnb.study import execute

    given = memories.parse(memory) if memory is not None else None
    if sizes is not None:
        _plan_elsewhere(where, sizes, rate, "cpu" if device == "cpu" else "cuda", given)
        return
    chosen = devices.choose(device)
    planned, store = where.plan(), where.open_store()
    study, dataset = planned.study, planned.dataset
    counts = dataset.train.labels.bincount(minlength=len(dataset.classes)).tolist()
    waiting, held = execute.tasks(study, store)
    lacking = sum(len(task.specs) for task in waiting)
    click.echo(
        f"{study.profile.name}: {len(held) + lacking} runs, {len(held)} in {store.root}, {lacking} to train, on "
        f"{dataset.name} ({len(dataset.train)} + {len(dataset.validation)} images, {min(counts)} to {max(counts)} of each of "
        f"{len(counts)} classes to train on, hash {dataset.hash})"
    )
    for line in study.draws:
        click.echo(f"  {line}")
    if found := str(repeats(dataset)):
        click.echo(f"  note: {found}")
    for run in held:
        if run in study.origins:
            click.echo(f"  {run.name}  {'in the store' if store.has(run.spec.id) else 'comes with the package'}")
    for seed in study.seeds:
        there = [run.name for run in held if run in study.runs and run.seed == seed]
        if there:
            click.echo(f"  seed {seed}  in the store: " + ", ".join(there))
    specs = {run.spec.id: run.spec for run in study.every_run}
    devices.keep_to_cores()
    estimator = estimate.Estimator(planned.datasets, chosen) if probe and rate is None else None
    shapes = {hash_: cost.Sizes.of(each) for hash_, each in planned.datasets.items()}
    # A rate is that of a device elsewhere, whose memory is not known here.
    room = given or (memories.free(chosen) if rate is None else float("inf"))
    need = memories.need_of(chosen.type, specs, shapes)
    most = given or (memories.capacity(chosen) if rate is None else room)
    memories.require([spec for task in waiting for spec in task.specs], need, most)
    passes = [memories.split(task.specs, need, room) for task in waiting]
    costs, total = [], 0.0
    for task, parts in zip(waiting, passes, strict=True):
        costs.append(cost.together([cost.of_group(part, specs, shapes) for part in parts]))
        names = ", ".join(study.by_id[spec.id].name for spec in task.specs)
        line = f"  {names}" if task.specs[0].role == "origin" else f"  seed {task.specs[0].seed}  {names}"
        if estimator is not None:
            seconds = sum(estimator.group(part, specs) for part in parts)
            total += seconds
            line += f": {duration(seconds)}"
        elif rate is not None:
            line += f": {duration(costs[-1].hours(rate) * 3600)}"
        click.echo(line + _in_passes(parts))
    if not waiting:
        return
    whole = cost.together(costs)
    _echo_cost(whole, passes, room)
    if estimator is not None:
        click.echo(
            f"about {duration(total)} on this machine ({chosen.type}, {whole.flop / total / 1e12:.3g} TFLOP/s as timed), one "
            "group after the other"
        )
    elif rate is not None:
        _echo_hours(whole, rate)


def _plan_elsewhere(where: Where, sizes: str, rate: float | None, device: str, given: float | None) -> None:
    """The plan of a study whose images are on another machine.

    Args:
        device: cpu, or cuda for any other.
        given: bytes of memory that the device has, if that is given.
    """
    from kdnb.scale import cost
    from kdnb.scale import memory as memories
    from kdnb.study import grid, profile

    if rate is None:
        raise ProfileError(f"--sizes {sizes} is of images that are not here: nothing can be timed; give a --rate too")
    settings = profile.load(where.profile, where.settings())
    shape = cost.Sizes.parse(sizes, settings.dataset.size or 32, settings.dataset.streamed)
    if settings.teacher_dataset or any(origin.kind == "trained" for origin in settings.origins.values()):
        raise ProfileError(
            f"{settings.name} has several data sets, and --sizes describes one; plan where its images are"
        )
    study = grid.build(settings, "0" * 16, where.seeds)
    by_id = {run.spec.id: run.spec for run in study.every_run}
    shapes, room = {"0" * 16: shape}, given or float("inf")
    need = memories.need_of(device, by_id, shapes)
    memories.require(list(by_id.values()), need, room)
    passes = [memories.split([run.spec for run in group], need, room) for group in study.groups()]
    costs = [cost.together([cost.of_group(part, by_id, shapes) for part in parts]) for parts in passes]
    click.echo(
        f"{settings.name}: {len(study.every_run)} runs on {shape.train} + {shape.validation} images of {shape.classes} classes "
        f"that are not here, {shape.side} pixels each"
    )
    for parts, each in zip(passes, costs, strict=True):
        names = ", ".join(study.by_id[spec.id].name for part in parts for spec in part)
        click.echo(f"  seed {parts[0][0].seed}  {names}: {duration(each.hours(rate) * 3600)}{_in_passes(parts)}")
    whole = cost.together(costs)
    _echo_cost(whole, passes, room)
    _echo_hours(whole, rate)


def _in_passes(parts: Sequence[object]) -> str:
    return f", in {len(parts)} passes" if len(parts) > 1 else ""


def _echo_cost(whole: "Cost", passes: Sequence[Sequence[Sequence["RunSpec"]]], room: float) -> None:
    """Of groups, each in its passes, with `room` bytes for a pass."""
    roles, groups = [spec.role for parts in passes for part in parts for spec in part], len(passes)
    count = {role: roles.count(role) for role in ("origin", "teacher", "reference", "student") if role in roles}
    listed = ", ".join(f"{number} {role}{'s' if number > 1 else ''}" for role, number in count.items())
    parts = {
        "teachers": whole.teachers,
        "students": whole.students,
        "teachers' answers": whole.answers,
        "looking": whole.looking,
    }
    click.echo(f"grid        {listed}, in {groups} group{'s' if groups > 1 else ''}")
    click.echo(
        f"arithmetic  {_flop(whole.flop)}: "
        + ", ".join(f"{name} {_flop(each)}" for name, each in parts.items() if each)
    )
    split = [len(parts) for parts in passes if len(parts) > 1]
    click.echo(
        f"memory      {_bytes(whole.memory)} on the device for the largest {'pass' if split else 'group'}, "
        f"{_bytes(whole.images)} of it images"
    )
    if split:
        click.echo(
            f"passes      {sum(split)} for {len(split)} group{'s' if len(split) > 1 else ''}, to fit {_bytes(room)}; "
            "results do not change"
        )
    click.echo(f"disk        {_bytes(whole.disk)} in the store")


def _echo_hours(whole: "Cost", rate: float) -> None:
    click.echo(f"about {whole.hours(rate):,.1f} h at {rate:g} TFLOP/s, as given, one group after the other")


def _flop(number: float) -> str:
    return f"{number / 1e15:,.0f} PFLOP" if number >= 1e16 else f"{number / 1e12:,.1f} TFLOP"


def _bytes(number: float) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.1f} MB"


@cli.command()
@_study_options
@_on_device
@_in_memory
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Groups trained at once, each on a GPU of its own where there are several, else sharing the cores it may use.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of each worker (default: the cores that kdnb may use, shared out).",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Train on a Dask cluster instead: its scheduler, tcp://HOST:8786, or dask-local:N for N processes here.",
)
@click.option(
    "--graphs",
    is_flag=True,
    help="On a CUDA device, record steps as CUDA graphs: four to five times as fast with small networks; call make gpu first.",
)
def run(
    where: Where, device: str, memory: str | None, workers: int, threads: int | None, cluster: str | None, graphs: bool
) -> None:
    """Train what the study lacks. Killed at any time, the next call goes on from the last epoch."""
    from dataclasses import replace

    from kdnb import devices, environment
    from kdnb.scale import cost, locks
    from kdnb.scale import memory as memories
    from kdnb.study import execute, weights
    from kdnb.study.resources import Resources
    from kdnb.study.store import Store

    if cluster is not None and workers > 1:
        raise ProfileError("--cluster and --workers exclude each other; leave out --workers")
    given = memories.parse(memory) if memory is not None else None
    # What a cluster's workers have is theirs to say, and this machine may have less.
    chosen = devices.choose("cpu" if cluster is not None else device)
    planned, store = where.plan(), where.open_store()
    study, data_root = planned.study, where.data_root
    if reason := environment.why_unnamed(environment.describe(chosen)):
        click.echo(
            f"kdnb: warning: no commit names this code: {reason}. Training goes on, and kdnb publish will refuse what "
            "comes out",
            err=True,
        )
    if warning := locks.mount_warning(store.root):
        click.echo(f"kdnb: warning: use {store.root} from one machine only: {warning}", err=True)
    resources = Resources(device, given, workers, threads, graphs)
    pool: AbstractContextManager[Executor | None] = nullcontext()
    specs = {run.spec.id: run.spec for run in study.every_run}
    shapes = {hash_: cost.Sizes.of(each) for hash_, each in planned.datasets.items()}
    if cluster is None:  # before anything is trained
        missing = [spec for run_id, spec in specs.items() if not store.has(run_id) and not weights.packaged(run_id)]
        room = given or memories.capacity(chosen, resources.sharing)
        memories.require(missing, memories.need_of(chosen.type, specs, shapes), room)
    else:
        from kdnb.scale import cluster as clusters

        resources = replace(resources, workers=clusters.local_workers(cluster) or 1)
        store, data_root = Store(store.root.absolute()), clusters.whole_data_root(data_root)
        pool = clusters.connect(
            cluster,
            store,
            say=lambda text: click.echo(f"kdnb: {text}", err=True),
            memory=lambda task: cost.of_worker(task.specs, specs, shapes),
        )
    with pool as executor:
        report = execute.execute(
            study,
            store,
            resources,
            executor=executor,
            data_root=data_root,
            weigh=lambda spec: cost.work(spec, planned.datasets[spec.dataset.hash]),
        )
    click.echo(
        f"{study.profile.name}: {report.trained} runs trained in {duration(report.seconds)}, "
        f"{report.cached} were in {store.root}"
    )
    report.require_complete()


@cli.command()
@_study_options
def status(where: Where) -> None:
    """Say which runs the store holds, and how far the unfinished ones are. Nothing in it changes."""
    study, store = where.plan().study, where.open_store()
    for origin in study.origins:
        click.echo(f"{study.profile.name}, {origin.name}: {_progress(store, origin.spec)}")
    for seed in study.seeds:
        runs = study.of_seed(seed)
        missing = [run for run in runs if not store.whole(run.spec.id)]
        click.echo(f"{study.profile.name}, seed {seed}: {len(runs) - len(missing)} of {len(runs)} runs in {store.root}")
        for each in missing:
            click.echo(f"  {each.name}: {_progress(store, each.spec)}")


def _progress(store: "Store", spec: "RunSpec") -> str:
    if damage := store.damage(spec.id):
        return f"to be trained again: {damage}"
    if store.has(spec.id):
        return f"in {store.root}"
    try:
        saved = store.checkpoints.read(spec.id)
    except DamageError as error:
        return f"to be begun again: {error}"
    done = saved[1]["epoch"] if saved else 0
    return f"epoch {done} of {spec.train.epochs}" if done else "not begun"


@cli.command()
@_study_options
@click.option("--csv", type=_Path(dir_okay=False), help="Write the whole tidy table to a file.")
@click.option("--curves", is_flag=True, help="The training logs instead of the measures: a row for each epoch.")
@click.option("--claims", is_flag=True, help="Say what the table shows of the paper's claims.")
def table(where: Where, csv: Path | None, curves: bool, claims: bool) -> None:
    """Print the measures of every run, or write all of them as CSV."""
    from kdnb.evidence import claims as declared
    from kdnb.evidence import judging
    from kdnb.evidence import table as tables

    planned = where.plan()
    study = planned.study
    rows = (tables.curves if curves else tables.table)(study, where.open_store())
    if csv is not None:
        try:
            rows.to_csv(csv, index=False, lineterminator="\n")
        except OSError as error:
            raise KdnbError(f"cannot write {csv}: {error.strerror or error}") from None
        click.echo(f"{len(rows)} {'epochs' if curves else 'measurements'} written to {csv}")
    elif curves:
        click.echo(rows.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep=""))
    else:
        seeds = rows["seed"].nunique()
        click.echo(
            f"{study.profile.name} on {planned.dataset.name}, {seeds} {'seed' if seeds == 1 else 'seeds (means)'}; clean "
            "validation images; gap and affinity on own views; students against the mean of their teachers"
        )
        overview = tables.overview(rows).rename_axis(None)
        click.echo(overview.to_string(float_format=lambda value: f"{value:.3f}", na_rep="", line_width=200))
    if claims and not curves:
        for chosen in (*declared.sets_of_profile(study.profile.name), *declared.registered()):
            click.echo("\n" + judging.describe(judging.effects(rows, chosen), chosen, study.profile.name))


@cli.command()
@_study_options
@click.option(
    "--results",
    type=_Path(file_okay=False),
    help="Folder (default: book/results/PROFILE of a clone; of an installed package, results/PROFILE here).",
)
@click.option("--weights/--no-weights", default=True, help="Keep the networks of the first seed, if they are small.")
@click.option("--uncommitted", is_flag=True, help="Accept runs made with code that no commit has.")
def publish(where: Where, results: Path | None, weights: bool, uncommitted: bool) -> None:
    """Write the results of whole seeds into the folder that the book shows."""
    from kdnb.evidence import results as published
    from kdnb.release import publish as publishing

    planned = where.plan()
    name = planned.study.profile.name
    folder = results or (published.home() if is_clone() else Path("results")) / name
    written = publishing.publish(
        planned.study, where.open_store(), planned.dataset, folder, strict=not uncommitted, weights=weights
    )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(
        f"{name}: seeds {', '.join(map(str, written.seeds))} published in {folder} "
        f"({len(written.table)} measurements; the folder has {size / 1e6:.1f} MB)"
    )


@cli.command()
@_study_options
@click.argument("runs", nargs=-1)
@click.option("--form", type=click.Choice(["onnx", "browser"]), default="onnx", show_default=True)
@click.option("--half", is_flag=True, help="Store weights in half precision.")
@click.option("--to", type=_Path(file_okay=False), default=Path("."), help="Folder of the files (default: this one).")
def export(where: Where, runs: tuple[str, ...], form: str, half: bool, to: Path) -> None:
    """Write RUNS of one seed, all without any named, as ONNX (a file each) or in the form of the book's page (one file)."""
    from kdnb import atomic
    from kdnb.release import export as exports

    planned = where.plan()
    networks, data = exports.of_runs(planned, where.open_store(), runs), planned.dataset
    if form == "browser":
        files = {"networks.safetensors": exports.browser(networks, half=half)}
    else:
        side = planned.study.profile.side or data.side
        told = {name: exports.about(name, data.classes, data.mean, data.std) for name in networks}
        files = {
            f"{name}.onnx": exports.onnx(each, side, half=half, about=told[name]) for name, each in networks.items()
        }
    try:
        to.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            atomic.write(to / name, content)
            click.echo(f"{to / name} ({_bytes(len(content))})")
    except OSError as error:
        raise KdnbError(f"cannot write into {to}: {error.strerror or error}") from None


@cli.command()
@_study_options
@click.option("--to", type=_Path(file_okay=False), default=Path("."), help="Folder of the files (default: this one).")
def archive(where: Where, to: Path) -> None:
    """Pack the store of whole seeds, a file for each, as archives such as Zenodo take it.

    Networks stay as they are; what they answered and where they looked is kept in half precision.
    """
    from kdnb.release import archive as archives

    planned = where.plan()
    for seed in planned.study.seeds:
        path = archives.pack(planned.study, where.open_store(), planned.dataset, seed, to)
        click.echo(f"seed {seed}: {path} ({path.stat().st_size / 1e6:.1f} MB)")


@cli.command()
@click.argument("files", type=_Path(dir_okay=False), nargs=-1, required=True)
@click.option("--store", help="Folder of the results (default: $KDNB_STORE, else in the user's data folder).")
def restore(files: tuple[Path, ...], store: str | None) -> None:
    """Read archived seeds into a store, so that nothing in them needs to be trained again."""
    from kdnb.release import archive as archives
    from kdnb.study.store import Store

    for path in files:
        found = archives.restore(path, Store(store))
        there = f"; {len(found.there)} were there and stay as they are" if found.there else ""
        click.echo(f"{found.name}: {len(found.added)} runs added{there}")


@cli.command()
@click.argument("ours", type=_Path(file_okay=False))
@click.argument("theirs", type=_Path(file_okay=False), required=False)
def diff(ours: Path, theirs: Path | None) -> None:
    """Compare two folders of results, claim by claim (THEIRS: default the published ones of the same profile)."""
    from kdnb.evidence import results
    from kdnb.release import diff as differences

    here = results.read(ours)
    click.echo(differences.describe(here, results.read(results.published(theirs, like=here.profile.name))))


@cli.command()
@click.argument("pages", nargs=-1)
@click.option(
    "--profile", default="smoke", show_default=True, help="A profile's name, your own YAML file, or published."
)
@click.option("-p", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pages, e.g. seeds=0-4.")
@click.option("--store", help="Folder of the runs (default: $KDNB_STORE, else in the user's data folder).")
@click.option("--out", type=_Path(file_okay=False), help="Folder (default: _build/reproduce/PROFILE, here).")
@click.option("--timeout", type=click.IntRange(min=1), default=3600, show_default=True, help="Seconds a cell may take.")
@click.option("--build/--no-build", default=True, help="Build the book from what came out.")
def reproduce(
    pages: tuple[str, ...],
    profile: str,
    given: tuple[str, ...],
    store: str | None,
    out: Path | None,
    timeout: int,
    build: bool,
) -> None:
    """Train what is missing, run the book's pages on it, and build the book: all of PAGES, or every page. In a clone alone."""
    from kdnb.book import reproduce as book

    asked = book.parse(profile, given)
    made = book.reproduce(asked, pages, store=store, out=out, timeout=timeout, build=build, say=click.echo)
    click.echo(f"{len(made.pages)} pages in {made.folder}" + (f"; read {made.index}" if made.index else ""))


@cli.command()
@click.option("--data-root", help="Folder of the data sets (default: $KDNB_DATA, else in the user's cache).")
@click.option("--store", help="Folder of the results (default: $KDNB_STORE, else in the user's data folder).")
def doctor(data_root: str | None, store: str | None) -> None:
    """Say what is found where, and what is missing with the command that gets it."""
    from kdnb import devices, environment
    from kdnb.images import datasets
    from kdnb.study import profile
    from kdnb.study.store import Store

    device = devices.choose()
    devices.keep_to_cores()
    for name, value in environment.describe(device).items():
        click.echo(f"{name:<22}{'-' if value is None else value}")
    click.echo(f"{'profiles':<22}{', '.join(profile.names())}")
    click.echo(f"{'data root':<22}{datasets.data_root(data_root)}")
    for found in datasets.survey(data_root):
        click.echo(f"  {'found  ' if found.present else 'missing'} {found.name:<14}{found.note}")
    opened = Store(store)
    held = len(list((opened.root / "runs").glob("[!.]*"))) if (opened.root / "runs").is_dir() else 0
    aside = len(list((opened.root / "set-aside").glob("*"))) if (opened.root / "set-aside").is_dir() else 0
    click.echo(f"{'store':<22}{opened.root}: {held} runs, {aside} set aside")


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    with suppress(OSError):  # nobody listens, and the work goes on
        click.echo(f"kdnb: {message}", err=True)


def _open_closed_streams() -> None:
    """Where a caller closed a standard stream: a file that is opened must not get its number, and with it what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `kdnb`."""
    _open_closed_streams()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    traceback = "--traceback" in arguments  # wherever it stands
    warnings.showwarning = _warn
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without κ or − shows ? in their place
    try:
        with stopping.by_signals():
            cli.main(args=[a for a in arguments if a != "--traceback"], prog_name="kdnb", standalone_mode=False)
    except KdnbError as error:
        if traceback:
            raise
        click.echo(f"kdnb: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # whoever read the output wants no more of it
        sys.stderr.close()
        sys.exit(1)
    except (OSError, UnicodeError, MemoryError) as error:
        if traceback:
            raise
        click.echo(f"kdnb: {in_one_line(error)}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"kdnb: {error.format_message()}", err=True)
        sys.exit(2)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        with suppress(OSError):
            click.echo("kdnb: interrupted; the next call goes on from the last whole epoch", err=True)
        if isinstance(error, stopping.Stopped):
            error.end()
        sys.exit(130)


if __name__ == "__main__":
    main()
