"""The settings of one phase of training: which subnets a step trains, and what they learn from."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic import Field

from search_spaces.common.errors import UserError
from search_spaces.common.settings import Settings


class AttentiveSettings(Settings):
    """Attentive sampling: of `of` networks of about the same MACs, the step trains the one whose loss on a micro-batch
    is the lowest (`best`) or the highest (`worst`).
    """

    by: Literal["best", "worst"] = "worst"
    of: int = Field(3, ge=2, le=64)


class AlphaSettings(Settings):
    """Orders of the adaptive alpha-divergence, and the largest importance ratio that counts."""

    low: float = Field(-1.0, lt=0)
    high: float = Field(1.0, gt=0)
    clip: float = Field(5.0, gt=0)


class DecaySettings(Settings):
    """Exponents of the learning rate's decay for the smallest and the largest network of the space.

    A subnet between them, on the scale of the logarithm of MACs, has an exponent between. Below 1 the rate stays high
    for longer.
    """

    smallest: float = Field(1.0, gt=0)
    largest: float = Field(0.5, gt=0)


class PhaseSettings(Settings):
    """One phase of training: a sub-space, how its subnets are drawn, and what they learn from.

    `sampling`: `largest` (one subnet a step), `random` (`num_subnets` a step) or `sandwich` (largest, smallest and
    `num_subnets` random ones). Unset optimiser fields are those of the `train` section.
    """

    name: str
    epochs: float = Field(gt=0)
    restrict: dict[str, list[int | float | str]] = Field(default_factory=dict)
    continues: bool = False
    """Goes on with optimiser, momentum, weight average and learning-rate schedule of the phase before."""

    # which subnets
    sampling: Literal["largest", "random", "sandwich"] = "random"
    num_subnets: int = Field(1, ge=1)
    draw: Literal["genes", "networks", "stratified", "walk"] = "genes"
    """Random subnets: every gene uniform over its options, as published; uniform over distinct networks; evenly spread
    over the logarithm of MACs; or near to those of the step before, by `jump`."""
    jump: float = Field(0.1, gt=0, le=1)
    """`draw: walk`: the farthest that a step may lie from the one before, as a share of the range of log MACs."""
    attentive: AttentiveSettings | None = None
    share_resolution: bool = False
    """All subnets of a step have the resolution of one draw."""

    # what they learn from
    distillation: Literal["none", "teacher", "in_place"] = "none"
    """`teacher`: the largest subnet as the first phase left it. `in_place`: the largest subnet in the same step."""
    divergence: Literal["kl", "alpha"] = "kl"
    """Soft cross entropy (whose gradient is that of the KL divergence), or the adaptive alpha-divergence."""
    alpha: AlphaSettings = AlphaSettings()
    distillation_weight: float = Field(1.0, ge=0)
    label_weight: float | None = Field(None, ge=0)
    """Weight of the label loss of a distilled subnet; left out: 1 with a teacher, 0 in place."""

    # how they are optimised
    conflicts: Literal["sum", "project"] = "sum"
    """`project`: where the largest subnet's gradient opposes that of the others, it loses its part along theirs."""
    decay: DecaySettings | None = None
    """Learning rates of subnets by their MACs; left out: one for all."""
    sort_channels: bool = False
    lr: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    warmup_epochs: float | None = Field(None, ge=0)

    @pydantic.model_validator(mode="after")
    def _needs_the_largest(self) -> PhaseSettings:
        for key, value in (("distillation", "in_place"), ("conflicts", "project")):
            if getattr(self, key) == value and self.sampling != "sandwich":
                raise UserError(
                    f"{key}: {value} needs the largest subnet in every step",
                    key="sampling",
                    value=self.sampling,
                    hint="Set sampling: sandwich",
                )
        return self

    @pydantic.model_validator(mode="after")
    def _continues_with_what_was(self) -> PhaseSettings:
        if self.continues:
            for key in ("lr", "weight_decay", "warmup_epochs"):
                if getattr(self, key) is not None:
                    raise UserError("belongs to the phase that this one continues", key=key, value=getattr(self, key))
            if self.sort_channels:
                raise UserError(
                    "sorted channels need an optimiser that starts anew",
                    key="sort_channels",
                    hint="Leave out continues",
                )
        return self
