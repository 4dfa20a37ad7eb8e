from __future__ import annotations

import pytest

from latency_tables.networks import choose_networks
from search_spaces import SearchSpace, get_space


@pytest.mark.parametrize("seed", [0, 1])
def test_fitted_and_heldout_networks_are_distinct(seed: int) -> None:
    space = get_space({"name": "mobilenet_v3_digits"}, num_classes=10, in_channels=1)
    probes = choose_networks(space, num_fit=12, num_heldout=24, seed=seed)
    assert (len(probes.fit), len(probes.heldout)) == (12, 24)
    assert len({*probes.fit, *probes.heldout}) == 36
    macs = space.cost("macs").evaluate(space.encode(probes.fit))
    assert (macs[0], macs[-1]) == (space.cost("macs").minimum()[0], space.cost("macs").maximum()[0])
    assert probes == choose_networks(space, num_fit=12, num_heldout=24, seed=seed)
    assert probes.heldout != choose_networks(space, num_fit=12, num_heldout=24, seed=seed + 1).heldout


@pytest.mark.parametrize(
    ("part", "num_fit", "num_heldout"),
    [
        ({"kernel": [3], "depth": [1], "resolution": [16]}, 0, 1),
        ({"kernel": [3], "depth": [1]}, 0, 2),
        ({"kernel": [3], "resolution": [16]}, 3, 5),
        ({"depth": [1]}, 7, 9),
        ({"kernel": [3, 5]}, 12, 20),
    ],
)
def test_small_spaces_give_what_they_have(
    tiny: SearchSpace, part: dict[str, list[int]], num_fit: int, num_heldout: int
) -> None:
    space = tiny.restrict(part)
    probes = choose_networks(space, num_fit=12, num_heldout=20, seed=0)
    assert (len(probes.fit), len(probes.heldout)) == (num_fit, num_heldout)
    assert len({*probes.fit, *probes.heldout}) == num_fit + num_heldout
