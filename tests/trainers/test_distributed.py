"""Two gloo processes under torchrun train what one process trains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from trainers.checkpoints import read_tensors
from trainers.settings import TrainingConfig
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]

#: The sums of gradients are taken in another order; over 8 steps these last-digit differences grow to about 1e-6.
TOLERANCE = 2e-5


def torchrun(config: TrainingConfig, run: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = run.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "trainers"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*command, str(file), "--run-dir", str(run), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )


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
    result = torchrun(config, tmp_path / "two")
    assert result.returncode == 0, result.stderr
    one, two = (read_tensors(tmp_path / name / "supernet.safetensors", "supernet") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert (tensor - two[name]).abs().max() <= TOLERANCE, name
