"""What is timed when.

Models are measured in rounds, all of them once a round in a new random order, so that a slow minute hurts all alike;
operators in groups of as many as a network has, as one that is called back to back finds its weights in the nearest
cache and in a network does not; whole networks alone. Calls during which the operating system gave the core to someone
else, or beside which the processor was slow for a moment (`pulse`), are made again, and a sample is noted as disturbed
if that does not help; so is one beside which a few sentinel models took another time than usual: a device that grew
hot, or saves its battery.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from typing import Any, Iterator

import numpy as np

from .files import Bundle
from .journal import Journal
from .loaders import Call, Load
from .problem import Problem
from .pulse import take_pulse, usual_pulse
from .timing import SLOW_MS, take_sample, warm_up

MAX_CALLS = 100
#: calls of each sentinel in one reading of the speed
SENTINEL_CALLS = 9
#: a reading is worth waiting for: all samples around it are judged by it
SENTINEL_RETRIES = 40
#: pulses that are felt before the first sample
FIRST_PULSES = 2000


class Measuring:
    """Everything between the first sample and the last."""

    def __init__(self, bundle: Bundle, load: Load, journal: Journal, plan: dict[str, Any]) -> None:
        self.bundle, self.load, self.journal, self.plan = bundle, load, journal, plan
        self.roles = {key: item["role"] for key, item in bundle.items.items()}
        self.deadline = time.monotonic() + plan["time_budget_s"]
        self.run_seed = int(journal.head["run"][:8], 16)
        self._first_pulse_ms: float | None = None
        self._begin, self._done_before = time.monotonic(), self._done()

    def check_all(self) -> None:
        """Every model is loaded and run once, so that one this device cannot run is found before the long part."""
        for number, key in enumerate(self.bundle.items, start=1):
            self._tell(f"checking {number} of {len(self.bundle.items)}")
            self.prepare(key)

    def prepare(self, key: str) -> Call:
        item = self.bundle.items[key]
        try:
            call = self.load(self.bundle.artifact(key), [1, *item["input_shape"]], self.plan["threads"])
            call()
        except Problem:
            raise
        except Exception as error:  # the runtimes' exceptions share no base class
            raise Problem(f"{item['file']} ({key}): this device's runtime cannot run it: {error}") from None
        return call

    def measure(self) -> None:
        plan = self.plan
        sentinels = {key: self.prepare(key) for key in self.bundle.manifest["sentinels"]}
        if plan["threads"] == 1:  # otherwise other threads do the work, and disturb this one
            self._first_pulse_ms = usual_pulse([take_pulse() for _ in range(FIRST_PULSES)])
        for rounds in self._instances():  # batches that alternate see the same slow and fast spells of the device
            for batch in self._batches():
                keys = [key for key in batch if self.journal.counts.get(key, 0) < rounds.stop]
                if not keys or (rounds.start >= plan["min_rounds"] and time.monotonic() > self.deadline):
                    continue
                calls = {key: self.prepare(key) for key in keys}
                gc.collect()
                gc.disable()
                try:
                    self._measure_rounds(calls, rounds, sentinels)
                finally:
                    gc.enable()
        sys.stderr.write("\n")

    def _measure_rounds(self, calls: dict[str, Call], rounds: range, sentinels: dict[str, Call]) -> None:
        plan, counts = self.plan, self.journal.counts
        cost_ms = {key: warm_up(call, plan["warmup"]) for key, call in calls.items()}
        for number in rounds:
            if number >= plan["min_rounds"] and time.monotonic() > self.deadline:
                return
            if all(counts.get(key, 0) > number for key in calls):
                continue
            self.journal.read_speed(self._speed(sentinels))
            for group in self._groups(list(calls), number):
                missing = [key for key in group if counts.get(key, 0) <= number]
                if not missing:
                    continue
                mean_ms = sum(cost_ms[key] for key in group) / len(group)
                least = plan["min_calls"] if mean_ms < SLOW_MS else 1
                passes = min(max(math.ceil(plan["sample_ms"] / mean_ms), least), MAX_CALLS)
                grouped = [calls[key] for key in group]
                times, disturbed, pulse_ms = take_sample(grouped, passes, plan["retries"], self._pulse_limit())
                ms = dict(zip(group, times))
                self.journal.record({key: ms[key] for key in missing}, disturbed, pulse_ms)
                self._tell("measuring")
            self.journal.read_speed(self._speed(sentinels))

    def _speed(self, sentinels: dict[str, Call]) -> dict[str, float]:
        found = {}
        for key, call in sentinels.items():
            times, disturbed, _ = take_sample([call], SENTINEL_CALLS, SENTINEL_RETRIES, self._pulse_limit())
            if not disturbed:
                found[key] = times[0]
        return found

    def _pulse_limit(self) -> float | None:
        """A pulse that takes longer tells of a moment that does not count; None where none is felt."""
        if self._first_pulse_ms is None:
            return None
        return (self.journal.usual_pulse_ms or self._first_pulse_ms) * (1 + self.plan["max_drift"])

    def _groups(self, keys: list[str], number: int) -> list[list[str]]:
        """Operators in random groups of about as many as a network has, networks alone, in random order."""
        rng = np.random.default_rng([self.run_seed, number])
        operators = [key for key in keys if self.roles[key] != "network"]
        shuffled = [operators[i] for i in rng.permutation(len(operators))]
        num = max(1, round(len(shuffled) / self.bundle.manifest["group_size"]))
        groups = [[shuffled[i] for i in part] for part in np.array_split(np.arange(len(shuffled)), num) if len(part)]
        groups += [[key] for key in keys if self.roles[key] == "network"]
        return [groups[i] for i in rng.permutation(len(groups))]

    def _batches(self) -> Iterator[list[str]]:
        """All models in random order, in batches that fit into the memory allowed (one at least)."""
        keys, limit = list(self.bundle.items), self.plan["memory_mb"] * 2**20
        batch: list[str] = []
        held = 0.0
        for index in np.random.default_rng([self.run_seed]).permutation(len(keys)):
            num_bytes = self.bundle.items[keys[index]]["num_bytes"]
            if batch and held + num_bytes > limit:
                yield batch
                batch, held = [], 0.0
            batch.append(keys[index])
            held += num_bytes
        yield batch

    def _instances(self) -> list[range]:
        """The rounds of each time that the models are loaded anew: where buffers happen to lie moves a latency."""
        rounds = self.plan["rounds"]
        parts = np.array_split(np.arange(rounds), min(self.plan["instances"], rounds))
        return [range(int(part[0]), int(part[-1]) + 1) for part in parts]

    def _done(self) -> int:
        return sum(min(count, self.plan["rounds"]) for count in self.journal.counts.values())

    def _tell(self, what: str) -> None:
        done, total = self._done(), self.plan["rounds"] * len(self.roles)
        spent, new = time.monotonic() - self._begin, done - self._done_before
        rest = f", about {spent / new * (total - done) / 60:.0f} min left" if new > 20 else ""
        sys.stderr.write(f"\r{what}: {done} of {total} samples{rest}   ")
        sys.stderr.flush()
