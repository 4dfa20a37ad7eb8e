"""How fast the processor is this very moment, by a tenth of a millisecond of fixed work.

On a rented server, others that use the other half of a core slow this half for moments of which the operating system
knows nothing.
"""

from __future__ import annotations

import time
from typing import Sequence

import numpy as np

_ADDITIONS, _TRIES = 800, 3
#: so many pulses in a row make a block; this percentile of a block is what the processor can do
_BLOCK, _UNDISTURBED = 100, 10.0


def take_pulse() -> float:
    """Milliseconds of some additions of the interpreter: the fastest of three tries, as the first finds cold caches."""
    best = float("inf")
    for _ in range(_TRIES):
        total, start = 0, time.perf_counter()
        for number in range(_ADDITIONS):
            total += number
        best = min(best, time.perf_counter() - start)
    return max(best * 1e3, 1e-6)


def usual_pulse(pulses: Sequence[float]) -> float | None:
    """What a pulse takes when nobody disturbs: what a block's faster tenth reaches, in the median of the blocks."""
    if not pulses:
        return None
    blocks = np.array_split(np.asarray(pulses), max(1, len(pulses) // _BLOCK))
    return float(np.median([np.percentile(block, _UNDISTURBED) for block in blocks]))
