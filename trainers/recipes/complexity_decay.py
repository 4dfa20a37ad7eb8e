"""Random subnets whose learning rate decays by their complexity.

From: Jeon et al., https://arxiv.org/abs/2503.10740 (the exponents act on this project's cosine schedule).
Cost: that of random_subnets.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import DecaySettings, PhaseSettings
from trainers.settings.train import TrainSettings


def complexity_decay(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """Every step trains `num_subnets` (default 1) subnets on the labels; large ones, which learn more slowly, keep a
    higher learning rate for longer.
    """
    phase = PhaseSettings(
        name="complexity_decay",
        epochs=settings.epochs,
        sampling="random",
        num_subnets=settings.num_subnets or 1,
        decay=DecaySettings(),
    )
    return (phase,)
