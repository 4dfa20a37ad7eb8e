"""`python -m trainers` and its configs: mistakes are one line and exit code 2, and kill -9 costs nothing but time."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json
from tests.processes import Command
from trainers.__main__ import main
from trainers.settings.train import LATER_SECTIONS, TrainingConfig, load_training_config

MakeConfig = Callable[..., TrainingConfig]


@pytest.fixture
def write_config(make_config: MakeConfig, tmp_path: Path) -> Callable[..., Path]:
    def write(sections: dict[str, Any] | None = None, **train: Any) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({**make_config(**train).model_dump(mode="json"), **(sections or {})}))
        return file

    return write


def test_trains_into_the_run_folder(write_config: Callable[..., Path], tmp_path: Path) -> None:
    file = write_config({"search": {"budgets": {"small": {"latency": "10%"}}}})
    run = tmp_path / "run"
    assert main([str(file), "--set", "train.max_steps=1", "--run-dir", str(run)]) == 0
    assert read_json(run / "supernet.json", "supernet")["step"] == 1
    kept = yaml.safe_load((run / "config.yaml").read_text())
    assert kept["train"]["max_steps"] == 1 and kept["search"] == {"budgets": {"small": {"latency": "10%"}}}


def test_sections_of_later_stages_are_left_alone(write_config: Callable[..., Path]) -> None:
    config = load_training_config(write_config({section: {"anything": 1} for section in LATER_SECTIONS}))
    assert config.name == "tiny"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", r"config.yaml: train.epoch: unknown key.*Did you mean 'epochs'"),
        ("trian.epochs=3", r"trian: unknown key.*Did you mean 'train'"),
        ("train.recipe=sandwitch", r"train.recipe: .*'sandwitch'.*Did you mean 'sandwich'"),
        ("train.epochs=-1", r"train.epochs: .*greater than 0"),
        ("train.epochs=many", r"train.epochs: .*number"),
        ("train.optimizer.lr=.nan", r"train.optimizer.lr: .*finite"),
        ("train.optimizer.name=sdg", r"train.optimizer.name: .*'sgd'"),
        ("train.micro_batch=5", r"micro_batch.*must divide batch_size 16.*Nearest: 4"),
        ("train.batch_size=1000", r"train.batch_size.*at most all 120 training images"),
        ("train.checkpoint_every=5min", r"train.checkpoint_every: .*seconds \('60s'\)"),
        ("train.device=tpu", r"train.device: unknown device.*'tpu'"),
        ("train.phases=[]", "either recipe .* or phases"),
        ("space.name=mobilenet", r"space.name: unknown search space 'mobilenet'"),
        ("space.kernel=[4]", r"space.kernel: .*odd"),
        ("name=../elsewhere", r"name: names the run's folder: letters.*elsewhere"),
    ],
)
def test_mistakes_are_one_line(
    write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    code = main([str(write_config()), "--set", override, "--run-dir", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1
    assert re.search(message, error), error
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_a_config_without_a_recipe_trains_by_the_one_that_won(write_config: Callable[..., Path]) -> None:
    left_out = load_training_config(write_config(), ["train.recipe=null"])
    assert left_out == load_training_config(write_config(), ["train.recipe=bounded_jumps"])


def test_in_place_distillation_needs_the_largest(write_config: Callable[..., Path]) -> None:
    phases = "train.phases=[{name: a, epochs: 1, distillation: in_place}]"
    with pytest.raises(UserError, match="Set sampling: sandwich"):
        load_training_config(write_config(), ["train.recipe=null", phases])


def test_kill_9_and_the_same_command_again(write_config: Callable[..., Path], tmp_path: Path) -> None:
    file = write_config(recipe="progressive_shrinking", epochs=2.5, checkpoint_every=1)
    process = Command("trainers", file, "--run-dir", tmp_path / "killed")
    checkpoints = tmp_path / "killed" / "checkpoints"
    deadline = time.monotonic() + 120
    while (
        not list(checkpoints.glob("step-0000001*.json")) and process.returncode is None and time.monotonic() < deadline
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "supernet.json").exists()
    for name in ("killed", "whole"):
        assert main([str(file), "--run-dir", str(tmp_path / name)]) == 0
    digests = [
        read_json(tmp_path / name / "supernet.json", "supernet")["weights_sha256"] for name in ("killed", "whole")
    ]
    assert digests[0] == digests[1]
    assert not list(checkpoints.glob(".*.tmp"))
