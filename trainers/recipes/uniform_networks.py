"""Random subnets, uniform over distinct networks.

From: Guo et al., SPOS, https://arxiv.org/abs/1904.00420, but counting equal networks once.
Cost: one random network for every batch; most networks of a space are deep, so more than drawn gene by gene.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def uniform_networks(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Every step trains `num_subnets` (default 1) subnets on the labels; all networks of the space are as likely."""
    phase = PhaseSettings(
        name="uniform_networks",
        epochs=settings.epochs,
        sampling="random",
        num_subnets=settings.num_subnets or 1,
        draw="networks",
    )
    return (phase,)
