from __future__ import annotations

import numpy as np

from ofa.search.algorithms.base import Scores
from ofa.search.algorithms.random_search import RandomSearch
from search_spaces import SearchSpace, get_space


def drawn(search: RandomSearch) -> np.ndarray:
    rows = []
    while len(population := search.ask()):
        search.tell(population, Scores(np.zeros(len(population)), np.zeros(len(population))))
        rows.append(population)
    return np.concatenate(rows)


def test_every_network_of_a_small_space_is_as_likely(space: SearchSpace) -> None:
    """Whether it is listed and shuffled or drawn; all of it is a shuffle."""
    everything = drawn(RandomSearch(space, evaluations=10**6, chunk=999))
    assert len(everything) == len(np.unique(everything, axis=0)) == space.size
    for num in (space.size // 3, space.size // 5):  # listed, drawn
        rows = np.concatenate([drawn(RandomSearch(space, evaluations=num, seed=seed)) for seed in range(6)])
        for gene in range(space.num_genes):
            share = [np.bincount(r[:, gene], minlength=4) / len(r) for r in (rows, space.enumerate(10_000))]
            assert np.abs(share[0] - share[1]).max() < 0.03


def test_stratified_networks_are_of_every_cost() -> None:
    """Up to the limit; uniform ones are nearly all in the middle."""
    space = get_space({"name": "ofa_mobilenet_v3"})
    macs = space.cost("macs")
    low, high = macs.minimum()[0], 0.6 * macs.maximum()[0]
    shares = []
    for cost in (macs, None):
        rows = drawn(RandomSearch(space, evaluations=2000, chunk=500, cost=cost, highest=high))
        shares.append(np.histogram(macs.evaluate(rows), bins=np.linspace(low, high, 11))[0] / len(rows))
    assert shares[0].min() > 0.08
    assert shares[1].min() < 0.01
