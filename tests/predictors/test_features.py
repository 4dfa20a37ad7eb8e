from __future__ import annotations

import numpy as np
import pytest

from predictors.features import Encoder
from predictors.gene_facts import sizes_of_options, stages_of_genes
from search_spaces import SearchSpace, get_space, list_spaces


@pytest.mark.parametrize("name", list_spaces())
def test_blocks_cover_the_columns_of_every_space(name: str) -> None:
    space = get_space({"name": name}, 10, 3)
    encoder = Encoder(space)
    covered = [column for block in encoder.blocks.values() for column in range(block.start, block.stop)]
    assert sorted(covered) == list(range(encoder.num_features))
    assert len(set(encoder.names)) == encoder.num_features
    encodings = encoder(np.concatenate([space.sample(40, np.random.default_rng(0)), space.largest()[None]]))
    assert encodings.min() >= -1e-9
    assert encodings.max() <= 1 + 1e-9
    size = encodings[:, encoder.blocks["size"]][:, 0]
    assert size[-1] == pytest.approx(1.0)  # nothing is larger than the largest
    assert (size[:-1] < 1.0).all()


def test_what_is_switched_off_does_not_show(space: SearchSpace) -> None:
    """Depth-aware: rows of one network that differ in genes of absent blocks are encoded alike."""
    rng = np.random.default_rng(0)
    rows = space.sample(200, rng)
    options = np.array([len(gene.options) for gene in space.genes])
    noisy = np.where(space.active(rows), rows, rng.integers(0, options, size=rows.shape))
    assert (noisy != rows).any()
    assert np.array_equal(Encoder(space)(space.canonical(noisy)), Encoder(space)(rows))
    encoder, off = Encoder(space), ~space.active(rows)
    assert (encoder(rows)[:, encoder.blocks["sizes"]][off] == 0).all()


def test_options_are_ranked_by_macs() -> None:
    """Whatever their numbers say: a larger patch makes fewer tokens."""
    space = get_space({"name": "vit_nano"}, 10, 3)
    sizes = dict(zip((gene.name for gene in space.genes), sizes_of_options(space), strict=True))
    assert sizes["patch"].tolist() == [1.0, 0.0]
    assert sizes["embed"] == pytest.approx([0.0, np.sqrt(0.5), 1.0])
    assert sizes["mlp.5"] == pytest.approx(np.sqrt([1 / 3, 2 / 3, 1.0]))  # it can be switched off, which is 0


def test_genes_belong_to_the_stage_of_their_blocks(space: SearchSpace) -> None:
    stages = dict(zip((gene.name for gene in space.genes), stages_of_genes(space), strict=True))
    assert stages["resolution"] is None
    assert stages["kernel.0"] == stages["expand.1"] == stages["depth.0"]
    assert stages["kernel.2"] == stages["expand.3"] == stages["depth.1"]
    assert stages["kernel.0"] < stages["kernel.2"]
