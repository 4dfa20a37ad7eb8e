"""`ofa finetune`, `ofa export --finetuned` and `ofa train --alone` as typed, on a finished run."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_spaces.common.files import read_lines
from tests.processes import Command


@pytest.mark.slow
def test_from_the_run_to_an_export(ofa: Any, run: Path, tmp_path: Path) -> None:
    key = read_lines(run / "records.jsonl", "records")[0]["key"]
    answer = ofa("finetune", run, key, "--epochs", "0.5", "--json")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    folder = run / "finetuned" / key
    assert facts["folder"] == str(folder) and facts["key"] == key and facts["distilled"] is True
    assert facts["kept"] == (facts["after"] >= facts["before"]) and facts["macs"] > 0
    stored = json.loads((folder / "finetuned.json").read_text())
    assert stored == {name: value for name, value in facts.items() if name != "folder"}
    exported = ofa("export", run, key, "--finetuned", "--format", "safetensors", "--json")
    assert exported.code == 0, exported.err
    report = json.loads(exported.out)
    assert report["key"] == key and report["finetuning"]["after"] == facts["after"]
    assert report["accuracy"]["selection"]["accuracy"] == max(facts["before"], facts["after"])
    again = ofa("finetune", run, key, "--epochs", "0.5")
    assert again.code == 0 and ("kept" in again.out) and str(folder) in again.out


def test_mistakes(refused: Any, ofa: Any, run: Path, tmp_path: Path) -> None:
    assert "unknown architecture 'largst'. Did you mean 'largest'?" in refused("finetune", run, "largst")
    assert "epochs" in refused("finetune", run, "smallest", "--epochs", "-1")
    assert "--set" in refused("finetune", run, "smallest", "--set", "data.name=mnist_5k")
    assert "train.epoch: unknown key" in refused("finetune", run, "smallest", "--set", "train.epoch=3")
    assert "ofa finetune RUN ARCH" in refused("export", run, "smallest", "--finetuned")
    assert "no config.yaml" in refused("finetune", tmp_path / "none", "smallest")
    assert ofa("finetune", run, "smallest", "--epochs", "0.2", "--distill", "none").code == 0
    message = refused("finetune", run, "smallest", "--epochs", "0.2", "--lr", "0.5", "--distill", "none")
    assert "train.optimizer.lr is 0.001 there and 0.5 here" in message and "-o" in message
    other = tmp_path / "other"
    assert ofa("finetune", run, "smallest", "--epochs", "0.2", "--lr", "0.5", "-o", other).code == 0
    assert (other / "finetuned.json").exists()


def test_kill_9_and_the_same_command_again(ofa: Any, run: Path, tmp_path: Path) -> None:
    words = ["finetune", str(run), "smallest", "--epochs", "3", "--set", "train.checkpoint_every=1"]
    killed = tmp_path / "killed"
    process = Command("ofa", *words, "-o", killed)
    deadline = time.monotonic() + 120
    while (
        not list(killed.glob("checkpoints/step-*.json")) and process.returncode is None and time.monotonic() < deadline
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (killed / "finetuned.json").exists()
    for folder in (killed, tmp_path / "whole"):
        assert ofa(*words, "-o", folder).code == 0
    outcomes = [json.loads((tmp_path / name / "finetuned.json").read_text()) for name in ("killed", "whole")]
    assert outcomes[0] == outcomes[1]


@pytest.mark.slow
def test_the_pipeline_fine_tunes_its_winners(ofa: Any, run: Path, tiny: Path) -> None:
    words = ("run", tiny, "--runs", run.parent, "--set", "export.finetune_epochs=1")
    answer = ofa(*words)
    assert answer.code == 0, answer.err
    for budget in json.loads((run / "search.json").read_text())["budgets"]:
        report = json.loads((run / "specialized" / budget["name"] / "report.json").read_text())
        assert report["finetuning"]["epochs"] == 1
        assert (run / "finetuned" / budget["winner"]["key"] / "finetuned.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (run / "finetuned").rglob("*")}
    assert ofa(*words).code == 0
    assert {path: path.stat().st_mtime_ns for path in (run / "finetuned").rglob("*")} == before


def test_alone_beside_the_supernet(ofa: Any, run: Path, tiny: Path) -> None:
    key = read_lines(run / "records.jsonl", "records")[0]["key"]
    answer = ofa("train", tiny, "--run", run, "--alone", key, "--set", "train.epochs=1", "--json")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    assert facts["run"] == str(run / "alone" / key)
    assert set(facts["selection"]) == {"recalibrated", "batch_statistics"}
    assert yaml.safe_load((run / "alone" / key / "config.yaml").read_text())["train"]["phases"][0]["name"] == "alone"


@pytest.mark.parametrize("command", ["finetune", "train"])
def test_help_names_the_forms_of_arch(ofa: Any, command: str) -> None:
    assert "largest or smallest" in " ".join(ofa(command, "--help").out.replace("│", " ").split())
