"""Shipped training schedules by name: a recipe turns (space, train settings) into phases. One file each."""

from __future__ import annotations

from collections.abc import Callable

from search_spaces import SearchSpace
from search_spaces.common.registry import Registry
from trainers.recipes.progressive_shrinking import progressive_shrinking
from trainers.recipes.random_subnets import random_subnets
from trainers.recipes.sandwich import sandwich
from trainers.settings import PhaseSettings, TrainSettings

Recipe = Callable[[SearchSpace, TrainSettings], tuple[PhaseSettings, ...]]

RECIPES: Registry[Recipe] = Registry("recipe")
RECIPES.register("progressive_shrinking")(progressive_shrinking)
RECIPES.register("sandwich")(sandwich)
RECIPES.register("random_subnets")(random_subnets)
