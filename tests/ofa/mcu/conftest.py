"""Images by formula, and a small network with batch norms that was trained on them for a moment."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from search_spaces.plain import trace
from trainers.data import ImageData, load_data
from trainers.settings.data import DataSettings


@pytest.fixture(scope="session")
def data() -> ImageData:
    settings = {"name": "synthetic", "num_classes": 3, "num_images": 400, "image_size": 12, "channels": 1}
    split = {"calibration": 50, "selection": 120, "test": 60}
    return load_data(DataSettings.model_validate({**settings, "split": split}), seed=0)


@pytest.fixture(scope="session")
def network(data: ImageData) -> fx.GraphModule:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(inplace=True)]
    layers += [nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True)]
    layers += [nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(inplace=True)]
    network = trace(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    network.train()
    for x, labels in data.training_stream(start_step=0, num_steps=60, batch_size=32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), labels).backward()
        optimizer.step()
    return network.eval()
