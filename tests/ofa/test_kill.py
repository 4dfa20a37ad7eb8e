"""`kill -9` at random moments of `ofa run`: the same command finishes, ends with the same weights, and repeats no
work.
"""

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
from typing import Any

import onnx
import pytest
import safetensors.torch

CONFIG = Path(__file__).with_name("tiny.yaml")
#: seconds until a stage shows in the run folder; guards against a hang, not a timing test
PATIENCE = 300


def start(runs: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ofa", "run", str(CONFIG), "--runs", str(runs)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def finish(runs: Path) -> None:
    process = start(runs)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors.decode()


def check_whole(run: Path) -> None:
    """Every file under its final name can be read to its end."""
    for path in run.rglob("*"):
        if not path.is_file() or ".tmp" in str(path.relative_to(run)) or "tensorboard" in path.parts:
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            lines = path.read_bytes().split(b"\n")
            assert lines[-1] == b"", path
            for line in lines[:-1]:
                json.loads(line)
        elif path.suffix == ".safetensors":
            safetensors.torch.load(path.read_bytes())
        elif path.suffix == ".onnx":
            onnx.checker.check_model(onnx.load(str(path)))


def check_nothing_twice(run: Path) -> None:
    records = lines(run / "records.jsonl")
    assert records and max(Counter(record["key"] for record in records).values()) == 1
    measured = [(line["key"], line["device"], "exported" in line) for line in lines(run / "measurements.jsonl")]
    assert measured and max(Counter(measured).values()) == 1
    scored = [line["key"] for line in lines(run / "test_ledger.jsonl") if line["event"] == "scored"]
    assert scored and max(Counter(scored).values()) == 1


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def stage_of(run: Path) -> str:
    marks = {
        "exporting": run / "search.json",
        "searching": run / "predictor" / "predictor.json",
        "recording": run / "supernet.json",
        "training": run / "tables" / "here.json",
    }
    return next((stage for stage, mark in marks.items() if mark.exists()), "measuring")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    runs = tmp_path_factory.mktemp("uninterrupted")
    begun = time.monotonic()
    finish(runs)
    return runs / "tiny", time.monotonic() - begun


def interrupt(runs: Path, *, kills: int, seconds: float, seed: int) -> Counter[str]:
    """Kill `kills` times, each after a random delay; start over from nothing whenever the run finished."""
    rng = random.Random(seed)
    stages: Counter[str] = Counter()
    while sum(stages.values()) < kills:
        process = start(runs)
        try:
            process.wait(timeout=rng.uniform(0.15, 0.6) * seconds)
            assert process.returncode == 0, process.stderr and process.stderr.read().decode()
            (runs / "tiny").rename(runs / f"finished-{len(list(runs.iterdir()))}")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            stages[stage_of(runs / "tiny")] += 1
            check_whole(runs / "tiny")
    return stages


@pytest.mark.slow
def test_twenty_kills(uninterrupted: tuple[Path, float], tmp_path: Path) -> None:
    reference, seconds = uninterrupted
    stages = interrupt(tmp_path, kills=20, seconds=seconds, seed=0)
    assert len(stages) >= 3, f"kills met only {dict(stages)}"
    finish(tmp_path)
    for run in tmp_path.iterdir():
        check_whole(run)
        check_nothing_twice(run)
        assert (run / "supernet.safetensors").read_bytes() == (reference / "supernet.safetensors").read_bytes()
    print(dict(stages))


def test_three_kills(uninterrupted: tuple[Path, float], tmp_path: Path) -> None:
    reference, seconds = uninterrupted
    interrupt(tmp_path, kills=3, seconds=seconds, seed=1)
    finish(tmp_path)
    for run in tmp_path.iterdir():
        check_whole(run)
        check_nothing_twice(run)
        assert (run / "supernet.safetensors").read_bytes() == (reference / "supernet.safetensors").read_bytes()


def test_a_finished_run_repeats_nothing(uninterrupted: tuple[Path, float]) -> None:
    run, _ = uninterrupted
    watched = [path for path in run.rglob("*") if path.suffix in {".jsonl", ".safetensors", ".onnx"}]
    before = {path: path.stat().st_mtime_ns for path in watched}
    finish(run.parent)
    assert {path: path.stat().st_mtime_ns for path in watched} == before
