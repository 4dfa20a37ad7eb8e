"""Networks that differ in one gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population


def neighbours_of(space: SearchSpace, rows: Population) -> tuple[Population, npt.NDArray[np.int64]]:
    """All networks that differ from one of `rows` in one gene, and the number of that row; each once a row."""
    counts = space.genome.num_options
    gene = np.repeat(np.arange(len(counts)), counts)
    option = np.arange(len(gene)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = np.repeat(rows, len(gene), axis=0)
    near[np.arange(len(near)), np.tile(gene, len(rows))] = np.tile(option, len(rows))
    near = space.canonical(near)
    which = np.repeat(np.arange(len(rows)), len(gene))
    other = (near != rows[which]).any(axis=1)  # neither the row's own option, nor one of a gene that is switched off
    return near[other], which[other]


def neighbours(space: SearchSpace, row: npt.NDArray[np.int64]) -> Population:
    """The network itself and all that differ from it in one gene, in the order of their rows."""
    return np.unique(np.concatenate([row[None], neighbours_of(space, row[None])[0]]), axis=0)
