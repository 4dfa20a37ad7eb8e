"""Bounds on a cost within limits: weighted sums, whose least over every completion of a partial network is exact.

Variable elimination of a weighted sum leaves for every gene what each option adds to the least that is still possible
(K. Kask, R. Dechter, "A general scheme for automatic generation of search heuristics from specification dependencies",
2001). With the cost at weight 1 and the limited ones at the best multipliers this is the Lagrangian relaxation of the
limits (A. M. Geoffrion, "Lagrangean relaxation for integer programming", 1974); the multipliers come from cutting
planes (J. E. Kelley, "The cutting-plane method for solving convex programs", 1960).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from search_spaces.costs import CostTable, eliminated
from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]

#: Cutting planes at most, and the largest multiplier (in units of the least cost, per share of a limit).
_CUTS, _STEEPEST = 40, 1e4


@dataclass(frozen=True)
class Bound:
    """The least that a weighted sum of costs can still be, as genes are decided in `order`.

    `root`: before any is. `added[i]`: what the options of gene `order[i]` (last axis) add to it, by the options of the
    genes `scopes[i]` before it.
    """

    weights: Floats  # (num_costs,), of costs in units of `SumProblem.scale`
    root: float
    order: tuple[int, ...]
    scopes: tuple[tuple[int, ...], ...]
    added: tuple[Floats, ...]

    @classmethod
    def of(cls, table: CostTable, weights: Floats) -> Bound:
        buckets = eliminated(table)
        fixed = [float(values) for genes, values in zip(table.genes, table.tables, strict=True) if not genes]
        root = table.constant + sum(fixed) + sum(float(bucket.joint.min()) for bucket in buckets if not bucket.scope)
        buckets.reverse()
        added = tuple(_above_least(bucket.joint) for bucket in buckets)
        return cls(weights, root, tuple(b.gene for b in buckets), tuple(b.scope for b in buckets), added)

    def completed(self, population: Population, num_decided: int) -> Population:
        """The least completion of each row, of which the first genes in `order` are decided."""
        rows = population.copy()
        for gene, scope, added in list(zip(self.order, self.scopes, self.added, strict=True))[num_decided:]:
            rows[:, gene] = added.argmin(axis=-1)[tuple(rows[:, g] for g in scope)]
        return rows


@dataclass(frozen=True)
class SumProblem:
    """The least of `costs[0]` where `costs[1:]` keep their `limits`: sums over the same slots.

    `barred` is not zero for the options of a slot that must not be (a maximum over the same slots).
    """

    costs: tuple[CostTable, ...]
    limits: tuple[float, ...]
    barred: CostTable | None = None

    @cached_property
    def scale(self) -> Floats:
        """(num_costs,) units that make the costs comparable: their limits, and the least of the first."""
        least = abs(self.costs[0].minimum()[0])
        return np.array([least or 1.0, *(abs(limit) or 1.0 for limit in self.limits)])

    def bound(self, weights: Sequence[float] | Floats) -> Bound:
        weights = np.asarray(weights, dtype=np.float64)
        factors = weights / self.scale
        first, tables = self.costs[0], []
        for slot, shape in enumerate(table.shape for table in first.tables):
            summed = sum((f * c.tables[slot] for f, c in zip(factors, self.costs, strict=True)), np.zeros(shape))
            tables.append(summed if self.barred is None else np.where(self.barred.tables[slot] > 0, np.inf, summed))
        constant = float(sum(f * cost.constant for f, cost in zip(factors, self.costs, strict=True)))
        return Bound.of(replace(first, tables=tuple(tables), constant=constant), weights)

    @cached_property
    def shares(self) -> Floats:
        """(num_limits,) the limits in units of `scale`: 1 each."""
        return np.array(self.limits) / self.scale[1:]

    def start(self) -> Population:
        """(1, num_genes) with nothing decided."""
        return np.zeros((1, len(self.costs[0].genome.genes)), dtype=np.int64)

    def values(self, population: Population) -> Floats:
        """(num, num_costs) in units of `scale`; infinite in what is barred."""
        values = np.stack([cost.evaluate(population) for cost in self.costs], axis=1) / self.scale
        if self.barred is not None:
            values[self.barred.evaluate(population) > 0] = np.inf
        return values

    def keeps(self, population: Population) -> npt.NDArray[np.bool_]:
        """(num,) which networks keep every limit, to the last bit."""
        kept = np.ones(len(population), dtype=bool)
        for cost, limit in zip(self.costs[1:], self.limits, strict=True):
            kept &= cost.evaluate(population) <= limit
        return kept if self.barred is None else kept & (self.barred.evaluate(population) == 0)

    def best_multipliers(self) -> Floats:
        """(num_limits,) non-negative, those of the highest Lagrangian bound, as nearly as cutting planes find them."""
        from scipy.optimize import linprog

        num = len(self.limits)
        if num == 0:
            return np.zeros(0)
        alone = [self.bound(row) for row in np.eye(num + 1)]
        met = [self.values(bound.completed(self.start(), 0))[0] for bound in alone]
        best, highest = np.zeros(num), -np.inf
        for _ in range(_CUTS):
            cuts = np.stack([row for row in met if np.isfinite(row).all()])
            # the highest theta with theta <= cost + multipliers @ (limited - limit) for every network met
            planes = np.column_stack([np.ones(len(cuts)), -(cuts[:, 1:] - self.shares)])
            bounds = [(None, None)] + [(0.0, _STEEPEST)] * num
            solved = linprog([-1.0, *[0.0] * num], A_ub=planes, b_ub=cuts[:, 0], bounds=bounds)
            if solved.x is None:
                break
            multipliers = np.maximum(solved.x[1:], 0.0)
            bound = self.bound([1.0, *multipliers])
            value = bound.root - float(multipliers @ self.shares)
            if value > highest:
                best, highest = multipliers, value
            if solved.x[0] - highest <= 1e-9 * max(1.0, abs(highest)):
                break
            met.append(self.values(bound.completed(self.start(), 0))[0])
        return best


def _above_least(joint: Floats) -> Floats:
    """`joint` above its least along the last axis; where nothing is possible all stay infinite."""
    least = joint.min(axis=-1, keepdims=True)
    return np.where(np.isfinite(joint), joint - np.where(np.isfinite(least), least, 0.0), np.inf)
