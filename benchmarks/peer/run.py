"""Run one item: all its processes are started, then every repetition goes through the lanes in turn."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peer.item import Item, Options, Record
from benchmarks.peer.machine import Neighbours, checkout
from benchmarks.peer.process import Worker
from benchmarks.peer.summary import compare, summarise_lane


class RunningItem:
    """The `Session` of one item: its workers and their records."""

    def __init__(self, workers: dict[str, Worker]) -> None:
        self.workers = workers
        self.records: dict[str, list[Record]] = {}

    def ask(self, process: str, task: str, arguments: Mapping[str, Any]) -> Record:
        return self.workers[process].run(task, arguments)


def run_item(
    item: Item, options: Options, *, peer_python: Path, logs: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """The item's entry in the results. Raises `WorkerError` if a task fails."""
    repeats = options.repeats or item.repeats
    load_start, neighbours, began = os.getloadavg(), Neighbours(), time.monotonic()
    with ExitStack() as stack:
        workers = {}
        for name, part in item.parts.items():
            log = logs / f"{item.key}-{name}.log"
            workers[name] = Worker(part, peer_python=peer_python, threads=options.threads, log=log, data=options.data)
            stack.callback(workers[name].close)
        for worker in workers.values():
            worker.ready()
        session = RunningItem(workers)
        _run_lanes(item, session, repeats, say)
        checks = item.check(session) if item.check is not None else []
        others = neighbours.cores([worker.process.pid for worker in workers.values()])
    return {
        "title": item.title,
        "short": options.short,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": checkout(),
        "threads": options.threads,
        "repeats": repeats,
        "wall_s": round(time.monotonic() - began, 1),
        "load_start": [round(value, 2) for value in load_start],
        "load_end": [round(value, 2) for value in os.getloadavg()],
        "other_busy_cores": others,
        "peak_rss_mib": {name: round(worker.peak_rss_mib, 1) for name, worker in workers.items()},
        "lanes": {
            lane.key: summarise_lane(lane, session.records[lane.key], workers[lane.process].peak_rss_mib)
            for lane in item.lanes
        },
        "comparisons": [
            compare(comparison, session.records[comparison.lane], session.records[comparison.base])
            for comparison in item.comparisons
        ],
        "checks": [asdict(check) for check in checks],
    }


def _run_lanes(item: Item, session: RunningItem, repeats: int, say: Callable[[str], None]) -> None:
    for lane in item.lanes:
        session.records[lane.key] = []
        if lane.warm:
            session.ask(lane.process, lane.task, lane.inputs(0) if lane.warmup is None else lane.warmup)
    for repetition in range(repeats):
        parts = []
        for lane in item.lanes:
            if lane.repeats is None or repetition < lane.repeats:
                record = session.ask(lane.process, lane.task, lane.inputs(repetition))
                session.records[lane.key].append(record)
                parts.append(f"{lane.key} {record['seconds']:.3g} s")
        say(f"{item.key} {repetition + 1}/{repeats}: {', '.join(parts)}")
