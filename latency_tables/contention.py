"""Background work on purpose: a device that also does something else, as phones and robots do.

The processes multiply matrices that fit no first-level cache, without pause, on one thread each: they take cores,
shared caches and memory from the inference, as the contention generator of ApproxDet does (Xu et al., SenSys 2020).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

_WORK = """
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np
a = np.random.default_rng(0).standard_normal((384, 384), dtype=np.float32)
b = a.copy()
print("ready", flush=True)
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(100):
        np.matmul(a, b)
"""


@contextmanager
def contention(num: int) -> Iterator[Callable[[], float]]:
    """`num` busy processes inside the block; yields the processor time that this process and they have used, in s.

    They end with the block, and by themselves soon after this process dies.
    """
    started: list[psutil.Popen] = []
    try:
        for _ in range(num):
            started.append(psutil.Popen([sys.executable, "-c", _WORK], stdout=subprocess.PIPE))
        for process in started:
            process.stdout.readline()

        def own_seconds() -> float:
            return time.process_time() + sum(_seconds(process) for process in started)

        yield own_seconds
    finally:
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
            process.wait()


def _seconds(process: psutil.Popen) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
