"""The largest subnet alone for half of the training, then the sandwich rule, in one learning-rate schedule.

From: Annavajjala et al., DepS, https://arxiv.org/abs/2407.06167: shrinking starts while the largest network is half
trained, not when it is finished.
Cost: one largest network for every batch, then that of the sandwich recipe.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def delayed_shrinking(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Half of the epochs for the largest subnet; the other half for it, the smallest and two random ones, distilled
    from it in place. Optimiser and learning rate go on over the border.
    """
    return (
        PhaseSettings(name="largest", epochs=settings.epochs / 2, sampling="largest"),
        PhaseSettings(
            name="shrinking",
            epochs=settings.epochs / 2,
            continues=True,
            sampling="sandwich",
            num_subnets=settings.num_subnets or 2,
            distillation="in_place",
        ),
    )
