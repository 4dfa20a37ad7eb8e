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

    Low-rank layers are the best approximations of the dense ones, and where these are trained alone, both end better
    (docs/science.md). `train.phases` may say otherwise.
    """
    phase = PhaseSettings(
        name="bounded_jumps",
        epochs=settings.epochs,
        sampling="random",
        num_subnets=settings.num_subnets or 1,
        draw="walk",
        restrict=dense_layers(space),
    )
    return (phase,)


def dense_layers(space: SearchSpace) -> dict[str, list[int | float | str]]:
    """What leaves of the layers of transformers the dense ones alone, where a space has these and others."""
    ranks = {"attention_rank", "mlp_rank"}
    options = {
        choice.group: space.genome.options(name)
        for name, choice in space.genome.choices.items()
        if choice.group in ranks
    }
    return {group: [1] for group, shares in options.items() if 1 in shares and len(shares) > 1}
