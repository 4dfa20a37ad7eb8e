"""How a time is taken on a machine that is never quite quiet.

Items are measured in rounds, all of them once a round in a new random order: a slow minute then spreads over all items
instead of spoiling one. Operators are timed in groups of as many as a network has, the whole group again and again: an
operator called back to back finds its weights and code in the nearest cache, in a network it does not, and tables made
of such calls rank networks badly. A whole network is timed alone, as it is deployed.
"""

from __future__ import annotations

import gc
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from latency_tables.settings import DeviceSettings

Call = Callable[[], object]

#: a sample is disturbed if its thread had a core for less than this share of the time
CORE_SHARE = 0.95
MAX_CALLS = 100


@dataclass(frozen=True)
class Sample:
    """Milliseconds of one call of every item of a group; `disturbed` if all attempts were interrupted."""

    ms: dict[str, float]
    disturbed: bool = False


@dataclass(frozen=True)
class Measurement:
    """Milliseconds of one inference: median, 10th and 90th percentile of `count` samples."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    count: int


#: so many undisturbed samples are enough to do without the disturbed ones
ENOUGH_CLEAN = 3


class Samples:
    """The samples of one item as they come: how many, and the times that count."""

    def __init__(self) -> None:
        self._clean: list[float] = []
        self._disturbed: list[float] = []

    def add(self, ms: float, *, disturbed: bool) -> None:
        (self._disturbed if disturbed else self._clean).append(ms)

    def __len__(self) -> int:
        return len(self._clean) + len(self._disturbed)

    def summary(self) -> Measurement:
        """Of the undisturbed samples; of all where the machine was so busy that these are too few."""
        return summarize(self._clean if len(self._clean) >= ENOUGH_CLEAN else self._clean + self._disturbed)


def summarize(samples: Sequence[float]) -> Measurement:
    low, median, high = np.percentile(np.asarray(samples, dtype=np.float64), [10, 50, 90])
    return Measurement(median_ms=float(median), p10_ms=float(low), p90_ms=float(high), count=len(samples))


def take_sample(calls: Mapping[str, Call], *, passes: int, retries: int, single_thread: bool) -> Sample:
    """Run the group `passes` times and take each item's median; again up to `retries` times while interrupted.

    If every attempt was interrupted the one that kept the core longest counts.
    """
    best_share, best = -1.0, np.empty(0)
    items = list(calls.values())
    for call in items:  # what ran before has emptied the caches
        call()
    for _ in range(retries + 1):
        times_ms, share = _time_passes(items, passes)
        if not single_thread:
            share = 1.0  # other threads do the work: this one's core time says nothing
        if share > best_share:
            best_share, best = share, np.median(times_ms, axis=0)
        if share >= CORE_SHARE:
            break
    return Sample(dict(zip(calls, best.tolist(), strict=True)), disturbed=best_share < CORE_SHARE)


def measure_rounds(
    operators: Mapping[str, Call],
    networks: Mapping[str, Call],
    *,
    group_size: int,
    device: DeviceSettings,
    taken: Mapping[str, int],
    record: Callable[[Sample], None],
    rounds: range,
    seed: int = 0,
    deadline: float = math.inf,
) -> None:
    """Take the samples of `rounds`; `taken` says how many each item has already.

    Operators are timed in groups of about `group_size`, drawn anew each round, networks one by one. Every sample is
    handed to `record` as it comes. Past `deadline` (of `time.monotonic`) only the first `device.min_rounds` rounds
    are completed.
    """
    calls = {**operators, **networks}
    cost_ms = {key: _warm_up(call, device.warmup) for key, call in calls.items()}
    counts = {key: taken.get(key, 0) for key in calls}
    for number in rounds:
        if number >= device.min_rounds and time.monotonic() > deadline:
            return
        for group in _groups(list(operators), list(networks), group_size, np.random.default_rng((seed, number))):
            missing = [key for key in group if counts[key] <= number]
            if not missing:
                continue
            passes = math.ceil(device.sample_ms * len(group) / sum(cost_ms[key] for key in group))
            sample = take_sample(
                {key: calls[key] for key in group},
                passes=min(max(passes, device.min_calls), MAX_CALLS),
                retries=device.retries,
                single_thread=device.threads == 1,
            )
            record(Sample({key: sample.ms[key] for key in missing}, sample.disturbed))
            for key in missing:
                counts[key] += 1


def instances(device: DeviceSettings) -> list[range]:
    """The rounds of each time that the items are prepared anew."""
    bounds = np.linspace(0, device.rounds, min(device.instances, device.rounds) + 1).round().astype(int).tolist()
    return [range(first, last) for first, last in itertools.pairwise(bounds)]


@contextmanager
def quiet_process(threads: int) -> Iterator[None]:
    """Torch on `threads` threads and no garbage collection inside the block; both as before afterwards."""
    before, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(threads)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if collecting:
            gc.enable()


def _groups(operators: list[str], networks: list[str], size: int, rng: np.random.Generator) -> list[list[str]]:
    """A random partition of the operators into groups of about `size`, and the networks, in random order."""
    shuffled = [operators[i] for i in rng.permutation(len(operators))]
    num = max(1, round(len(shuffled) / size))
    groups = [[shuffled[i] for i in part] for part in np.array_split(np.arange(len(shuffled)), num) if len(part)]
    groups += [[network] for network in networks]
    return [groups[i] for i in rng.permutation(len(groups))]


def _warm_up(call: Call, calls: int) -> float:
    """Milliseconds of the fastest of three calls after `calls` untimed ones."""
    for _ in range(calls):
        call()
    return max(1e-5, min(float(_time_passes([call], 1)[0][0, 0]) for _ in range(3)))


def _time_passes(calls: Sequence[Call], passes: int) -> tuple[np.ndarray, float]:
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
