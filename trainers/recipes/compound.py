"""The largest network first, then all networks at once, distilled from it.

From: Sahni et al., CompOFA, https://arxiv.org/abs/2104.12642: in a space whose depth and width of a stage move together
(`space.coupling: compound`), the stages of progressive shrinking can be one. Its 180 epochs of the largest network and
25 + 125 epochs of all, and their learning rates (those of once-for-all), keep their proportions under any total.
Cost: one largest network for every batch, then a teacher and four random networks; about half of progressive shrinking.
"""

from __future__ import annotations

from search_spaces import SearchSpace
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings

#: name, epochs, learning rate and warm-up epochs of the published run
_STAGES = (("largest", 180, 2.6, 5), ("all_1", 25, 0.08, 0), ("all_2", 125, 0.24, 5))


def compound(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """For any space; CompOFA's is one with compound coupling. `settings.optimizer.lr` is that of the first stage."""
    scale = settings.epochs / sum(epochs for _, epochs, _, _ in _STAGES)
    return tuple(
        PhaseSettings(
            name=name,
            epochs=epochs * scale,
            sampling="largest" if number == 0 else "random",
            num_subnets=settings.num_subnets or 4,
            share_resolution=True,
            distillation="none" if number == 0 else "teacher",
            lr=settings.optimizer.lr * lr / _STAGES[0][2],
            warmup_epochs=warmup_epochs * scale,
        )
        for number, (name, epochs, lr, warmup_epochs) in enumerate(_STAGES)
    )
