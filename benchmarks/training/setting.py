"""What the experiment trains on, how long and how often: all of its sizes in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.peer.process import ROOT
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from trainers.settings.train import TrainingConfig

RESULTS = ROOT / "benchmarks" / "results" / "training"
WORK = ROOT / "runs" / "benchmark_training"


@dataclass(frozen=True)
class Setting:
    """Space, data and hyper-parameters that all trainings share. The budget is that of recipe `reference`.

    `space`, `data` and `train` are sections of a config, without recipe, epochs and the path of the data. `epochs` is
    how long `reference` trains.
    """

    space: Mapping[str, Any]
    data: Mapping[str, Any]
    train: Mapping[str, Any]
    epochs: float
    alone_epochs: tuple[float, ...] = ()
    """How long networks alone train, the shortest first; left out: `epochs`, as many as the largest subnet sees in
    `reference`.
    """
    reference: str = "sandwich"
    recipe_seeds: tuple[int, ...] = (0, 1, 2)
    alone_seeds: tuple[int, ...] = (0, 1)
    num_evaluated: int = 32
    """Subnets that every supernet is judged by: the smallest, the largest, and others spread evenly over log MACs."""
    num_alone: int = 12
    """How many of them are trained alone, too."""
    architecture_seed: int = 0
    num_classes: int = 10
    in_channels: int = 3
    file: str | None = None
    """Data file in the folder that OFA_BENCH_DATA names (None: the data set needs none)."""
    finetune: Mapping[str, Any] = field(default_factory=dict)
    """Overrides of `train` for subnets that are trained on alone."""
    finetune_share: float = 0.1
    """Epochs of that as a share of the shortest training of a network alone."""
    finetune_distillation: str = "teacher"
    """`teacher`: they learn from the largest subnet of their supernet, too; `none`: from the labels alone."""

    @property
    def lengths_alone(self) -> tuple[float, ...]:
        return self.alone_epochs or (self.epochs,)

    @property
    def steps_per_epoch(self) -> int:
        split = self.data["split"]
        pool = self.data["limit"] if "limit" in self.data else self.data["num_images"] - split["test"]
        num_train = pool - split["calibration"] - split["selection"]
        return int(num_train) // int(self.train["batch_size"])

    def build_space(self, overrides: Mapping[str, Any] | None = None) -> SearchSpace:
        return get_space({**self.space, **(overrides or {})}, self.num_classes, self.in_channels)

    def config(self, name: str, *, seed: int, space: Mapping[str, Any], train: Mapping[str, Any]) -> TrainingConfig:
        """The config of one training; raises `UserError` where the data are missing."""
        data = {**self.data, "path": str(data_folder(self.file))} if self.file else dict(self.data)
        sections = {"name": name, "seed": seed, "space": dict(space), "data": data, "train": dict(train)}
        return parse_settings(TrainingConfig, sections, file=f"benchmark cell {name}")


def data_folder(file: str) -> Path:
    """The folder with the data; `UserError` where `file` is missing from it."""
    folder = Path(os.environ.get("OFA_BENCH_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / file).is_file():
        raise UserError("no such file", file=folder / file, hint="Set OFA_BENCH_DATA to the folder that holds it")
    return folder


#: 10^7 networks of 1 to 8 M MACs; 3,000 images to train on: one training takes about 100 seconds of one core.
CIFAR10 = Setting(
    space={
        "name": "mobilenet_v3_digits",
        "resolution": [32],
        "kernel": [3, 5],
        "expand": [2, 3, 5],
        "depth": [1, 2, 3],
        "stem_channels": 16,
        "first_channels": 8,
        "widths": [16, 32, 64],
        "strides": [1, 2, 2],
        "expanded_channels": 192,
        "feature_channels": 192,
        "dropout": 0.0,
    },
    data={
        "name": "cifar10",
        "limit": 6_000,
        "split": {"calibration": 1_000, "selection": 2_000},
        "augment": {"crop_padding": 4, "flip": True},
    },
    train={
        "batch_size": 32,
        "micro_batch": 32,
        "optimizer": {"name": "sgd", "lr": 0.15, "momentum": 0.9, "weight_decay": 5.0e-4},
        "schedule": {"warmup_epochs": 0.5},
        "label_smoothing": 0.1,
        "amp": "off",
        "device": "cpu",
        "log_every": 94,
    },
    epochs=5,
    alone_epochs=(10.0, 23.0),
    file="cifar10_webp.npz",
    finetune={
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 5.0e-4},
        "schedule": {"warmup_epochs": 0.1},
    },
)

#: Ten times the multiply-accumulates, on five times the images: does the order of the recipes hold? About 15 minutes of
#: one core each.
CIFAR10_LONG = replace(
    CIFAR10,
    data={**CIFAR10.data, "limit": 18_000},
    train={**CIFAR10.train, "log_every": 468},
    epochs=10,
    alone_epochs=(20.0,),
    recipe_seeds=(0,),
    alone_seeds=(0,),
)

SETTINGS: Mapping[str, Setting] = {"short": CIFAR10, "long": CIFAR10_LONG}
