"""Threads that stay on their cores: a thread that moves leaves its caches behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

#: seconds over which the quietest cores are found
_LOOK_S = 0.2


@contextmanager
def pinned(threads: int, *, wanted: bool = True) -> Iterator[tuple[int, ...]]:
    """The calling thread, and those it starts meanwhile, on the `threads` quietest cores it may use; yields them.

    Nothing happens, and () is yielded, if not `wanted`, where the system cannot pin (macOS), or if all cores are asked
    for anyway. What was allowed before is allowed again afterwards.
    """
    if not wanted or not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    before = os.sched_getaffinity(0)
    if threads >= len(before):
        yield ()
        return
    loads = psutil.cpu_percent(interval=_LOOK_S, percpu=True)
    by_load = sorted(before, key=lambda core: (loads[core] if core < len(loads) else 0.0, -core))
    cores = tuple(sorted(by_load[:threads]))
    os.sched_setaffinity(0, cores)
    try:
        yield cores
    finally:
        os.sched_setaffinity(0, before)
