"""How a time is taken on a machine that is never quite quiet.

Items are measured in rounds, all of them once a round in a new random order: a slow minute then spreads over all items
instead of spoiling one. Operators are timed in groups of as many as a network has, the whole group again and again: an
operator called back to back finds its weights and code in the nearest cache, in a network it does not, and tables made
of such calls rank networks badly. A whole network is timed alone, as it is deployed.

Three things tell that the machine was disturbed. The thread did not have its core all the time (`CORE_SHARE`). Other
processes were busy meanwhile (`other_work`). A few sentinel operators, timed as every round begins and ends, took
another time than usual (`samples.Ledger`): a cooler or hotter processor, a neighbour on the same host. What was taken
then is not averaged in but taken again.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from latency_tables.other_work import OtherWork
from latency_tables.samples import Ledger, Sample, Samples, median_uncertainty
from latency_tables.settings import DeviceSettings
from search_spaces.common.errors import UserError

Call = Callable[[], object]

#: calls of a sentinel in a reading: for so many ms, but at least and at most so many. The median of fewer calls of two
#: microseconds each jitters by more than the speed of the machine.
SENTINEL_MS, SENTINEL_CALLS = 5.0, (9, 1000)

#: so many times the wanted number of rounds are tried before the machine is called too restless
_MOST_ROUNDS = 3

_NOTHING = Samples()

#: a sample is disturbed if its thread had a core for less than this share of the time
CORE_SHARE = 0.95
MAX_CALLS = 100

#: calls that take so many ms are long against all that disturbs them: one is a sample, and one warms up
SLOW_MS = 50.0


def take_sample(
    calls: Mapping[str, Call], *, passes: int, retries: int, single_thread: bool, beside: bool = False
) -> Sample:
    """Run the group `passes` times and take each item's median; again up to `retries` times while interrupted.

    If every attempt was interrupted the one that kept the core longest counts. `beside` work on purpose, interruptions
    are what is measured: the mean of the calls counts, and nothing is taken again for them.
    """
    best_share, best = -1.0, np.empty(0)
    items = list(calls.values())
    for call in items:  # what ran before has emptied the caches
        call()
    for _ in range(retries + 1):
        times_ms, share = _time_passes(items, passes)
        if beside or not single_thread:
            share = 1.0  # interrupted on purpose; or other threads do the work, and this one's core time says nothing
        if share > best_share:
            best_share, best = share, (np.mean if beside else np.median)(times_ms, axis=0)
        if share >= CORE_SHARE:
            break
    return Sample(dict(zip(calls, best.tolist(), strict=True)), disturbed=best_share < CORE_SHARE)


@dataclass(frozen=True)
class Plan:
    """How much is enough: every item gets at least `least` undisturbed samples, and more until its median is certain to
    `precision` (half the 95 % interval, as a share of it) or it has `most`; only `least` past `deadline` (of
    `time.monotonic`).
    """

    least: int
    most: int
    precision: float
    deadline: float = math.inf

    def wants(self, samples: Samples, *, strict: bool) -> bool:
        """Whether an item needs another sample. Disturbed ones count too unless `strict`."""
        num = len(samples.clean) if strict else len(samples)
        if num < min(self.least, self.most):
            return True
        if num >= self.most or time.monotonic() > self.deadline:
            return False
        return median_uncertainty(samples.clean if strict else samples.clean + samples.disturbed) > self.precision


def measure_rounds(
    operators: Mapping[str, Call],
    networks: Mapping[str, Call],
    *,
    ledger: Ledger,
    plan: Plan,
    device: DeviceSettings,
    others: OtherWork,
    group_size: int,
    sentinels: Mapping[str, Call] | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda steps: None,
) -> None:
    """Bring every item in the ledger to what `plan` wants, in rounds.

    Operators are timed in groups of about `group_size`, drawn anew each round, networks one by one; groups too small
    are filled up with operators that have enough. A round begins by timing the `sentinels`. Between samples the
    machine is watched: those taken beside other work count as disturbed, and measuring waits until it is quiet.
    Raises `UserError` if it does not become quiet, or keeps changing its speed; what was taken stays in the ledger.
    """
    calls = {**operators, **networks}
    cost_ms = {key: _warm_up(call, device.warmup) for key, call in calls.items()}
    strict = others.limit is not None

    def wanting() -> list[str]:
        samples = ledger.samples
        return [key for key in calls if plan.wants(samples.get(key, _NOTHING), strict=strict)]

    wanted, rounds = wanting(), 0
    while wanted:
        if rounds > _MOST_ROUNDS * plan.most:
            raise _restless(ledger, device)
        rounds += 1
        others.wait(kept=f"{ledger.num_samples} samples are kept.")
        rng = np.random.default_rng((seed, ledger.num_rounds))
        ledger.begin_round(_read(sentinels or {}))
        before = sum(ledger.counts(clean=strict)[key] for key in wanted)
        for group in _groups(wanted, operators, group_size, rng):
            mean_ms = sum(cost_ms[key] for key in group) / len(group)
            least = device.min_calls if mean_ms < SLOW_MS else 1
            ledger.record(
                take_sample(
                    {key: calls[key] for key in group},
                    passes=min(max(math.ceil(device.sample_ms / mean_ms), least), MAX_CALLS),
                    retries=device.retries,
                    single_thread=device.threads == 1,
                    beside=device.contention > 0,
                )
            )
            share = others.check()
            if share is not None:
                ledger.confirm(quiet=others.is_quiet(share))
                if not others.is_quiet(share):
                    others.wait(kept=f"{ledger.num_samples} samples are kept.")
        advance(sum(ledger.counts(clean=strict)[key] for key in wanted) - before)
        wanted = wanting()
        if sentinels and not wanted:  # otherwise the next round begins with a reading
            ledger.begin_round(_read(sentinels))
            wanted = wanting()


def _read(sentinels: Mapping[str, Call]) -> dict[str, float]:
    """Milliseconds of each sentinel, the median of some calls."""
    found = {}
    for key, call in sentinels.items():
        calls = math.ceil(SENTINEL_MS / _warm_up(call, 1))
        found[key] = float(np.median(_time_passes([call], min(max(calls, SENTINEL_CALLS[0]), SENTINEL_CALLS[1]))[0]))
    return found


def _restless(ledger: Ledger, device: DeviceSettings) -> UserError:
    off = [speed for speed in ledger.speeds if abs(speed - 1) > ledger.max_drift]
    return UserError(
        f"the machine is too restless: {len(off)} of {len(ledger.speeds)} times its speed was more than "
        f"{ledger.max_drift:.0%} off (up to {max(off, default=1.0) - 1:+.0%} longer), and {ledger.share_disturbed:.0%} "
        "of the samples were disturbed",
        key=f"{device.name}.max_drift",
        value=device.max_drift,
        hint=f"{ledger.num_samples} samples are kept. Run the same command again when the machine is quiet and cool, "
        "or give the device a larger max_drift",
    )


def plans(device: DeviceSettings, *, deadline: float = math.inf) -> list[Plan]:
    """What each preparation of the items must reach: all of them together make `device.rounds` samples at most."""
    parts = min(device.instances, device.rounds)
    most = np.linspace(0, device.rounds, parts + 1).round().astype(int)[1:]
    least = np.linspace(0, min(device.min_rounds, device.rounds), parts + 1).round().astype(int)[1:]
    return [
        Plan(least=max(1, int(low)), most=int(high), precision=device.precision, deadline=deadline)
        for low, high in zip(least, most, strict=True)
    ]


@contextmanager
def quiet_process(threads: int) -> Iterator[None]:
    """Torch on `threads` threads and no garbage collection inside the block; both as before afterwards."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with torch_threads(threads):
            yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def torch_threads(num: int) -> Iterator[None]:
    """Torch on `num` threads inside the block. Where it is pinned to as many cores, more would wait for each other:
    drawing the weights of a network takes a minute then.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _groups(
    wanted: Sequence[str], operators: Mapping[str, Call], size: int, rng: np.random.Generator
) -> list[list[str]]:
    """The wanted operators in random groups of about `size`, filled up with others; networks alone; in random order."""
    networks = [[key] for key in wanted if key not in operators]
    some = [key for key in wanted if key in operators]
    if some and len(some) < size:
        rest = sorted(set(operators) - set(some))
        some += [rest[i] for i in rng.permutation(len(rest))[: size - len(some)]]
    shuffled = [some[i] for i in rng.permutation(len(some))]
    num = max(1, round(len(shuffled) / size))
    groups = [[shuffled[i] for i in part] for part in np.array_split(np.arange(len(shuffled)), num) if len(part)]
    groups += networks
    return [groups[i] for i in rng.permutation(len(groups))]


def _warm_up(call: Call, calls: int) -> float:
    """Milliseconds of the fastest of three calls after `calls` untimed ones; of slow calls, of the second."""

    def one() -> float:
        return max(1e-5, float(_time_passes([call], 1)[0][0, 0]))

    if one() >= SLOW_MS and (second := one()) >= SLOW_MS:
        return second
    for _ in range(calls - 1):
        call()
    return min(one() for _ in range(3))


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
