"""Our elastic networks against logits that the published package computed, from weights and images that both sides make
from names alone. `make_fixtures.py` wrote the file; nothing of the package is needed here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofa.imports.architectures import from_published
from ofa.imports.checkpoint import read_supernet
from ofa.imports.names import PUBLISHED
from ofa.imports.pth import write_state_dict
from search_spaces import get_space

GOLDEN = json.loads(Path(__file__).with_name("golden_logits.json").read_text())


@pytest.mark.parametrize("title", GOLDEN["networks"])
def test_logits_are_those_of_the_published_networks(title, helpers, tmp_path):
    family, width = title.split()
    rows = GOLDEN["networks"][title]
    settings = {"name": PUBLISHED[family], "resolution": [rows[0]["subnet"]["image_size"]]}
    written = get_space({**settings, "width_mult": float(width)}, GOLDEN["num_classes"])
    write_state_dict(tmp_path / "published.pth", helpers.published_weights(written))
    found = read_supernet(tmp_path / "published.pth", settings=settings)
    assert found.space.fingerprint == written.fingerprint
    supernet = found.supernet()
    for mode in ("eval", "train"):  # in this order: train mode moves the running statistics
        for row in rows:
            side = row["subnet"]["image_size"]
            architecture = from_published(row["subnet"], found.space, resolution=side, file=Path())
            logits = helpers.logits(supernet, architecture, mode, GOLDEN["batch"])
            expected = np.array(row[mode])
            assert helpers.relative(logits.flatten()[: len(expected)], expected) < 1e-4, (mode, row["subnet"])


def test_the_fixture_is_not_flat():
    """Different subnets and modes give different logits, so that agreeing with them means something."""
    for rows in GOLDEN["networks"].values():
        seen = np.array([row[mode] for row in rows for mode in ("eval", "train")])
        distances = np.abs(seen[:, None] - seen[None]).max(axis=2) + np.eye(len(seen))
        assert distances.min() > 0.01
