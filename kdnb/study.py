"""A profile becomes a grid of runs.

A profile is a typed YAML file: the names ``smoke``, ``cpu`` and ``cpu-lt`` are files in the package, and the path of a
user's own file works wherever a name does. The grid has a row for each ensemble of teachers and a column for each
augmentation of the student. Runs are named as in the paper: in ``T1w_T2s_Ss`` the first teacher was trained with weak
augmentation, the second with strong, and the student is distilled with strong.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator

from kdnb import datasets
from kdnb.errors import ProfileError
from kdnb.spec import DatasetId, DistillSpec, ModelSpec, RecordSpec, RunSpec, Strict, TrainSpec
from kdnb.train import group_key

AUGMENTATIONS = {"w": "weak", "s": "strong"}
"""The letters in the names of runs."""

ALL_ENSEMBLES = ("", "w", "s", "ww", "ws", "sw", "ss", "www", "wws", "wsw", "wss", "sww", "sws", "ssw", "sss")
"""The paper's rows: no teacher, one, two, three, each weak or strong. With two columns, 30 students of 6 teachers."""


def _ensemble(letters: str) -> str:
    if not re.fullmatch("[ws]*", letters):
        raise ValueError(f"an ensemble is a word of w and s, one letter a teacher ('' for none), not {letters!r}")
    return letters


class DatasetConfig(Strict):
    """What `kdnb.datasets.load` is called with."""

    name: str
    """digits, cifar100, cifar100-50 (images a class), cifar100-imb100 (long-tailed), fashion-mnist, imagefolder:PATH"""
    size: int | None = None
    """side in pixels, for an image folder"""
    train_list: str | None = None
    """a file that names the training images of a subset"""
    split_seed: int = 0
    """which images a subset without such a file draws"""

    @property
    def kind(self) -> str:
        """the name without the path of one's own images, which lie elsewhere on another machine"""
        return self.name.partition(":")[0]

    def load(self, root: str | Path | None = None) -> datasets.Dataset:
        return datasets.load(
            self.name, root=root, size=self.size, train_list=self.train_list, split_seed=self.split_seed
        )


class NetworkConfig(Strict):
    """A network and how it is trained."""

    model: ModelSpec
    """which network"""
    train: TrainSpec
    """how it is trained"""


class Profile(Strict):
    """A study's settings: everything that its runs depend on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """what its tables, records and pages are called by"""
    about: str = ""
    """what it is for and what it costs, a sentence"""
    dataset: DatasetConfig
    """the images"""
    side: int | None = Field(None, ge=8)
    """pixels that an image is resized to before a network sees it (the paper: 224); none leaves it as it is"""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(min_length=1)
    """each trains the whole grid anew; they are the unit of evidence"""
    teacher: NetworkConfig
    """of every teacher, and of the reference"""
    student: NetworkConfig
    """of every student"""
    distill: DistillSpec = DistillSpec()
    """the loss of a student that has teachers"""
    ensembles: tuple[Annotated[str, AfterValidator(_ensemble)], ...] = ALL_ENSEMBLES
    """rows of the grid"""
    students: tuple[Annotated[str, Field(pattern="^[ws]$")], ...] = ("w", "s")
    """columns of the grid"""
    reference: bool = True
    """train one more network a seed as a teacher on clean images: the one that affinity is defined with"""
    record: RecordSpec = RecordSpec()
    """what a finished run leaves"""

    @field_validator("seeds", "ensembles", "students")
    @classmethod
    def _once_each(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands there twice")
        return values


MOST_SEEDS = 1000


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as people write them: ``0,1,2`` or ``0-4``; each once.

    Raises:
        ProfileError: not such a list, a seed of 2^32 or more, or more than `MOST_SEEDS` seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise ProfileError(f"{text!r} is not a list of seeds; write 0,1,2 or 0-4")
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= 2**32:
            raise ProfileError(f"the seed {last} is too large; seeds go from 0 to {2**32 - 1}")
        if last - first >= MOST_SEEDS:
            raise ProfileError(f"{part.strip()} are {last - first + 1} seeds; name at most {MOST_SEEDS} at once")
        seeds += range(first, last + 1)
    return tuple(dict.fromkeys(seeds))


def profile_names() -> list[str]:
    """The profiles in the package."""
    folder = resources.files("kdnb") / "profiles"
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def load_profile(name: str, overrides: Iterable[str] = ()) -> Profile:
    """The profile of that name, or in the YAML file of that path.

    Args:
        overrides: ``dotted.path=value`` with the value in YAML, e.g. ``teacher.train.epochs=2`` or ``seeds=[0, 1]``.

    Raises:
        ProfileError: no such profile, not YAML, an unknown key, a value of the wrong type or range.
    """
    packaged = resources.files("kdnb") / "profiles" / f"{name}.yaml"
    path = Path(name).expanduser()
    if name in profile_names():
        text = packaged.read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"{name} is not a readable text file in UTF-8 ({error})") from None
    else:
        raise ProfileError(
            f"no profile {name!r}; there are {', '.join(profile_names())}, or the path of your own YAML file"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ProfileError(f"{name} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{name} does not hold a mapping of settings; see a profile of the package for the form")
    for override in overrides:
        _set(content, override)
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise ProfileError(f"{name}: {explain(error)}") from None


def _set(content: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals:
        raise ProfileError(f"{override!r} is not of the form path=value, e.g. student.train.epochs=2")
    *outer, last = path.strip().split(".")
    for key in outer:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise ProfileError(f"{override!r}: {key} is a value, there is nothing below it")
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ProfileError(f"{override!r}: the value is not YAML: {' '.join(str(error).split())}") from None


def explain(error: ValidationError) -> str:
    """The first thing that is wrong, in a line: where, what, and which value."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    known = ""
    if first["type"] == "extra_forbidden":
        known = f"; {_siblings(first['loc'])}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    shown = "" if first["type"] == "missing" else f", got {first['input']!r}"
    return f"{where or 'the whole'}: {first['msg']}{shown}{known}{more}"


def _siblings(location: tuple[int | str, ...]) -> str:
    model: Any = Profile
    for part in location[:-1]:
        if hasattr(model, "model_fields"):
            field = model.model_fields.get(part)
            model = field.annotation if field is not None else None
        else:  # settings of several kinds, such as a schedule's
            model = next((each for each in get_args(model) if each.model_fields["kind"].default == part), None)
    names = ", ".join(model.model_fields) if hasattr(model, "model_fields") else "other names"
    return f"there are {names}"


@dataclass(frozen=True)
class Run:
    """A run and its place in the grid."""

    name: str
    """``T1w``, ``T1w_T2s_Ss``, ``Sw``, ``reference``"""
    spec: RunSpec
    ensemble: str = ""
    """letters of a student's teachers"""

    @property
    def seed(self) -> int:
        return self.spec.seed


@dataclass(frozen=True)
class Study:
    """All runs of a profile for some of its seeds, teachers before their students."""

    profile: Profile
    runs: tuple[Run, ...]

    @cached_property
    def by_id(self) -> dict[str, Run]:
        return {run.spec.id: run for run in self.runs}

    def groups(self, runs: Iterable[Run] | None = None) -> list[list[Run]]:
        """The runs, or some of them, in lockstep groups: a teacher by itself, students with one stream together."""
        groups: dict[Any, list[Run]] = {}
        for run in self.runs if runs is None else runs:
            groups.setdefault((run.spec.role, group_key(run.spec)), []).append(run)
        return list(groups.values())


def build(profile: Profile, dataset_hash: str, seeds: Sequence[int] | None = None) -> Study:
    """The grid of a profile on a data set, for `seeds` or all of the profile's."""
    runs: list[Run] = []
    dataset = DatasetId(name=profile.dataset.kind, hash=dataset_hash)
    for seed in profile.seeds if seeds is None else seeds:

        def spec(role: str, network: NetworkConfig, augmentation: str, seed: int = seed, **more: Any) -> RunSpec:
            return RunSpec(
                role=role,
                dataset=dataset,
                model=network.model,
                side=profile.side,
                augmentation=augmentation,
                train=network.train,
                record=profile.record,
                seed=seed,
                **more,
            )

        teachers: dict[str, Run] = {}
        for ensemble in profile.ensembles:
            for member, letter in enumerate(ensemble, start=1):
                name = f"T{member}{letter}"
                if name not in teachers:
                    recipe = spec("teacher", profile.teacher, AUGMENTATIONS[letter], member=member)
                    teachers[name] = Run(name, recipe)
        runs += [teachers[name] for name in sorted(teachers)]
        if profile.reference:
            runs.append(Run("reference", spec("reference", profile.teacher, "clean")))
        for letter in profile.students:
            for ensemble in profile.ensembles:
                names = [f"T{member}{own}" for member, own in enumerate(ensemble, start=1)]
                ids = tuple(teachers[name].spec.id for name in names)
                recipe = spec(
                    "student",
                    profile.student,
                    AUGMENTATIONS[letter],
                    teachers=ids,
                    distill=profile.distill if ids else None,
                )
                runs.append(Run("_".join([*names, f"S{letter}"]), recipe, ensemble))
    return Study(profile, tuple(runs))
