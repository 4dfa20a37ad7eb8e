"""A command whose training is asked to stop says where it stands and exits 143; the same command then finishes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ofa import cli
from trainers import training
from trainers.__main__ import main

CONFIG = Path(__file__).with_name("tiny.yaml")
TOLD = "stopped by SIGTERM: checkpoint saved after step 3 of 5; the same command goes on from there"


@pytest.mark.parametrize("command", ["python -m trainers", "ofa train", "ofa run"])
def test_every_command_that_trains(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(CONFIG.read_text())
    config |= {"devices": [], "search": {"budgets": {"small": {"macs": "40%"}}}}
    config["train"]["max_steps"] = 5
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    real = training.accumulate_gradients

    def signalled(*args: Any, **kwargs: Any) -> torch.Tensor:
        if kwargs["step"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(training, "accumulate_gradients", signalled)
        if command == "python -m trainers":
            assert main([str(file), "--run-dir", str(tmp_path / "tiny")]) == 143
        else:
            place = ["--runs", str(tmp_path)] if command == "ofa run" else ["--run", str(tmp_path / "tiny")]
            with pytest.raises(SystemExit) as exited:
                cli.main([*command.split()[1:], str(file), *place, "--json"])
            assert exited.value.code == 143
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == TOLD
    if command != "python -m trainers":
        assert json.loads(out) == {"stopped": TOLD, "exit_code": 143}
    assert main([str(file), "--run-dir", str(tmp_path / "tiny")]) == 0
    assert (tmp_path / "tiny" / "supernet.json").exists()
