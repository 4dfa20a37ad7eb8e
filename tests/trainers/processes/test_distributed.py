"""Two gloo processes train what one process trains, whoever stops when, and whoever goes on; torchrun is one way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_spaces.common.errors import Stopped
from search_spaces.common.files import read_json, read_lines
from tests.processes import Command, run_ranks
from trainers import training
from trainers.checkpoints.store import checkpoint_steps, read_tensors
from trainers.settings.train import TrainingConfig
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]

#: The sums of gradients are taken in another order; over 8 steps these last-digit differences grow to about 1e-6.
TOLERANCE = 2e-5


def command(
    config: TrainingConfig, run: Path, *options: str, signalled: str | None = None
) -> tuple[list[str], dict[str, str]]:
    """A torchrun command over two processes, and its environment. `signalled`: see signalled.py."""
    file = run.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options]
    program = ["-m", "trainers"] if signalled is None else [str(Path(__file__).with_name("signalled.py"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    return [*launcher, *program, str(file), "--run-dir", str(run)], environment | {"SIGNALLED": signalled or ""}


def torchrun(
    config: TrainingConfig, run: Path, *options: str, signalled: str | None = None
) -> subprocess.CompletedProcess[str]:
    words, environment = command(config, run, *options, signalled=signalled)
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600)


def two_ranks(config: TrainingConfig, run: Path, *, signalled: str | None = None) -> Sequence[Command]:
    """The two processes without their launcher. `signalled`: see signalled.py."""
    file = run.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    program = "trainers" if signalled is None else str(Path(__file__).with_name("signalled.py"))
    return run_ranks(program, file, "--run-dir", run, environment={"SIGNALLED": signalled or ""})


def train_two(config: TrainingConfig, run: Path) -> str:
    """Both to their end; what they told."""
    ranks = two_ranks(config, run)
    told = "".join(rank.told for rank in ranks)
    assert [rank.returncode for rank in ranks] == [0, 0], told
    return told


def steps(run: Path) -> list[dict[str, Any]]:
    return [line for line in read_lines(run / "training.jsonl", "log") if line["kind"] == "step"]


def check_same_curve(found: Path, wanted: Path) -> None:
    """The same subnets in every step, and their losses, to 1e-5."""
    pairs = list(zip(steps(found), steps(wanted), strict=True))
    for one, other in pairs:
        assert (one["step"], one["subnets"]) == (other["step"], other["subnets"])
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5), one["step"]
    assert len({tuple(line["subnets"]) for line, _ in pairs}) > len(pairs) / 2


def test_two_processes_equal_one(make_config: MakeConfig, tmp_path: Path) -> None:
    """Over two phases with teacher, average, dropout, channel sorting and every random change of images."""
    phases = [
        {"name": "largest", "epochs": 0.5, "sampling": "largest"},
        {"name": "all", "epochs": 0.6, "num_subnets": 2, "distillation": "teacher", "sort_channels": True},
    ]
    config = make_config(
        phases=phases,
        ema_decay=0.9,
        checkpoint_every=3,
        augment={"crop_padding": 1, "random_augment": {}},
        mixing={"mixup": 0.2, "cutmix": 1.0},
        class_weights="balanced",
        drop_path=0.3,
    )
    train(config, tmp_path / "one")
    train_two(config, tmp_path / "two")
    one, two = (read_tensors(tmp_path / name / "supernet.safetensors", "supernet") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert (tensor - two[name]).abs().max() <= TOLERANCE, name


#: blocks of every form, ranks, patches, and tokens that are dropped
TRANSFORMER: dict[str, Any] = {
    "name": "vit_nano",
    "resolution": [16],
    "patch": [2, 4],
    "embed": [16, 24],
    "depth": [2, 3],
    "mlp": [1, 2],
    "head_dim": 8,
    "selects": [3],
}


@pytest.mark.slow
def test_two_processes_equal_one_on_a_transformer(make_config: MakeConfig, tmp_path: Path) -> None:
    adam = {"name": "adamw", "lr": 0.001, "layer_decay": 0.8}
    config = make_config(
        space=TRANSFORMER, max_steps=12, optimizer=adam, ema_decay=0.9, clip_grad_norm=1.0, log_every=1
    )
    train(config, tmp_path / "one")
    train_two(config, tmp_path / "two")
    check_same_curve(tmp_path / "two", tmp_path / "one")


#: 26 steps of the sandwich rule over 200 images in batches of 16, each step in the log
CURVE: dict[str, Any] = {"epochs": 8, "max_steps": 26, "log_every": 1, "checkpoint_every": 1000}


@pytest.fixture(scope="module")
def curve(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted training of one process."""
    run = tmp_path_factory.mktemp("curve") / "one"
    train(make_config(**CURVE), run)
    return run


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one(make_config: MakeConfig, curve: Path, tmp_path: Path) -> None:
    train_two(make_config(**CURVE), tmp_path / "two")
    check_same_curve(tmp_path / "two", curve)
    assert len(steps(curve)) == 26


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one_for_fifty_steps(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(**{**CURVE, "max_steps": 50})
    train(config, tmp_path / "one")
    assert torchrun(config, tmp_path / "two").returncode == 0
    check_same_curve(tmp_path / "two", tmp_path / "one")
    assert len(steps(tmp_path / "two")) == 50


def test_one_process_of_two_is_stopped_and_one_goes_on(make_config: MakeConfig, curve: Path, tmp_path: Path) -> None:
    """Rank 1 is signalled in step 20, after the sum that tells the others: both end with step 21."""
    run = tmp_path / "run"
    first, second = two_ranks(make_config(**CURVE), run, signalled="20:1:SIGTERM")
    told = "checkpoint saved after step 22 of 26; the same command goes on from there"
    assert f"stopped because another process was asked to: {told}" in first.told
    assert (first.returncode, second.returncode) == (143, 143)
    assert checkpoint_steps(run / "checkpoints") == [22] and not (run / "supernet.json").exists()
    train(make_config(**CURVE), run)
    check_same_curve(run, curve)


def test_one_process_is_stopped_and_two_go_on(
    make_config: MakeConfig, curve: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real = tmp_path / "run", training.accumulate_gradients

    def signalled(*args: Any, **kwargs: Any) -> Any:
        if kwargs["step"] == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="after step 21 of 26"):
        patch.setattr(training, "accumulate_gradients", signalled)
        train(make_config(**CURVE), run)
    train_two(make_config(**CURVE), run)
    check_same_curve(run, curve)


@pytest.mark.slow
def test_torchrun_passes_on_what_it_is_sent(make_config: MakeConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words, environment = command(make_config(epochs=1000, checkpoint_every=100_000), run)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 200
    while not (run / "training.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=100)[1]
    assert process.returncode != 0
    (step,) = checkpoint_steps(run / "checkpoints")
    assert f"stopped by SIGTERM: checkpoint saved after step {step} of 7000" in told


@pytest.mark.slow
def test_torchrun_restarts_and_the_training_goes_on(make_config: MakeConfig, tmp_path: Path) -> None:
    """Rank 1 dies in step 5, and everybody goes on from the checkpoint of step 4."""
    config = make_config(epochs=1, checkpoint_every=2)
    result = torchrun(config, tmp_path / "run", "--max-restarts=1", signalled="5:1:SIGKILL")
    assert result.returncode == 0, result.stderr
    assert torchrun(config, tmp_path / "whole").returncode == 0
    digests = {read_json(tmp_path / name / "supernet.json", "supernet")["weights_sha256"] for name in ("run", "whole")}
    assert len(digests) == 1


def test_a_damaged_checkpoint_on_several_ranks(make_config: MakeConfig, tmp_path: Path) -> None:
    """All go on from the one before, and one of them says so."""
    run, config = tmp_path / "run", make_config(max_steps=4, checkpoint_every=2)
    train(config, run)
    wanted = read_tensors(run / "supernet.safetensors", "supernet")
    (run / "supernet.json").unlink()
    newest = run / "checkpoints" / "step-00000004.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    told = train_two(config, run)
    assert told.count("step-00000004.safetensors: truncated or damaged") == 1
    for name, tensor in read_tensors(run / "supernet.safetensors", "supernet").items():
        assert (tensor - wanted[name]).abs().max() <= TOLERANCE, name
