"""Worker processes that share a study, and are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest

from ofa.search.study.storages import open_storage
from predictors.record_file import load_records
from search_spaces import SearchSpace

WORKER = Path(__file__).with_name("tabular.py")
ROOT = Path(__file__).parents[4]
#: seconds; guards against a hang, not a timing test
PATIENCE = 600
STORAGES = ["sqlite:///{}/study.db", "journal:{}/study.log"]


def start(run: Path, storage: str, num: int, *, sampler: str, seconds: float, stale: float) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [str(run), storage, str(num), sampler, str(seconds), str(stale)]
    return subprocess.Popen(
        [sys.executable, str(WORKER), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def results(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    facts: dict[str, Any] = json.loads(out)
    return facts


def begun(run: Path) -> list[dict[str, Any]]:
    path = run / "evaluations.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() in (None, 0), process.communicate()[1]
        time.sleep(0.01)


def check(run: Path, storage: str, space: SearchSpace, num: int, killed: set[int]) -> None:
    """No finished evaluation was lost, none was done twice, and the study has what was asked for."""
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    assert max(Counter(record["key"] for record in records).values()) == 1
    assert set(load_records(run / "records.jsonl", space=space).keys) == {record["key"] for record in records}
    trials = optuna.load_study(storage=open_storage(storage), study_name="tabular").trials
    complete = [t for t in trials if t.state.name == "COMPLETE"]
    accuracies = {t.user_attrs["network"]: t.values[0] for t in complete}
    assert len(accuracies) == len(complete) == num
    assert accuracies == {record["key"]: record["accuracy"] for record in records}
    assert not [t for t in trials if t.state.name == "RUNNING"]
    pids: dict[str, list[int]] = {}
    for line in begun(run):
        pids.setdefault(line["key"], []).append(line["pid"])
    for key, owners in pids.items():  # begun again only after whoever began it was killed
        assert all(pid in killed for pid in owners[:-1]), (key, owners, killed)


@pytest.mark.parametrize("storage", STORAGES)
def test_two_workers_never_evaluate_the_same_network(
    tabular: ModuleType, run: Path, space: SearchSpace, storage: str
) -> None:
    """With the same seed they have the same ideas at the same time."""
    where = storage.format(run)
    workers = [start(run, where, 12, sampler="random", seconds=0.02, stale=60.0) for _ in range(2)]
    facts = [results(worker) for worker in workers]
    assert [found["num_evaluated"] for found in facts] == [12, 12]
    assert len(tabular.evaluations(run)) == len(set(tabular.evaluations(run))) == 12
    check(run, where, space, 12, set())


def kill_at_random(
    run: Path, storage: str, num: int, kills: int, *, num_workers: int, sampler: str, seed: int
) -> set[int]:
    """Workers on one study; `kills` times one of them, which has begun something, is killed and started again."""
    chance = random.Random(seed)

    def begin() -> subprocess.Popen[str]:
        return start(run, storage, num, sampler=sampler, seconds=0.15, stale=2.0)

    workers = [begin() for _ in range(num_workers)]
    killed: set[int] = set()
    while len(killed) < kills:
        place = chance.randrange(num_workers)
        worker = workers[place]
        before = len(begun(run))
        wait_for(lambda: any(line["pid"] == worker.pid for line in begun(run)[before:]), worker)  # noqa: B023
        time.sleep(chance.uniform(0.0, 0.4))
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        assert worker.returncode == -signal.SIGKILL, "the study was over before the kills were: give it more to do"
        killed.add(worker.pid)
        workers[place] = begin()
    for worker in workers:
        assert results(worker)["num_evaluated"] == num
    return killed


def test_a_killed_worker_loses_nothing(run: Path, space: SearchSpace) -> None:
    where = f"journal:{run}/study.log"
    killed = kill_at_random(run, where, 10, 2, num_workers=1, sampler="random", seed=1)
    check(run, where, space, 10, killed)


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
def test_twenty_kills_lose_nothing(run: Path, space: SearchSpace, storage: str) -> None:
    where = storage.format(run)
    killed = kill_at_random(run, where, 150, 20, num_workers=2, sampler="tpe", seed=2)
    check(run, where, space, 150, killed)
