"""A study's settings: a typed YAML file.

The names of the package's profiles (`names`) work wherever the path of a user's own file does.

A file may hold several *readings* of one recipe: its own values are one, each of ``readings`` changes some of them, as
``--set`` does. ``--set recipe=NAME`` chooses; the ids of runs follow from the values alone.

A file that differs from another in a few lines names it: ``extends: NAME``, a profile of the package or a path from the
file's own folder. What it says itself goes before what that one says, setting by setting; a list is replaced as a whole,
and null leaves out what that one says.
"""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from kdnb.errors import ProfileError
from kdnb.images import augment, datasets
from kdnb.paths import user_path
from kdnb.study.cell import FRESH, NONE, PLAIN, Cell, Notation, Teacher
from kdnb.training import objectives
from kdnb.training.objectives import Objective
from kdnb.training.spec import Augmentation, ModelSpec, ObserveSpec, TrainSpec
from kdnb.training.strict import Strict

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", max_length=40)]
"""Of an origin or an objective: it stands in the names of runs and in tables."""


class DatasetConfig(Strict):
    """What `kdnb.images.datasets.load` is called with."""

    name: str
    """digits, cifar100, cifar100-50 (images a class), cifar100-50-rest (the images that it leaves out), cifar100-imb100
    (long-tailed), imagefolder:PATH"""
    size: int | None = None
    """side in pixels, for an image folder: the middle of an image is cut to a square and resized to it"""
    train_list: str | None = None
    """a file that names the training images of a subset; of an image folder, with lines `path label`"""
    split_seed: int = 0
    """which images a subset without such a file draws"""
    validation_list: str | None = None
    """of an image folder with a train_list: the same for the validation images"""
    streamed: bool = False
    """leave the images of a folder on disk, and decode them when they are wanted, where memory cannot hold them; changes no
    result and no id"""

    draws: int | None = Field(None, ge=2, le=10)
    """of a subset of n images a class: cut as many disjoint ones, of which each seed trains on the one of its last digit, and
    is judged on the images of the others"""
    set_aside: int = Field(0, ge=0)
    """images of each class that are in no draw: those of the subset of as many, for an origin"""
    together: int = Field(1, ge=1)
    """draws that a seed trains on as one, from that of its last digit on, the first after the last"""
    draw: int | Literal["across"] | None = None
    """the draw of all seeds; across: images of every draw, as many as one has, for pilots; none: the seed's last digit"""

    @model_validator(mode="after")
    def _parts_of_a_cut_need_draws(self) -> "DatasetConfig":
        given = [
            name
            for name in ("set_aside", "together", "draw")
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if given and self.draws is None:
            raise ValueError(f"{given[0]} goes with draws: say how many draws there are, as draws: 7")
        return self

    @property
    def images(self) -> int:
        """images of each class that a seed of a study with draws trains on"""
        return int(self.name.split("-")[1]) * self.together

    def of_seed(self, seed: int) -> "DatasetConfig":
        """The images of a seed: those of its draw, where there are several.

        Raises:
            ProfileError: no draw has the seed's last digit.
        """
        if self.draws is None or self.draw is not None:
            return self
        if seed % 10 >= self.draws:
            raise ProfileError(
                f"seed {seed} has no draw: {self.name} has {self.draws}, one for each last digit from 0 to {self.draws - 1}; "
                "choose other seeds"
            )
        return self.model_copy(update={"draw": seed % 10})

    @property
    def kind(self) -> str:
        """the name without the path of one's own images, which lie elsewhere on another machine"""
        return self.name.partition(":")[0]

    def load(self, root: str | Path | None = None) -> datasets.Dataset:
        return datasets.load(
            self.name,
            root=root,
            size=self.size,
            train_list=self.train_list,
            split_seed=self.split_seed,
            validation_list=self.validation_list,
            streamed=self.streamed,
            draws=datasets.Draws(self.draws, self.set_aside, self.together, self.draw) if self.draws else None,
        )

    def without_paths(self) -> "DatasetConfig":
        """What others can read: their images and lists lie elsewhere."""
        lists = {
            name: path and Path(path).name
            for name, path in (("train_list", self.train_list), ("validation_list", self.validation_list))
        }
        return self.model_copy(update={"name": self.kind} | lists)


class NetworkConfig(Strict):
    """A network and how it is trained."""

    model: ModelSpec
    """which network"""
    train: TrainSpec
    """how it is trained"""


class TrainedOrigin(Strict):
    """A network that this study trains first, once for all its seeds."""

    kind: Literal["trained"] = "trained"
    dataset: DatasetConfig
    """its images"""
    train: TrainSpec
    """how it is trained"""
    network: Literal["teacher", "student"] = "teacher"
    """whose architecture it has: the teachers', or the students', for `student_origin`"""
    augmentation: Augmentation = "weak"
    """that it is trained with"""
    seed: int = Field(0, ge=0, lt=2**32)
    """of its weights and views"""


class ImageNet(Strict):
    """ImageNet's weights, for the networks that `kdnb.zoo.pretrained` has them for."""

    kind: Literal["imagenet"] = "imagenet"
    head: Literal["fresh", "pretrained"] = "fresh"
    """pretrained: the head too, for the 1000 classes of ImageNet in the order of their folders"""
    otherwise: Name | None = None
    """the origin that stands in its place on a machine without their file; none: the file is downloaded"""


class WeightsFile(Strict):
    """A safetensors file with a network's features."""

    kind: Literal["file"] = "file"
    path: str
    """the file; its architecture must be the teachers'"""


class Alternating(Strict):
    """Several origins, of which each seed has one, so that a study does not hang on a single pretrained network."""

    kind: Literal["alternating"] = "alternating"
    of: tuple[Name, ...] = Field(min_length=2)
    """their names under origins, for the seeds in turn: seed s has the one at place s modulo their number"""


OriginConfig = Annotated[TrainedOrigin | ImageNet | WeightsFile | Alternating, Field(discriminator="kind")]


class TeacherConfig(Strict):
    """A teacher of a row of the grid."""

    augmentation: Augmentation
    """that it is trained with"""
    origin: Name | None = None
    """what it starts from; none: the profile's `origin`"""


def _as_teacher(value: Any) -> Any:
    return {"augmentation": value} if isinstance(value, str) else value


class Row(Strict):
    """Cells of the grid: every set of teachers with every student and every objective."""

    teachers: tuple[tuple[TeacherConfig, ...], ...]
    """sets of teachers, each a list of augmentations in order of place, as [weak, strong]; [] for none"""
    students: tuple[Augmentation, ...] = ("weak", "strong")
    """the students' augmentations; [] for teachers alone, trained and compared with each other"""
    objectives: tuple[Name, ...] = (PLAIN,)
    """names of the profile's objectives"""

    @field_validator("teachers", mode="before")
    @classmethod
    def _words_are_augmentations(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [[_as_teacher(each) for each in row] if isinstance(row, list | tuple) else row for row in value]
        return value


BOTH_STUDENTS: tuple[str, str] = ("weak", "strong")

TRIALS = Row(
    teachers=tuple(
        tuple(TeacherConfig(augmentation=each) for each in pair)
        for pair in (("weak", "weak"), ("strong", "weak"), ("weak", "strong"), ("strong", "strong"))
    )
)
"""The paper's eight trials: two teachers, each weak or strong, and a weak or a strong student."""

ALONE = Row(teachers=((),))
"""Students without teachers."""


class Profile(Strict):
    """A study's settings: everything that its runs depend on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """what its tables, results and pages are called by"""
    about: str = ""
    """what it is for and what it costs, a sentence"""
    recipe: str = ""
    """which reading of the recipe the values are; a file without readings has none"""
    readings: dict[Name, dict[str, Any]] = Field(default={})
    """what other readings set, by dotted path; `--set recipe=NAME` chooses one"""
    recipes: tuple[str, ...] = ()
    """Python files, found from the profile's folder, that register augmentations, objectives and measures of one's own"""
    dataset: DatasetConfig
    """the images"""
    teacher_dataset: DatasetConfig | None = None
    """the teachers', where they are trained on others of the same classes; they are measured on the study's all the same"""
    side: int | None = Field(None, ge=8)
    """pixels that an image is resized to before a network sees it (the released code: 224); none leaves it as it is"""
    resize: augment.Whole = "bicubic"
    """how whole images get to that side; the released code evaluates bilinear on CIFAR, and with centre-crop on ImageNet"""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(min_length=1)
    """each trains the whole grid anew; they are the unit of evidence"""
    origins: dict[Name, OriginConfig] = Field(default={})
    """what teachers may start from, by name"""
    origin: Name = FRESH
    """which of them teachers start from, if their row does not say; fresh: random weights"""
    teacher: NetworkConfig
    """of every teacher, and of the reference"""
    student: NetworkConfig
    """of every student"""
    student_origin: Name = FRESH
    """which origin students start from; fresh: random weights"""
    alone: TrainSpec | None = None
    """how students without teachers are trained, where that is another way"""
    epochs_of: dict[str, Annotated[int, Field(ge=1)]] = Field(default={})
    """of single teachers and of students without teachers, by name, as T1w, T2s or Sw; all others have those of their kind"""
    augmentations: dict[Augmentation, Augmentation] = Field(default={})
    """what a word of the grid stands for, where not for the recipe of that name"""
    objectives: dict[Name, Objective] = Field(default={PLAIN: Objective()})
    """what students with teachers may minimise, by name"""
    grid: tuple[Row, ...] = (ALONE, TRIALS)
    """the students, and so the teachers, of a seed; a cell that stands in several rows is trained once"""
    reference: bool = True
    """train one more network a seed as a teacher on clean images: the one that the textbook's affinity is defined with"""
    observe: ObserveSpec = ObserveSpec()
    """what a finished run leaves"""

    @field_validator("seeds")
    @classmethod
    def _once_each(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands there twice")
        return values

    @model_validator(mode="after")
    def _names_are_defined(self) -> "Profile":
        for name in (FRESH,):
            if name in self.origins:
                raise ValueError(f"{name!r} means random weights and cannot name an origin; choose another name")
        if NONE in self.objectives:
            raise ValueError(f"{NONE!r} means no teachers and cannot name an objective; choose another name")
        for several in self.teacher_sets:
            for teacher in several:
                if teacher.origin not in (FRESH, *self.origins):
                    raise ValueError(
                        f"no origin {teacher.origin!r}; choose from {', '.join([FRESH, *self.origins])}, or define it under "
                        "origins"
                    )
        if self.student_origin not in (FRESH, *self.origins):
            raise ValueError(
                f"no origin {self.student_origin!r} for students; choose from {', '.join([FRESH, *self.origins])}"
            )
        for name, origin in self.origins.items():
            for each in origin.of if isinstance(origin, Alternating) else ():
                if each not in self.origins or isinstance(self.origins[each], Alternating):
                    fixed = [key for key, other in self.origins.items() if not isinstance(other, Alternating)]
                    raise ValueError(f"the origin {name!r} cannot be {each!r} in turn; choose from {', '.join(fixed)}")
        if self.teacher_dataset and self.teacher_dataset.draws:
            raise ValueError("teacher_dataset has draws: only the study's own images are cut into draws")
        for cell in self.cells:
            if cell.objective not in (NONE, *self.objectives):
                known = ", ".join(self.objectives)
                raise ValueError(f"no objective {cell.objective!r}; choose from {known}, or define it under objectives")
            sides = self.objectives[cell.objective].sides if cell.objective != NONE else ()
            if sides and len(sides) != len(cell.teachers):
                raise ValueError(
                    f"the objective {cell.objective!r} names {len(sides)} sides and a row has {len(cell.teachers)} teachers; "
                    "name one side for each teacher"
                )
        for name, origin in self.origins.items():
            if isinstance(origin, ImageNet) and origin.otherwise is not None:
                other = self.origins.get(origin.otherwise)
                if other is None or isinstance(other, ImageNet):
                    fit = (
                        ", ".join(key for key, each in self.origins.items() if not isinstance(each, ImageNet)) or "none"
                    )
                    raise ValueError(
                        f"the origin {name!r} cannot be {origin.otherwise!r} otherwise; name one that is trained or a file, of "
                        f"those under origins: {fit}"
                    )
        notation = Notation(self.origin)
        single = {notation.teacher(teacher) for several in self.teacher_sets for teacher in several}
        single |= {notation.student(cell) for cell in self.cells if not cell.teachers}
        for name in self.epochs_of:
            if name not in single:
                raise ValueError(
                    f"epochs_of names what learns from labels alone, and {name!r} is not among it; choose from "
                    f"{', '.join(sorted(single))}"
                )
        if self.readings and not self.recipe:
            raise ValueError("a file with readings names the one that its own values are, as recipe: text")
        if not self.cells and not self.teacher_sets:
            raise ValueError("the grid has no network: give it a row, as {teachers: [[weak, weak]]}")
        return self

    def origin_of(self, name: str, seed: int) -> str:
        """The origin that one of that name is for a seed: itself, or the one whose turn it is."""
        config = self.origins.get(name)
        return config.of[seed % len(config.of)] if isinstance(config, Alternating) else name

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The grid, in its order, each cell once."""
        cells: dict[Cell, None] = {}
        for row in self.grid:
            for objective in row.objectives:
                for student in row.students:
                    for teachers in map(self._teachers, row.teachers):
                        cells[Cell(teachers, student, objective if teachers else NONE)] = None
        return tuple(cells)

    @property
    def teacher_sets(self) -> tuple[tuple[Teacher, ...], ...]:
        """Every set of teachers of the grid, in its order, each once, whether it has students or not."""
        sets = dict.fromkeys(self._teachers(configs) for row in self.grid for configs in row.teachers)
        return tuple(several for several in sets if several)

    def _teachers(self, configs: tuple[TeacherConfig, ...]) -> tuple[Teacher, ...]:
        return tuple(
            Teacher(place, config.augmentation, config.origin or self.origin)
            for place, config in enumerate(configs, start=1)
        )

    @property
    def own_recipes(self) -> dict[str, str]:
        """name → identity, of what the grid has that somebody registered: augmentations, and kinds of objectives as
        ``objective:KIND``"""
        used = {each.student for each in self.cells} | {
            t.augmentation for several in self.teacher_sets for t in several
        }
        used = {self.augmentations.get(name, name) for name in used}
        identities = {name: augment.registered_identity(name) for name in sorted(used)}
        kinds = {self.objectives[each.objective].kind for each in self.cells if each.objective != NONE}
        identities |= {f"objective:{kind}": objectives.registered_identity(kind) for kind in sorted(kinds)}
        return {name: identity for name, identity in identities.items() if identity}


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


def names() -> list[str]:
    """The profiles in the package."""
    folder = resources.files("kdnb") / "profiles"
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def load(name: str, overrides: Iterable[str] = ()) -> Profile:
    """The profile of that name, or in the YAML file of that path.

    Args:
        overrides: ``dotted.path=value`` with the value in YAML, a mapping in braces, e.g. ``teacher.train.epochs=2`` or
            ``seeds=[0, 1]``. The reading that ``recipe=NAME`` names is applied before the others.

    The files that it names under recipes are run, so that its grid can name what they register.

    Raises:
        ProfileError: no such profile, not YAML, an unknown key or reading, a value of the wrong type or range.
    """
    overrides, path = list(overrides), user_path(name)
    content = _content(name, path, ())
    _read(content, [each for each in overrides if _is_recipe(each)], name)
    for override in overrides:
        _set(content, override)
    recipes = content.get("recipes")
    if isinstance(recipes, list) and all(isinstance(each, str) for each in recipes):
        content["recipes"] = [str((path.parent / user_path(each)).resolve()) for each in recipes]
        for each in content["recipes"]:
            augment.load_recipes(each)
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise ProfileError(f"{name}: {explain(error)}") from None


def _content(name: str, path: Path, above: tuple[str, ...]) -> dict[str, Any]:
    """What a file says, and what those that it extends say beside.

    Args:
        path: of a file, where no profile of the package has the name.
        above: the files that extend it.
    """
    if name in names():
        text = (resources.files("kdnb") / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"{name} is not a readable text file in UTF-8 ({error})") from None
    else:
        raise ProfileError(
            f"no profile {name!r}; choose from {', '.join(names())}, or give the path of your own YAML file"
        )
    content = _apart(_yaml(text, name))
    if not isinstance(content, dict):
        raise ProfileError(f"{name} does not hold a mapping of settings; see a profile of the package for the form")
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str) or base in (name, *above):
        raise ProfileError(f"{name} extends {base!r}, which is no other profile; name one, as extends: cpu")
    return _over(_content(base, path.parent / user_path(base), (name, *above)), content)


def _over(base: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """The settings of `content`, and of `base` those that it lacks, mapping by mapping; of `base` none that are null in
    `content`."""
    both = base | {
        key: _over(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in content.items()
    }
    return {key: value for key, value in both.items() if value is not None or key not in base}


class _Loader(yaml.SafeLoader):
    """YAML as people type it: a number is in decimals, true and false alone are truth values, no key stands there twice. Other
    plain words stay text, as yes, 010, 1:30 and 2024-05-01, which YAML 1.1 takes for 1, 8, 90 and a date."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # not those of its parent

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE]
        for key in keys:
            if keys.count(key) > 1:
                mark = f"in line {node.start_mark.line + 1} and after"
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands there twice, {mark}; keep one")
        return super().construct_mapping(node, deep)


_MERGE = "tag:yaml.org,2002:merge"
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"true|True|false|False", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", r"~|null|Null||", ("~", "n", "N", "")),
    (_MERGE, "<<", "<"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))


def _yaml(text: str, where: str) -> Any:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        raise ProfileError(f"{where} is not YAML that can be used: {' '.join(str(error).split())}") from None


def _apart(content: Any) -> Any:
    """A copy in which no two places share a mapping, as YAML's aliases make them: an override changes what it names alone."""
    if isinstance(content, dict):
        return {key: _apart(value) for key, value in content.items()}
    return [_apart(value) for value in content] if isinstance(content, list) else content


def _is_recipe(override: str) -> bool:
    path, equals, _ = override.partition("=")
    return bool(equals) and path.strip() == "recipe"


def _read(content: dict[str, Any], chosen: list[str], where: str) -> None:
    """Applies the reading that the last of these overrides names.

    Raises:
        ProfileError: the file has no such reading.
    """
    own, readings = content.get("recipe", ""), content.get("readings", {})
    for override in chosen:
        _set(content, override)
    name = content.get("recipe", "")
    if name == own or not isinstance(readings, dict) or not isinstance(name, str):
        return  # what is of another type is refused with the rest
    if name not in readings:
        known = ", ".join(str(each) for each in (own, *readings) if each)
        raise ProfileError(
            f"{where} has no reading {name!r} of its recipe; "
            + (f"choose from {known}" if known else "it has one alone: leave recipe out")
        )
    changes = readings[name]
    if not isinstance(changes, dict):
        raise ProfileError(f"{where}: the reading {name!r} does not hold a mapping of dotted paths to values")
    for path, value in changes.items():
        _put(content, str(path), _apart(value), f"{path} of the reading {name!r}")


def _set(content: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals:
        raise ProfileError(f"{override!r} is not of the form path=value, e.g. student.train.epochs=2")
    # YAML would take what follows " #" for a comment, and ": " for a mapping, which has braces here; on a command line both are
    # part of what was typed, as of a path.
    plain = re.search(r"(^|\s)#|^\s*[^\s{\['\"].*:(\s|$)", value)
    try:
        parsed = value if plain else _yaml(value, f"the value of {override!r}")
    except ProfileError as error:
        hint = "; put text that holds ': ' into quotation marks" if "but got ':'" in str(error) else ""
        raise ProfileError(f"{error}{hint}") from None
    _put(content, path, parsed, repr(override))


def _put(content: dict[str, Any], path: str, value: Any, shown: str) -> None:
    """Sets what lies at a dotted path."""
    *outer, last = path.strip().split(".")
    for key in outer:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise ProfileError(f"{shown}: {key} is a value, nothing lies below it")
    content[last] = value


def explain(error: ValidationError, model: type[BaseModel] = Profile) -> str:
    """The first thing that is wrong, in a line: where, what, and which value."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    known = ""
    if first["type"] == "extra_forbidden":
        known = f"; {_siblings(first['loc'], model)}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    value = first["input"]
    ours = first["type"] in ("missing", "value_error")  # the message itself says what it is about
    whole = isinstance(value, BaseModel) or (isinstance(value, Mapping) and (ours or len(str(value)) > 60))
    shown = "" if first["type"] == "missing" or whole else f", got {value!r}"
    return f"{where or 'the whole'}: {first['msg'].removeprefix('Value error, ')}{shown}{known}{more}"


def _siblings(location: tuple[int | str, ...], model: Any) -> str:
    for part in location[:-1]:
        if hasattr(model, "model_fields"):
            field = model.model_fields.get(part)
            model = field.annotation if field is not None else None
        else:  # settings of several kinds, a dictionary of them, or a list of them
            options = _models_within(model)
            model = next(
                (each for each in options if "kind" in each.model_fields and each.model_fields["kind"].default == part),
                options[0] if len(options) == 1 else model,
            )
    names_ = ", ".join(model.model_fields) if hasattr(model, "model_fields") else "other names"
    return f"choose from {names_}"


def _models_within(annotation: Any) -> list[Any]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_within(part)]
