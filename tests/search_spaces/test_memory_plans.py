"""Peak memory of transformers under both plans, against figures worked out (and measured in C) elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces import get_space
from search_spaces.common.errors import UserError

#: side of the image, patch -> bytes of int8 activations: the naive plan, and hand-written C that overwrites tokens; 12
#: blocks of 192 features, 3 heads and an MLP of 4 times the width
KNOWN = {(224, 16): (338_688, 100_900), (240, 16): (390_150, 115_800), (240, 20): (248_832, 74_200)}


@pytest.mark.parametrize(("side", "patch"), KNOWN)
def test_peak_memory_is_what_is_known(side: int, patch: int) -> None:
    settings = {"resolution": [side], "patch": [patch], "embed": [192], "depth": [12], "heads": [3], "mlp": [4]}
    ranks = {"attention_rank": [1], "mlp_rank": [1]}
    space = get_space({"name": "mcuformer", **settings, **ranks})
    (row,) = space.sample(1, np.random.default_rng(0))
    found = {
        plan: space.cost("peak_memory", "int8", plan=plan).evaluate(row[None])[0] for plan in ("naive", "overwriting")
    }
    naive, overwriting = KNOWN[side, patch]
    assert found["naive"] == naive
    assert found["overwriting"] == pytest.approx(overwriting, rel=0.015)


def test_overwriting_never_takes_more() -> None:
    for name in ("vit_nano", "mcuformer", "autoformer_tiny"):
        space = get_space({"name": name})
        rows = space.sample(200, np.random.default_rng(0))
        naive, overwriting = (space.cost("peak_memory", plan=p).evaluate(rows) for p in ("naive", "overwriting"))
        assert (overwriting < naive).all()


def test_networks_of_convolutions_have_one_plan() -> None:
    space = get_space({"name": "mobilenet_v3_digits"})
    rows = space.sample(50, np.random.default_rng(0))
    naive, overwriting = (space.cost("peak_memory", plan=p).evaluate(rows) for p in ("naive", "overwriting"))
    assert np.array_equal(naive, overwriting)


def test_unknown_plan_is_named() -> None:
    with pytest.raises(UserError, match="unknown memory plan 'naiv'"):
        get_space({"name": "vit_nano"}).cost("peak_memory", plan="naiv")
