"""Being asked to stop: SIGTERM (schedulers, spot machines, torchrun), SIGUSR1 (SLURM's --signal) and Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal, TypeVar

from search_spaces.common.errors import Stopped

T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
#: A Ctrl-C within this time of the first signal is taken for the same: launchers repeat what the terminal has sent.
_ECHO_SECONDS = 1.0


class _Torn(BaseException):
    """Leaves what `attempt` runs."""


class StopRequests:
    """While this block runs, the signals above raise `Stopped`; inside `deferred` they are remembered for the end of
    the step instead, and only a Ctrl-C that follows raises it.

    Signals that are ignored (nohup, background jobs) stay ignored; outside the main thread nothing is installed.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._since = 0.0
        self._mode: Literal["raise", "remember", "tear"] = "raise"
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @property
    def exit_code(self) -> int:
        return 130 if self.received is signal.SIGINT else 143

    def stopped(self, what: str) -> Stopped:
        """The exception that ends this process; `what` says where it stands."""
        by = "because another process was asked to" if self.received is None else f"by {self.received.name}"
        return Stopped(f"stopped {by}: {what}", exit_code=self.exit_code)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Signals wait: what happens in here must not be torn apart."""
        with self._in_mode("remember"):
            yield

    def attempt(self, act: Callable[[], T]) -> T | None:
        """Within `deferred`, what `act` gives, or None if a signal came before its end: `act` is torn apart."""
        try:
            with self._in_mode("tear"):
                return None if self.received is not None else act()
        except _Torn:
            return None

    @contextmanager
    def _in_mode(self, mode: Literal["raise", "remember", "tear"]) -> Iterator[None]:
        before, self._mode = self._mode, mode
        try:
            yield
        finally:
            self._mode = before

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is not None and number == signal.SIGINT and now - self._since > _ECHO_SECONDS:
            raise Stopped("stopped at once by a second SIGINT: work since the last checkpoint is lost", exit_code=130)
        if self.received is None:
            self.received, self._since = signal.Signals(number), now
        if self._mode == "tear":
            raise _Torn
        if self._mode == "raise":
            raise self.stopped("no step was under way, and the same command goes on from the last checkpoint")


def ignore_stop_requests(_: int = 0) -> None:
    """For worker processes: whoever signals a whole process group means their parent, which still needs its images."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
