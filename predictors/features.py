"""Networks as vectors: what every gene takes, how large that is, summaries by kind and stage, what the network costs.

Genes that are switched off are all zero, so that depth shows in every part and equal networks have equal vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from predictors.gene_facts import sizes_of_options, stages_of_genes

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Gene, Population

Floats = npt.NDArray[np.float64]

#: {name of a part of the encoding: its columns}
Blocks = Mapping[str, slice]


class Encoder:
    """Encodes populations of one space; `names` has one entry a column, `blocks` says which columns are what:

    genes    one-hot, one column for every option of every gene
    sizes    one column a gene: the rank of its option by MACs, square root taken (what grows returns ever less)
    shares   for every kind of gene (`kernel`, `expand`, ...) and option: the share of these genes that take it
    stages   the same within every stage (layers of one resolution), and the mean size of the stage's genes
    size     the mean of all sizes: one number that accuracies can be expected to grow with
    macs     the logarithm of the MACs
    costs    the logarithms of the parameters and of the number of operators
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.blocks: dict[str, slice]
        self._linear, linear_names, blocks = _linear_columns(space)
        self._costs = [(table, *_log_range(table)) for table in _cost_tables(space)]
        one_hot = [f"{gene.name}={option}" for gene in space.genes for option in gene.options]
        self.names = (*one_hot, *linear_names, *(f"log_{table.metric}" for table, _, _ in self._costs))
        first = len(self.names) - len(self._costs)
        self.blocks = {**blocks, "macs": slice(first, first + 1), "costs": slice(first + 1, len(self.names))}

    @property
    def num_features(self) -> int:
        return len(self.names)

    def __call__(self, population: Population) -> Floats:
        """(num, num_genes) -> float64 (num, num_features), every column in 0..1."""
        one_hot = self.space.one_hot(population).astype(np.float64)
        costs = [(np.log(table.evaluate(population)) - low) / width for table, low, width in self._costs]
        return np.concatenate([one_hot, one_hot @ self._linear, np.stack(costs, axis=1)], axis=1)


@dataclass(frozen=True)
class Renumbered:
    """Encodes populations of a part of the encoder's space, whose options have numbers of their own."""

    encoder: Encoder
    renumbering: tuple[npt.NDArray[np.int64], ...]
    """For every gene: the option numbers, in the encoder's space, of the options of the part."""

    def __call__(self, population: Population) -> Floats:
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


def _linear_columns(space: SearchSpace) -> tuple[Floats, list[str], dict[str, slice]]:
    """Everything that is linear in the one-hot columns: matrix (num_one_hot, num_columns), names, blocks."""
    sizes, stages = sizes_of_options(space), stages_of_genes(space)
    staged = sorted({stage for stage in stages if stage is not None})
    if len(staged) < 2:
        staged = []  # what is true of the only stage is true of the network

    def in_stage(stage: int | None) -> Callable[[int], bool]:
        return lambda gene: stage is None or stages[gene] == stage

    each = [(f"size {gene.name}", {number: sizes[number]}) for number, gene in enumerate(space.genes)]
    varying = {number: values for number, values in enumerate(sizes) if float(np.ptp(values)) > 0}
    parts = {
        "sizes": each,
        "shares": _shares(space.genes, in_stage(None), "share"),
        "stages": [
            column
            for stage in staged
            for column in (
                *_shares(space.genes, in_stage(stage), f"stage {stage} share"),
                *_mean(f"stage {stage} size", {g: v for g, v in varying.items() if stages[g] == stage}),
            )
        ],
        "size": _mean("size", varying) or [("size", {})],
    }
    starts = np.concatenate([[0], np.cumsum([len(gene.options) for gene in space.genes])])
    columns, blocks = [], {"genes": slice(0, int(starts[-1]))}
    names: list[str] = []
    for block, members in parts.items():
        first = int(starts[-1]) + len(names)
        for name, weights in members:
            column = np.zeros(int(starts[-1]))
            for gene, values in weights.items():
                column[starts[gene] : starts[gene + 1]] = values
            columns.append(column)
            names.append(name)
        blocks[block] = slice(first, first + len(members))
    return np.stack(columns, axis=1), names, blocks


#: a column: its name and, for the genes it depends on, its value by option
_Column = tuple[str, dict[int, Floats]]


def _shares(genes: tuple[Gene, ...], counts: Callable[[int], bool], label: str) -> list[_Column]:
    """Shares of the genes of one kind that take an option, where there are several such genes."""
    members: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, gene in enumerate(genes):
        if counts(number):
            kind = re.sub(r"[\d\W_]+", " ", gene.name).strip()
            for place, option in enumerate(gene.options):
                members.setdefault((kind, str(option)), []).append((number, place))
    columns = []
    for (kind, option), places in members.items():
        if len(places) > 1:
            weights = {gene: np.eye(len(genes[gene].options))[place] / len(places) for gene, place in places}
            columns.append((f"{label} {kind}={option}", weights))
    return columns


def _mean(name: str, sizes: Mapping[int, Floats]) -> list[_Column]:
    return [(name, {gene: values / len(sizes) for gene, values in sizes.items()})] if sizes else []
