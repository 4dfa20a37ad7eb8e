"""How fast the processor is this very moment.

On a rented machine others compute on the same host. When they use the other half of a core, this half runs at little
more than half its speed, for milliseconds or minutes, and the operating system of the guest sees nothing of it: no
process, no stolen time. A *pulse*, a tenth of a millisecond of fixed work, does, and is short enough to be taken
between two calls of a network.
"""

from __future__ import annotations

import time
from typing import Sequence

import numpy as np

_ADDITIONS, _TRIES = 800, 3

#: so many pulses in a row make a block
_BLOCK = 100

#: in every block, the speed that this share of the pulses reach is what the processor can do
_UNDISTURBED = 10.0


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
    """What a pulse takes when nobody disturbs, by pulses in the order they were taken; None without any.

    The fastest tenth of a block shows the processor undisturbed even where others disturb it most of the time; of the
    blocks the median counts: a processor that is faster only as long as it is cool is not taken at its best.
    """
    if not pulses:
        return None
    blocks = np.array_split(np.asarray(pulses), max(1, len(pulses) // _BLOCK))
    return float(np.median([np.percentile(block, _UNDISTURBED) for block in blocks]))
