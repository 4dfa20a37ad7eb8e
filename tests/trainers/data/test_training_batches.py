"""Training batches are a function of (seed, step, row): any partition, any process, any start, memory or stream."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces.common.errors import UserError

ALL = {
    "crop_padding": 2,
    "flip": True,
    "vertical_flip": True,
    "rotate": 15,
    "translate": 0.1,
    "scale": [0.8, 1.2],
    "shear": 8,
    "color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
    "erase": {"probability": 0.5},
    "random_resized_crop": {},
    "random_augment": {"num_ops": 2, "magnitude": 9},
}
SMALL = {"num_classes": 3, "num_images": 60, "image_size": 13}

CHILD = """
import hashlib, sys
from trainers.data import load_data
from trainers.settings.data import DataSettings
data = load_data(DataSettings.model_validate_json(sys.argv[1]), seed=3)
state = hashlib.sha256()
for x, labels in data.training_stream(start_step=2, num_steps=3, batch_size=16):
    state.update(x.numpy().tobytes() + labels.numpy().tobytes())
print(state.hexdigest(), data.split_sha256["test"])
"""


def equal(batch: Any, other: Any) -> bool:
    return torch.equal(batch[0], other[0]) and torch.equal(batch[1], other[1])


@pytest.mark.parametrize("memory", ["memory", "stream"])
@pytest.mark.parametrize("cuts", [[0, 8, 16], [0, 1, 2, 16], [0, 5, 15, 16]])
def test_rows_make_the_whole_batch(load: Any, memory: str, cuts: list[int]) -> None:
    data = load(**SMALL, memory=memory, augment=ALL)
    whole = data.train_step(step=4, batch_size=16)
    parts = [data.train_step(step=4, batch_size=16, rows=slice(*pair)) for pair in pairwise(cuts)]
    assert equal(whole, [torch.cat(tensors) for tensors in zip(*parts, strict=True)])
    strided = data.train_step(step=4, batch_size=16, rows=slice(1, None, 3))
    assert equal(strided, [tensor[1::3] for tensor in whole])


def test_rows_of_grey_images_with_one_row_at_a_time(load: Any) -> None:
    augment = {**ALL, "color_jitter": {"brightness": 0.3, "contrast": 0.3}}
    data = load(**SMALL, channels=1, augment=augment)
    whole = data.train_step(step=0, batch_size=8)
    assert whole[0].shape == (8, 1, 13, 13)
    for row in range(8):
        single = data.train_step(step=0, batch_size=8, rows=slice(row, row + 1))
        assert equal(single, [tensor[row : row + 1] for tensor in whole])


@pytest.mark.slow
def test_two_processes_agree(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """This one and a new Python, whose hashes of strings are others."""
    script, settings = tmp_path / "child.py", json.dumps({"name": "synthetic", **SMALL, "augment": ALL})
    script.write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(script), settings]
    first = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=300).stdout
    monkeypatch.setattr(sys, "argv", command[1:])
    runpy.run_path(str(script))
    second = capsys.readouterr().out
    assert first == second and len(first.split()) == 2
    assert first.split()[1] == load(**SMALL, seed=9).split_sha256["test"]


@pytest.mark.parametrize(("memory", "workers"), [("memory", 0), ("stream", 0), ("stream", 2)])
def test_resuming_at_any_step_equals_going_on(load: Any, memory: str, workers: int) -> None:
    data = load(**SMALL, memory=memory, workers=workers, augment=ALL, split={"test": 6})
    assert data.streamed == (memory == "stream")
    whole = list(data.training_stream(start_step=0, num_steps=7, batch_size=16, rows=slice(2, 9)))
    assert data.steps_per_epoch(16) == 2  # so the steps cross epochs
    rest = list(data.training_stream(start_step=3, num_steps=4, batch_size=16, rows=slice(2, 9)))
    assert len(whole) == 7 and all(equal(*pair) for pair in zip(whole[3:], rest, strict=True))
    assert equal(data.train_step(step=5, batch_size=16, rows=slice(2, 9)), whole[5])


def test_memory_and_stream_agree(load: Any, make_folder: Any) -> None:
    """But for random resized crops, which streaming cuts from the whole image."""
    folder = make_folder({"a": 12, "b": 9})
    augment = {key: value for key, value in ALL.items() if key != "random_resized_crop"}
    memory, stream = (
        load("image_folder", path=str(folder), image_size=12, memory=memory, augment=augment)
        for memory in ("memory", "stream")
    )
    assert memory.split_sha256 == stream.split_sha256
    assert (memory.mean, memory.std) == (stream.mean, stream.std)
    assert equal(memory.train_step(step=1, batch_size=5), stream.train_step(step=1, batch_size=5))
    for pair in zip(*(d.batches("selection", batch_size=3, resolution=10) for d in (memory, stream)), strict=True):
        assert equal(*pair)


def test_an_epoch_shows_every_image_once(load: Any) -> None:
    data = load(**SMALL, split={"calibration": 6, "selection": 6, "test": 8})
    steps = data.steps_per_epoch(8)
    assert steps * 8 == data.num_train
    original = torch.cat([x for x, _ in data.batches("train", batch_size=9)])
    for epoch in range(2):
        shown = [x for x, _ in data.training_stream(start_step=epoch * steps, num_steps=steps, batch_size=8)]
        assert sorted(map(hash_of, torch.cat(shown))) == sorted(map(hash_of, original))


def hash_of(image: torch.Tensor) -> int:
    return hash(image.numpy().tobytes())


def test_labels_belong_to_their_images(load: Any) -> None:
    data = load(**SMALL, memory="stream", workers=2)
    known = {
        hash_of(x): int(label)
        for xs, labels in data.batches("train", batch_size=7)
        for x, label in zip(xs, labels, strict=True)
    }
    for xs, labels in data.training_stream(start_step=0, num_steps=4, batch_size=10):
        assert [known[hash_of(x)] for x in xs] == labels.tolist()


def test_epochs_seeds_and_steps_differ(load: Any) -> None:
    data = load(**SMALL, augment={"crop_padding": 2})
    steps = data.steps_per_epoch(12)
    batches = [
        data.train_step(step=step, seed=seed, batch_size=12) for step, seed in ((0, 0), (steps, 0), (0, 1), (1, 0))
    ]
    assert not any(torch.equal(batches[0][0], other[0]) for other in batches[1:])
    assert equal(data.train_step(step=0, batch_size=12), batches[0])  # the seed it was loaded with


def test_rows_do_not_depend_on_the_number_of_rows_drawn() -> None:
    from trainers.data.order import step_uniforms

    small = step_uniforms(seed=1, step=2, batch_size=8, rows=slice(None))
    large = step_uniforms(seed=1, step=2, batch_size=64, rows=slice(0, 8))
    assert np.array_equal(small, large) and small.dtype == np.float32
    assert small.min() >= 0 and small.max() < 1


def test_reading_leaves_the_global_random_state_alone(load: Any) -> None:
    data = load(**SMALL, memory="stream", workers=1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(data.training_stream(start_step=0, num_steps=2, batch_size=4))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_larger_than_the_train_split(load: Any) -> None:
    data = load(**SMALL)
    with pytest.raises(UserError, match=r"train\.batch_size: .* 36 training images \(got 37\)"):
        data.training_stream(start_step=0, num_steps=1, batch_size=37)
