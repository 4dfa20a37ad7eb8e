"""What `python -m trainers` and `ofa train` both do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from search_spaces.common.errors import in_file
from search_spaces.common.files import write_text
from trainers.settings import load_training_config, read_config


def train_from_file(config_file: Path, overrides: Sequence[str] = (), run: Path | None = None) -> Path:
    """Train the supernet of a config file into `run` (default `runs/NAME`) and return that folder.

    The resolved config is kept in the folder as config.yaml, with the sections of later stages.
    """
    config = load_training_config(config_file, overrides)
    run = run or Path("runs") / config.name
    from trainers.training import check_same_training, is_finished, train

    with in_file(config_file):
        check_same_training(config, run)
        resolved, writes = run / "config.yaml", not is_finished(config, run) and os.environ.get("RANK", "0") == "0"
        text = yaml.safe_dump(read_config(config_file, overrides), sort_keys=False)
        if writes and not resolved.exists():
            write_text(resolved, text)
        train(config, run)
        if writes:  # an older one stays until the training it belongs to was taken up
            write_text(resolved, text)
    return run
