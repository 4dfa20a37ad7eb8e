"""Damaged, foreign and hostile weight files: told apart, refused in one line, and never run."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json
from search_spaces.supernet import build_supernet
from trainers import milestones
from trainers.checkpoints.store import (
    checkpoint_steps,
    load_supernet,
    newest_checkpoint,
    weights_digest,
    write_checkpoint,
)
from trainers.settings.train import TrainingConfig
from trainers.training import check_same_training, train

MakeConfig = Callable[..., TrainingConfig]


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def trained(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained")
    train(make_config(max_steps=2, checkpoint_every=1), run)
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def edit_json(path: Path, **changes: Any) -> None:
    """As one who means it: without the hash that a checkpoint's description has of itself."""
    info = json.loads(path.read_text())
    info.pop("info_sha256", None)
    path.write_text(json.dumps({**info, **changes}))


def test_loads_what_was_trained(run: Path) -> None:
    loaded = load_supernet(run)
    assert loaded.weights_sha256 == weights_digest(loaded.supernet.state_dict()) == loaded.info["weights_sha256"]
    assert not loaded.supernet.training and loaded.space.fingerprint == loaded.info["fingerprint"]


def test_truncated_at_any_length(run: Path) -> None:
    file = run / "supernet.safetensors"
    whole = file.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"supernet.safetensors: this supernet is truncated, damaged"):
            load_supernet(run)


def test_changed_values_are_noticed(run: Path) -> None:
    file = run / "supernet.safetensors"
    changed = bytearray(file.read_bytes())
    changed[-5] ^= 1
    file.write_bytes(changed)
    with pytest.raises(UserError, match="One of the two files was replaced or damaged"):
        load_supernet(run)


def test_hostile_pickles_are_refused(run: Path, tmp_path: Path) -> None:
    zipped = io.BytesIO()
    torch.save({"weight": Hostile(tmp_path / "zip")}, zipped)
    for data in (pickle.dumps(Hostile(tmp_path / "plain")), zipped.getvalue()):
        (run / "supernet.safetensors").write_bytes(data)
        with pytest.raises(UserError, match="pickled files are refused"):
            load_supernet(run)
    (run / "supernet.json").write_bytes(pickle.dumps(Hostile(tmp_path / "plain")))
    with pytest.raises(UserError, match="not valid JSON"):
        load_supernet(run)
    assert not (tmp_path / "plain").exists() and not (tmp_path / "zip").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 7}, "schema: not a supernet description of schema 1"),
        ({"fingerprint": "0" * 12}, "fingerprint: is of space 000000000000"),
        ({"weights_sha256": 3}, "weights_sha256: missing"),
        ({"space": {"name": "x"}}, "not the description of a search space"),
        ({"weights_sha256": "0" * 64}, "supernet.json was written for 000000000000"),
    ],
)
def test_damaged_description(run: Path, change: dict[str, Any], message: str) -> None:
    edit_json(run / "supernet.json", **change)
    with pytest.raises(UserError, match=message):
        load_supernet(run)


def test_weights_of_another_space(run: Path) -> None:
    loaded = load_supernet(run)
    tensors = {name: tensor.contiguous() for name, tensor in loaded.supernet.state_dict().items()}
    first = next(iter(tensors))
    wrong = {
        "missing": {name: tensor for name, tensor in tensors.items() if name != first},
        "unknown": tensors | {"more": torch.zeros(1)},
        "instead of": tensors | {first: torch.zeros(1, 2)},
    }
    for message, content in wrong.items():
        safetensors.torch.save_file(content, run / "supernet.safetensors")
        with pytest.raises(UserError, match=f"weights of another space.*{message}"):
            load_supernet(run)


def test_no_supernet_yet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no trained supernet here.*ofa train"):
        load_supernet(tmp_path)


def test_truncated_newest_checkpoint_falls_back_with_a_warning(
    run: Path, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = read_json(run / "supernet.json", "supernet")["weights_sha256"]
    (run / "supernet.json").unlink()
    newest = run / "checkpoints" / "step-00000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    train(make_config(max_steps=2, checkpoint_every=1), run)
    warning = capsys.readouterr().err
    assert "warning" in warning and "step-00000002.safetensors: truncated or damaged" in warning
    assert read_json(run / "supernet.json", "supernet")["weights_sha256"] == digest
    assert newest_checkpoint(run / "checkpoints")[1] == []  # the damaged one has been replaced


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda tensors, _: tensors.write_bytes(b""), r"safetensors: truncated or damaged"),
        (lambda tensors, _: flip(tensors, -5), r"safetensors: truncated or damaged"),
        (lambda tensors, _: flip(tensors, 3), r"safetensors: truncated or damaged"),
        (lambda tensors, _: tensors.unlink(), r"safetensors: its tensors are gone"),
        (
            lambda _, described: described.write_bytes(described.read_bytes()[:99]),
            r"json: not a checkpoint description",
        ),
        (lambda _, described: described.write_bytes(b"\x80\x04\xff"), r"json: not a checkpoint description"),
        (lambda _, described: described.write_text("[]"), r"json: not a checkpoint description of schema 1"),
        (lambda _, described: described.write_text("{}"), r"json: not a checkpoint description of schema 1"),
        (lambda _, described: change(described, '"step": 2', '"step": 3'), r"json: damaged"),
        (lambda _, described: change(described, '"seed": 0', '"seed": 4'), r"json: damaged"),
    ],
)
def test_any_damage_falls_back_to_the_checkpoint_before(
    run: Path,
    make_config: MakeConfig,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path, Path], None],
    told: str,
) -> None:
    digest = read_json(run / "supernet.json", "supernet")["weights_sha256"]
    (run / "supernet.json").unlink()
    newest = run / "checkpoints" / "step-00000002.safetensors"
    damage(newest, newest.with_suffix(".json"))
    checkpoint, problems = newest_checkpoint(run / "checkpoints")
    assert checkpoint is not None and checkpoint.step == 1 and len(problems) == 1
    config = make_config(max_steps=2, checkpoint_every=1)
    check_same_training(config, run)
    train(config, run)
    warning = capsys.readouterr().err
    assert warning.startswith("warning: ") and warning.count("\n") == 1
    assert re.search(rf"step-00000002\.{told}", warning), warning
    assert read_json(run / "supernet.json", "supernet")["weights_sha256"] == digest


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_no_whole_checkpoint_is_an_error(run: Path, make_config: MakeConfig) -> None:
    (run / "supernet.json").unlink()
    for file in (run / "checkpoints").glob("*.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 2 checkpoints can be read.*delete this folder"):
        train(make_config(max_steps=2), run)
    assert len(list((run / "checkpoints").iterdir())) == 4  # nothing was deleted


def test_hostile_checkpoint_with_a_matching_hash(run: Path, tmp_path: Path) -> None:
    from search_spaces.common.files import file_digest

    for file in (run / "checkpoints").glob("*.safetensors"):
        file.write_bytes(pickle.dumps(Hostile(tmp_path / "made")))
        edit_json(file.with_suffix(".json"), sha256=file_digest(file))
    with pytest.raises(UserError, match="pickled files are refused"):
        newest_checkpoint(run / "checkpoints")
    assert not (tmp_path / "made").exists()


def test_tensors_without_their_json_are_no_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5, {"a": torch.ones(2)}, {}, keep=2)
    (tmp_path / "step-00000009.safetensors").write_bytes(b"half")
    checkpoint, problems = newest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 5 and problems == []


def test_last_k_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        write_checkpoint(tmp_path, step, {"a": torch.full((2,), float(step))}, {"note": step}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-0000000{step}.{suffix}" for step in (3, 4) for suffix in ("json", "safetensors")
    ]
    write_checkpoint(tmp_path, 4, {"a": torch.full((2,), 4.0)}, {"note": 4}, keep=1)
    assert checkpoint_steps(tmp_path) == [3, 4]  # the one before stays: whether the newest is good is not known yet
    checkpoint, _ = newest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.info["note"] == 4 and checkpoint.tensors["a"].tolist() == [4, 4]


def test_full_disk_keeps_the_old_checkpoint(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search_spaces.common import files

    real = os.fsync
    monkeypatch.setattr(milestones, "evaluation_due", lambda *_: False)

    def full(descriptor: int) -> None:
        if (tmp_path / "checkpoints" / "step-00000002.json").exists():
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device"):
        train(make_config(checkpoint_every=2, log_every=1000), tmp_path)
    monkeypatch.undo()
    checkpoint, problems = newest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None and checkpoint.step == 2 and problems == []
    assert not list((tmp_path / "checkpoints").glob(".*.tmp"))


def test_digest_is_of_values_not_of_layout(space: Any) -> None:
    state = build_supernet(space, seed=0).state_dict()
    other = {
        name: tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        for name, tensor in reversed(state.items())
    }
    assert weights_digest(state) == weights_digest(other)
    name = next(iter(state))
    assert weights_digest({**state, name: state[name] + 1}) != weights_digest(state)
