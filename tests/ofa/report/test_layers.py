"""How the report names the layers of a network."""

from __future__ import annotations

import numpy as np

from ofa.export.layers import describe_operator
from ofa.report.words import operator_words
from search_spaces import get_space


def test_layers_are_named_by_what_was_chosen() -> None:
    space = get_space({"name": "vit_nano"}, 10)
    names = {operator_words(describe_operator(operator)) for operator in space.operators().values()}
    expected = {
        "patchembedding 8×8",
        "attention softmax, 4 heads",
        "attention linear, 3 heads, rank 12, drops 32 tokens",
        "attention hilo, 2 heads",
        "attention convolution",
        "mlp expand ×2",
        "mlp expand ×3, rank 16",
    }
    assert expected <= names, sorted(names)
    space = get_space({"name": "mobilenet_v3_digits"}, 10)
    (row,) = space.sample(1, np.random.default_rng(0))
    kinds = {operator_words(describe_operator(op)).split(",")[0] for _, op in space.network(space.decode(row)[0])}
    assert {"mbconv 3×3", "mbconv 5×5"} & kinds
