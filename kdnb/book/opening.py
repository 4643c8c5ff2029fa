"""What a page's parameters ask for, as results: opened where they are published, trained and published first where not."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from kdnb import atomic, devices, environment
from kdnb.errors import DamagedResultsError, IncompleteError, ProfileError
from kdnb.evidence import results
from kdnb.evidence.results import Results
from kdnb.paths import is_clone, user_path
from kdnb.release import publish
from kdnb.study import execute, grid, profile
from kdnb.study.grid import Plan, Study
from kdnb.study.resources import Resources
from kdnb.study.store import Store
from kdnb.training.strict import Strict

PUBLISHED = "published"


class Parameters(Strict):
    """What a page can be asked for."""

    profile: str = PUBLISHED
    """a profile's name, the path of your own YAML file, or ``published``: the results that come with the book"""
    seeds: str = ""
    """which seeds, as 0,1,2 or 0-4; empty: all of the profile's"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1"""
    data_root: str = ""
    """folder of the data sets; empty: $KDNB_DATA, else the user's cache"""
    results: str = ""
    """folder of the results to read or write; empty: those of the book, or of the store"""


def parameters(**given: object) -> Parameters:
    """The given values, checked. A number is taken for seeds too, since papermill makes one of ``-p seeds 0``.

    Raises:
        ProfileError: an unknown name or a value of the wrong type; the message lists the right ones.
    """
    if type(given.get("seeds")) is int:
        given["seeds"] = str(given["seeds"])
    known = ", ".join(f"{name}: {field.annotation.__name__}" for name, field in Parameters.model_fields.items())  # type: ignore[union-attr]
    for name, value in given.items():
        if name not in Parameters.model_fields:
            raise ProfileError(f"no parameter {name!r}; a page has {known}")
        if not isinstance(value, str):
            raise ProfileError(f"the parameter {name} is {value!r}, not a string; a page has {known}")
    try:
        return Parameters.model_validate(given)
    except ValidationError as error:
        raise ProfileError(profile.explain(error, Parameters)) from None


def open_results(
    asked: Parameters, store: Store | None = None, *, before: Callable[[Plan, Store], None] | None = None
) -> Results:
    """The results that a page's parameters ask for; what they need is trained first.

    Args:
        store: where runs are; None is the user's.
        before: called before anything is trained, with the plan of the seeds that are lacking.

    Raises:
        KdnbError: as `results.read`, `profile.load`, `grid.plan` and `execute.execute`.
    """
    seeds = profile.parse_seeds(asked.seeds) if asked.seeds else None
    root = asked.data_root or None
    if asked.profile == PUBLISHED:
        found = results.read(results.published(str(user_path(asked.results)) if asked.results else None), seeds)
        require_cells(found.profile)
        return found
    settings = profile.load(asked.profile)
    require_cells(settings)
    store = store or Store()
    planned = grid.plan(settings, root=root, seeds=seeds)
    study, dataset = planned.study, planned.dataset
    name = f"{settings.name}-{_digest(study)}"
    folder = user_path(asked.results) if asked.results else store.root / "results" / name
    atomic.readable(folder / "study.json")  # or an error: what cannot be read is not taken for another version's
    try:
        own = publish.registered(settings)
        publish.require_same_study(results.settings(settings, dataset.hash, own), study.seeds, folder)
        held = _held(study, folder)
    except (IncompleteError, DamagedResultsError):
        if asked.results:
            raise
        shutil.rmtree(folder)  # a page's own copy, made by another version or damaged
        held = set()
    lacking = [seed for seed in study.seeds if seed not in held]
    if lacking:
        ahead = grid.plan(settings, root=root, seeds=lacking)
        wanted = ahead.study
        of_the_book = is_clone() and results.home() in folder.resolve().parents  # these are what a commit made
        if of_the_book:
            _require_committed(wanted, store)
        if before is not None:
            before(ahead, store)
        execute.execute(wanted, store, Resources(asked.device), data_root=root).require_complete()
        publish.publish(wanted, store, dataset, folder, strict=of_the_book)
    return results.read(folder, study.seeds)


def _require_committed(study: Study, store: Store) -> None:
    """Raises:
    IncompleteError: what is to be trained could not be published in the book."""
    waiting, _ = execute.tasks(study, store)
    reason = environment.why_unnamed(environment.describe(devices.choose("cpu"))) if waiting else ""
    if reason:
        raise IncompleteError(
            f"code that no commit has adds nothing to the results of the book: {reason}; or name a folder of your own (results)"
        )


def _held(study: Study, folder: Path) -> set[int]:
    """The study's seeds of which the folder has results of these very runs.

    Raises:
        DamagedResultsError: its results are not whole.
    """
    try:
        published = results.read(folder).about["seeds"]
    except IncompleteError:
        return set()
    held = set()
    for seed in study.seeds:
        asked = {run.name: run.spec.id for run in study.of_seed(seed)}
        if seed in published and {name: run["id"] for name, run in published[seed]["runs"].items()} == asked:
            held.add(seed)
    return held


NEEDED = tuple(
    (teachers, student) for teachers in ((), ("weak", "weak"), ("strong", "strong")) for student in ("weak", "strong")
)
"""The cells that the pages compare: (teachers, student)."""


def require_cells(settings: profile.Profile) -> None:
    """Raises:
    IncompleteError: the grid lacks what the pages compare."""
    there = {
        (tuple(teacher.augmentation for teacher in cell.teachers), cell.student)
        for cell in settings.cells
        if cell.objective in ("kd", "none") and all(teacher.origin == settings.origin for teacher in cell.teachers)
    }
    missing = [
        f"[{', '.join(teachers)}] with a {student} student"
        for teachers, student in NEEDED
        if (teachers, student) not in there
    ]
    missing += [] if settings.reference else ["the reference"]
    if missing:
        raise IncompleteError(
            "the pages compare two weak with two strong teachers and students without any; the grid of "
            f"{settings.name} lacks {'; '.join(missing)}. Keep the teachers [], [weak, weak] and [strong, strong] with the "
            "objective kd, both students, and reference: true"
        )


def _digest(study: Study) -> str:
    """Changes with anything that a run of the study depends on, its seeds aside."""
    first = study.of_seed(study.seeds[0])
    specs = [run.spec.model_copy(update={"seed": 0, "teachers": ()}) for run in first]
    parts = [spec.model_copy(update={"objective": None}).id + repr(spec.objective) for spec in specs]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:8]
