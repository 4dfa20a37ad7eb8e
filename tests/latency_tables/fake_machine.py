"""A machine whose speed a test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest


class Machine:
    """A clock that a call moves on by what it takes, times how slow the machine is then; pulses tell how slow."""

    def __init__(self, slow: Iterator[float], core_share: Iterator[float] | None = None) -> None:
        self.slow, self.shares = slow, core_share or repeat(1.0)
        self.now_s = self.core_s = 0.0
        self.speed, self.share, self.calls = 1.0, 1.0, 0

    def install(self, patch: pytest.MonkeyPatch, module: Any) -> None:
        patch.setattr(module.time, "perf_counter", lambda: self.now_s)
        patch.setattr(module.time, "thread_time", lambda: self.core_s)
        patch.setattr(module, "take_pulse", self.pulse)

    def pulse(self) -> float:
        """How slow it is lasts until the next but one pulse: the passes between see what both tell."""
        told, self.speed, self.share = self.speed, next(self.slow), next(self.shares)
        return max(told, self.speed) * 0.1

    def call(self, ms: float) -> Callable[[], object]:
        def run() -> None:
            self.calls += 1
            self.now_s += ms * self.speed / 1e3 / self.share
            self.core_s += ms * self.speed / 1e3

        return run
