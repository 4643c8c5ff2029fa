"""A profile becomes a grid of runs: origins first, then teachers and the reference, then their students."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kdnb.errors import DataError
from kdnb.images import augment
from kdnb.images.datasets import Dataset
from kdnb.paths import user_path
from kdnb.study import cell
from kdnb.study.cell import FRESH, Cell, Notation, Teacher
from kdnb.study.profile import (
    Alternating,
    DatasetConfig,
    ImageNet,
    NetworkConfig,
    Profile,
    TrainedOrigin,
    WeightsFile,
)
from kdnb.training import objectives
from kdnb.training.spec import (
    DatasetId,
    FileOrigin,
    FreshOrigin,
    ImageNetOrigin,
    ObserveSpec,
    Origin,
    RunOrigin,
    RunSpec,
)
from kdnb.training.train import group_key


@dataclass(frozen=True)
class Run:
    """A run and its place in the grid."""

    name: str
    """``T1w``, ``T1w_T2s_Ss``, ``Sw``, ``reference``, ``origin-A``"""
    spec: RunSpec
    columns: Mapping[str, str]
    """run, role, teachers, origin, student, objective: what a table says of it"""
    dataset: DatasetConfig
    """the images it is trained on"""
    teachers: tuple[str, ...] = ()
    """names of a student's teachers, in order"""
    observed: DatasetConfig | None = None
    """the images it is measured on, where they are others"""

    @property
    def seed(self) -> int:
        return self.spec.seed


@dataclass(frozen=True)
class Ensemble:
    """Several teachers of a seed."""

    name: str
    """``T1w_T2s``"""
    columns: Mapping[str, str]
    """as those of a `Run`, with role ensemble"""
    teachers: tuple[Run, ...]


@dataclass(frozen=True)
class Study:
    """All runs of a profile for some of its seeds, what is needed first coming first."""

    profile: Profile
    origins: tuple[Run, ...]
    """networks that teachers start from, shared by all seeds"""
    runs: tuple[Run, ...]
    """teachers, reference and students of every seed"""
    files: Mapping[str, str]
    """SHA-256 → path, of the weights that teachers start from"""

    @property
    def every_run(self) -> tuple[Run, ...]:
        """origins, then runs"""
        return (*self.origins, *self.runs)

    @cached_property
    def by_id(self) -> dict[str, Run]:
        return {run.spec.id: run for run in self.every_run}

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(run.seed for run in self.runs))

    def of_seed(self, seed: int) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.seed == seed)

    @property
    def draws(self) -> list[str]:
        """Which images and which origin each seed has, a line for each; none where all have the same."""
        lines = []
        for seed in self.seeds:
            config, runs = self.profile.dataset.of_seed(seed), self.of_seed(seed)
            shares = (
                []
                if config.draws is None
                else [f"draw {config.draw} of {config.draws}, {config.images} images a class"]
            )
            turns = [name for name, origin in self.profile.origins.items() if isinstance(origin, Alternating)]
            shares += [f"origin {self.profile.origin_of(name, seed)}" for name in turns if name == self.profile.origin]
            if shares:
                lines.append(f"seed {seed}: {', '.join(shares)}, hash {runs[0].spec.dataset.hash}")
        return lines

    def ensembles(self, seed: int) -> list[Ensemble]:
        """Every set of two or more teachers of the grid that the seed has all runs of, each once."""
        by_name = {run.name: run for run in self.of_seed(seed)}
        notation = Notation(self.profile.origin)
        found = []
        for several in self.profile.teacher_sets:
            names = [notation.teacher(each) for each in several]
            if len(several) > 1 and by_name.keys() >= set(names):
                name = notation.ensemble(several)
                about = {"run": name, "role": "ensemble"} | cell.ensemble_columns(several)
                found.append(Ensemble(name, about, tuple(by_name[each] for each in names)))
        return found

    def groups(self, runs: Iterable[Run] | None = None) -> list[list[Run]]:
        """The runs, or some of them, in lockstep groups: a teacher by itself, students with one stream together."""
        groups: dict[Any, list[Run]] = {}
        for run in self.every_run if runs is None else runs:
            groups.setdefault(group_key(run.spec), []).append(run)
        return list(groups.values())


@dataclass(frozen=True)
class Plan:
    """A study and the images that it is about."""

    study: Study
    dataset: Dataset
    """of a study whose seeds have draws of their own, the images of all draws"""
    datasets: Mapping[str, Dataset]
    """content hash → data set: the study's own, and those of its origins and teachers"""


def plan(profile: Profile, *, root: str | Path | None = None, seeds: Sequence[int] | None = None) -> Plan:
    """Loads a profile's images and lays out its grid.

    Raises:
        DataError: a data set or a file of weights is missing or damaged; an origin that has seen images of the study.
        ProfileError: a seed without a draw.
    """
    chosen = profile.seeds if seeds is None else seeds
    dataset = profile.dataset.load(root)
    configs = {seed: profile.dataset.of_seed(seed) for seed in chosen}
    loaded = {config: dataset if config == profile.dataset else config.load(root) for config in {*configs.values()}}
    own = {seed: loaded[config].hash for seed, config in configs.items()}
    datasets, hashes = {each.hash: each for each in (dataset, *loaded.values())}, {}
    for name in _used_origins(profile):
        config = profile.origins[name]
        if isinstance(config, TrainedOrigin):
            images = config.dataset.load(root)
            _require_apart(name, config.dataset, images, profile.dataset, dataset)
            datasets[images.hash], hashes[name] = images, images.hash
    others = profile.teacher_dataset.load(root) if profile.teacher_dataset else None
    if others is not None:
        if others.classes != dataset.classes:
            raise DataError(
                f"teachers of {others.name} cannot teach students of {dataset.name}: their classes are others; give "
                "teacher_dataset the same classes"
            )
        datasets[others.hash] = others
    study = build(profile, own, chosen, hashes, others.hash if others else None)
    return Plan(study, dataset, datasets)


def _require_apart(name: str, config: DatasetConfig, images: Dataset, studied: DatasetConfig, dataset: Dataset) -> None:
    """Raises:
    DataError: the origin's training images and those that a study with draws trains on or is judged on have some in common."""
    if studied.draws is None or images.classes != dataset.classes:
        return
    held = [dataset.train, *([dataset.draws] if dataset.draws is not None else [])]
    both = {image for split in held for image in split.names} & set(images.train.names)
    if both:
        base, aside = studied.name.split("-")[0], studied.set_aside
        fix = (
            f"train it on the {aside} a class that are set aside, {base}-{aside}" if aside else "set some aside for it"
        )
        raise DataError(
            f"the origin {name} is trained on {config.name}, {len(both)} of whose {len(images.train)} images are in the "
            f"draws of {studied.name}, {min(both)} among them; {fix}"
        )


def _named_origins(profile: Profile) -> list[str]:
    """Those of teachers and students, of all seeds."""
    used = dict.fromkeys(teacher.origin for several in profile.teacher_sets for teacher in several)
    named: list[str] = []
    for name in (*used, profile.student_origin):
        config = profile.origins.get(name)
        named += config.of if isinstance(config, Alternating) else [] if config is None else [name]
    return list(dict.fromkeys(named))


def _used_origins(profile: Profile) -> list[str]:
    return list(dict.fromkeys(_standing_for(profile, name) for name in _named_origins(profile)))


def _standing_for(profile: Profile, name: str) -> str:
    """The origin that is used for one of that name on this machine."""
    config = profile.origins[name]
    if isinstance(config, ImageNet) and config.otherwise:
        from kdnb.zoo import pretrained

        if not pretrained.is_here(profile.teacher.model.name):
            return config.otherwise
    return name


def build(
    profile: Profile,
    dataset_hash: str | Mapping[int, str],
    seeds: Sequence[int] | None = None,
    origin_hashes: Mapping[str, str] | None = None,
    teacher_hash: str | None = None,
) -> Study:
    """The grid of a profile on a data set, for `seeds` or all of the profile's.

    Args:
        dataset_hash: the content hash of the images, or of those of each seed.
        origin_hashes: name → content hash of the images, of each origin that the study trains.
        teacher_hash: content hash of the teachers' images, where the profile gives them others; None: those of the study.

    Raises:
        DataError: a file of weights cannot be read.
    """
    origins, starts, files = _origins(profile, origin_hashes or {})
    runs: list[Run] = []
    notation = Notation(profile.origin)
    for seed in profile.seeds if seeds is None else seeds:
        own = DatasetId(
            name=profile.dataset.kind, hash=dataset_hash if isinstance(dataset_hash, str) else dataset_hash[seed]
        )
        others = profile.teacher_dataset
        theirs = DatasetId(name=others.kind, hash=teacher_hash or own.hash) if others else own
        runs += _runs_of(profile, seed, own, theirs, notation, starts)
    return Study(profile, tuple(origins), tuple(runs), files)


def _spec(profile: Profile, role: str, network: NetworkConfig, augmentation: str, **more: Any) -> RunSpec:
    # An origin leaves no observations: what a study keeps of its own networks is none of its business.
    observed = {"observe": ObserveSpec() if role == "origin" else profile.observe}
    augmentation = profile.augmentations.get(augmentation, augmentation)
    return RunSpec(
        role=role,
        model=network.model,
        side=profile.side,
        resize=profile.resize,
        augmentation=augmentation,
        recipe=augment.registered_identity(augmentation),
        train=network.train,
        **observed,
        **more,
    )


def _origins(profile: Profile, hashes: Mapping[str, str]) -> tuple[list[Run], dict[str, Origin], dict[str, str]]:
    """The runs of origins, and what each name means in a teacher's spec."""
    runs: list[Run] = []
    starts: dict[str, Origin] = {FRESH: FreshOrigin()}
    files: dict[str, str] = {}
    for name in _used_origins(profile):
        config = profile.origins[name]
        if isinstance(config, TrainedOrigin):
            dataset = DatasetId(name=config.dataset.kind, hash=hashes[name])
            of = profile.teacher if config.network == "teacher" else profile.student
            network = NetworkConfig(model=of.model, train=config.train)
            spec = _spec(profile, "origin", network, config.augmentation, dataset=dataset, seed=config.seed)
            empty = {"run": f"origin-{name}", "role": "origin", "teachers": "", "origin": name}
            runs.append(Run(f"origin-{name}", spec, empty | {"student": "", "objective": ""}, config.dataset))
            starts[name] = RunOrigin(run=spec.id)
        elif isinstance(config, WeightsFile):
            digest = _digest(user_path(config.path))
            files[digest] = str(user_path(config.path).resolve())
            starts[name] = FileOrigin(sha256=digest)
        elif isinstance(config, ImageNet):
            starts[name] = ImageNetOrigin(head=config.head)
    starts |= {name: starts[_standing_for(profile, name)] for name in _named_origins(profile)}
    return runs, starts, files


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"the weights {path} cannot be read ({error.strerror}); name a safetensors file") from None


def _runs_of(
    profile: Profile,
    seed: int,
    dataset: DatasetId,
    theirs: DatasetId,
    notation: Notation,
    starts: Mapping[str, Origin],
) -> list[Run]:
    """The runs of a seed on a data set; `theirs` is the teachers'."""
    teachers: dict[Teacher, Run] = {}
    for teacher in sorted(
        {teacher for several in profile.teacher_sets for teacher in several},
        key=lambda each: (each.origin != profile.origin, each.origin, notation.teacher(each)),
    ):
        name, others = notation.teacher(teacher), theirs != dataset
        epochs = profile.epochs_of.get(name, profile.teacher.train.epochs)
        train = profile.teacher.train.model_copy(update={"epochs": epochs})
        spec = _spec(
            profile,
            "teacher",
            NetworkConfig(model=profile.teacher.model, train=train),
            teacher.augmentation,
            dataset=theirs,
            observed=dataset if others else None,
            origin=starts[profile.origin_of(teacher.origin, seed)],
            seed=seed,
            member=teacher.place,
        )
        columns = {"run": name, "role": "teacher"} | cell.teacher_columns(teacher)
        own = profile.dataset.of_seed(seed)
        images = profile.teacher_dataset or own
        teachers[teacher] = Run(name, spec, columns, images, observed=own if others else None)
    runs = list(teachers.values())
    if profile.reference:
        empty = dict.fromkeys(("teachers", "origin", "student", "objective"), "")
        spec = _spec(profile, "reference", profile.teacher, "clean", dataset=dataset, seed=seed)
        about = {"run": "reference", "role": "reference"} | empty
        runs.append(Run("reference", spec, about, profile.dataset.of_seed(seed)))
    for student in dict.fromkeys(each.student for each in profile.cells):
        runs += [
            _student(profile, each, seed, dataset, notation, teachers, starts)
            for each in profile.cells
            if each.student == student
        ]
    return runs


def _student(
    profile: Profile,
    of: Cell,
    seed: int,
    dataset: DatasetId,
    notation: Notation,
    teachers: Mapping[Teacher, Run],
    starts: Mapping[str, Origin],
) -> Run:
    own = [teachers[teacher] for teacher in of.teachers]
    train, name = profile.student.train, notation.student(of)
    if not own:
        train = profile.alone or train
        train = train.model_copy(update={"epochs": profile.epochs_of.get(name, train.epochs)})
    objective = profile.objectives[of.objective] if own else None
    spec = _spec(
        profile,
        "student",
        NetworkConfig(model=profile.student.model, train=train),
        of.student,
        dataset=dataset,
        origin=starts[profile.origin_of(profile.student_origin, seed)],
        seed=seed,
        teachers=tuple(teacher.spec.id for teacher in own),
        objective=objective,
        objective_code=objectives.registered_identity(objective.kind) if objective else "",
    )
    columns = {"run": name, "role": "student"} | cell.student_columns(of)
    images = profile.dataset.of_seed(seed)
    return Run(name, spec, columns, images, tuple(teacher.name for teacher in own))
