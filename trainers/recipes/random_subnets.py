"""Plain random subnet sampling, in one phase (Cummings et al., https://arxiv.org/abs/2204.09210)."""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings import PhaseSettings, TrainSettings


def random_subnets(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Every step trains `num_subnets` (default 1) randomly drawn subnets on the labels."""
    phase = PhaseSettings(
        name="random_subnets", epochs=settings.epochs, sampling="random", num_subnets=settings.num_subnets or 1
    )
    return (phase,)
