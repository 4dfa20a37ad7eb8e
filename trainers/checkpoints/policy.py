"""When the next checkpoint is due."""

from __future__ import annotations

import time

from trainers.settings.train import TrainSettings


class CheckpointClock:
    """Says when the next checkpoint is due: every so many steps, or seconds."""

    def __init__(self, settings: TrainSettings) -> None:
        every = settings.checkpoint_every
        self.steps = every if isinstance(every, int) else None
        self.seconds = float(every[:-1]) if isinstance(every, str) else 0.0
        self.last = time.monotonic()

    def now(self, step: int) -> bool:
        if self.steps is not None:
            return step % self.steps == 0
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True
