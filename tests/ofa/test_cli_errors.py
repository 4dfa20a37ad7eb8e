"""Mistakes in configs, data and command lines: one message with file, key and value, exit code 2, nothing written."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize(
    ("override", "key", "told"),
    [
        # unknown and misspelt keys
        ("trian.epochs=2", "trian", ["unknown key", "Did you mean 'train'?"]),
        ("train.epoch=2", "train.epoch", ["unknown key", "(got 2)", "Did you mean 'epochs'?"]),
        ("train.optimizer.lrr=1", "train.optimizer.lrr", ["unknown key", "Did you mean 'lr'?"]),
        ("devices.0.rouns=3", "devices.0.rouns", ["unknown key", "Did you mean 'rounds'?"]),
        ("space.kernal=[3]", "space.kernal", ["unknown key", "Did you mean 'kernel'?"]),
        ("data.split.calibratoin=9", "data.split.calibratoin", ["unknown key", "Did you mean 'calibration'?"]),
        # wrong types and values
        ("train.epochs=many", "train.epochs", ["must be a valid number (got 'many')"]),
        ("train.epochs=", "train.epochs", ["must be a valid number (got nothing)"]),
        ("train.epochs=.nan", "train.epochs", ["must be a finite number (got nan)"]),
        ("train.epochs=-1", "train.epochs", ["greater than 0", "(got -1)"]),
        (
            "train.checkpoint_every=3x",
            "train.checkpoint_every",
            ["a number of steps (500) or of seconds ('60s')", "'3x'"],
        ),
        ("train.checkpoint_every=[]", "train.checkpoint_every", ["a valid integer or a valid string", "[]"]),
        ("train.micro_batch=7", "train.micro_batch", ["must divide batch_size 60", "(got 7)", "Nearest: 6"]),
        ("data.split.calibration=lots", "data.split.calibration", ["a number of images", "'lots'"]),
        ("space.kernel=3", "space.kernel", ["must be a list (got 3)"]),
        ("space.kernel=[4]", "space.kernel", ["must be odd", "[4]"]),
        ("export.forms=onnx", "export.forms", ["must be a list (got 'onnx')"]),
        ("search=[]", "search", ["must be a mapping (got [])"]),
        ("seed=1.5", "seed", ["must be a valid integer (got 1.5)"]),
        ("name=a/b", "name", ["names the run's folder", "'a/b'"]),
        ("search.budgets={}", "search.budgets", ["at least 1 item"]),
        ("search.budgets.small={}", "search.budgets.small", ["holds no limit", "latency: 5ms"]),
        ("search.budgets.large=5ms", "search.budgets.large", ["must be a mapping (got '5ms')"]),
        # units and amounts
        ("search.budgets.small.latency=12", "search.budgets.small.latency", ["12 has no unit", "e.g. 12ms"]),
        ("search.budgets.small.latency=12 parsecs", "search.budgets.small.latency", ["unknown unit 'parsecs'", "ms"]),
        ("search.budgets.small.macs=12ms", "search.budgets.small.macs", ["unknown unit 'ms'", "300MMACs"]),
        ("search.budgets.large.peak_memory=256", "search.budgets.large.peak_memory", ["256 has no unit", "256KiB"]),
        ("search.budgets.small.latency=-1ms", "search.budgets.small.latency", ["'-1ms' is not a positive amount"]),
        ("search.budgets.small.latency=0ms", "search.budgets.small.latency", ["'0ms' is not a positive amount"]),
        ("search.budgets.small.latency=nan ms", "search.budgets.small.latency", ["'nan ms' is not a positive amount"]),
        ("search.budgets.small.latency=.nan", "search.budgets.small.latency", ["finite number (got nan)"]),
        ("search.budgets.small.latency=inf ms", "search.budgets.small.latency", ["'inf ms' is not a positive amount"]),
        ("search.budgets.small.latency=.inf", "search.budgets.small.latency", ["finite number (got inf)"]),
        ("search.budgets.small.latency=140%", "search.budgets.small.latency", ["'140%' is above 100%"]),
        # unknown names
        (
            "search.budgets.small.latncy=1ms",
            "search.budgets.small.latncy",
            ["unknown metric", "Did you mean 'latency'?"],
        ),
        ("search.budgets.small={latency@phone: 3ms}", "search.budgets.small.latency@phone", ["device 'phone'", "here"]),
        ("search.device=phone", "search.device", ["unknown device 'phone'", "Known: here"]),
        ("devices=[]", "search.budgets.small.latency", ["needs a table of a device", "devices:"]),
        ("devices.0.runtime=onnx", "devices.0.runtime", ["unknown runtime 'onnx'", "Did you mean 'onnxruntime'?"]),
        ("space.name=ofa_mobilenetv3", "space.name", ["unknown search space", "Did you mean 'ofa_mobilenet_v3'?"]),
        ("data.name=mnist5k", "data.name", ["unknown data set 'mnist5k'", "Did you mean 'mnist_5k'?"]),
        ("data.path=/nowhere", "data.path", ["'synthetic' is not read from a path", "'/nowhere'"]),
        ("train.recipe=progresive", "train.recipe", ["unknown recipe", "Did you mean 'progressive_shrinking'?"]),
        ("train.device=cude", "train.device", ["unknown device (got 'cude')", "Known: auto, cpu, cuda"]),
        ("predictor.candidates=[forest]", "predictor.candidates", ["forest", "ridge"]),
        ("export.forms=[onx]", "export.forms", ["unknown export form 'onx'", "Did you mean 'onnx'?"]),
    ],
)
def test_mistakes_in_a_config(
    refused: Any, tiny: Path, tmp_path: Path, override: str, key: str, told: list[str]
) -> None:
    message = refused("run", tiny, "--runs", tmp_path, "--set", override)
    assert message.startswith(f"{tiny}: {key}: "), message
    assert all(part in message for part in told), message
    assert not (tmp_path / "tiny" / "config.yaml").exists()
    assert not (tmp_path / "tiny" / "tables").exists()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("novalue", "'novalue' is not of the form section.key=value"),
        ("=3", "'=3' is not of the form section.key=value"),
        ("a=[", "the value of 'a=[' is not YAML"),
        ("train.epochs.x=3", "'train.epochs' is a value, so it has no key 'x'"),
        ("devices.5.name=x", "the list has 1 entry, numbered from 0 (got '5')"),
    ],
)
def test_malformed_overrides(refused: Any, tiny: Path, tmp_path: Path, override: str, told: str) -> None:
    for command in (("run", tiny, "--runs", tmp_path), ("train", tiny, "--run", tmp_path / "x")):
        message = refused(*command, "--set", override)
        assert message.startswith("--set: ") and told in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a: [1\nb: 2", "not valid YAML: line 2, column 2: expected ',' or ']'"),
        (b"- a\n- b\n", "holds a list, not a mapping of sections"),
        (b"", "is empty"),
        (b"seed: 1\nname: x\nseed: 1\n", "line 3, column 1: key 'seed' is written twice"),
        (b"train:\n  epochs: 1\n  epochs: 2\n", "line 3, column 3: key 'epochs' is written twice"),
        (b"name: tiny\n", "space: this key is required"),
        (b"\xff\xfe\x00", "cannot be read: not a text file"),
        (pickle.dumps({"name": "x"}), "cannot be read: not a text file"),
    ],
)
def test_files_that_are_no_config(refused: Any, tmp_path: Path, text: bytes, told: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(text)
    for command in (("run", path, "--runs", tmp_path / "runs"), ("train", path, "--run", tmp_path / "runs" / "x")):
        message = refused(*command)
        assert message.startswith(f"{path}: ") and told in message
    assert not (tmp_path / "runs").exists()


def test_configs_that_are_not_there(refused: Any, tmp_path: Path) -> None:
    assert refused("run", tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: no such config file"
    assert refused("run", tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


# -- data --------------------------------------------------------------------------------------------------------------


def make_images(root: Path, counts: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


def folder_data(path: Path, **more: str) -> str:
    settings = {"name": "image_folder", "path": str(path), "image_size": 12, "channels": 1, **more}
    return f"data={json.dumps(settings)}"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_images(tmp_path / "images", {"cat": 30, "dog": 30})


def test_data_folders_that_cannot_be_used(refused: Any, tiny: Path, tmp_path: Path, images: Path) -> None:
    def told(path: Path) -> str:
        message: str = refused("run", tiny, "--runs", tmp_path / "runs", "--set", folder_data(path))
        return message

    missing, empty, file = tmp_path / "missing", tmp_path / "empty", images / "cat" / "00.png"
    empty.mkdir()
    assert told(missing).startswith(f"{missing}: data.path: no such file or folder; 'image_folder' needs a folder")
    assert told(empty) == f"{empty}: data.path: this data folder is empty: it holds no class folder"
    assert told(file).startswith(f"{file}: data.path: is a file; 'image_folder' needs a folder")
    (images / "emu").mkdir()
    assert told(images).startswith(f"{images / 'emu'}: data.path: class 'emu' has no image")
    if os.geteuid():
        images.chmod(0)
        assert "Permission denied" in told(images)
        images.chmod(0o755)
    assert not (tmp_path / "runs").exists()


def test_corrupt_images_are_named_or_skipped_and_counted(
    refused: Any, ofa: Any, tiny: Path, tmp_path: Path, images: Path
) -> None:
    corrupt = images / "cat" / "03.png"
    corrupt.write_bytes(corrupt.read_bytes()[:60])
    message = refused("run", tiny, "--runs", tmp_path / "runs", "--set", folder_data(images))
    assert message.startswith(f"{corrupt}: data.on_corrupt: corrupt image: ") and "on_corrupt: skip" in message
    assert not (tmp_path / "runs").exists()
    settings = ["train={recipe: random_subnets, epochs: 1, batch_size: 10}", folder_data(images, on_corrupt="skip")]
    overrides = [word for text in settings for word in ("--set", text)]
    answer = ofa("train", tiny, "--run", tmp_path / "trained", *overrides, "--json")
    assert answer.code == 0, answer.err
    described = json.loads((tmp_path / "trained" / "supernet.json").read_text())
    assert described["data"]["num_skipped"] == 1


class Hostile:
    """Makes a folder when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_pickles_in_data_are_never_opened(refused: Any, tiny: Path, tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "data.npz"
    hostile = np.array([Hostile(mark)] * 9, dtype=object)
    np.savez(file, images=hostile, labels=np.zeros(9, dtype=int))
    override = f"data={{name: npz, path: {file}}}"
    assert "pickled objects, which are never opened" in refused("run", tiny, "--runs", tmp_path, "--set", override)
    file.write_bytes(pickle.dumps(Hostile(mark)))
    assert "pickles are never opened" in refused("run", tiny, "--runs", tmp_path, "--set", override)
    assert not mark.exists()


# -- command lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("search FOLDER", "FOLDER: not a run folder: no config.yaml. Make one with: ofa run CONFIG"),
        ("records FOLDER", "FOLDER: not a run folder"),
        ("fit FOLDER", "FOLDER: not a run folder"),
        ("report FOLDER", "FOLDER: not a run folder"),
        ("export FOLDER small", "FOLDER: not a run folder"),
        ("validate FOLDER/t.json", "FOLDER/t.json: no such latency table"),
        ("search --accuracy FOLDER --max macs=1M", "FOLDER/predictor.json: no such predictor"),
        ("search --accuracy FOLDER --max macs=1M --dtype int9", "--dtype: unknown dtype 'int9'. Did you mean 'int8'?"),
        ("search FOLDER --space x", "--space/--accuracy/--device: a run has a space"),
        ("search", "--accuracy: give a run folder, or a predictor to search with"),
        ("spaces ofa_mobilnet_v3", "unknown search space 'ofa_mobilnet_v3'. Did you mean 'ofa_mobilenet_v3'?"),
        ("measure -o FOLDER/t.json", "--space and --device are needed"),
        ("measure -o FOLDER/t.json --space foo --device torch", "--space: unknown search space 'foo'"),
        (
            "measure -o FOLDER/t.json --space ofa_mobilenet_v3 --device torh",
            "--device: unknown device 'torh'. Did you mean",
        ),
        ("measure -o FOLDER/t.json --config TINY --device phone", "TINY: devices: unknown device 'phone'. Known: here"),
        ("run TINY --runs TINY", "TINY/tiny: cannot be written: Not a directory"),
    ],
)
def test_command_lines(refused: Any, tiny: Path, tmp_path: Path, line: str, told: str) -> None:
    def put(text: str) -> str:
        return text.replace("FOLDER", str(tmp_path)).replace("TINY", str(tiny))

    assert put(told) in refused(*(put(word) for word in line.split()))


def test_unknown_commands_and_options_are_usage_errors(ofa: Any, tiny: Path) -> None:
    for line in (["rnu"], ["run"], ["run", tiny, "--sett", "a=1"], ["search", "x", "--num", "0"]):
        answer = ofa(*line)
        assert answer.code == 2 and answer.err.startswith("Usage: ofa") and "Traceback" not in answer.err


def test_impossible_budget_of_a_config_is_told_before_anything_is_done(ofa: Any, tiny: Path, tmp_path: Path) -> None:
    line = ["run", tiny, "--runs", tmp_path, "--set", "search.budgets.small={macs: 10, params: 1M}"]
    answer = ofa(*line)
    assert answer.code == 3 and not answer.out
    assert "budget 'small'" in answer.message and "keeps macs <= 10 MACs" in answer.message
    assert "the smallest achievable is" in answer.message and "Nearest network" in answer.message
    details = json.loads(ofa(*line, "--json").out)
    assert details["exit_code"] == 3 and details["error"] == answer.message
    assert details["binding"] == "macs" and details["proven"] is True and details["smallest"]["macs"] > 10
    assert details["nearest"]["costs"]["macs"] >= details["smallest"]["macs"]
    assert list(tmp_path.iterdir()) == []


def test_json_errors_are_one_object(ofa: Any, tmp_path: Path) -> None:
    answer = ofa("run", tmp_path / "none.yaml", "--json")
    assert answer.code == 2 and json.loads(answer.out) == {"error": answer.message, "exit_code": 2}


def test_version(ofa: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"ofa-nas": "1.2.3"}[name])
    answer = ofa("--version")
    assert (answer.code, answer.out, answer.err) == (0, "ofa-nas 1.2.3\n", "")


def test_a_process_ends_with_the_code_and_the_message_alone(tiny: Path, tmp_path: Path) -> None:
    def process(*line: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "ofa", *map(str, line)], capture_output=True, text=True)

    ended = process("run", tiny, "--runs", tmp_path, "--set", "train.epoch=2")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: {tiny}: train.epoch: unknown key") and ended.stderr.count("\n") == 1
    ended = process("run", tiny, "--runs", tmp_path, "--set", "search.budgets.small={macs: 10}", "--json")
    assert ended.returncode == 3 and json.loads(ended.stdout)["binding"] == "macs"
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    assert process("--version").stdout.startswith("ofa-nas ")
