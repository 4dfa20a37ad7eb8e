"""The files that a portable runtime makes of operators and networks, each compiled once.

For some runtimes this takes longer than measuring: ExecuTorch lowers an operator in a second and a network in several,
and a table has hundreds. Where it turns out to take long, processes of their own share the work; and the files stay
where an interrupted measurement finds them again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import psutil
import torch

from latency_tables.items import Item
from latency_tables.runtimes import Portable
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, remove_leftovers, write_bytes
from search_spaces.common.progress import progress_bar

#: other processes help when compiling has taken so many seconds and is not over
ALONE_S = 15.0

#: what a process that compiles holds, with torch and the runtime's converter
WORKER_BYTES = 2 * 2**30


class Compiled:
    """Artifacts of `items` by key, in files of `folder`: those of another runtime, version or space are not taken."""

    def __init__(self, runtime: Portable, space: SearchSpace, items: Mapping[str, Item], folder: Path) -> None:
        self._runtime, self._space, self._items, self._folder = runtime, space, items, folder
        self._of = [runtime.name, runtime.version, space.fingerprint]

    def __getitem__(self, key: str) -> bytes:
        path = self._path(key)
        if path.exists():
            return path.read_bytes()
        artifact = compile_item(self._runtime, key, self._items[key])
        try:
            write_bytes(path, artifact)
        except UserError:  # a full disk: what was compiled is the first to go
            self.remove()
            raise
        return artifact

    def write(self, key: str) -> None:
        if not self._path(key).exists():
            self[key]

    def ahead(self, architectures: Sequence[Architecture]) -> None:
        """Compile all that is missing: alone at first, and by several processes where that takes long.

        `architectures` are those of the items that are networks, from which the others make them anew. What
        a process fails to compile is left, so that the error comes where the item is asked for.
        """
        remove_leftovers(self._folder)
        missing = [key for key in self._items if not self._path(key).exists()]
        begin = time.monotonic()
        with progress_bar("compiling", len(self._items), done=len(self._items) - len(missing)) as advance:
            while missing and time.monotonic() - begin < ALONE_S:
                self.write(missing.pop())
                advance()
            if missing and (num := min(len(missing), _num_workers())) > 1:
                task = {"runtime": self._runtime.name, "space": self._space.description, "folder": str(self._folder)}
                networks = [architecture.to_json() for architecture in architectures]
                _share(missing, {**task, "architectures": networks}, num, advance)
                return
            for key in missing:
                self.write(key)
                advance()

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self._folder / digest([*self._of, key])


def compile_item(portable: Portable, key: str, item: Item) -> bytes:
    """The artifact of `item`, its weights drawn from its key: equal bytes wherever it is compiled."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(digest(key)[:15], 16))
        return portable.compile(item.build(), item.input_shape)


def _num_workers() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, int(psutil.virtual_memory().available // WORKER_BYTES))


def _share(keys: Sequence[str], task: Mapping[str, object], num: int, advance: Callable[[], None]) -> None:
    """Have `num` processes of `compile_worker` write the artifacts of `keys`."""
    waiting: SimpleQueue[str] = SimpleQueue()
    for key in keys:
        waiting.put(key)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "latency_tables.compile_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        for _ in range(num)
    ]

    def feed(worker: subprocess.Popen[str]) -> None:
        assert worker.stdin is not None and worker.stdout is not None
        with suppress(BrokenPipeError, Empty):  # a process that died leaves its keys to the others
            print(json.dumps(task), file=worker.stdin, flush=True)
            while worker.stdout.readline():
                print(json.dumps(waiting.get_nowait()), file=worker.stdin, flush=True)
                advance()

    threads = [threading.Thread(target=feed, args=[worker], daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        for worker in workers:
            worker.kill()
        raise
    finally:
        for worker in workers:
            with suppress(BrokenPipeError):
                worker.communicate()  # closes its input, at whose end it ends
