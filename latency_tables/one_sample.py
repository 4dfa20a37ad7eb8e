"""How one sample is taken: some passes through a group of calls, of which the undisturbed ones count."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latency_tables.remote.on_device.pulse import take_pulse
from latency_tables.samples import Sample

Call = Callable[[], object]

#: passes are disturbed if their thread had a core for less than this share of the time
CORE_SHARE = 0.95

#: calls that take so many ms are long against all that disturbs them: one is a sample, and one warms up
SLOW_MS = 50.0

#: the pulse is felt after so many ms of passes, or after each that takes longer
_BETWEEN_PULSES_MS = 1.0


@dataclass(frozen=True)
class Watch:
    """When passes count as undisturbed: the thread kept its core, and the pulse before and after them was at most
    `max_drift` above `usual_pulse_ms` (of the fastest of the sample, while that is not known).
    """

    usual_pulse_ms: float | None = None
    max_drift: float = 0.1

    def limit(self, pulses: Sequence[float]) -> float:
        usual = min(pulses) if self.usual_pulse_ms is None else self.usual_pulse_ms
        return usual * (1 + self.max_drift)


@dataclass(frozen=True)
class _Passes:
    times_ms: np.ndarray  # (passes, calls)
    core_share: float
    pulse_ms: float  # the slower of the one before and the one after


def take_sample(
    calls: Mapping[str, Call], *, passes: int, retries: int = 0, watch: Watch | None, beside: bool = False
) -> Sample:
    """Run the group `passes` times and take each item's median over the undisturbed passes, or over all without a
    `watch`.

    Disturbed passes are made up for, by `retries` times as many at most. If none was undisturbed, the sample is not
    either. `beside` work on purpose, interruptions are what is measured: the mean of all passes counts.
    """
    items = list(calls.values())
    warm = time_passes(items, 1)[0].sum()  # what ran before has emptied the caches
    if watch is None or beside:
        ms = (np.mean if beside else np.median)(time_passes(items, passes)[0], axis=0)
        return Sample(dict(zip(calls, ms.tolist(), strict=True)))
    at_once = min(passes, max(1, math.ceil(_BETWEEN_PULSES_MS / max(warm, 1e-6))))
    wanted = math.ceil(passes / at_once)
    taken, before = list[_Passes](), take_pulse()
    kept = taken
    for _ in range(wanted * (retries + 1)):
        times_ms, core_share = time_passes(items, at_once)
        after = take_pulse()
        taken.append(_Passes(times_ms, core_share, max(before, after)))
        before = after
        limit = watch.limit([some.pulse_ms for some in taken])
        kept = [some for some in taken if some.core_share >= CORE_SHARE and some.pulse_ms <= limit]
        if len(kept) >= wanted:
            break
    disturbed = not kept
    if disturbed:
        kept = [max(taken, key=lambda some: (min(some.core_share, CORE_SHARE), -some.pulse_ms))]
    ms = np.median(np.concatenate([some.times_ms for some in kept]), axis=0)
    pulse_ms = max(some.pulse_ms for some in kept)
    return Sample(dict(zip(calls, ms.tolist(), strict=True)), disturbed=disturbed, pulse_ms=pulse_ms)


def time_passes(calls: Sequence[Call], passes: int) -> tuple[np.ndarray, float]:
    """((passes, num_calls) milliseconds, share of the elapsed time that this thread had a core)."""
    clock = time.perf_counter
    seconds = np.empty((passes, len(calls)))
    core, begin = time.thread_time(), clock()
    for row in seconds:
        for index, call in enumerate(calls):
            start = clock()
            call()
            row[index] = clock() - start
    elapsed = max(clock() - begin, 1e-9)
    return seconds * 1e3, (time.thread_time() - core) / elapsed


def warm_up(call: Call, calls: int) -> float:
    """Milliseconds of the fastest of three calls after `calls` untimed ones; of slow calls, of the second."""

    def one() -> float:
        return max(1e-5, float(time_passes([call], 1)[0][0, 0]))

    if one() >= SLOW_MS and (second := one()) >= SLOW_MS:
        return second
    for _ in range(calls - 1):
        call()
    return min(one() for _ in range(3))
