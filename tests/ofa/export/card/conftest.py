"""A network that knows real digits without a training, its export, and what a card needs besides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from ofa.export.architecture_file import ArchitectureFile
from ofa.export.card import CardFacts, DataFacts, DeviceFacts, RunFacts
from ofa.export.export import ExportJob
from ofa.export.settings import ExportSettings
from search_spaces import get_space
from search_spaces.supernet import build_supernet
from tests.ofa.export.card.exports import export_with_card
from trainers.data import ImageData, load_data
from trainers.evaluation.evaluate import specialize
from trainers.settings.data import DataSettings


@pytest.fixture(scope="session")
def digits() -> ImageData:
    settings = {"name": "mnist_5k", "limit": 1500, "split": {"calibration": 100, "selection": 200, "test": 100}}
    return load_data(DataSettings.model_validate(settings), seed=0)


@pytest.fixture(scope="session")
def digit_job(digits: ImageData, tmp_path_factory: pytest.TempPathFactory) -> ExportJob:
    """The smallest network with random features, and a classifier that was solved for by least squares on training
    images: right about two digits in five, where one in ten would be chance, and about those that it is sure of.
    """
    space = get_space({"name": "mobilenet_v3_digits", "resolution": [20], "depth": [1]}, num_classes=10, in_channels=1)
    architecture = space.decode(space.smallest())[0]
    torch.manual_seed(0)
    network = specialize(build_supernet(space, seed=0).eval(), architecture, digits)
    _fit_classifier(network, digits, architecture.resolution)
    folder = tmp_path_factory.mktemp("digits")
    return ExportJob("small", network, architecture, space, digits, folder / "ledger.jsonl", read_test=False)


def _fit_classifier(network: GraphModule, data: ImageData, side: int) -> None:
    linear = network.get_submodule("classifier.linear")
    assert isinstance(linear, nn.Linear)
    seen: list[Tensor] = []
    hook = linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        batches = list(data.batches("train", resolution=side, batch_size=250))
        for images, _ in batches:
            network(images)
        hook.remove()
        features = torch.cat(seen)
        features = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
        wanted = nn.functional.one_hot(torch.cat([labels for _, labels in batches]), 10).double()
        ridge = 1e-4 * len(features) * torch.eye(features.shape[1], dtype=torch.float64)
        solved = torch.linalg.solve(features.T @ features + ridge, features.T @ wanted)
        linear.weight.copy_(10 * solved[:-1].T)
        linear.bias.copy_(10 * solved[-1])


@pytest.fixture(scope="session")
def card_facts(digits: ImageData) -> CardFacts:
    return CardFacts(
        data=replace(DataFacts.of(digits), licence="CC-BY-SA-3.0"),
        run=RunFacts("digits", seed=7, config_sha256="c0ffee" * 10 + "abcd"),
        devices={"phone": DeviceFacts("a phone; onnxruntime 1, float32, 1 thread", (0.9, 1.1), 0.95, 24)},
    )


@pytest.fixture(scope="session")
def digit_export(
    digit_job: ExportJob, card_facts: CardFacts, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], ArchitectureFile]:
    """An export in the default forms with its card; tests only read it."""
    return export_with_card(digit_job, ExportSettings().forms, card_facts, tmp_path_factory.mktemp("export") / "small")
