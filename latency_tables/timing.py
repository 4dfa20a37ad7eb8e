"""How a time is taken on a machine that is never quite quiet.

Items are measured in rounds, all of them once a round in a new random order: a slow minute then spreads over all items
instead of spoiling one. Operators are timed in groups of as many as a network has, the whole group again and again: an
operator called back to back finds its weights and code in the nearest cache, in a network it does not, and tables made
of such calls rank networks badly. A whole network is timed alone, as it is deployed.

Four things tell that the machine was disturbed. The thread did not have its core all the time (`on_device.timing`). The
processor was slower for a moment, as a neighbour on the same host used the other half of a core (`on_device.pulse`).
Other processes were busy meanwhile (`other_work`). A few sentinel operators, timed as every round begins and ends, took
another time than usual (`samples.Ledger`): a cooler or hotter processor. What was taken then is not averaged in but
taken again.
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

from latency_tables.one_sample import Call, take_sample
from latency_tables.other_work import OtherWork
from latency_tables.remote.on_device.pulse import take_pulse, usual_pulse
from latency_tables.remote.on_device.timing import SLOW_MS, warm_up
from latency_tables.samples import ENOUGH_CLEAN, Ledger, Samples, median_uncertainty
from latency_tables.settings import DeviceSettings
from search_spaces.common.errors import UserError

#: calls of a sentinel in a reading: for so many ms, but at least and at most so many. The median of fewer calls of two
#: microseconds each jitters by more than the speed of the machine.
SENTINEL_MS, SENTINEL_CALLS = 5.0, (9, 1000)

#: a reading is worth waiting for: all samples around it are judged by it
SENTINEL_RETRIES = 40

#: so many times the wanted number of rounds are tried before the machine is called too restless
_MOST_ROUNDS = 3

_NOTHING = Samples()

MAX_CALLS = 100

#: pulses, about 0.2 s of them, that are felt before the first sample
FIRST_PULSES = 2000


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
        """Whether an item needs another sample. Unless `strict`, disturbed ones count too, but a few undisturbed ones
        are looked for as long as there is time.
        """
        clean = len(samples.clean)
        num = clean if strict else len(samples)
        if num < min(self.least, self.most):
            return True
        if time.monotonic() > self.deadline:
            return False
        if not strict and clean < min(ENOUGH_CLEAN, self.most) and num < _MOST_ROUNDS * self.most:
            return True
        if num >= self.most:
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
    Without a limit for other work (`others`), what was taken is taken for what it is.
    """
    calls = {**operators, **networks}
    cost_ms = {key: warm_up(call, device.warmup) for key, call in calls.items()}
    strict = others.limit is not None

    def wanting() -> list[str]:
        samples = ledger.samples
        return [key for key in calls if plan.wants(samples.get(key, _NOTHING), strict=strict)]

    def done() -> int:
        counts = ledger.counts(clean=strict)
        return sum(min(counts[key], plan.most) for key in calls)

    limit = _pulse_limit(ledger, device)
    wanted, rounds = wanting(), 0
    while wanted:
        if rounds > _MOST_ROUNDS * plan.most:
            if not strict:
                break
            raise _restless(ledger, device)
        rounds += 1
        others.wait(kept=f"{ledger.num_samples} samples are kept.")
        rng = np.random.default_rng((seed, ledger.num_rounds))
        ledger.begin_round(_read(sentinels or {}, limit()))
        before = done()
        for group in _groups(wanted, operators, group_size, rng):
            mean_ms = sum(cost_ms[key] for key in group) / len(group)
            least = device.min_calls if mean_ms < SLOW_MS else 1
            ledger.record(
                take_sample(
                    {key: calls[key] for key in group},
                    passes=min(max(math.ceil(device.sample_ms / mean_ms), least), MAX_CALLS),
                    retries=device.retries,
                    limit_ms=limit(),
                    beside=device.contention > 0,
                )
            )
            share = others.check()
            if share is not None:
                ledger.confirm(quiet=others.is_quiet(share))
                if not others.is_quiet(share):
                    others.wait(kept=f"{ledger.num_samples} samples are kept.")
        advance(done() - before)
        wanted = wanting()
        if sentinels and not wanted:  # otherwise the next round begins with a reading
            ledger.begin_round(_read(sentinels, limit()))
            wanted = wanting()


def _pulse_limit(ledger: Ledger, device: DeviceSettings) -> Callable[[], float | None]:
    """What a pulse may take just now, in ms, for calls beside it to count. None where other threads do the work: they
    disturb this one, and its share of a core says nothing. Before the first samples tell what a pulse usually takes, it
    is felt for a moment.
    """
    if device.threads > 1 or device.contention:
        return lambda: None
    at_first = usual_pulse([take_pulse() for _ in range(FIRST_PULSES)])
    assert at_first is not None
    return lambda: (ledger.usual_pulse_ms or at_first) * (1 + ledger.max_drift)


def _read(sentinels: Mapping[str, Call], limit_ms: float | None) -> dict[str, float]:
    """Milliseconds of each sentinel, the median of some calls; of those only that could be timed undisturbed."""
    found = {}
    for key, call in sentinels.items():
        calls = min(max(math.ceil(SENTINEL_MS / warm_up(call, 1)), SENTINEL_CALLS[0]), SENTINEL_CALLS[1])
        sample = take_sample({key: call}, passes=calls, retries=SENTINEL_RETRIES, limit_ms=limit_ms)
        if not sample.disturbed:
            found[key] = sample.ms[key]
    return found


def _restless(ledger: Ledger, device: DeviceSettings) -> UserError:
    off = [speed for speed in ledger.speeds if abs(speed - 1) > ledger.max_drift]
    changed = (
        f", and {len(off)} of {len(ledger.speeds)} times its speed was more than {ledger.max_drift:.0%} off (up to "
        f"{max(off) - 1:+.0%} longer)"
        if off
        else ""
    )
    return UserError(
        f"the machine is too restless: {ledger.share_disturbed:.0%} of the samples were disturbed by other work on it, "
        f"or on its host{changed}",
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
