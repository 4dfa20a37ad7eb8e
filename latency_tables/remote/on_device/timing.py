"""How a time is taken."""

from __future__ import annotations

import statistics
import time
from typing import Sequence

from .loaders import Call

#: a sample is disturbed if its thread had a core for less than this share of the time
CORE_SHARE = 0.95
#: calls that take so many ms are long against all that disturbs them: one is a sample, and one warms up
SLOW_MS = 50.0


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


def take_sample(calls: Sequence[Call], passes: int, retries: int, single_thread: bool) -> tuple[list[float], bool]:
    """(median ms of every item, whether every attempt was interrupted); of the attempt that kept the core longest."""
    for call in calls:  # what ran before has emptied the caches
        call()
    best_share, best = -1.0, [0.0]
    for _ in range(retries + 1):
        times, share = time_passes(calls, passes)
        if not single_thread:
            share = 1.0  # other threads do the work: this one's core time says nothing
        if share > best_share:
            best_share, best = share, [statistics.median(values) for values in times]
        if share >= CORE_SHARE:
            break
    # a clock too coarse for a model that does nothing still must not say that it took no time
    return [max(ms, 1e-6) for ms in best], best_share < CORE_SHARE


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
