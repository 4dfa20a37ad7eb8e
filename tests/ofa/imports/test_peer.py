"""Our networks against those of the published package, on its own random weights, for every family.

OFA_PEER_PYTHON=/path/to/venv/bin/python pytest -m peer tests/ofa/imports -s
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa.imports.checkpoint import published_tensors, read_supernet
from ofa.imports.names import supernet_names
from ofa.imports.net_config import network_config
from ofa.imports.pth import write_state_dict
from ofa.imports.subnet import read_subnet

pytestmark = pytest.mark.peer

NUM_SUBNETS, BATCH, NUM_GRADIENTS = 50, 3, 3


@pytest.fixture(scope="module")
def there(published, peer, helpers, tmp_path_factory) -> dict[str, Any]:
    """The peer's checkpoint and what it computed with it."""
    family, width, space = published
    folder = tmp_path_factory.mktemp("there")
    architectures = helpers.random_subnets(space, NUM_SUBNETS, seed=7)
    job = {
        "network": family,
        "width_mult": width,
        "save": folder / "saved.pth",
        "subnets": [helpers.to_published(space, architecture) for architecture in architectures],
        "batch": BATCH,
        "modes": ["eval", "train"],
        "gradients": NUM_GRADIENTS,
        "logits": folder / "logits.npz",
    }
    peer(job)
    return {"job": job, "architectures": architectures, "logits": np.load(folder / "logits.npz"), "folder": folder}


@pytest.fixture(scope="module")
def here(there, published):
    """The same supernet, imported."""
    found = read_supernet(there["job"]["save"])
    assert found.space.fingerprint == published[2].fingerprint
    assert found.notes == ()
    return found


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_every_subnet_computes_the_same(there, here, published, mode, helpers, capsys):
    """Images as the peer has them, and channels last, as we train: torch's norms round six times as much there."""
    for channels_last in (False, True):
        supernet, worst = here.supernet(), 0.0
        for number, architecture in enumerate(there["architectures"]):
            found = helpers.logits(supernet, architecture, mode, BATCH, channels_last=channels_last)
            worst = max(worst, helpers.relative(found, there["logits"][f"{mode}_{number}"]))
        with capsys.disabled():
            form = " channels last" if channels_last else ""
            print(f"\n{published[0]} {published[1]} {mode}{form}: {worst:.2e} off at most, {NUM_SUBNETS} subnets")
        assert worst < 1e-4


def test_gradients_are_the_same(there, here, published, helpers, capsys):
    """Of the logits' projection, in train mode and float64: every weight, those of kernel transformations too."""
    supernet, worst = here.supernet().double(), 0.0
    names = supernet_names(here.space, supernet.state_dict())
    for number in range(NUM_GRADIENTS):
        supernet.zero_grad()
        found = helpers.logits(supernet, there["architectures"][number], "train", BATCH)
        (found @ torch.from_numpy(helpers.worker.projection(found.shape[1])).double()).mean().backward()
        start = f"grad_{number}/"
        expected = {name.removeprefix(start): there["logits"][name] for name in there["logits"] if start in name}
        largest = max(np.abs(gradient).max() for gradient in expected.values())
        for ours, parameter in supernet.named_parameters():
            gradient = expected.pop(names[ours], np.zeros(1))
            if np.abs(gradient).max() > 1e-9 * largest:  # a shift that a norm takes off again has none but rounding
                worst = max(worst, helpers.relative(parameter.grad, gradient))
            else:
                assert parameter.grad is None or parameter.grad.abs().max() <= 1e-9 * largest, ours
        assert not expected
    with capsys.disabled():
        print(f"\n{published[0]} {published[1]} gradients: {worst:.2e} off at most, {NUM_GRADIENTS} subnets")
    assert worst < 1e-6


def test_the_way_back(there, here, peer, helpers, tmp_path):
    """Exported and loaded in the peer: every key matches, and its outputs are what they were."""
    write_state_dict(tmp_path / "back.pth", published_tensors(here.supernet()))
    saved = torch.load(there["job"]["save"], weights_only=True)["state_dict"]
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    assert saved.keys() == back.keys()
    assert all(torch.equal(saved[name], back[name]) for name in saved)
    job = {key: there["job"][key] for key in ("network", "width_mult", "batch")}
    subnets = there["job"]["subnets"][:6]
    peer({**job, "load": tmp_path / "back.pth", "subnets": subnets, "modes": ["eval"], "logits": tmp_path / "b.npz"})
    found = np.load(tmp_path / "b.npz")
    for number in range(len(subnets)):
        assert helpers.relative(found[f"eval_{number}"], there["logits"][f"eval_{number}"]) == 0


def test_extracted_networks_take_the_static_weights(there, here, published, peer, helpers, tmp_path):
    """`ofa import subnet --weights`: the static network that the peer cuts out gives what it gives there."""
    job = {key: there["job"][key] for key in ("network", "width_mult")}
    subnets = there["job"]["subnets"][:4]
    peer({**job, "load": there["job"]["save"], "subnets": subnets, "extract": tmp_path / "static"})
    for number, subnet in enumerate(subnets):
        found = read_subnet(
            tmp_path / f"static{number}.config",
            weights=tmp_path / f"static{number}.pth",
            resolution=subnet["image_size"],
        )
        expected = network_config(published[2], there["architectures"][number])
        assert (
            network_config(found.space, found.architecture) == expected
        )  # two options of a ResNet's stem are one width
        network = found.network()
        with torch.no_grad():
            ours = network(torch.from_numpy(helpers.worker.images(subnet["image_size"], 2)))
        assert helpers.relative(ours, np.load(tmp_path / f"static{number}.npy")) < 1e-4


def test_the_counts_on_file_are_the_peers(peer, tmp_path):
    """published_subnets.json against the peer's count of the same net.config today."""
    rows = json.loads(Path(__file__).with_name("published_subnets.json").read_text())["subnets"]
    data = (
        Path(os.environ.get("OFA_BENCH_DATA", Path(__file__).parents[4] / "shared" / "data")) / "published" / "subnets"
    )
    if not data.exists():
        pytest.skip("needs published/subnets in OFA_BENCH_DATA")
    pairs = [[data / row["name"] / "net.config", row["architecture"]["resolution"]] for row in rows]
    peer({"count": pairs, "counts": tmp_path / "counts.json"})
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts == [{"params": row["params"], "macs": row["macs"]} for row in rows]
