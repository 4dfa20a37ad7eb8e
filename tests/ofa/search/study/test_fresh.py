from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa.search.study.fresh import fresh_rows
from ofa.search.study.terms import Terms


def test_only_new_networks_within_the_limits(terms: Terms) -> None:
    space, anchors = terms.space, terms.costs["macs"].minimum()[1][None]

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10**6), num=st.integers(1, 4), num_taken=st.integers(0, 200))
    def check(seed: int, num: int, num_taken: int) -> None:
        rng = np.random.default_rng(seed)
        taken = space.sample(num_taken, rng)
        proposed = np.concatenate([taken[:2], space.sample(num, rng)])
        found = fresh_rows(space, proposed, taken, keeps=terms.keeps, anchors=anchors, rng=rng, num=num)
        assert len(found) == num == len(np.unique(found, axis=0))
        assert terms.keeps(found).all()
        assert not (found[:, None] == taken[None]).all(axis=2).any()
        good = [row for row in proposed if not (taken == row).all(axis=1).any()]
        if good and terms.keeps(proposed).all():
            assert np.array_equal(found[0], good[0])  # what was proposed comes first, as it is

    check()


def test_the_last_network_of_a_space_is_found(terms: Terms) -> None:
    space, anchors = terms.space, terms.costs["macs"].minimum()[1][None]
    everything = space.enumerate()
    kept = everything[terms.keeps(everything)]
    last = np.random.default_rng(0).integers(len(kept))
    taken = np.delete(kept, last, axis=0)
    rng = np.random.default_rng(0)
    found = fresh_rows(space, taken[:1], taken, keeps=terms.keeps, anchors=anchors, rng=rng)
    assert np.array_equal(found, kept[last][None])
    assert not len(fresh_rows(space, taken[:1], kept, keeps=terms.keeps, anchors=anchors, rng=rng))
