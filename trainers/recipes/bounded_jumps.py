"""Random subnets whose size changes by little from step to step.

From: Tang et al., ElasticViT, https://arxiv.org/abs/2303.09730 (complexity-aware sampling; the walk is this project's).
Cost: one random network for every batch, of the geometric mean of MACs on average.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def bounded_jumps(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Every step trains `num_subnets` (default 1) subnets on the labels, near in size to those of the step before:
    their gradients agree better, and so does the momentum.
    """
    phase = PhaseSettings(
        name="bounded_jumps",
        epochs=settings.epochs,
        sampling="random",
        num_subnets=settings.num_subnets or 1,
        draw="walk",
    )
    return (phase,)
