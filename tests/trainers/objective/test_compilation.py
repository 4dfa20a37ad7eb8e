"""train.compile computes what is computed without it, and says so where nothing can be compiled."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces.common.files import read_lines
from trainers.data.augment import augment, finish
from trainers.objective.compilation import Compiled, Losses
from trainers.objective.losses import alpha_divergence_loss, distillation_loss, label_loss
from trainers.settings.data import AugmentSettings
from trainers.settings.phase import AlphaSettings
from trainers.settings.train import TrainingConfig, training_inputs
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]
ALL: dict[str, Any] = {
    "color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
    "erase": {"probability": 0.5},
}

CHILD = """
import sys, torch
from search_spaces.common.errors import UserError
from trainers.objective.compilation import Losses
try:
    Losses.compiled().distillation(torch.randn(4, 3), torch.randn(4, 3))
except UserError as error:
    print(error)
    sys.exit(error.exit_code)
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _compiler_as_it_was() -> Iterator[None]:
    torch.compiler.reset()
    with torch.compiler.config.patch(force_disable_caches=False):
        yield


@pytest.mark.slow
def test_no_compiler_is_a_users_error() -> None:
    """In a process of its own: torch remembers what it has found out about the compiler."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=ROOT, env={**os.environ, "CXX": "no-such-compiler"}, stdout=subprocess.PIPE
    )
    assert done.returncode == 2
    assert re.search(rb"train\.compile.*no-such-compiler.*C\+\+ compiler", done.stdout, re.DOTALL)


def test_every_function_is_one_graph() -> None:
    """A break in the graph would leave a part that is not compiled, and nobody would see it."""
    logits, labels, teacher = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0]), torch.randn(4, 3)
    weights = torch.ones(3)
    calls: list[tuple[Callable[..., torch.Tensor], tuple[Any, ...]]] = [
        (label_loss, (logits, labels, 0.1, weights)),
        (label_loss, (logits, teacher.softmax(1), 0.1, None)),
        (distillation_loss, (logits, teacher)),
        (alpha_divergence_loss, (logits, teacher, AlphaSettings())),
    ]
    for function, arguments in calls:
        found = torch.compile(function, fullgraph=True, dynamic=False, backend="eager")(*arguments)
        torch.testing.assert_close(found, function(*arguments))
    whole = torch.compile(finish, fullgraph=True, dynamic=False, backend="eager")
    assert torch.equal(augmented(whole), augmented(finish))


def augmented(finishing: Callable[..., torch.Tensor]) -> torch.Tensor:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (16, 3, 9, 9), np.uint8))
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(-1, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(-1, 1, 1)
    settings = AugmentSettings.model_validate(ALL)
    return augment(images, rng.random((16, 32), np.float32), settings, mean=mean, std=std, finishing=finishing)


def test_it_is_the_same_training(make_config: MakeConfig) -> None:
    assert training_inputs(make_config(compile=True)) == training_inputs(make_config())


@pytest.mark.slow
def test_compiled_losses_and_augmentation_are_the_same() -> None:
    torch.testing.assert_close(augmented(Compiled(finish)), augmented(finish))
    teacher, labels = torch.randn(8, 5), torch.arange(8) % 5
    for name, arguments in (
        ("label", (labels, 0.1, None)),
        ("distillation", (teacher,)),
        ("alpha_divergence", (teacher, AlphaSettings())),
    ):
        start = torch.randn(8, 5)
        found = []
        for losses in (Losses.compiled(), Losses()):
            logits = start.clone().requires_grad_()
            loss = getattr(losses, name)(logits, *arguments)
            loss.backward()
            found.append((loss.detach(), logits.grad))
        torch.testing.assert_close(found[0], found[1])


@pytest.mark.slow
def test_a_compiled_training_follows_the_other(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And really is compiled: the network is not, the losses and the augmentation are."""
    compiled = []
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: (compiled.append(function), real(function, **options))[1]
    )
    curves = []
    for compile in (False, True):
        run = tmp_path / str(compile)
        train(make_config(compile=compile, max_steps=5, log_every=1, augment={"erase": {"probability": 0.5}}), run)
        lines = [line for line in read_lines(run / "training.jsonl", "log") if line["kind"] == "step"]
        curves.append([value for line in lines for value in line["loss"].values()])
    assert set(compiled) == {finish, label_loss, distillation_loss, alpha_divergence_loss}
    assert len(curves[0]) == 15 and curves[1] == pytest.approx(curves[0], rel=1e-3)
