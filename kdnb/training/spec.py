"""A run's whole recipe, frozen and typed, and the id that follows from it.

Same spec, same id, on every machine: the id is the SHA-256 of the spec's canonical JSON. Nothing that only says where
or how fast a run is computed (device, threads, paths) is part of it.

**Specs grow.** A field that comes after format 2 is declared with `later`, and is left out of the JSON that is hashed
while it stands at its neutral value: what was trained before the field existed keeps its id.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from kdnb.errors import ProfileError
from kdnb.images import augment
from kdnb.training import names
from kdnb.training.objectives import Objective
from kdnb.training.strict import Strict, later

FORMAT: Literal[2] = 2
"""Raised only when the code changes what an existing spec trains to, so that old runs are never taken for new ones."""


def _recipe_name(name: str) -> str:
    try:
        augment.recipe(name)
    except ProfileError as error:
        raise ValueError(str(error)) from None
    return name


Augmentation = Annotated[str, AfterValidator(_recipe_name)]
"""A recipe that `kdnb.images.augment` knows: weak, strong, ``dial:S`` …, or one that a user registered."""


class FreshOrigin(Strict):
    """Random weights."""

    kind: Literal["fresh"] = "fresh"


class RunOrigin(Strict):
    """The features of another run of the store, of role ``origin``; the head is fresh."""

    kind: Literal["run"] = "run"
    run: str = Field(pattern="^[0-9a-f]{16}$")
    """its id"""


class ImageNetOrigin(Strict):
    """ImageNet's weights, for the networks that `kdnb.zoo.pretrained` has them for."""

    kind: Literal["imagenet"] = "imagenet"
    head: Literal["fresh", "pretrained"] = later("fresh")
    """pretrained: the head too, for the 1000 classes of ImageNet in their order"""


class FileOrigin(Strict):
    """The features in a safetensors file; the head is fresh."""

    kind: Literal["file"] = "file"
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """of the file, whose path is no part of the id"""


Origin = Annotated[FreshOrigin | RunOrigin | ImageNetOrigin | FileOrigin, Field(discriminator="kind")]
"""What a network's features start from."""


class ModelSpec(Strict):
    name: str
    """A name of `kdnb.training.names.NAMES`, or ``torchvision:NAME`` or ``timm:NAME``"""
    map_layer: str = later("")
    """for a library's network: the layer whose output is the map, as layer3; empty: the last before the head is found"""

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            names.check(name)
        except ProfileError as error:
            raise ValueError(str(error)) from None
        return name

    @model_validator(mode="after")
    def _a_layer_is_a_librarys(self) -> "ModelSpec":
        if self.map_layer and ":" not in self.name:
            raise ValueError(
                f"map_layer is for networks of a library, as torchvision:resnet18; {self.name} has one map, leave it out"
            )
        return self


class StepSchedule(Strict):
    """The learning rate times `factor` at each milestone, linear warm-up over the first epochs. The paper's text (app. A) has
    milestones alone; factor and warm-up are those of its released code (``main.py``), for every schedule in steps."""

    kind: Literal["step"] = "step"
    milestones: tuple[int, ...]
    """epochs after which the learning rate falls"""
    factor: float = Field(0.1, gt=0, lt=1)
    """what it is multiplied with each time"""
    warmup_epochs: int = Field(8, ge=0)
    """over which it rises in equal steps from nearly nothing"""
    early: bool = False
    """each epoch has the rate of the next, as in the released code, which steps its scheduler before the epoch"""


class OneCycleSchedule(Strict):
    """For short budgets: linear up over `rise` of the training, cosine down to nothing (Smith & Topin 2018)."""

    kind: Literal["one-cycle"] = "one-cycle"
    rise: float = Field(0.3, gt=0, lt=1)
    """share of the training in which the learning rate rises"""


class CosineSchedule(Strict):
    """Cosine from the full learning rate to nothing, with an optional linear warm-up."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: int = Field(0, ge=0)
    """over which it rises in equal steps first"""
    per_epoch: bool = False
    """the rate is constant within an epoch, as in the released code"""
    early: bool = False
    """each epoch has the rate of the next, as in the released code; needs `per_epoch`"""
    period: int | None = later(None, ge=1)
    """epochs from the full rate to nothing (T_max), after which it rises again; None: all of the training"""

    @model_validator(mode="after")
    def _early_goes_by_epochs(self) -> "CosineSchedule":
        if self.early and not self.per_epoch:
            raise ValueError("early shifts whole epochs: set per_epoch too")
        return self


Schedule = Annotated[StepSchedule | OneCycleSchedule | CosineSchedule, Field(discriminator="kind")]


class TrainSpec(Strict):
    """How one network is trained."""

    epochs: int = Field(ge=1)
    """how often each training image is seen"""
    batch_size: int = Field(128, ge=2)
    """images in a step"""
    learning_rate: float = Field(0.1, gt=0)
    """at its highest"""
    momentum: float = Field(0.9, ge=0, lt=1)
    """how much of the last step goes into the next; of adamw, its β₁"""
    nesterov: bool = False
    """Nesterov's form of momentum"""
    weight_decay: float = Field(0.0, ge=0)
    """weights are pulled to zero by this share of themselves times the learning rate"""
    schedule: Schedule
    """how the learning rate goes: step, one-cycle or cosine"""
    optimiser: Literal["sgd", "adamw"] = later("sgd")
    """sgd: stochastic gradient descent with momentum, as the paper; adamw: Adam with weight decay of its own (Loshchilov &
    Hutter 2019), which transformers are usually trained by"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of the arithmetic in forward and backward passes; weights are float32"""
    keep: Literal["last", "best"] = later("last")
    """which epoch's weights a run ends with: the last's, or, as the released code, those of the first epoch that did best when
    the validation images were looked at, which flatters them"""

    @model_validator(mode="after")
    def _nesterov_is_of_sgd(self) -> "TrainSpec":
        if self.nesterov and self.optimiser != "sgd":
            raise ValueError(f"nesterov is a form of sgd's momentum; {self.optimiser} has none, leave it out")
        return self


class ObserveSpec(Strict):
    """What a finished run leaves behind, besides its weights."""

    maps: int = Field(1024, ge=1)
    """how many images attention maps are kept for, of the validation and of the training images (all, where there are fewer)"""
    train_sample: int = Field(5000, ge=1)
    """how many training images logits are kept for"""
    validate_every: int = Field(1, ge=1)
    """epochs between looks at the validation set while training (the last epoch always is one)"""
    validate_sample: int = Field(2000, ge=1)
    """how many validation images such a look takes; no more are shown as the dial of augmentation turns"""
    base: Literal["base", "imagenet-base"] = later("base")
    """the recipe of the view base, random crops alone, by accuracy on which the released code's affinity divides"""


class DatasetId(Strict):
    name: str
    """without a path"""
    hash: str
    """content hash of images, labels and class names (see `kdnb.images.datasets.content_hash`)"""


class RunSpec(Strict):
    """One network: what it sees, what it is, how it learns, from whom, and what is kept of it."""

    format: Literal[2] = FORMAT
    role: Literal["origin", "teacher", "student", "reference"]
    dataset: DatasetId
    observed: DatasetId | None = later(None)
    """the images that it is measured on, where they are not those that it is trained on"""
    model: ModelSpec
    origin: Origin = FreshOrigin()
    """what its features start from"""
    side: int | None = Field(None, ge=8)
    """pixels that an image is resized to before a network sees it (the released code: 224); None leaves it as it is"""
    resize: augment.Whole = "bicubic"
    """how whole images get to that side; the released code evaluates bilinear on CIFAR, and with centre-crop on ImageNet"""
    augmentation: Augmentation
    recipe: str = ""
    """identity of a recipe that a user registered, which changes with its code; empty for those of the package"""
    train: TrainSpec
    observe: ObserveSpec
    seed: int = Field(ge=0, lt=2**32)
    member: int = Field(0, ge=0)
    """whose stream of draws: a teacher's place in the ensemble (from 1), 0 for all others"""
    teachers: tuple[str, ...] = ()
    """ids of the teachers' runs, in order"""
    objective: Objective | None = None
    objective_code: str = later("")
    """identity of a kind of objective that a user registered, which changes with its code; empty for those of the package"""

    @model_validator(mode="after")
    def _teachers_and_objective_belong_together(self) -> "RunSpec":
        if bool(self.teachers) != (self.objective is not None):
            raise ValueError("a run with teachers needs an objective, one without has none")
        if self.teachers and self.role != "student":
            raise ValueError(f"a run of role {self.role} has no teachers")
        if self.objective and self.objective.sides and len(self.objective.sides) != len(self.teachers):
            raise ValueError(
                f"{len(self.teachers)} teachers need as many sides, not {len(self.objective.sides)}: name one for each"
            )
        return self

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.canonical()).encode()).hexdigest()[:16]


def canonical_json(value: Any) -> str:
    """Keys sorted, no spaces, ASCII: the same text for the same value everywhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def needed_by(spec: RunSpec) -> tuple[str, ...]:
    """ids of the runs that a run starts from or learns from"""
    return (*spec.teachers, *([spec.origin.run] if isinstance(spec.origin, RunOrigin) else []))
