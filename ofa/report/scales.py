"""From values to places on a chart: linear scales with round tick values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps values `low`..`high` to places `start`..`end` in user units; `end` may be below `start` (y axes)."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, num: int = 5) -> list[float]:
        """About `num` round values within the range, 1, 2 or 5 times a power of ten apart."""
        step = _round_step((self.high - self.low) / max(num, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]

    def decimals(self, num: int = 5) -> int:
        """Digits after the point that tell the ticks apart."""
        step = _round_step((self.high - self.low) / max(num, 1))
        return max(0, -math.floor(math.log10(step) + 1e-9))


def fit_scale(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    padding: float = 0.05,
    zero: bool = False,
    limits: tuple[float, float] | None = None,
) -> Scale:
    """A scale over all finite `values` with some room around; `zero` starts it at 0; `limits` bound what values can
    be.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = (high - low) * padding or abs(high) * 0.05 or 1.0
    low, high = (0.0 if zero else low - room), high + room
    if limits is not None:
        low, high = max(low, limits[0]), min(high, limits[1])
    return Scale(low, high if high > low else low + 1.0, start, end)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
