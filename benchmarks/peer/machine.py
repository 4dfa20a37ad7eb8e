"""The machine, and how busy it is with other things while something is measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peer.process import ROOT


def machine_facts() -> dict[str, Any]:
    """Processor, memory and the versions of what computes."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy")},
    }


def checkout() -> str:
    """The commit of this checkout, with a plus if files differ from it."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class Neighbours:
    """How many cores were busy with other processes since this was made, from /proc (None where it is not there)."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.busy = _busy_seconds()
        self.own = _own_seconds([])

    def cores(self, workers: Sequence[int]) -> float | None:
        """`workers` are the process ids, still running, of what was started since."""
        busy = _busy_seconds()
        if busy is None or self.busy is None:
            return None
        others = busy - self.busy - (_own_seconds(workers) - self.own)
        return round(max(0.0, others) / max(time.monotonic() - self.start, 1e-9), 3)


def _busy_seconds() -> float | None:
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds(workers: Sequence[int]) -> float:
    total = sum(os.times()[:4])  # this process and children that have ended
    for pid in workers:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return (
        f"{facts.get('model name', platform.machine())} (family {facts.get('cpu family')}, model {facts.get('model')})"
    )


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
