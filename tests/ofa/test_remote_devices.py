"""`ofa measure --bundle` and `--import`: a device that only has the runner, from the bundle to a search."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from latency_tables.remote.on_device.main import main as run_on_device
from latency_tables.table import load_table


@pytest.fixture(scope="module")
def config(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run's, measured hastily."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    data = yaml.safe_load(tiny.read_text())
    data["devices"][0] |= {"rounds": 2, "sample_ms": 0.01, "min_calls": 1, "warmup": 1}
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="module")
def there(ofa: Any, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle and the results of its runner."""
    folder = tmp_path_factory.mktemp("there")
    answer = ofa("measure", "--config", config, "--bundle", folder / "out.zip", "--json")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    assert facts["num_networks"] == 24 and facts["runtime"]["suffix"] == ".onnx"
    assert facts["num_bytes"] == (folder / "out.zip").stat().st_size
    assert run_on_device(["--bundle", str(folder / "out.zip"), "-o", str(folder / "results.json")]) == 0
    return folder


@pytest.fixture
def here(there: Path, tmp_path: Path) -> Path:
    shutil.copytree(there, tmp_path / "here")
    return tmp_path / "here"


def line(here: Path, *more: object) -> list[object]:
    files = ["--import", here / "results.json", "--bundle", here / "out.zip", "-o", here / "phone.json"]
    return ["measure", *files, *more]


def test_from_the_bundle_to_a_search(ofa: Any, here: Path, finished: Path, tmp_path: Path) -> None:
    answer = ofa(*line(here))
    assert answer.code == 0 and "phone.json: " in answer.out and "on phone" in answer.out
    facts = json.loads(ofa(*line(here, "--device", "pixel", "--json")).out)
    assert facts["settings"]["name"] == "pixel" and facts["heldout"]["num"] == 20
    search = ["search", "--accuracy", finished / "predictor", "--device", here / "phone.json", "--max", "latency=60%"]
    found = json.loads(ofa(*search, "--json").out)
    limit = found["limits"]["latency@phone"]
    assert all(network["predicted_costs"]["latency@phone"] <= limit for network in found["candidates"])


def test_mistakes_of_the_command_line(refused: Any, here: Path, config: Path) -> None:
    bundle, table = here / "out.zip", here / "phone.json"
    assert "--output: nothing is measured yet" in refused(
        "measure", "--config", config, "--bundle", bundle, "-o", table
    )
    assert "out.zip: holds another file" in refused("measure", "--config", config, "--bundle", bundle, "--seed", 3)
    assert "--output: a table to write is needed" in refused("measure", "--config", config)
    for flag, value in (("--space", "vit_nano"), ("--config", config), ("--threads", 1), ("--rounds", 2)):
        assert f"{flag}: the bundle says that already" in refused(*line(here, flag, value))
    results = here / "results.json"
    assert "--bundle: --import needs" in refused("measure", "--import", results, "-o", table)
    assert "--output: --import needs" in refused("measure", "--import", results, "--bundle", bundle)
    assert "no such bundle" in refused("measure", "--import", results, "--bundle", here / "x.zip", "-o", table)
    assert "no such results file" in refused("measure", "--import", here / "x.json", "--bundle", bundle, "-o", table)
    torch = ["measure", "--space", "mobilenet_v3_28", "--device", "torch", "--bundle", here / "new.zip"]
    assert "runtime: the networks of this runtime are no files" in refused(*torch)


def test_bad_results_leave_the_table(ofa: Any, refused: Any, here: Path) -> None:
    assert ofa(*line(here)).code == 0  # the table that no mistake may touch
    good = (here / "results.json").read_text()

    def told(change: Any) -> str:
        data = json.loads(good)
        change(data)
        (here / "results.json").write_text(json.dumps(data))
        return str(refused(*line(here)))

    key = next(iter(load_table(here / "phone.json").measured_space().operators()))
    assert "measured with another bundle" in told(lambda data: data.update(manifest_sha256="0" * 64))
    assert f"models were not measured: {key}" in told(lambda data: data["samples"].pop(key))
    assert f"samples.{key}.ms.0" in told(lambda data: data["samples"][key].update(ms=[float("nan")]))
    assert "at least 2 are needed" in told(lambda data: data["samples"][key].update(ms=[1.0], disturbed_ms=[]))
    message = told(lambda data: data["device"].update(cpu="Abacus 3000"))
    assert "phone.json: device: holds a table of another device" in message and message.endswith("or --replace")
    assert ofa(*line(here, "--replace")).code == 0
    assert load_table(here / "phone.json").device.cpu == "Abacus 3000"  # type: ignore[union-attr]


def test_a_full_disk_leaves_the_table(ofa: Any, refused: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ofa(*line(here)).code == 0

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = refused(*line(here, "--device", "other"))
    assert message == f"{here}/phone.json: cannot be written: No space left on device. The old file is untouched."
