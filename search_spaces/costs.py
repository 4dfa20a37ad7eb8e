"""Costs of whole populations: one small table per slot, a gather and a reduction; and their exact extremes over a
space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from search_spaces.genome import Genome, Population

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CostTable:
    """A cost of every network of a space.

    For each slot, `tables[i]` holds the cost by the options of the genes `genes[i]` (one axis a gene). Slots combine
    by `reduce` ("sum" or "max"); `constant` is what every network pays besides (reported as the slot "overhead").
    """

    genome: Genome
    metric: str
    unit: str
    reduce: str
    slots: tuple[str, ...]
    genes: tuple[tuple[int, ...], ...]
    tables: tuple[Floats, ...]
    constant: float = 0.0

    def contributions(self, population: Population) -> Floats:
        """(num, num_slots): what every slot costs in every architecture; a slot that is switched off costs 0."""
        out = np.empty((len(population), len(self.slots)))
        for column, (genes, table) in enumerate(zip(self.genes, self.tables, strict=True)):
            out[:, column] = table[tuple(population[:, gene] for gene in genes)]
        return out

    def evaluate(self, population: Population) -> Floats:
        """(num,) costs of the rows of `population`, in `unit`."""
        flat, offsets, strides = self._flat
        options = np.ascontiguousarray(population.T)
        total = np.full(len(population), self.constant)
        place, step = np.empty(len(population), dtype=np.int64), np.empty(len(population), dtype=np.int64)
        for column, genes in enumerate(self.genes):
            place.fill(offsets[column])
            for gene, stride in zip(genes, strides[column], strict=True):
                place += np.multiply(options[gene], stride, out=step) if stride > 1 else options[gene]
            values = flat[place]
            (np.add if self.reduce == "sum" else np.maximum)(total, values, out=total)
        return total

    def explain(self, row: NDArray[np.int64]) -> list[tuple[str, float]]:
        """(slot, cost) of one architecture; for a sum they add up, in this order, to exactly what `evaluate`
        returns.
        """
        values = self.contributions(np.asarray(row)[None])[0]
        overhead = [("overhead", self.constant)] if self.constant else []
        return overhead + [(slot, float(value)) for slot, value in zip(self.slots, values, strict=True) if value != 0]

    def minimum(self) -> tuple[float, NDArray[np.int64]]:
        """The cheapest network of the whole space, exactly: (cost, canonical row)."""
        value, row = self._lowest
        return value, row.copy()

    def maximum(self) -> tuple[float, NDArray[np.int64]]:
        """The most expensive network of the whole space, exactly: (cost, canonical row)."""
        value, row = self._highest
        return value, row.copy()

    @cached_property
    def _lowest(self) -> tuple[float, NDArray[np.int64]]:
        return self._extreme(lowest=True)

    @cached_property
    def _highest(self) -> tuple[float, NDArray[np.int64]]:
        return self._extreme(lowest=False)

    @cached_property
    def _flat(self) -> tuple[Floats, list[int], list[tuple[int, ...]]]:
        flat = np.concatenate([table.ravel() for table in self.tables])
        sizes = [table.size for table in self.tables]
        offsets = [sum(sizes[:i]) for i in range(len(sizes))]
        strides = [
            tuple(int(np.prod(table.shape[axis + 1 :], dtype=np.int64)) for axis in range(table.ndim))
            for table in self.tables
        ]
        return flat, offsets, strides

    def _extreme(self, *, lowest: bool) -> tuple[float, NDArray[np.int64]]:
        buckets = eliminated(self, lowest=lowest)
        row = np.zeros(len(self.genome.genes), dtype=np.int64)
        for bucket in reversed(buckets):
            options = bucket.joint[tuple(row[g] for g in bucket.scope)]
            row[bucket.gene] = options.argmin() if lowest else options.argmax()
        row = self.genome.canonical(row[None])[0]
        return float(self.evaluate(row[None])[0]), row


@dataclass(frozen=True)
class Bucket:
    """One gene's turn in a variable elimination: `joint` is the best that this gene and all genes that went before it
    can add, by the options of the genes of `scope` (which go later) and, on the last axis, of `gene`.
    """

    gene: int
    scope: tuple[int, ...]
    joint: Floats


def eliminated(table: CostTable, *, lowest: bool = True) -> list[Bucket]:
    """Variable elimination over the slots' tables: remove one gene at a time, keeping its best option for every setting
    of the genes it shares slots with (R. Dechter, Bucket elimination, 1999); a bucket for every gene, in order.

    Exact for sums and maxima, because both only grow with each of their terms; switched-off genes do not change any
    table, so they need no special care.
    """
    factors = list(zip(table.genes, table.tables, strict=True))
    num_options = table.genome.num_options
    buckets = []
    for gene in _elimination_order(table.genes, tuple(num_options.tolist())):
        touched = [factor for factor in factors if gene in factor[0]]
        factors = [factor for factor in factors if gene not in factor[0]]
        scope = tuple(sorted({g for genes, _ in touched for g in genes} - {gene}))
        joint = np.zeros([*(num_options[g] for g in scope), num_options[gene]])
        for genes, values in touched:
            aligned = _align(genes, values, (*scope, gene))
            joint = joint + aligned if table.reduce == "sum" else np.maximum(joint, aligned)
        buckets.append(Bucket(gene, scope, joint))
        factors.append((scope, joint.min(axis=-1) if lowest else joint.max(axis=-1)))
    return buckets


def align(tables: Sequence[CostTable]) -> list[CostTable]:
    """The same costs over the same slots, each slot a function of all genes that it reads in any of them.

    A slot may read more genes in one cost than in another: a classifier takes the same MACs at every input resolution,
    but not always the same time.
    """
    scopes = [tuple(sorted(set().union(*reads))) for reads in zip(*(table.genes for table in tables), strict=True)]

    def aligned(table: CostTable) -> CostTable:
        if table.genes == tuple(scopes):
            return table
        num_options = table.genome.num_options
        spread = [
            np.broadcast_to(_align(genes, values, scope), [int(num_options[gene]) for gene in scope])
            for genes, values, scope in zip(table.genes, table.tables, scopes, strict=True)
        ]
        return replace(table, genes=tuple(scopes), tables=tuple(spread))

    return [aligned(table) for table in tables]


def combine(tables: Sequence[CostTable], weights: Sequence[float], *, metric: str, unit: str = "") -> CostTable:
    """The weighted sum of additive costs over the same slots, itself a table (for Lagrangian bounds)."""
    first = tables[0]
    assert all(table.reduce == "sum" and table.genes == first.genes for table in tables)
    summed = tuple(
        sum((w * t.tables[i] for w, t in zip(weights, tables, strict=True)), np.zeros(first.tables[i].shape))
        for i in range(len(first.slots))
    )
    constant = float(sum(w * t.constant for w, t in zip(weights, tables, strict=True)))
    return CostTable(first.genome, metric, unit, "sum", first.slots, first.genes, summed, constant)


@lru_cache(maxsize=64)
def _elimination_order(scopes: tuple[tuple[int, ...], ...], num_options: tuple[int, ...]) -> tuple[int, ...]:
    """All genes, next always the one whose slots together read the fewest combinations of options, and of these the
    fewest genes: arrays have at most 64 axes.
    """
    factors = [frozenset(scope) for scope in scopes]
    joint = {gene: frozenset().union(*(f for f in factors if gene in f)) for gene in range(len(num_options))}
    order: list[int] = []
    while joint:
        gene = min(joint, key=lambda g: (math.prod(num_options[other] for other in joint[g]), len(joint[g])))
        order.append(gene)
        left = joint.pop(gene) - {gene}
        factors = [f for f in factors if gene not in f] + [left]
        for other in left:
            joint[other] = frozenset().union(*(f for f in factors if other in f))
    return tuple(order)


def _align(genes: tuple[int, ...], table: Floats, scope: tuple[int, ...]) -> Floats:
    """`table` with its axes in the order of `scope` and length-1 axes for the genes it does not read."""
    order = [genes.index(g) for g in scope if g in genes]
    shape = [table.shape[genes.index(g)] if g in genes else 1 for g in scope]
    return table.transpose(order).reshape(shape)
