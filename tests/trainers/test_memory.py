"""Long trainings do not grow: what is remembered between steps is bounded, and small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from trainers.settings.train import TrainingConfig

MakeConfig = Callable[..., TrainingConfig]

#: a process of its own: what other tests left in memory would hide what this one takes
MEASURE = """
import json, sys
from pathlib import Path
from trainers import training
from trainers.settings.train import load_training_config

resident, real = {}, training.TrainingState.update

def update(self, phase, step):
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident[step] = pages * 4096 / 2**20
    return real(self, phase, step)

training.TrainingState.update = update
training.train(load_training_config(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps(resident))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_is_flat_over_2000_steps(make_config: MakeConfig, tmp_path: Path) -> None:
    """With several new subnets in every step, checkpoints, evaluations and best weights on the way; once the caches, of
    a thousand networks each, are full. torch.fx keeps the source of every copied network for good: of a hundred
    evaluations, about 3 MiB.
    """
    config = make_config(
        epochs=1000, max_steps=2000, num_subnets=3, ema_decay=0.9, checkpoint_every=100, eval_every=10, log_every=20
    ).model_dump(mode="json")
    config["space"] |= {"depth": [1, 2, 3, 4], "resolution": [12, 16]}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "-c", MEASURE, str(file), str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    resident = {int(step): mebibytes for step, mebibytes in json.loads(done.stdout).items()}
    early, late = (max(resident[step] for step in range(first, first + 100)) for first in (900, 1900))
    assert late - early < 5, f"{early:.1f} MiB at step 1000, {late:.1f} MiB at step 2000"
