"""A run's whole recipe, frozen and typed, and the id that follows from it.

Same spec, same id, on every machine: the id is the SHA-256 of the spec's canonical JSON. Nothing that only says where
or how fast a run is computed (device, threads, paths) is part of it.
"""

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

FORMAT: Literal[1] = 1
"""Raised whenever the code changes what a spec trains to, so that old results are never taken for new ones."""


class Strict(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_DIAL = re.compile(r"dial:(0(\.\d+)?|1(\.0+)?)")


def _recipe_name(name: str) -> str:
    if name not in ("clean", "weak", "strong") and not _DIAL.fullmatch(name):
        raise ValueError(f"no augmentation {name!r}; there are clean, weak, strong, and dial:S with S from 0 to 1")
    return name


Augmentation = Annotated[str, AfterValidator(_recipe_name)]
"""``clean``, ``weak``, ``strong`` or ``dial:S`` with strength S from 0 to 1."""


class ModelSpec(Strict):
    name: str
    """A name of `kdnb.models.NAMES`."""
    pretrained: bool = False
    """Start from torchvision's ImageNet weights (ResNet-18 and -50 only)."""


class StepSchedule(Strict):
    """The paper's: the learning rate times `factor` at each milestone, linear warm-up over the first epochs."""

    kind: Literal["step"] = "step"
    milestones: tuple[int, ...]
    """epochs after which the learning rate falls"""
    factor: float = Field(0.1, gt=0, lt=1)
    """what it is multiplied with each time"""
    warmup_epochs: int = Field(8, ge=0)
    """over which it rises in equal steps from nearly nothing"""


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


Schedule = Annotated[StepSchedule | OneCycleSchedule | CosineSchedule, Field(discriminator="kind")]


class TrainSpec(Strict):
    """How one network is trained: SGD with momentum."""

    epochs: int = Field(ge=1)
    """how often each training image is seen"""
    batch_size: int = Field(128, ge=2)
    """images in a step"""
    learning_rate: float = Field(0.1, gt=0)
    """at its highest"""
    momentum: float = Field(0.9, ge=0, lt=1)
    """how much of the last step goes into the next"""
    nesterov: bool = False
    """Nesterov's form of momentum"""
    weight_decay: float = Field(0.0, ge=0)
    """weights are pulled to zero by this share of themselves times the learning rate"""
    schedule: Schedule
    """how the learning rate goes: step, one-cycle or cosine"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of the arithmetic in forward and backward passes; weights are float32"""


class DistillSpec(Strict):
    """The paper's loss: alpha weighs the labels, 1 − alpha the teachers; see `kdnb.distill.loss`."""

    temperature: float = Field(3.0, gt=0)
    """divides the logits of teachers and student, so that small probabilities count for more"""
    alpha: float = Field(0.6, ge=0, le=1)
    """share of the labels in the loss; the rest is the teachers'"""
    batch_norm: Literal["eval", "train"] = "eval"
    """The mode of the teachers' batch-norm layers while they teach: `train` is what the released code does."""


class RecordSpec(Strict):
    """What a finished run leaves behind, besides its weights."""

    maps: int = Field(1024, ge=1)
    """how many validation images attention maps are kept for (all, where there are fewer)"""
    train_sample: int = Field(5000, ge=1)
    """how many training images logits are kept for"""
    validate_every: int = Field(1, ge=1)
    """epochs between looks at the validation set while training (the last epoch always is one)"""
    validate_sample: int = Field(2000, ge=1)
    """how many validation images such a look takes"""


class DatasetId(Strict):
    name: str
    """without a path"""
    hash: str
    """content hash of images, labels and class names (see `kdnb.datasets.content_hash`)"""


class RunSpec(Strict):
    """One network: what it sees, what it is, how it learns, from whom, and what is kept of it."""

    format: Literal[1] = FORMAT
    role: Literal["teacher", "student", "reference"]
    dataset: DatasetId
    model: ModelSpec
    side: int | None = Field(None, ge=8)
    """pixels that an image is resized to before a network sees it (the paper: 224); None leaves it as it is"""
    augmentation: Augmentation
    train: TrainSpec
    record: RecordSpec
    seed: int = Field(ge=0, lt=2**32)
    member: int = Field(0, ge=0)
    """whose stream of draws: 1 to 3 for a teacher, 0 for students and the reference"""
    teachers: tuple[str, ...] = ()
    """ids of the teachers' runs, in order"""
    distill: DistillSpec | None = None

    @model_validator(mode="after")
    def _teachers_and_loss_belong_together(self) -> "RunSpec":
        if bool(self.teachers) != (self.distill is not None):
            raise ValueError("a run with teachers needs the settings of its distillation, one without has none")
        if self.teachers and self.role != "student":
            raise ValueError(f"a {self.role} has no teachers")
        return self

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()[:16]


def canonical_json(value: Any) -> str:
    """Keys sorted, no spaces, ASCII: the same text for the same value everywhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
