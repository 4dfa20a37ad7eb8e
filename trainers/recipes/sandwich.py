"""The sandwich rule with in-place distillation, in one phase.

From: Yu et al., BigNAS, https://arxiv.org/abs/2003.11142, after Yu and Huang, https://arxiv.org/abs/1903.05134.
Cost: the largest network, the smallest and two others for every batch; about the MACs of 2 to 2.5 largest networks.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def sandwich(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Every step trains the largest subnet on the labels, and the smallest and two random ones on its soft outputs."""
    phase = PhaseSettings(
        name="sandwich",
        epochs=settings.epochs,
        sampling="sandwich",
        num_subnets=settings.num_subnets or 2,
        distillation="in_place",
    )
    return (phase,)
