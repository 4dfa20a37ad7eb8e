"""What has been timed: samples in the order they were taken, and which of them count."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from latency_tables.remote.on_device.pulse import usual_pulse

#: so many undisturbed samples are enough to do without the disturbed ones
ENOUGH_CLEAN = 3

#: readings of the sentinels before anything is said about the speed of the machine
ENOUGH_READINGS = 3

#: a reading counts as the median of itself and so many before and after it: speed changes by steps, readings jitter
_NEIGHBOURS = 1


@dataclass(frozen=True)
class Sample:
    """Milliseconds of one call of every item of a group; `disturbed` if all passes were; the pulse beside those that
    count, where it was felt.
    """

    ms: dict[str, float]
    disturbed: bool = False
    pulse_ms: float | None = None


@dataclass(frozen=True)
class Measurement:
    """Milliseconds of one inference: median, 10th and 90th percentile of `count` samples."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    count: int

    @property
    def value(self) -> float:
        return self.median_ms


@dataclass(frozen=True)
class Answer:
    """What a compiler or an emulator says of a network, in the unit of the table: no chance in it."""

    value: float


class Samples:
    """The samples of one item: how many, and the times that count."""

    def __init__(self) -> None:
        self.clean: list[float] = []
        self.disturbed: list[float] = []

    def add(self, ms: float, *, disturbed: bool) -> None:
        (self.disturbed if disturbed else self.clean).append(ms)

    def __len__(self) -> int:
        return len(self.clean) + len(self.disturbed)

    def summary(self) -> Measurement:
        """Of the undisturbed samples; of all where the machine was so busy that these are too few."""
        return summarize(self.clean if len(self.clean) >= ENOUGH_CLEAN else self.clean + self.disturbed)


def summarize(samples: Sequence[float]) -> Measurement:
    low, median, high = np.percentile(np.asarray(samples, dtype=np.float64), [10, 50, 90])
    return Measurement(median_ms=float(median), p10_ms=float(low), p90_ms=float(high), count=len(samples))


def median_uncertainty(samples: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the median, as a share of it; infinite for fewer than 6 samples.

    Between two order statistics, by the binomial distribution: nothing is assumed of how times spread (Conover,
    Practical Nonparametric Statistics, 3.2).
    """
    num = len(samples)
    rank = _INTERVAL_RANK[num] if num < len(_INTERVAL_RANK) else math.floor(num / 2 - 0.98 * math.sqrt(num))
    if rank < 1:
        return math.inf
    ordered = sorted(samples)
    return (ordered[num - rank] - ordered[rank - 1]) / 2 / max(float(np.median(ordered)), 1e-12)


def _interval_ranks(most: int) -> list[int]:
    """By number of samples: the largest r such that at most 2.5 % of medians lie below the r-th smallest."""
    ranks = []
    for num in range(most):
        below, rank = 0.0, 0
        while rank < num and (below := below + math.comb(num, rank) / 2**num) <= 0.025:
            rank += 1
        ranks.append(rank)
    return ranks


_INTERVAL_RANK = _interval_ranks(64)


@dataclass
class _Taken:
    sample: Sample
    after_reading: int
    retracted: bool = False


@dataclass
class Ledger:
    """Everything timed so far. Rounds begin with a *reading*: the times of a few sentinel operators, which tell how
    fast the machine is just then. Samples between two readings are disturbed if either of them is more than
    `max_drift` off the median of all readings, if the pulse beside them is as far off the usual one, or if they were
    retracted. With `at_usual_speed` they are divided by how much longer than usual the sentinels took around them, so
    that items timed at different moments compare.
    """

    max_drift: float = math.inf
    at_usual_speed: bool = True
    _taken: list[_Taken] = field(default_factory=list)
    _readings: list[dict[str, float]] = field(default_factory=list)
    _judged: dict[str, Samples] | None = None
    _doubtful: int = 0
    _usual_pulse_ms: float | None = None

    def record(self, sample: Sample) -> None:
        self._taken.append(_Taken(sample, len(self._readings) - 1))
        self._doubtful += 1
        if self._judged is not None:
            self._count(self._judged, self._taken[-1], self._off_pace(), self._pace())

    @property
    def usual_pulse_ms(self) -> float | None:
        """The pulse of the machine undisturbed, by all samples before this round; None in the first one."""
        return self._usual_pulse_ms

    def begin_round(self, sentinels_ms: Mapping[str, float]) -> None:
        """A new round, with the times of the sentinels (none where there are none)."""
        self._readings.append(dict(sentinels_ms))
        pulses = [taken.sample.pulse_ms for taken in self._taken if taken.sample.pulse_ms is not None]
        self._usual_pulse_ms = usual_pulse(pulses)
        self._judged = None

    def retract(self, num: int) -> None:
        """The last `num` samples were taken beside other work."""
        for taken in self._taken[len(self._taken) - num :]:
            taken.retracted = True
        self._judged = None

    def confirm(self, *, quiet: bool) -> None:
        """What is known now of the samples since the last call: taken on a quiet machine, or not."""
        if not quiet and self._doubtful:
            self.retract(self._doubtful)
        self._doubtful = 0

    @property
    def num_rounds(self) -> int:
        return len(self._readings)

    @property
    def num_samples(self) -> int:
        return len(self._taken)

    @property
    def samples(self) -> Mapping[str, Samples]:
        """The samples of every item."""
        if self._judged is None:
            off, pace, judged = self._off_pace(), self._pace(), defaultdict[str, Samples](Samples)
            for taken in self._taken:
                self._count(judged, taken, off, pace)
            self._judged = judged
        return self._judged

    @property
    def speeds(self) -> list[float]:
        """By reading: how long the sentinels took, 1.0 for the median of all readings."""
        typical = {
            key: float(np.median([reading[key] for reading in self._readings if key in reading]))
            for key in {key for reading in self._readings for key in reading}
        }
        return [
            math.exp(float(np.mean([math.log(ms / typical[key]) for key, ms in reading.items()]))) if reading else 1.0
            for reading in self._readings
        ]

    @property
    def share_disturbed(self) -> float:
        off = self._off_pace()
        return sum(self._is_disturbed(taken, off) for taken in self._taken) / len(self._taken) if self._taken else 0.0

    @property
    def drift(self) -> float:
        """Largest deviation of a reading that counts from the median of all: 0.02 is 2 %."""
        kept = [abs(speed - 1) for speed in self.speeds if abs(speed - 1) <= self.max_drift]
        return max(kept, default=0.0)

    def counts(self, *, clean: bool = False) -> Counter[str]:
        """By item: samples, or undisturbed ones only."""
        return Counter({key: len(s.clean) if clean else len(s) for key, s in self.samples.items()})

    def _off_pace(self) -> set[int]:
        """The readings after which, up to the next one, the machine ran at another speed."""
        if len(self._readings) < ENOUGH_READINGS:
            return set()
        off = {number for number, speed in enumerate(self.speeds) if abs(speed - 1) > self.max_drift}
        return off | {number - 1 for number in off}

    def _pace(self) -> list[float]:
        """By reading: how much longer things took from it to the next one (1.0: as usual)."""
        if not self.at_usual_speed or len(self._readings) < ENOUGH_READINGS:
            return [1.0] * len(self._readings)
        speeds = self.speeds
        smooth = [float(np.median(speeds[max(0, i - _NEIGHBOURS) : i + _NEIGHBOURS + 1])) for i in range(len(speeds))]
        return [(now + after) / 2 for now, after in zip(smooth, [*smooth[1:], smooth[-1]], strict=True)]

    def _count(self, judged: dict[str, Samples], taken: _Taken, off: set[int], pace: list[float]) -> None:
        usual = pace[taken.after_reading] if taken.after_reading >= 0 else 1.0
        for key, ms in taken.sample.ms.items():
            judged[key].add(ms / usual, disturbed=self._is_disturbed(taken, off))

    def _is_disturbed(self, taken: _Taken, off: set[int]) -> bool:
        return taken.sample.disturbed or taken.retracted or taken.after_reading in off or self._off_pulse(taken.sample)

    def _off_pulse(self, sample: Sample) -> bool:
        if sample.pulse_ms is None or self._usual_pulse_ms is None:
            return False
        return abs(sample.pulse_ms / self._usual_pulse_ms - 1) > self.max_drift
