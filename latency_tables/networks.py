"""Which whole networks a table is fitted and tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search_spaces import Architecture, SearchSpace
from search_spaces.genome import Population


@dataclass(frozen=True)
class ProbeNetworks:
    """Whole networks to measure beside the operators: `fit` for the correction, `heldout` for its error; disjoint."""

    fit: list[Architecture]
    heldout: list[Architecture]


def choose_networks(space: SearchSpace, *, num_fit: int, num_heldout: int, seed: int) -> ProbeNetworks:
    """Held-out networks at random, fitted ones spread evenly from the fewest to the most MACs of the space.

    Genes are drawn uniformly, not networks: nearly all networks of a space are deep ones, and budgets are not. A space
    with fewer networks than asked for gives all it has, more than half of them held out.
    """
    rng = np.random.default_rng((seed, 0))
    wanted = num_fit + num_heldout
    if space.size <= wanted:
        rows = rng.permutation(space.enumerate(wanted))
        num_fit = min(num_fit, (len(rows) - 1) // 2)
        return ProbeNetworks(fit=space.decode(rows[:num_fit]) if num_fit else [], heldout=space.decode(rows[num_fit:]))
    drawn = rng.permutation(space.enumerate()) if space.size <= 16 * wanted else _draw(space, 16 * wanted, rng)
    ends = np.stack([space.smallest(), space.largest()])
    drawn = _distinct(np.concatenate([ends, drawn]))
    heldout, rest = drawn[2 : 2 + num_heldout], np.concatenate([drawn[:2], drawn[2 + num_heldout :]])
    rest = rest[np.argsort(space.cost("macs").evaluate(rest), kind="stable")]
    fit = rest[np.linspace(0, len(rest) - 1, num_fit).round().astype(int)]
    return ProbeNetworks(fit=space.decode(fit), heldout=space.decode(heldout))


def _draw(space: SearchSpace, num: int, rng: np.random.Generator) -> Population:
    """Half of the rows uniform over the options of each gene, half uniform over networks (which never repeat much)."""
    rows = np.concatenate([space.sample(num, rng, uniform=False), space.sample(num, rng)])
    return rows if len(_distinct(rows[:num])) < num // 2 else rows[:num]


def _distinct(rows: Population) -> Population:
    """`rows` without repetitions, in the order of first appearance."""
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]
