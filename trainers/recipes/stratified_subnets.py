"""Random subnets, spread evenly over sizes.

From: own; low-discrepancy sizes in the place of the uniform draws of https://arxiv.org/abs/2204.09210.
Cost: one random network for every batch, of the geometric mean of MACs on average.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def stratified_subnets(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Every step trains `num_subnets` (default 1) subnets on the labels, evenly spread over the logarithm of MACs."""
    phase = PhaseSettings(
        name="stratified_subnets",
        epochs=settings.epochs,
        sampling="random",
        num_subnets=settings.num_subnets or 1,
        draw="stratified",
    )
    return (phase,)
