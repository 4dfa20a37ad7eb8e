"""A process that compiles items for `compiled`: a task as one line of JSON, then keys, one a line.

    python -m latency_tables.compile_worker < lines

Answers a line when it is ready for the next key.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

from latency_tables.compiled import Compiled
from latency_tables.items import network_items, operator_items
from latency_tables.runtimes import Portable, get_runtime
from search_spaces import Architecture, SearchSpace


def main() -> int:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # converters print what they like
    torch.set_num_threads(1)
    task = json.loads(sys.stdin.readline())
    space = SearchSpace.from_description(task["space"])
    architectures = [Architecture.from_json(architecture) for architecture in task["architectures"]]
    runtime = get_runtime(task["runtime"])
    assert isinstance(runtime, Portable)
    items = {**operator_items(space), **network_items(space, architectures)}
    compiled = Compiled(runtime, space, items, Path(task["folder"]))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        with suppress(Exception):  # it comes again where the item is asked for
            compiled.write(json.loads(line))
        print("ready", file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
