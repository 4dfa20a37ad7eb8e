"""Whole trainings on tiny data: interrupted ones end bit-equal, finished ones are left alone, bad ones stop in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, read_lines
from trainers import training
from trainers.checkpoints.store import load_supernet
from trainers.data import ImageData
from trainers.evaluation.evaluate import evaluate_architecture
from trainers.settings.train import TrainingConfig
from trainers.training import is_finished, train

MakeConfig = Callable[..., TrainingConfig]


class Killed(BaseException):
    """Stands for kill -9: nothing in the code catches it."""


def train_until(config: TrainingConfig, run: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train and die in the middle of `step`."""
    real = training.accumulate_gradients

    def dying(*args: Any, **kwargs: Any) -> torch.Tensor:
        losses = real(*args, **kwargs)
        if kwargs["step"] == step:
            raise Killed
        return losses

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "accumulate_gradients", dying)
        train(config, run)


def weights(run: Path) -> str:
    return str(read_json(run / "supernet.json", "supernet")["weights_sha256"])


@pytest.mark.parametrize(
    "settings",
    [
        {"recipe": "sandwich", "ema_decay": 0.9},
        pytest.param(
            {"recipe": "random_subnets", "optimizer": {"name": "adamw", "lr": 0.003}, "clip_grad_norm": 1.0},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"recipe": "progressive_shrinking", "epochs": 3, "ema_decay": 0.9, "schedule": {"warmup_epochs": 0.5}},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"recipe": "progressive_shrinking", "epochs": 3, "optimizer": {"name": "momentum"}, "channels_last": False},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {
                "recipe": "sandwich",
                "augment": {"random_augment": {}},
                "mixing": {"mixup": 0.2, "cutmix": 1.0, "probability": 0.8},
                "class_weights": "balanced",
                "drop_path": 0.3,
            },
            marks=pytest.mark.slow,
        ),
    ],
)
def test_interrupted_training_ends_bit_equal(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """Killed at, after and far from checkpoints and phase boundaries; checkpoints at other steps each time."""
    config = make_config(**settings, checkpoint_every=1000)
    train(config, tmp_path / "whole")
    num_steps = read_json(tmp_path / "whole" / "supernet.json", "supernet")["step"]
    broken = tmp_path / "broken"
    for every, step in ((1, 1), (3, 7), (1, 8), (2, num_steps - 1)):
        train_until(make_config(**settings, checkpoint_every=every), broken, step, monkeypatch)
    train(make_config(**settings, checkpoint_every=5), broken)
    assert weights(broken) == weights(tmp_path / "whole")

    def lines(run: Path) -> list[Any]:
        return [
            {k: v for k, v in line.items() if k != "images_per_second"}
            for line in read_lines(run / "training.jsonl", "log")
        ]

    assert lines(broken) == lines(tmp_path / "whole")
    assert len(list((broken / "checkpoints").glob("step-*.json"))) <= 2


def test_other_seeds_train_other_weights(make_config: MakeConfig, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(make_config(seed=seed, epochs=0.3), tmp_path / str(seed))
    assert weights(tmp_path / "0") != weights(tmp_path / "1")


def test_it_learns(make_config: MakeConfig, tmp_path: Path, data: ImageData) -> None:
    """The largest and the smallest subnet both leave chance (1/3) far behind, from one supernet."""
    config = make_config(epochs=12, optimizer={"lr": 0.1}, ema_decay=0.9, schedule={"warmup_epochs": 2})
    train(config, tmp_path)
    loaded = load_supernet(tmp_path)
    for row in (loaded.space.largest(), loaded.space.smallest()):
        (architecture,) = loaded.space.decode(row)
        assert evaluate_architecture(loaded, architecture, data).accuracy > 0.8
    evaluation = read_lines(tmp_path / "training.jsonl", "log")[-1]
    assert evaluation["kind"] == "evaluation" and evaluation["largest"]["accuracy"] > 0.8
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_progressive_shrinking_trains_only_what_is_open(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: SearchSpace
) -> None:
    seen: dict[str, set[Any]] = {}
    teachers = []
    real = training.accumulate_gradients

    def spying(supernet: Any, teacher: Any, subnets: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        name = kwargs["settings"].phase.settings.name
        seen.setdefault(name, set()).update(subnet.architecture for subnet in subnets)
        if teacher is not None:
            teachers.append(torch.cat([p.flatten() for p in teacher.parameters()]))
        return real(supernet, teacher, subnets, *args, **kwargs)

    monkeypatch.setattr(training, "accumulate_gradients", spying)
    train(make_config(recipe="progressive_shrinking", epochs=6), tmp_path)
    assert list(seen) == ["largest", "kernel", "depth_2", "expand_1", "expand_2"]
    values = {
        name: {
            part: {v for a in found for v in a.values[part] if v is not None} for part in ("kernel", "depth", "expand")
        }
        for name, found in seen.items()
    }
    assert values["largest"] == {"kernel": {5}, "depth": {2}, "expand": {4}}
    assert values["kernel"] == {"kernel": {3, 5}, "depth": {2}, "expand": {4}}
    assert values["depth_2"] == {"kernel": {3, 5}, "depth": {1, 2}, "expand": {4}}
    assert values["expand_1"] == {"kernel": {3, 5}, "depth": {1, 2}, "expand": {3, 4}}
    assert values["expand_2"] == {"kernel": {3, 5}, "depth": {1, 2}, "expand": {2, 3, 4}}
    assert all(torch.equal(teacher, teachers[0]) for teacher in teachers)  # frozen


def test_finished_training_is_left_alone(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(max_steps=2)
    assert not is_finished(config, tmp_path)
    train(config, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    train(make_config(max_steps=2, log_every=7, checkpoint_every="5s"), tmp_path)  # how it is watched does not matter
    assert is_finished(config, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_folder_of_another_training_is_refused(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(make_config(max_steps=2), tmp_path / "finished")
    with pytest.raises(
        UserError, match=r"supernet.json.*train.label_smoothing is 0.1 there and 0.2 here.*another name"
    ):
        train(make_config(max_steps=2, label_smoothing=0.2), tmp_path / "finished")
    train_until(make_config(checkpoint_every=1), tmp_path / "started", 2, monkeypatch)
    with pytest.raises(UserError, match=r"step-00000002.json.*seed is 0 there and 1 here"):
        train(make_config(seed=1), tmp_path / "started")


def test_loss_that_is_no_number_stops_the_run(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = training.accumulate_gradients

    def exploding(supernet: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if kwargs["step"] == 6:
            with torch.no_grad():
                next(supernet.parameters()).mul_(float("nan"))
        return real(supernet, *args, **kwargs)

    monkeypatch.setattr(training, "accumulate_gradients", exploding)
    with pytest.raises(
        UserError, match=r'loss of the largest subnet .*"?resolution.* became nan at step 6 .*sandwich'
    ) as caught:
        train(make_config(checkpoint_every=3), tmp_path)
    assert caught.value.exit_code == 2
    found = sorted(path.name for path in (tmp_path / "checkpoints").glob("*.json"))
    assert found == ["step-00000003.json"]  # that of step 6 has the weights whose loss is no number
    assert not (tmp_path / "supernet.json").exists()
    monkeypatch.undo()
    train(make_config(checkpoint_every=3), tmp_path)
    train(make_config(), tmp_path / "calm")
    assert weights(tmp_path) == weights(tmp_path / "calm")


def test_supernet_json_tells_what_it_is(
    make_config: MakeConfig, tmp_path: Path, space: SearchSpace, data: ImageData
) -> None:
    train(make_config(max_steps=1), tmp_path)
    info = json.loads((tmp_path / "supernet.json").read_text())
    assert info["schema"] == 1 and info["step"] == 1 and info["seed"] == 0
    assert info["fingerprint"] == space.fingerprint and info["space"] == space.description
    assert info["data"]["split_sha256"] == data.split_sha256 and info["data"]["class_names"] == list(data.class_names)


def test_dropout_and_drop_path_only_where_they_do_something(make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config(max_steps=1, dropout=0.3, drop_path=0.1), tmp_path / "both")
    with pytest.raises(UserError, match=r"train\.drop_path: this space has no residual branch"):
        train(
            make_config(space={**make_config().space, "depth": [1], "first_channels": 24}, max_steps=1, drop_path=0.1),
            tmp_path / "none",
        )


def test_settings_that_are_younger_than_a_run(make_config: MakeConfig, tmp_path: Path) -> None:
    """A run from before there was a setting is the same run while that is off, and another one when it is on."""
    train(make_config(max_steps=1), tmp_path)
    described = tmp_path / "supernet.json"
    info = json.loads(described.read_text())
    del info["inputs"]["train"]["mixing"], info["inputs"]["data"]["augment"]["trivial_augment"]
    described.write_text(json.dumps(info))
    assert is_finished(make_config(max_steps=1), tmp_path)
    with pytest.raises(UserError, match=r"train\.mixing is None there"):
        is_finished(make_config(max_steps=1, mixing={"mixup": 0.2}), tmp_path)
    with pytest.raises(UserError, match=r"data\.augment\.trivial_augment is None there and True here"):
        is_finished(make_config(max_steps=1, augment={"trivial_augment": True}), tmp_path)
