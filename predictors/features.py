"""Networks as vectors: one-hot of the active genes, how often each option is taken, and what the network costs.

Genes that are switched off are all zero, so that depth shows in every part and equal networks have equal vectors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population


class Encoder:
    """Encodes populations of one space; `names` has one entry a column."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._counts, count_names = _option_counts(space)
        self._costs = [(table, *_log_range(table)) for table in _cost_tables(space)]
        one_hot = [f"{gene.name}={option}" for gene in space.genes for option in gene.options]
        self.names = (*one_hot, *count_names, *(f"log_{table.metric}" for table, _, _ in self._costs))

    @property
    def num_features(self) -> int:
        return len(self.names)

    def __call__(self, population: Population) -> npt.NDArray[np.float64]:
        """(num, num_genes) -> float64 (num, num_features), every column in 0..1."""
        one_hot = self.space.one_hot(population).astype(np.float64)
        costs = [(np.log(table.evaluate(population)) - low) / width for table, low, width in self._costs]
        return np.concatenate([one_hot, one_hot @ self._counts, np.stack(costs, axis=1)], axis=1)


@dataclass(frozen=True)
class Renumbered:
    """Encodes populations of a part of the encoder's space, whose options have numbers of their own."""

    encoder: Encoder
    renumbering: tuple[npt.NDArray[np.int64], ...]
    """For every gene: the option numbers, in the encoder's space, of the options of the part."""

    def __call__(self, population: Population) -> npt.NDArray[np.float64]:
        columns = [numbers[population[:, gene]] for gene, numbers in enumerate(self.renumbering)]
        return self.encoder(self.encoder.space.canonical(np.stack(columns, axis=1)))


def depth_cost(space: SearchSpace) -> CostTable:
    """The number of operators of a network: the depth that people rank networks by."""
    return replace(space.cost_of(lambda operator: 1.0, metric="params"), metric="depth")


def _cost_tables(space: SearchSpace) -> list[CostTable]:
    return [space.cost("macs"), space.cost("params"), depth_cost(space)]


def _log_range(table: CostTable) -> tuple[float, float]:
    low, high = float(np.log(table.minimum()[0])), float(np.log(table.maximum()[0]))
    return low, max(high - low, 1e-12)


def _option_counts(space: SearchSpace) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Matrix (num_one_hot, num_counts) that turns one-hot columns into shares of genes of one kind taking an option."""
    columns: dict[tuple[str, str], list[int]] = {}
    position = 0
    for gene in space.genes:
        kind = re.sub(r"[\d\W_]+", " ", gene.name).strip()
        for option in gene.options:
            columns.setdefault((kind, str(option)), []).append(position)
            position += 1
    shared = {key: places for key, places in columns.items() if len(places) > 1}
    matrix = np.zeros((position, len(shared)))
    for column, places in enumerate(shared.values()):
        matrix[places, column] = 1.0 / len(places)
    return matrix, [f"share {kind}={option}" for kind, option in shared]
