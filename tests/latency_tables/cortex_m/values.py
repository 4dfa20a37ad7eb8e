"""Numbers for kernels: any that can be."""

from __future__ import annotations

import numpy as np

from latency_tables.cortex_m.program import Call, Map
from latency_tables.cortex_m.quantization import Affine, Bytes, Finish

Rng = np.random.Generator

#: a call that reads "x" (and "second"), and the shapes of these and of its output
Case = tuple[Call, list[Map]]


def any_bytes(rng: Rng, *shape: int) -> Bytes:
    """Extremes are frequent."""
    values = rng.integers(-128, 128, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([-128, 127]), values).astype(np.int8)


def any_affine(rng: Rng, low: float = 0.01, high: float = 0.1) -> Affine:
    return Affine(float(rng.uniform(low, high)), int(rng.integers(-128, 128)))


def any_finish(rng: Rng, channels: int, fan_in: int, table: bool) -> Finish:
    ratios = rng.uniform(0.1, 4, channels) / (60 * fan_in**0.5)
    low, high = sorted(int(end) for end in rng.integers(-128, 128, 2))
    return Finish.of(
        ratios,
        int(rng.integers(-128, 128)),
        fan_in * 2.0**15 + 10_000,
        low=low,
        high=high,
        table=any_bytes(rng, 256) if table else None,
    )
