"""Plain random subnet sampling, in one phase.

From: Cummings et al., https://arxiv.org/abs/2204.09210, where it beat progressive shrinking on four small data sets.
Cost: one random network for every batch, about the MACs of half a largest network.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def random_subnets(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Every step trains `num_subnets` (default 1) subnets, drawn gene by gene, on the labels."""
    phase = PhaseSettings(
        name="random_subnets",
        epochs=settings.epochs,
        sampling="random",
        num_subnets=settings.num_subnets or 1,
    )
    return (phase,)
