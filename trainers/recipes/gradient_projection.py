"""The sandwich rule where conflicting gradients of the largest subnet are projected.

From: Gong et al., NASViT, https://openreview.net/forum?id=Qaw16njk6L.
Cost: that of the sandwich recipe, without what the largest subnet shares with others; a second copy of the gradients.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


def gradient_projection(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """A sandwich in which the largest subnet may not undo what the step teaches the others."""
    phase = PhaseSettings(
        name="gradient_projection",
        epochs=settings.epochs,
        sampling="sandwich",
        num_subnets=settings.num_subnets or 2,
        distillation="in_place",
        conflicts="project",
    )
    return (phase,)
