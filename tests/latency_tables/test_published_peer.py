"""Tables imported here give every network the latency that once-for-all's own package gives it.

OFA_PEER_PYTHON=/path/to/venv/bin/python OFA_BENCH_DATA=/path/to/data pytest -m peer tests/latency_tables
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.once_for_all.convert import convert
from search_spaces import Architecture, get_space

pytestmark = pytest.mark.peer

WORKER = Path(__file__).with_name("peer_latencies.py")

Peer = Callable[..., list[float]]


def spec(architecture: Architecture) -> dict[str, Any]:
    """As the peer writes an architecture; blocks beyond the depth hold anything."""
    values = architecture.to_json()
    filled = {name: [entry or 3 for entry in values[group]] for name, group in (("ks", "kernel"), ("e", "expand"))}
    return {**filled, "d": values["depth"], "r": [architecture.resolution], "wid": None}


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    """The peer's latencies in ms: `peer({resolution: file}, architectures, ...)`."""
    python = os.environ.get("OFA_PEER_PYTHON")
    if not python:
        pytest.skip("OFA_PEER_PYTHON does not name the interpreter of an environment with the published package `ofa`")

    def peer(files: dict[int, Path], architectures: Sequence[Architecture], **job: object) -> list[float]:
        paths = {side: str(path) for side, path in files.items()}
        text = json.dumps({"files": paths, "specs": [spec(architecture) for architecture in architectures], **job})
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [python, WORKER], input=text, capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return peer


def test_note10(peer: Peer) -> None:
    folder = Path(os.environ.get("OFA_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
    files = {side: path for path in folder.glob("published/note10*/*.yaml") if (side := int(path.name[:3]))}
    if not files:
        pytest.skip("OFA_BENCH_DATA has no published tables")
    found = convert(sorted(files.values()), device="note10")
    rows = found.space.sample(200, np.random.default_rng(1), uniform=False)
    expected = peer(files, found.space.decode(rows))
    assert np.abs(found.table.cost(found.space).evaluate(rows) - expected).max() < 1e-9


@pytest.mark.parametrize(
    ("name", "network", "width"),
    [
        ("ofa_mobilenet_v3", "OFAMobileNetV3", 1.0),
        ("ofa_mobilenet_v3", "OFAMobileNetV3", 1.2),
        ("ofa_proxyless_nas", "OFAProxylessNASNets", 1.3),
        ("ofa_proxyless_nas", "OFAProxylessNASNets", 1.0),
    ],
)
def test_invented_tables(
    peer: Peer, write_lookup: Callable[..., dict[int, Path]], tmp_path: Path, name: str, network: str, width: float
) -> None:
    """The peer finds every operator of its networks in a file with our operator strings, and adds up the same."""
    space = get_space({"name": name, "width_mult": width}).restrict(resolution=[128, 172, 224])
    files = write_lookup(tmp_path, space)
    found = convert(list(files.values()), device="invented")
    assert found.space.fingerprint == space.fingerprint and found.unused == {}
    rows = found.space.sample(60, np.random.default_rng(2), uniform=False)
    expected = peer(files, found.space.decode(rows), network=network, width_mult=width)
    assert np.abs(found.table.cost(found.space).evaluate(rows) - expected).max() < 1e-9
