"""The parent's end of a worker process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peer.item import Part, Record

ROOT = Path(__file__).resolve().parents[2]
#: Rest between two turns, in which the threads of the process before stop waiting for work and go to sleep.
REST_SECONDS = 0.2


class WorkerError(RuntimeError):
    """A task failed, or its process died; the text is the traceback or the end of its log."""


class Worker:
    """A process that holds `part`; `peer_python` is the interpreter in which the peer is installed."""

    def __init__(self, part: Part, *, peer_python: Path, threads: int, log: Path, data: str | None) -> None:
        self.log, self.peak_rss_mib, self.closed = log, 0.0, False
        script = Path(__file__).with_name("worker.py")
        if part.side == "theirs":
            command = [str(peer_python), "-I", str(script)]
        else:
            command = [sys.executable, "-m", "benchmarks.peer.worker"]
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w") as stream:
            self.process = subprocess.Popen(
                [*command, part.side, part.module, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                cwd=ROOT if part.side == "ours" else log.parent,
                env=_environment(threads, data),
            )
        self._send(part.arguments)  # answered by `ready`, so that several can load at once

    def ready(self) -> None:
        """Wait until the part is loaded."""
        self._receive()

    def run(self, task: str, arguments: Mapping[str, Any]) -> Record:
        """One repetition, alone."""
        time.sleep(REST_SECONDS)
        self._send({"task": task, "arguments": arguments})
        return self._receive()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.close()
            self.process.wait(timeout=5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(dict(message)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None

    def _receive(self) -> Record:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        self.peak_rss_mib = reply["peak_rss_mib"]
        record: Record = reply["ok"]
        return record

    def _last_words(self) -> str:
        return f"the process ended with code {self.process.wait()}: {self.log.read_text()[-2000:]}"


def _environment(threads: int, data: str | None) -> dict[str, str]:
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])  # the peer runs with -I
    return {**os.environ, **numbers, "PYTHONPATH": path, "OFA_BENCH_DATA": data or ""}
