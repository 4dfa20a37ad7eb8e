"""The registry of accuracy models: adding one is a file with a class and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.mlp import MLPEnsemble
from predictors.ridge import Ridge
from search_spaces.common.registry import Registry

if TYPE_CHECKING:
    from predictors.base import AccuracyModel

MODELS: Registry[type[AccuracyModel]] = Registry("accuracy model")
MODELS.register("ridge")(Ridge)
MODELS.register("mlp")(MLPEnsemble)
