"""`kill -9` at random moments of `ofa run`: the same command finishes, ends with the same weights, and repeats no
work.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest
import safetensors.torch

from tests.processes import Command

CONFIG = Path(__file__).with_name("tiny.yaml")
#: seconds until a stage shows in the run folder; guards against a hang, not a timing test
PATIENCE = 300


def start(runs: Path) -> Command:
    return Command("ofa", "run", CONFIG, "--runs", runs)


def finish(runs: Path) -> None:
    process = start(runs)
    assert process.wait(PATIENCE) == 0, process.told


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


#: stages in order, and the file whose appearance begins each
STAGES = {
    "measuring": ".lock",
    "training": "tables/here.json",
    "recording": "supernet.json",
    "searching": "predictor/predictor.json",
    "exporting": "search.json",
}


def stage_of(run: Path) -> str:
    return next((stage for stage, mark in reversed(STAGES.items()) if (run / mark).exists()), "starting")


@pytest.fixture(scope="module")
def uninterrupted(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("uninterrupted") / "tiny"))


def kill_in(stage: str, runs: Path, rng: random.Random) -> str:
    """Start the command, kill it a moment after it reached `stage`, and return the stage it died in."""
    process, mark, deadline = start(runs), runs / "tiny" / STAGES[stage], time.monotonic() + PATIENCE
    while not mark.exists() and process.returncode is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, 1.5))
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    assert code in (-signal.SIGKILL, 0), process.told
    check_whole(runs / "tiny")
    return stage_of(runs / "tiny") if code else "finished"


def finish_and_compare(runs: Path, reference: Path) -> None:
    finish(runs)
    check_whole(runs / "tiny")
    check_nothing_twice(runs / "tiny")
    assert (runs / "tiny/supernet.safetensors").read_bytes() == (reference / "supernet.safetensors").read_bytes()


@pytest.mark.slow
def test_twenty_kills(uninterrupted: Path, tmp_path: Path) -> None:
    rng, died = random.Random(0), Counter[str]()
    for number in range(5):
        runs = tmp_path / str(number)
        chosen = rng.sample(list(STAGES), 4)
        died.update(kill_in(stage, runs, rng) for stage in STAGES if stage in chosen)
        finish_and_compare(runs, uninterrupted)
    print(f"killed in {dict(died)}")
    assert died.total() - died["finished"] >= 15 and {"measuring", "training", "exporting"} <= set(died)


@pytest.mark.slow
def test_two_kills(uninterrupted: Path, tmp_path: Path) -> None:
    rng = random.Random(1)
    for stage in ("training", "exporting"):
        kill_in(stage, tmp_path, rng)
    finish_and_compare(tmp_path, uninterrupted)


def test_a_finished_run_repeats_nothing(uninterrupted: Path) -> None:
    run = uninterrupted
    watched = [path for path in run.rglob("*") if path.suffix in {".jsonl", ".safetensors", ".onnx"}]
    before = {path: path.stat().st_mtime_ns for path in watched}
    finish(run.parent)
    assert {path: path.stat().st_mtime_ns for path in watched} == before
