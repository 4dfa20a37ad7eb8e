"""A worker process: holds one part of one side and does one repetition at a time, as told by JSON lines on stdin.

    python -m benchmarks.peer.worker ours training        (this project)
    PEER/bin/python -I worker.py theirs training          (the peer: this project cannot be imported there)

The first line holds the arguments of `load`, every other line `{"task": name, "arguments": {...}}`. Each is answered by
one line on stdout: `{"ok": {...}, "peak_rss_mib": ...}` or `{"error": traceback}`. What the task prints goes to stderr.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import traceback
import types
from pathlib import Path
from typing import Any


def main() -> None:
    side, module, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    part: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if part is None:
                part = importlib.import_module(f"benchmarks.peer.{side}.{module}").load(**request)
                _pin(threads)
                answer: dict[str, Any] = {}
            else:
                gc.collect()
                answer = getattr(part, request["task"])(**request["arguments"])
            reply = {"ok": answer, "peak_rss_mib": peak_rss_mib()}
        except Exception:
            reply = {"error": traceback.format_exc()}
        replies.write(json.dumps(reply) + "\n")


def _pin(threads: int) -> None:
    """Torch's own setting, besides the OMP_NUM_THREADS that this process was started with."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def peak_rss_mib() -> float:
    """The largest resident memory of this process so far. (getrusage would count that of the parent at the fork.)"""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _know_only_this_folder() -> None:
    """Let `benchmarks` be imported without its parent folder on the path, where this project's own `ofa` lies."""
    package = types.ModuleType("benchmarks")
    package.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules["benchmarks"] = package


if __name__ == "__main__":
    if not __package__:
        _know_only_this_folder()
    main()
