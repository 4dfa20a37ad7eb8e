"""The sandwich rule, distilled in place by the adaptive alpha-divergence.

From: Wang et al., AlphaNet, https://arxiv.org/abs/2102.07954 (orders -1 and 1, importance ratios up to 5).
Cost: that of the sandwich recipe.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def alpha_divergence(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """A sandwich whose subnets learn from the largest by the worse of two divergences, so that they neither over- nor
    underestimate its doubt.
    """
    phase = PhaseSettings(
        name="alpha_divergence",
        epochs=settings.epochs,
        sampling="sandwich",
        num_subnets=settings.num_subnets or 2,
        distillation="in_place",
        divergence="alpha",
    )
    return (phase,)
