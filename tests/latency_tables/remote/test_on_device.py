"""What runs on the device: measures everything, loses nothing when killed, and needs nothing of this project."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import fx, nn

from latency_tables.fingerprint import fingerprint
from latency_tables.remote import on_device
from latency_tables.remote.bundle import read_bundle
from latency_tables.remote.on_device import device, loaders, timing
from latency_tables.remote.on_device.files import Bundle
from latency_tables.remote.on_device.journal import Journal
from latency_tables.remote.on_device.main import main
from latency_tables.remote.on_device.measuring import Measuring
from latency_tables.remote.on_device.problem import Problem
from latency_tables.remote.table import import_results
from latency_tables.runtimes import RUNTIMES, Portable, get_runtime
from latency_tables.samples import Ledger, Sample
from search_spaces.common.errors import UserError
from tests.latency_tables.fake_machine import Machine

#: of the journal of a device that says nothing of itself
HEAD: dict[str, Any] = {"run": "ab" * 16, "device": {}}


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def counts(results: Any) -> dict[str, int]:
    return {key: len(part["ms"]) + len(part["disturbed_ms"]) for key, part in results["samples"].items()}


def test_every_model_is_measured(bundle_file: Path, results_file: Path) -> None:
    results, bundle = json.loads(results_file.read_text()), read_bundle(bundle_file)
    assert counts(results) == {item.key: 2 for item in bundle.manifest.items}
    assert results["manifest_sha256"] == bundle.sha256
    assert results["device"] == fingerprint(get_runtime("onnxruntime"), threads=1).model_dump()
    assert list(results_file.parent.iterdir()) == [results_file]


def test_rounds_are_interleaved_and_networks_alone(
    bundle_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[list[str]] = []
    record = Journal.record

    def watching(self: Journal, ms: dict[str, float], *of_sample: Any) -> None:
        groups.append(list(ms))
        record(self, ms, *of_sample)

    monkeypatch.setattr(Journal, "record", watching)
    assert main(["--bundle", str(bundle_file), "--rounds", "4", "-o", str(tmp_path / "r.json")]) == 0
    manifest = read_bundle(bundle_file).manifest
    roles = {item.key: item.role for item in manifest.items}
    one_round = len(groups) // 4
    for number in range(4):
        part = groups[number * one_round : (number + 1) * one_round]
        assert sorted(key for group in part for key in group) == sorted(roles)  # each once
    assert groups[:one_round] != groups[one_round : 2 * one_round]
    sizes = [len(group) for group in groups if roles[group[0]] != "network"]
    assert all(len(group) == 1 for group in groups if roles[group[0]] == "network")
    assert max(sizes) <= 2 * manifest.group_size and np.mean(sizes) > manifest.group_size / 2


@pytest.mark.parametrize("die_after", [1, 9])
def test_killed_and_begun_again(bundle_file: Path, tmp_path: Path, die_after: int) -> None:
    """kill -9 in the middle: every finished sample is kept as it was, and none is taken twice."""
    out, partial = tmp_path / "results.json", tmp_path / "results.partial.jsonl"
    command = [sys.executable, bundle_file, "--rounds", "3", "-o", out]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and (not partial.exists() or partial.read_bytes().count(b'"disturbed"') <= die_after):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not out.exists()
    before = [line for line in lines(partial)[1:] if "ms" in line]
    assert len(before) >= die_after
    with open(partial, "a") as stream:
        stream.write('{"ms": {"torn')
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert set(counts(results).values()) == {3} and len(results["samples"]) == len(
        read_bundle(bundle_file).manifest.items
    )
    for line in before:  # all times of a sample are there, divided by the one speed of the device at that moment
        speeds = [
            {round(ms / told, 9) for told in results["samples"][key]["ms"] + results["samples"][key]["disturbed_ms"]}
            for key, ms in line["ms"].items()
        ]
        assert set.intersection(*speeds)
    assert not partial.exists()


def test_a_spent_budget_completes_the_least_rounds(bundle_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    line = ["--bundle", str(bundle_file), "--rounds", "30", "--budget", "0.001", "-o", str(out)]
    assert main(line) == 0
    least = read_bundle(bundle_file).manifest.settings.min_rounds
    found = Counter(counts(json.loads(out.read_text())).values())
    assert all(least <= num < 30 for num in found)


def test_models_are_loaded_in_batches(bundle_file: Path, tmp_path: Path) -> None:
    bundle = Bundle(bundle_file)
    journal = Journal(tmp_path / "j.jsonl", HEAD, 0.05)
    limit = 5
    plan = {**bundle.manifest["settings"], "memory_mb": limit}
    batches = list(Measuring(bundle, lambda *_: None, journal, plan)._batches())
    assert len(batches) > 2 and sorted(key for batch in batches for key in batch) == sorted(bundle.items)
    for batch in batches:
        assert len(batch) == 1 or sum(bundle.items[key]["num_bytes"] for key in batch) <= limit * 2**20


def test_work_of_other_threads_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(cycle([1.7]), cycle([0.1]))
    machine.install(monkeypatch, timing)
    machine.pulse()
    assert timing.take_sample([machine.call(1.0)], 4, 2, None) == ([pytest.approx(17.0)], False, None)
    assert machine.calls == 1 + 4


def test_slow_models_are_called_as_seldom_as_here(
    bundle_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of half a second: once to warm up, and one call is a sample. Others are called as often as ever."""
    calls, now_ms = Counter[str](), [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now_ms[0] / 1e3)
    monkeypatch.setattr(timing.time, "thread_time", lambda: now_ms[0] / 1e3)

    def timed(key: str, ms: float) -> Callable[[], None]:
        def call() -> None:
            calls[key] += 1
            now_ms[0] += ms

        return call

    for ms, expected in ((500.0, 2), (5.0, 6)):
        calls.clear()
        assert timing.warm_up(timed("x", ms), 3) == pytest.approx(ms)
        assert calls.total() == expected

    bundle = Bundle(bundle_file)
    networks = [key for key, item in bundle.items.items() if item["role"] == "network"]
    measuring = Measuring(
        bundle, lambda *_: None, Journal(tmp_path / "j.jsonl", HEAD, 0.05), bundle.manifest["settings"]
    )
    monkeypatch.setattr(measuring, "prepare", lambda key: timed(key, 500.0 if key in networks[:2] else 5.0))
    measuring.plan["min_calls"] = 4
    calls.clear()
    measuring.measure()
    rounds, instances = measuring.plan["rounds"], measuring.plan["instances"]
    assert {calls[key] for key in networks[:2]} == {instances * 2 + rounds * (1 + 1)}  # a group is called once first
    assert {calls[key] for key in networks[2:]} == {instances * (measuring.plan["warmup"] + 3) + rounds * (1 + 4)}


def test_a_device_that_grows_hot_is_noticed_as_it_is_here(tmp_path: Path) -> None:
    """The same samples and readings of the sentinels mean the same to the runner and to a measurement here."""
    journal, ledger = Journal(tmp_path / "j.jsonl", {"device": {}}, 0.05), Ledger(max_drift=0.05)
    rng = np.random.default_rng(0)
    for number, speed in enumerate([1, 1.01, 1, 1.5, 1.02, 0.99, 1, 0.8, 1]):
        reading = {"a": 0.3 * speed, "b": 2.0 * speed * (1 + 0.001 * number)}
        journal.read_speed(reading)
        ledger.begin_round(reading)
        for key in ("x", "y"):
            ms, disturbed, pulse_ms = float(rng.uniform(1, 2)), number == 1, 0.17 if number == 4 else 0.1
            journal.record({key: ms}, disturbed, pulse_ms)
            ledger.record(Sample({key: ms}, disturbed, pulse_ms))
    found = journal.samples()
    assert {key: part["ms"] for key, part in found.items()} == {key: s.clean for key, s in ledger.samples.items()}
    assert [len(found["x"][kind]) for kind in ("ms", "disturbed_ms")] == [3, 6]
    conditions = journal.conditions()
    assert conditions["num_disturbed"] / conditions["num_samples"] == ledger.share_disturbed
    assert conditions["drift"] == pytest.approx(ledger.drift) and 0.01 < ledger.drift < 0.05
    again = Journal(tmp_path / "j.jsonl", {"device": {}}, 0.05)
    assert again.samples() == found and again.conditions()["drift"] == conditions["drift"]


def refused(capsys: pytest.CaptureFixture[str], *line: object) -> str:
    assert main([str(word) for word in line]) == 2
    told = capsys.readouterr().err.strip().split("error: ")
    assert len(told) == 2 and "\n" not in told[1]
    return told[1]


def test_mistakes_on_the_device(
    bundle_file: Path, results_file: Path, repacked: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    manifest = read_bundle(bundle_file).manifest
    out = tmp_path / "r.json"
    good = ["--bundle", bundle_file, "-o", out]
    assert "r.json" not in refused(capsys, "--bundle", tmp_path / "none.zip", "-o", out)
    assert "--threads 1000 is too many" in refused(capsys, *good, "--threads", 1000)
    assert "--rounds must be positive, not 0" in refused(capsys, *good, "--rounds", 0)
    assert "holds results already" in refused(capsys, "--bundle", bundle_file, "-o", results_file)
    last = manifest.items[-1].file
    assert f"{last} is not what the manifest says" in refused(capsys, "--bundle", repacked({last: b"x"}), "-o", out)
    assert f"{last} cannot be read" in refused(capsys, "--bundle", repacked({last: None}), "-o", out)
    assert "manifest.json is damaged" in refused(capsys, "--bundle", repacked({"manifest.json": b"[]"}), "-o", out)
    assert "no such model" in refused(capsys, *good, "--repeat", "conv")
    assert not out.exists() and not (tmp_path / "r.partial.jsonl").exists()
    partial = tmp_path / "r.partial.jsonl"
    partial.write_text('{"schema": 1, "manifest_sha256": "ab", "device": {}}\n')
    assert "begun with another bundle (ab, here " in refused(capsys, *good)
    partial.write_text(json.dumps({"schema": 1, "manifest_sha256": Bundle(bundle_file).sha256, "device": {}}) + "\n")
    assert "begun on another device" in refused(capsys, *good)
    partial.write_text('{"device": {}}\nnonsense\n')
    assert "line 2 is damaged" in refused(capsys, *good)


def test_a_full_disk_keeps_what_was_measured(bundle_file: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    out, partial = tmp_path / "r.json", tmp_path / "r.partial.jsonl"
    good = ["--bundle", bundle_file, "-o", out]
    sync, num = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal num
        num += 1
        if num > 5:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = refused(capsys, *good)
    assert "r.partial.jsonl: cannot be appended to" in message and "No space left on device" in message
    assert len(lines(partial)) == 5
    monkeypatch.setattr(os, "fsync", lambda descriptor: full(descriptor) if not partial.exists() else sync(descriptor))
    assert main([str(word) for word in good]) == 0


def test_one_model_for_a_power_meter(bundle_file: Path, capsys: Any, tmp_path: Path) -> None:
    key = read_bundle(bundle_file).manifest.items[1].key
    assert main(["--bundle", str(bundle_file), "--repeat", key, "--seconds", "0.05"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{key}: ") and int(told.split()[1]) > 10


def test_arm_processors_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("".join(f"processor\t: {i}\nCPU part\t: 0x{part}\n\n" for i, part in enumerate(["d05", "d0b"])))
    monkeypatch.setattr(device, "_board", lambda: "Acme Phone 3")
    assert device.cpu_model(info) == "Acme Phone 3 (CPU part 0xd05, 0xd0b)"
    phone = tmp_path / "bin"
    phone.mkdir()
    (phone / "getprop").write_text('#!/bin/sh\n[ "$1" = ro.soc.model ] || echo "${1#ro.product.}"\n')
    (phone / "getprop").chmod(0o755)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{phone}:{os.environ['PATH']}")
    if not Path("/proc/device-tree/model").exists():
        assert device._board() == "manufacturer model"


def test_a_runtime_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem, match=r"no runtime is known for \.xyz models"):
        loaders.get_runtime(".xyz")

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(loaders, "import_module", missing)
    for suffix, package in ((".onnx", "onnxruntime"), (".tflite", "ai-edge-litert"), (".pte", "executorch")):
        with pytest.raises(Problem, match=f"pip install {package}"):
            loaders.get_runtime(suffix)


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_it_runs_what_every_runtime_with_files_compiles(name: str) -> None:
    try:
        runtime = get_runtime(name)
    except UserError as error:
        pytest.skip(str(error))
    if not isinstance(runtime, Portable):
        pytest.skip(f"networks of {name} are no files")
    if runtime.suffix not in loaders.PACKAGES:
        pytest.skip(f"{runtime.suffix} files are of one machine")
    module = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())).eval()
    version, load = loaders.get_runtime(runtime.suffix)
    assert version == runtime.version
    load(runtime.compile(module, (3, 8, 8)), [1, 3, 8, 8], 1)()


def test_it_needs_nothing_of_this_project_nor_a_new_python() -> None:
    files = list(Path(on_device.__file__).parent.glob("*.py"))
    assert len(files) > 5
    for file in files:
        nodes = list(ast.walk(ast.parse(file.read_text(), feature_version=(3, 8))))
        modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
        assert {name.split(".")[0] for name in modules} <= set(sys.stdlib_module_names) | {"numpy"}, file
        assert {node.level for node in nodes if isinstance(node, ast.ImportFrom)} <= {0, 1}, file


@pytest.mark.slow
def test_in_a_fresh_environment(bundle_file: Path, tmp_path: Path) -> None:
    """Only numpy and the runtime, of the versions that are installed here."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = [f"{name}=={metadata.version(name)}" for name in ("numpy", "onnxruntime")]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    with zipfile.ZipFile(bundle_file) as archive:
        archive.extractall(tmp_path / "bundle")
    done = subprocess.run([python, "-I", "runner.py"], cwd=tmp_path / "bundle", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = import_results([tmp_path / "bundle" / "results.json"], bundle_file, path=tmp_path / "there.json")
    assert table.heldout.num >= 10 and table.settings.name == "there"
