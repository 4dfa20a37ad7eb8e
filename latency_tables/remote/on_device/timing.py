"""How a time is taken."""

from __future__ import annotations

import math
import statistics
import time
from typing import Sequence

from .loaders import Call
from .pulse import take_pulse

#: passes are disturbed if their thread had a core for less than this share of the time
CORE_SHARE = 0.95
#: calls that take so many ms are long against all that disturbs them: one is a sample, and one warms up
SLOW_MS = 50.0
#: the pulse is felt after so many ms of passes, or after each that takes longer
BETWEEN_PULSES_MS = 1.0


def time_passes(calls: Sequence[Call], passes: int) -> tuple[list[list[float]], float]:
    """(milliseconds by item and pass, share of the elapsed time that this thread had a core)."""
    clock, core_clock = time.perf_counter, getattr(time, "thread_time", time.process_time)
    times: list[list[float]] = [[0.0] * passes for _ in calls]
    core, begin = core_clock(), clock()
    for number in range(passes):
        for index, call in enumerate(calls):
            start = clock()
            call()
            times[index][number] = (clock() - start) * 1e3
    elapsed = max(clock() - begin, 1e-9)
    return times, (core_clock() - core) / elapsed


def take_sample(
    calls: Sequence[Call], passes: int, retries: int, limit_ms: float | None
) -> tuple[list[float], bool, float | None]:
    """(median ms of every item, whether all passes were disturbed, the slowest pulse beside those that count).

    Passes count if the thread kept its core and the pulse before and after them took `limit_ms` at most; others are
    made up for, by `retries` times as many. None for a limit: other threads do the work, and nothing says of it.
    """
    start = time.perf_counter()
    for call in calls:  # what ran before has emptied the caches
        call()
    warm = (time.perf_counter() - start) * 1e3
    if limit_ms is None:
        return _medians(time_passes(calls, passes)[0]), False, None
    at_once = min(passes, max(1, math.ceil(BETWEEN_PULSES_MS / max(warm, 1e-6))))
    wanted = math.ceil(passes / at_once)
    before = take_pulse()
    taken: list[tuple[float, float, list[list[float]]]] = []  # (pulse, share of the core, times)
    kept = taken
    for _ in range(wanted * (retries + 1)):
        times, share = time_passes(calls, at_once)
        after = take_pulse()
        taken.append((max(before, after), share, times))
        before = after
        kept = [some for some in taken if some[0] <= limit_ms and some[1] >= CORE_SHARE]
        if len(kept) >= wanted:
            break
    disturbed = not kept
    if disturbed:
        kept = [max(taken, key=lambda some: (min(some[1], CORE_SHARE), -some[0]))]
    together = [[ms for _, _, times in kept for ms in times[index]] for index in range(len(calls))]
    return _medians(together), disturbed, max(pulse for pulse, _, _ in kept)


def _medians(times: Sequence[Sequence[float]]) -> list[float]:
    """A clock too coarse for a model that does nothing still must not say that it took no time."""
    return [max(statistics.median(values), 1e-6) for values in times]


def warm_up(call: Call, calls: int) -> float:
    """Milliseconds of the fastest of three calls after `calls` untimed ones; of slow calls, of the second."""

    def one() -> float:
        return max(1e-5, time_passes([call], 1)[0][0][0])

    first = one()
    if first >= SLOW_MS:
        second = one()
        if second >= SLOW_MS:
            return second
    for _ in range(calls - 1):
        call()
    return min(one() for _ in range(3))


def repeat(call: Call, seconds: float) -> tuple[int, float]:
    """Call for `seconds` without a pause, for a power meter to be read meanwhile: (calls, seconds)."""
    begin, num = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        call()
        num += 1
    return num, time.perf_counter() - begin
