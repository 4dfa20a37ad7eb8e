"""Batches reach the device as they are: on a CPU untouched and never early, on CUDA equal though made ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from trainers.data.prefetch import Batch, prefetch, to_device


def test_a_cpu_makes_nothing_before_it_is_asked_for() -> None:
    made: list[Batch] = []

    def batches() -> Iterator[Batch]:
        for number in range(3):
            made.append((torch.full((2,), float(number)), torch.zeros(2)))
            yield made[-1]

    stream = prefetch(batches(), "cpu")
    for number in range(3):
        assert len(made) == number
        assert next(stream) is made[number]
    assert next(stream, None) is None


def test_a_cpu_copies_nothing() -> None:
    array = np.arange(6, dtype=np.float32)
    assert to_device(array, "cpu").data_ptr() == array.ctypes.data
    tensor = torch.zeros(3)
    assert to_device(tensor, torch.device("cpu")) is tensor


@pytest.mark.gpu
def test_batches_of_cuda_are_those_of_the_cpu(load: Any) -> None:
    """While every batch is read late and its memory is wanted by others: a missing wait or a block given away too early
    would show.
    """
    augment = {"crop_padding": 4, "flip": True, "color_jitter": {"contrast": 0.3}, "erase": {"probability": 0.5}}
    data = load(num_classes=3, num_images=400, image_size=64, augment=augment)
    stream = {"start_step": 0, "num_steps": 40, "batch_size": 64}
    wanted = data.training_stream(**stream)
    noise = torch.randn(2000, 2000, device="cuda")
    kept = []
    for x_BCHW, labels in data.training_stream(**stream, device="cuda"):
        for _ in range(5):
            noise = torch.tanh(noise @ noise)  # keeps the stream of the step behind
        kept.append((x_BCHW.clone(), labels.clone()))
        del x_BCHW, labels
    assert bool(torch.isfinite(noise).all())
    for (x_BCHW, labels), (expected, expected_labels) in zip(kept, wanted, strict=True):
        torch.testing.assert_close(x_BCHW.cpu(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(labels.cpu(), expected_labels)
