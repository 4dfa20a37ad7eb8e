"""The registry of accuracy models: adding one is a file with a class and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictors.boosting import Boosting
from predictors.costs import Costs
from predictors.gp import GaussianProcess
from predictors.interactions import InteractionRidge
from predictors.mlp import MLPEnsemble
from predictors.relu_mlp import ReluMLP
from search_spaces.common.registry import Registry

if TYPE_CHECKING:
    from predictors.base import AccuracyModel, FittedModel

#: candidates of a fit to records, over the features of `Encoder`
MODELS: Registry[type[FittedModel]] = Registry(
    "accuracy model", entry_points="ofa.predictors", needs=("fit", "predict", "arrays", "from_arrays")
)
MODELS.register("gp")(GaussianProcess)
MODELS.register("ridge")(InteractionRidge)
MODELS.register("boosting")(Boosting)
MODELS.register("mlp")(MLPEnsemble)
MODELS.register("costs")(Costs)

#: those of published predictors, each over columns of its own
PUBLISHED_MODELS: Registry[type[AccuracyModel]] = Registry("published accuracy model")
PUBLISHED_MODELS.register("relu_mlp")(ReluMLP)
