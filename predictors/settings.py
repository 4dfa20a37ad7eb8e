"""The `records` and `predictor` sections of a config."""

from __future__ import annotations

from typing import Literal

import pydantic

from search_spaces.common.settings import Settings

#: How a record came about: `sampled` for fitting (an unbiased list), `search` for networks that a search asked about,
#: `rank` for those that rankings are held against, which are never fitted.
Origin = Literal["sampled", "search", "rank"]

#: How the networks to record are drawn.
Sampling = Literal["uniform", "stratified", "nested"]


class RecordSettings(Settings):
    """How many subnets are evaluated for the predictor, and how they are drawn."""

    num: int = pydantic.Field(default=100, ge=4)
    sampling: Sampling = "stratified"
    """`uniform` over distinct networks; `stratified`: evenly over the logarithm of the MACs; `nested`: so too, in
    groups of 8 with their first layers in common, which are evaluated together at less than half the cost."""
    batch_size: int = pydantic.Field(default=256, ge=1)


class PredictorSettings(Settings):
    """Which accuracy models compete, and how the one picked is graded."""

    candidates: tuple[str, ...] = pydantic.Field(default=("gp", "ridge", "costs"), min_length=1)
    """The first is taken unless another ranks records that neither saw better by more than chance."""
    target: Literal["log_error", "accuracy"] = "log_error"
    """What the models regress: minus the logarithm of the error rate, or the accuracy itself."""
    folds: int = pydantic.Field(default=5, ge=2)
    holdout: float = pydantic.Field(default=0.2, gt=0, lt=0.9)
    """Share of the records that grades the model; never used in picking it."""
    level: float = pydantic.Field(default=0.9, gt=0, lt=1)
    """Coverage of the intervals, of the predictions and of the grades."""
    bootstrap: int = pydantic.Field(default=1000, ge=100)
    origins: tuple[Origin, ...] = pydantic.Field(default=("sampled",), min_length=1)
    """Records to fit. Those of a search crowd near its budgets, so by default they do not move the predictor."""

    @pydantic.field_validator("candidates")
    @classmethod
    def _known_and_distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from predictors.models import MODELS

        for name in names:
            MODELS.get(name)
        if len(set(names)) != len(names):
            raise ValueError("names a model twice")
        return names
