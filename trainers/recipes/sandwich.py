"""The sandwich rule with in-place distillation, in one phase (BigNAS, https://arxiv.org/abs/2003.11142)."""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings import PhaseSettings, TrainSettings


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
