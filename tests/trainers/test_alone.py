"""One network alone: only what it needs, the weights it would have had anyway, and the trainer that all others have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from search_spaces import Architecture, SearchSpace, get_space, list_spaces
from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, read_json, write_json
from search_spaces.plain import build_network
from search_spaces.supernet import build_supernet
from trainers import training
from trainers.__main__ import main
from trainers.alone import alone_config, evaluate_by_batch
from trainers.architectures import find_architecture, restriction_to
from trainers.checkpoints.store import load_supernet
from trainers.data import ImageData
from trainers.evaluation.evaluate import evaluate_architecture
from trainers.settings.train import TrainingConfig
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]


def some(space: SearchSpace, seed: int = 1) -> Architecture:
    return space.decode(space.sample(1, np.random.default_rng(seed)))[0]


#: the same blocks as in autoformer_tiny, and many more of their numbers
LARGE = {"autoformer_small", "autoformer_base"}


#: full size, of a family that a smaller space stands for
FULL_SIZE = {"ofa_mobilenet_v3", "mobilenet_v3_compound", "ofa_proxyless_nas", "autoformer_tiny"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=(pytest.mark.slow,) if name in FULL_SIZE else ())
        for name in sorted({*list_spaces()} - LARGE)
    ],
)
def test_the_supernet_of_one_network_is_that_network(name: str) -> None:
    space = get_space({"name": name}, num_classes=3)
    for architecture in (some(space), *space.decode(space.smallest())):
        alone = space.restrict(restriction_to(space, architecture))
        assert alone.size == 1 and alone.decode(alone.largest()) == [architecture]
        supernet = build_supernet(alone, seed=5)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            network = build_network(space, architecture)
        operators = dict(space.network(architecture))
        taking_turns = tuple(name for name, op in operators.items() if getattr(op, "form", None) == "hilo")
        theirs = {key: tensor for key, tensor in network.state_dict().items() if not key.startswith(taking_turns)}
        ours = {key.removeprefix("slots."): tensor for key, tensor in supernet.state_dict().items()}
        assert {key for key in ours if not key.startswith(taking_turns)} == theirs.keys()
        if not taking_turns:  # their layers are cut in two, and draw other weights
            assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())
        supernet.slots.load_state_dict(network.state_dict())
        for name, op in operators.items():
            for key, tensor in supernet.slots[name].slices(op):
                assert torch.equal(tensor, network.state_dict()[f"{name}.{key}"])
        assert sum(p.numel() for p in supernet.parameters()) == space.cost("params").evaluate(
            space.encode([architecture])
        )
        supernet.sort_channels()


def test_it_is_the_same_trainer_interrupted_or_not(
    make_config: MakeConfig, space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = alone_config(make_config(checkpoint_every=2, ema_decay=0.9), space, some(space))
    train(config, tmp_path / "whole")
    real = training.accumulate_gradients

    def dying(*args: Any, **kwargs: Any) -> torch.Tensor:
        if kwargs["step"] == 5:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "accumulate_gradients", dying)
        train(config, tmp_path / "broken")
    train(config, tmp_path / "broken")
    found = [read_json(tmp_path / run / "supernet.json", "supernet") for run in ("whole", "broken")]
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"] and found[0]["step"] == 14
    loaded = load_supernet(tmp_path / "whole")
    assert loaded.space.decode(loaded.space.largest()) == [some(space)]


def test_epochs_are_those_of_the_whole_plan(make_config: MakeConfig, space: SearchSpace) -> None:
    phases = [
        {"name": "a", "epochs": 2, "sampling": "largest"},
        {"name": "b", "epochs": 1.5, "distillation": "teacher"},
    ]
    alone = alone_config(make_config(phases=phases), space, some(space))
    assert alone.train.phases is not None and alone.train.recipe is None
    (phase,) = alone.train.phases
    assert (phase.epochs, phase.sampling, phase.distillation) == (3.5, "largest", "none")


def test_the_command(make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(make_config(epochs=1).model_dump(mode="json", exclude_none=True)))
    run = tmp_path / "run"
    assert main([str(file), "--run-dir", str(run), "--alone", "smallest"]) == 0
    (folder,) = (run / "alone").iterdir()
    score = json.loads((folder / "alone.json").read_text())
    assert folder.name == score["key"] and score["key"] in capsys.readouterr().out
    kept = yaml.safe_load((folder / "config.yaml").read_text())
    assert main([str(folder / "config.yaml"), "--run-dir", str(folder)]) == 0  # the folder's config is that training
    assert kept["space"]["restrict"]["resolution"] == [12]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main([str(file), "--run-dir", str(run), "--alone", "smallest"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    capsys.readouterr()
    assert main([str(file), "--run-dir", str(run), "--alone", "smalest"]) == 2
    error = capsys.readouterr().err
    assert re.search(r"--alone: unknown architecture 'smalest'\. Did you mean 'smallest'\?", error), error


def test_by_batch_or_recalibrated(make_config: MakeConfig, space: SearchSpace, tmp_path: Path, data: ImageData) -> None:
    """Both statistics say the same of a trained network, and neither is that of untouched running statistics."""
    config = alone_config(make_config(epochs=10, optimizer={"lr": 0.1}), space, some(space))
    train(config, tmp_path)
    loaded = load_supernet(tmp_path)
    architecture = some(space)
    network = loaded.supernet.extract(architecture)
    size, side = data.size("selection"), architecture.resolution
    by_batch = evaluate_by_batch(network, data.batches("selection", resolution=side, batch_size=size - 1), size - 1)
    assert by_batch.num_images == size and by_batch.accuracy > 0.8  # a last batch of one image has no variance
    assert evaluate_architecture(loaded, architecture, data).accuracy > 0.8


def test_words_for_architectures(space: SearchSpace, tmp_path: Path) -> None:
    architecture, other = some(space), some(space, seed=2)
    file = tmp_path / "a.json"
    write_json(file, architecture.to_json())
    assert find_architecture(str(file), space, tmp_path) == architecture
    with pytest.raises(UserError, match="a key of the 0 in the run's records and search"):
        find_architecture(architecture.key, space, tmp_path)
    append_line(tmp_path / "records.jsonl", {"key": architecture.key, "architecture": architecture.to_json()})
    winner = {"key": other.key, "architecture": other.to_json()}
    write_json(tmp_path / "search.json", {"budgets": [{"name": "fast", "winner": winner}]})
    assert find_architecture(architecture.key, space, tmp_path) == architecture
    assert find_architecture("fast", space, tmp_path) == find_architecture(other.key, space, tmp_path) == other
    foreign = tmp_path / "foreign.json"
    write_json(foreign, {"resolution": 224, "depth": [4]})
    with pytest.raises(UserError, match=r"foreign\.json"):
        find_architecture(str(foreign), space, tmp_path)


@pytest.mark.parametrize(
    ("restrict", "message"),
    [
        ([3], r"space\.restrict: is a mapping"),
        ({"kernels": [3]}, r"unknown gene or group 'kernels'.*Did you mean 'kernel'"),
        ({"kernel": [9]}, r"space\.restrict\.kernel: 9 is not an option"),
    ],
)
def test_mistakes_in_a_restriction(restrict: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        get_space({"name": "mobilenet_v3_digits", "restrict": restrict})
