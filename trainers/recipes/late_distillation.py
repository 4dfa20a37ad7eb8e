"""Random subnets for two thirds of the training, then the sandwich rule, in one learning-rate schedule.

From: own. In-place distillation is only worth its price once the largest subnet has something to teach; until then
random subnets (https://arxiv.org/abs/2204.09210) give four times the updates for the same multiply-accumulates.
Cost: one random network for every batch, then that of the sandwich recipe.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def late_distillation(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Two thirds of the epochs for one random subnet a step, learning from labels; then the largest, the smallest and
    `num_subnets` (default 2) random ones, distilled from the largest in place.
    """
    return (
        PhaseSettings(name="random_subnets", epochs=settings.epochs * 2 / 3, sampling="random"),
        PhaseSettings(
            name="sandwich",
            epochs=settings.epochs / 3,
            continues=True,
            sampling="sandwich",
            num_subnets=settings.num_subnets or 2,
            distillation="in_place",
        ),
    )
