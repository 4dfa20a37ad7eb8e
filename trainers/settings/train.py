"""The sections `space`, `data` and `train` of a config, and the file that holds them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from search_spaces.common.errors import UserError
from search_spaces.common.settings import Settings, apply_overrides, load_yaml, parse_settings
from trainers.settings.data import DataSettings
from trainers.settings.init import InitSettings
from trainers.settings.mixing import MixingSettings
from trainers.settings.phase import PhaseSettings

#: sections of a config that belong to later stages; `python -m trainers` leaves them to those
LATER_SECTIONS = ("devices", "records", "predictor", "search", "export", "report")

#: train settings that change how a run is carried out or watched, never which network comes out
INCIDENTAL = (
    "device",
    "channels_last",
    "compile",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_best",
    "max_loss_factor",
    "eval_every",
    "log_every",
)


#: the one that did best at equal cost in docs/science.md
DEFAULT_RECIPE = "bounded_jumps"


class OptimizerSettings(Settings):
    """Built by `timm.optim.create_optimizer_v2`; biases and BN parameters get no weight decay.

    `sgd` is SGD with Nesterov momentum, `momentum` without. `lr` is the peak learning rate for the global
    batch; gradients of the subnets of a step are summed, as in the published recipes.
    """

    name: Literal["sgd", "momentum", "adam", "adamw"] = "sgd"
    lr: float = Field(0.05, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(3e-5, ge=0)
    layer_decay: float | None = Field(None, gt=0, lt=1)
    """The rate of every block is that of the next one times this (the classifier has all of it): for start weights that
    should move the less the earlier they are (https://arxiv.org/abs/2106.08254).
    """


class ScheduleSettings(Settings):
    """Linear warm-up from `warmup_lr`, then a cosine to `min_lr`, per optimiser step and anew in every phase.

    Learning rates are fractions of the phase's own peak.
    """

    warmup_epochs: float = Field(0.0, ge=0)
    warmup_lr: float = Field(0.0, ge=0, le=1)
    min_lr: float = Field(0.0, ge=0, le=1)


class TrainSettings(Settings):
    """The `train` section: either a `recipe` by name over `epochs` (left out: `DEFAULT_RECIPE`), or explicit `phases`.

    `batch_size` is global. `micro_batch` is the number of images per forward and backward pass, which is also
    the group that BN takes its statistics over; fixing it makes a run independent of the number of processes.
    `dropout` and `drop_path` left out are as the space has them. `class_weights`: `balanced`, or one number a class.
    `num_subnets` is the number of random subnets per step of the recipes that draw any.
    """

    recipe: str | None = None
    each_phase: dict[str, Any] = Field(default_factory=dict)
    """Settings of phases that every phase of the recipe takes over: this is how recipes are combined."""
    phases: tuple[PhaseSettings, ...] | None = None
    epochs: float = Field(10.0, gt=0)
    num_subnets: int | None = Field(None, ge=1)
    batch_size: int = Field(128, ge=1)
    micro_batch: int | None = Field(None, ge=1)
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    class_weights: Literal["balanced"] | tuple[float, ...] | None = None
    mixing: MixingSettings | None = None
    dropout: float | None = Field(None, ge=0, lt=1)
    drop_path: float | None = Field(None, ge=0, lt=1)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    clip_grad_norm: float | None = Field(None, gt=0)
    amp: Literal["auto", "bf16", "off"] = "auto"
    device: str = "auto"
    channels_last: bool = True
    compile: bool = False
    """torch.compile of losses and augmentation. Like another device, it may round the last digits otherwise."""
    max_steps: int | None = Field(None, ge=1)
    checkpoint_every: int | str = "60s"
    keep_checkpoints: int = Field(2, ge=1)
    """The last so many, but never fewer than two: whether a state was good is only known one step later."""
    keep_best: bool = True
    """With `eval_every`: keep the weights of the phase's best evaluation as checkpoints/best.safetensors, best.json.

    Best is the highest mean selection accuracy of the largest, the smallest and one random subnet.
    """
    use_best: bool = False
    """The supernet of the run is the best of the last phase, not the last. Needs `eval_every`."""
    max_loss_factor: float | None = Field(10.0, ge=2)
    """A loss this many times above what is usual, and above half as many times that of guessing, stops the run."""
    eval_every: float | None = Field(None, gt=0)
    log_every: int = Field(20, ge=1)
    init: InitSettings | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _by_the_default_recipe(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("recipe") is None and values.get("phases") is None:
            return values | {"recipe": DEFAULT_RECIPE}
        return values

    @pydantic.field_validator("recipe")
    @classmethod
    def _recipe_exists(cls, value: str | None) -> str | None:
        from trainers.recipes import RECIPES

        if value is not None:
            RECIPES.get(value)
        return value

    @pydantic.field_validator("class_weights")
    @classmethod
    def _some_class_counts(cls, value: Any) -> Any:
        if isinstance(value, tuple) and (min(value, default=0) < 0 or not any(value)):
            raise UserError("weights are at least 0, and one of them is more", value=list(value))
        return value

    @pydantic.field_validator("amp", mode="before")
    @classmethod
    def _amp_off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare `off` as false

    @pydantic.field_validator("checkpoint_every")
    @classmethod
    def _steps_or_seconds(cls, value: int | str) -> int | str:
        good = value >= 1 if isinstance(value, int) else re.fullmatch(r"\d+(\.\d+)?s", value)
        if not good:
            raise UserError("must be a number of steps (500) or of seconds ('60s')", value=value)
        return value

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> TrainSettings:
        if self.recipe is not None and self.phases is not None:
            raise UserError("takes either recipe (by name) or phases (a list)", hint="Recipes: see trainers/recipes")
        if self.phases is not None and not self.phases:
            raise UserError("phases is empty", key="phases")
        if self.phases is not None and self.each_phase:
            raise UserError("changes the phases of a recipe; write it into your phases", key="each_phase")
        if fixed := {"name", "epochs", "restrict", "continues"} & self.each_phase.keys():
            raise UserError("is the recipe's own", key=f"each_phase.{min(fixed)}")
        parse_settings(
            PhaseSettings, {"name": "each", "epochs": 1, "sampling": "sandwich"} | self.each_phase, prefix="each_phase"
        )
        if self.use_best and (self.eval_every is None or not self.keep_best):
            key, value = ("eval_every", self.eval_every) if self.keep_best else ("keep_best", self.keep_best)
            raise UserError(
                "use_best chooses among evaluations whose weights were kept",
                key=key,
                value=value,
                hint="Set eval_every (epochs between evaluations) and keep_best: true",
            )
        if self.batch_size % self.group_size:
            raise UserError(
                f"must divide batch_size {self.batch_size}",
                key="micro_batch",
                value=self.micro_batch,
                hint=f"Nearest: {_nearest_divisor(self.batch_size, self.group_size)}",
            )
        if self.mixing is not None and self.group_size == 1:
            raise UserError(
                "a single image has no other to be mixed with", key="mixing", hint="Set a larger micro_batch"
            )
        return self

    @property
    def total_epochs(self) -> float:
        """Epochs of the whole plan: those of explicit phases, or of the recipe."""
        return self.epochs if self.phases is None else sum(phase.epochs for phase in self.phases)

    @property
    def group_size(self) -> int:
        """Images per forward and backward pass."""
        return self.micro_batch or self.batch_size


class TrainingConfig(Settings):
    """Everything the trainer needs. `space` is checked once the data says how many classes there are."""

    name: str
    seed: int = Field(0, ge=0)
    space: dict[str, Any]
    data: DataSettings
    train: TrainSettings

    @pydantic.field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise UserError("names the run's folder: letters, digits, dots, dashes and underscores only")
        return value


def read_config(path: Path | str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The whole config file as data, with `a.b=value` overrides put in, unchecked."""
    return apply_overrides(load_yaml(path), overrides)


def load_training_config(path: Path | str, overrides: Sequence[str] = ()) -> TrainingConfig:
    """The training part of a config file. Sections of later stages are left alone; other unknown keys are errors."""
    data = {key: value for key, value in read_config(path, overrides).items() if key not in LATER_SECTIONS}
    return parse_settings(TrainingConfig, data, file=path)


def training_inputs(config: TrainingConfig) -> dict[str, Any]:
    """What decides the trained weights, as JSON: two configs with equal inputs train the same supernet."""
    init = config.train.init
    start = {} if init is None else {"init": {"sha256": init.pinned().sha256}}
    return {
        "seed": config.seed,
        "space": config.space,
        "data": config.data.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude=_incidental(config.train) | {"init"}) | start,
    }


def _incidental(settings: TrainSettings) -> set[str]:
    """How often a run is evaluated decides its weights only if the best are chosen."""
    return set(INCIDENTAL) - {"eval_every"} if settings.use_best else {*INCIDENTAL, "use_best"}


def _nearest_divisor(number: int, wanted: int) -> int:
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: abs(math.log(d / wanted)))
