"""Shipped training schedules by name: a recipe turns (space, train settings) into phases. One file each.

`train.each_phase` puts the settings of one recipe into the phases of another.
"""

from __future__ import annotations

from collections.abc import Callable

from search_spaces import SearchSpace
from search_spaces.common.registry import Registry
from trainers.recipes.alpha_divergence import alpha_divergence
from trainers.recipes.attentive_sampling import attentive_sampling
from trainers.recipes.bounded_jumps import bounded_jumps
from trainers.recipes.complexity_decay import complexity_decay
from trainers.recipes.compound import compound
from trainers.recipes.delayed_shrinking import delayed_shrinking
from trainers.recipes.gradient_projection import gradient_projection
from trainers.recipes.late_distillation import late_distillation
from trainers.recipes.progressive_shrinking import progressive_shrinking
from trainers.recipes.random_subnets import random_subnets
from trainers.recipes.sandwich import sandwich
from trainers.recipes.stratified_subnets import stratified_subnets
from trainers.recipes.uniform_networks import uniform_networks
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings

Recipe = Callable[[SearchSpace, TrainSettings], tuple[PhaseSettings, ...]]

RECIPES: Registry[Recipe] = Registry("recipe", entry_points="ofa.recipes", needs=("__call__",))
RECIPES.register("progressive_shrinking")(progressive_shrinking)
RECIPES.register("compound")(compound)
RECIPES.register("delayed_shrinking")(delayed_shrinking)
RECIPES.register("late_distillation")(late_distillation)
RECIPES.register("sandwich")(sandwich)
RECIPES.register("alpha_divergence")(alpha_divergence)
RECIPES.register("attentive_sampling")(attentive_sampling)
RECIPES.register("gradient_projection")(gradient_projection)
RECIPES.register("random_subnets")(random_subnets)
RECIPES.register("uniform_networks")(uniform_networks)
RECIPES.register("stratified_subnets")(stratified_subnets)
RECIPES.register("bounded_jumps")(bounded_jumps)
RECIPES.register("complexity_decay")(complexity_decay)
