"""The sandwich rule where the random subnets are chosen among rivals of their size.

From: Wang et al., AttentiveNAS, https://arxiv.org/abs/2011.09011 (its WorstUp, with k = 3 and losses for a predictor).
Cost: that of the sandwich recipe, and a forward pass of 6 subnets over one micro-batch a step.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import AttentiveSettings, PhaseSettings
from trainers.settings.train import TrainSettings


def attentive_sampling(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Every random subnet is the one of three of about the same MACs that does worst on the images of the step."""
    phase = PhaseSettings(
        name="attentive_sampling",
        epochs=settings.epochs,
        sampling="sandwich",
        num_subnets=settings.num_subnets or 2,
        distillation="in_place",
        attentive=AttentiveSettings(by="worst", of=3),
    )
    return (phase,)
