"""What both sides of an import share: weights decided by their published names, and the published package itself, which
runs in an environment of its own (OFA_PEER_PYTHON names its interpreter).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ofa.imports.architectures import to_published
from ofa.imports.spaces import layout
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.supernet import Supernet

WORKER = Path(__file__).with_name("peer_worker.py")

#: family and width multiplier of the published supernets
NETWORKS = {
    "mobilenet_v3 1.0": ("mobilenet_v3", 1.0),
    "mobilenet_v3 1.2": ("mobilenet_v3", 1.2),
    "proxyless_nas 1.3": ("proxyless_nas", 1.3),
    "resnet 1.0": ("resnet", 1.0),
}


def _load_worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peer_worker", WORKER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shared = _load_worker()


def published_weights(space: SearchSpace) -> dict[str, torch.Tensor]:
    """A state dict as the published code would save it, weights decided by the names."""
    shapes = layout(space).shapes
    return {name: torch.from_numpy(np.asarray(shared.weights(name, shape))) for name, shape in shapes.items()}


def random_subnets(space: SearchSpace, num: int, seed: int) -> list[Architecture]:
    """The largest, the smallest, then random ones; half of them at the three smallest resolutions."""
    rng = np.random.default_rng(seed)
    rows = np.array([space.largest(), space.smallest(), *space.sample(max(0, num - 2), rng, uniform=False)])[:num]
    sides = sorted(space.genome.option_values("resolution").tolist())
    architectures = []
    for number, architecture in enumerate(space.decode(rows)):
        side = sides[number % 6 // 2 % len(sides)] if number % 2 == 0 else int(rng.choice(sides))
        architectures.append(Architecture({**architecture.values, "resolution": side}))
    return architectures


def logits(
    supernet: Supernet, architecture: Architecture, mode: str, batch: int, *, channels_last: bool = False
) -> torch.Tensor:
    """As the worker computes them, without dropout; train mode with gradients, as a training step does it."""
    for module in supernet.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    supernet.train(mode == "train")
    x = torch.from_numpy(shared.images(architecture.resolution, batch)).to(next(supernet.parameters()).dtype)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    with torch.set_grad_enabled(mode == "train"):
        return supernet(x, architecture)


def relative(found: Any, expected: Any) -> float:
    """Largest difference by largest value."""
    found, expected = (np.asarray(torch.as_tensor(value).detach()) for value in (found, expected))
    assert found.shape == expected.shape and np.isfinite(expected).all()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """`peer(job, ...)`: run jobs of peer_worker.py."""
    python = os.environ.get("OFA_PEER_PYTHON")
    if not python:
        pytest.skip("OFA_PEER_PYTHON does not name the interpreter of an environment with the published package `ofa`")

    def peer(*jobs: dict[str, Any]) -> None:
        folder = tmp_path_factory.mktemp("peer")
        path = folder / "job.json"
        path.write_text(json.dumps(jobs, default=str))
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run([python, str(WORKER), str(path)], cwd=folder, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()[-2000:]

    return peer


@pytest.fixture(scope="session", params=NETWORKS)
def published(request: pytest.FixtureRequest) -> tuple[str, float, SearchSpace]:
    """(family, width multiplier, space) of each published supernet."""
    from ofa.imports.names import PUBLISHED

    family, width = NETWORKS[request.param]
    settings: dict[str, Any] = {"name": PUBLISHED[family]}
    if family != "resnet":
        settings["width_mult"] = width
    return family, width, get_space(settings)


@pytest.fixture(scope="session")
def helpers() -> ModuleType:
    """The functions above and those of peer_worker.py, for the test modules."""
    module = ModuleType("helpers")
    module.__dict__.update(
        published_weights=published_weights,
        random_subnets=random_subnets,
        logits=logits,
        relative=relative,
        to_published=to_published,
        worker=shared,
    )
    return module
