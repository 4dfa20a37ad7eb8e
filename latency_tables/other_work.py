"""Is the machine quiet? What other processes take from it, as the operating system counts it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from search_spaces.common.errors import UserError

#: seconds over which other work is judged: processor time is counted in steps of 10 ms
WINDOW_S = 0.25


def busy_seconds() -> float:
    """Seconds that all cores together were busy since the start of the machine; what the hypervisor took counts."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts the time of guests within user and nice already
    counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - counted_twice - idle)


@dataclass
class OtherWork:
    """Watches the share of the machine's cores that others keep busy.

    `limit` is the largest share that is still quiet (None: nothing is watched), `patience_s` how long `wait` may wait
    in all; `own_seconds` counts the processor time of this process and of those that it started on purpose.
    """

    limit: float | None
    patience_s: float
    own_seconds: Callable[[], float] = time.process_time
    cores: int = field(default_factory=lambda: psutil.cpu_count() or 1)
    waited_s: float = 0.0
    _since: tuple[float, float] | None = None

    def check(self) -> float | None:
        """The share of the cores that others used since the last answer; None if that is too short ago to say."""
        if self.limit is None:
            return None
        now, others = time.monotonic(), busy_seconds() - self.own_seconds()
        if self._since is None:
            self._since = now, others
        then, before = self._since
        if now - then < WINDOW_S:
            return None
        self._since = now, others
        return max(0.0, (others - before) / (now - then) / self.cores)

    def is_quiet(self, share: float | None) -> bool:
        return self.limit is None or share is None or share <= self.limit

    def wait(self, *, kept: str) -> None:
        """Return once the machine is quiet. Raises `UserError` if patience ends first; `kept` says what is not lost."""
        if self.limit is None:
            return
        share: float | None = None
        told = False
        while True:
            while share is None:
                time.sleep(WINDOW_S / 5)
                share = self.check()
            if share <= self.limit:
                return
            if self.waited_s >= self.patience_s:
                raise UserError(
                    f"other processes keep {share * self.cores:.1f} of this machine's {self.cores} cores busy, and "
                    f"{self.patience_s:.0f} s of waiting did not help: times taken now would not be the device's",
                    key="max_other_load",
                    value=self.limit,
                    hint=f"{kept} Run the same command again when the machine is quiet, or give the device a larger "
                    "max_other_load",
                )
            if not told:
                busy = f"{share * self.cores:.1f} of {self.cores} cores"
                print(f"waiting: other processes keep {busy} busy", file=sys.stderr, flush=True)
                told = True
            start = time.monotonic()
            share = None
            while share is None:
                time.sleep(WINDOW_S / 5)
                share = self.check()
            self.waited_s += time.monotonic() - start
