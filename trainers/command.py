"""What `python -m trainers` and `ofa train` both do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from search_spaces.common.errors import in_file
from search_spaces.common.files import write_text
from trainers.settings.train import TrainingConfig, load_training_config, read_config


def train_from_file(config_file: Path, overrides: Sequence[str] = (), run: Path | None = None) -> Path:
    """Train the supernet of a config file into `run` (default `runs/NAME`) and return that folder.

    The resolved config is kept in the folder as config.yaml, with the sections of later stages.
    """
    config = load_training_config(config_file, overrides)
    run = run or Path("runs") / config.name
    with in_file(config_file):
        train_config(config, read_config(config_file, overrides), run)
    return run


def train_alone(
    config_file: Path, overrides: Sequence[str], run: Path | None, which: str
) -> tuple[Path, dict[str, Any]]:
    """Train one network of the config's space from scratch; (its folder RUN/alone/KEY, what it scores).

    `which` is what `find_architecture` takes; records and search are those of `run` (default `runs/NAME`).
    """
    config = load_training_config(config_file, overrides)
    run = run or Path("runs") / config.name
    from search_spaces import get_space
    from trainers.alone import FOLDER, alone_config, score_alone
    from trainers.architectures import find_architecture
    from trainers.data import keep_loaded, load_data

    with in_file(config_file), keep_loaded():
        data = load_data(config.data, seed=config.seed)
        space = get_space(config.space, num_classes=data.num_classes, in_channels=data.in_channels)
        architecture = find_architecture(which, space, run, key="--alone")
        alone = alone_config(config, space, architecture)
        sections = {"space": alone.space, "train": alone.train.model_dump(mode="json", exclude_none=True)}
        folder = run / FOLDER / architecture.key
        train_config(alone, {**read_config(config_file, overrides), **sections}, folder)
        return folder, (score_alone(folder, data, batch_size=alone.train.group_size) if is_first() else {})


def train_config(config: TrainingConfig, written: Mapping[str, Any], run: Path) -> None:
    """Train `config` into `run`, where `written` is kept as config.yaml."""
    from trainers.training import check_same_training, is_finished, train

    check_same_training(config, run)
    resolved, writes = run / "config.yaml", not is_finished(config, run) and is_first()
    text = yaml.safe_dump(dict(written), sort_keys=False)
    if writes and not resolved.exists():
        write_text(resolved, text)
    train(config, run)
    if writes:  # an older one stays until the training it belongs to was taken up
        write_text(resolved, text)


def is_first() -> bool:
    """Whether this is the process that writes: rank 0 under torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"
