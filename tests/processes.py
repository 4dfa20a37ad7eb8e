"""Commands as processes of their own that need not import torch first.

A new Python spends three seconds of processor time on `import torch` and what the project imports beside it; a fork of
a process that has done so begins at once. That process has run nothing else: it is Python's own fork server.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "torch",
        "torch.distributed",
        "torchvision.transforms.v2",
        "trainers.training",
        "latency_tables.measure",
        "latency_tables.onnx.graph",
        "predictors.fit",
        "ofa.export.export",
    ]
)


class Command:
    """`python -m MODULE ARGUMENTS` (or a script, by its `.py` file), begun in the background; its output is dropped."""

    def __init__(
        self, module: str, *arguments: object, environment: Mapping[str, str] | None = None, session: bool = False
    ) -> None:
        descriptor, name = tempfile.mkstemp(prefix="stderr-")
        os.close(descriptor)
        self._file = Path(name)
        words = [module, *map(str, arguments)]
        self._process = _FORKS.Process(target=_run, args=(words, dict(environment or {}), name, session))
        self._process.start()
        atexit.register(self._end)  # before Python waits for it, should a test have failed

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As subprocess gives it; None while it runs."""
        return self._process.exitcode

    @property
    def told(self) -> str:
        """What it has written to stderr."""
        return self._file.read_text()

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = 300) -> int:
        """Its return code. A process that hangs is killed."""
        self._process.join(timeout)
        if self.returncode is None:
            self.kill()
            raise TimeoutError(f"still running after {timeout} s; it told: {self.told}")
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            self._process.kill()
            self._process.join()

    def _end(self) -> None:
        self.kill()
        self._file.unlink(missing_ok=True)


def run_ranks(module: str, *arguments: object, num: int = 2, environment: Mapping[str, str]) -> Sequence[Command]:
    """`num` processes that find each other as those of torchrun do; all have ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(num), "LOCAL_WORLD_SIZE": str(num)}
    ranks = [
        Command(module, *arguments, environment={**environment, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(num)
    ]
    for rank in ranks:
        rank.wait()
    return ranks


def _run(words: list[str], environment: dict[str, str], stderr: str, session: bool) -> None:
    if session:
        os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(stderr, os.O_WRONLY), 2)
    os.environ.update(environment)
    sys.argv = words
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
    else:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
