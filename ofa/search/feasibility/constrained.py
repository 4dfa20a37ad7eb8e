"""The least of one additive cost within limits on others: exactly where there is room for it, else a bound.

Networks are decided gene by gene, all partial ones together (labels of a resource-constrained shortest path; M.
Desrochers, F. Soumis, 1988). Dropped are those that cannot keep the limits or beat the best network met so far, by
exact bounds on every completion (`relaxation`), and those that are no better in any cost than another whose later
choices are the same. If more are left than there is room for, the most promising go on, and the least that the others
could still have bounds the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa.search.feasibility.relaxation import Bound, Floats, SumProblem
from search_spaces.genome import Population

#: Sums in another order differ by less than the first, as shares of a limit; more than the second is no rounding.
_EQUAL, _ROUNDING = 1e-14, 1e-12
#: Partial networks that are completed at every gene, in search of better whole ones.
_COMPLETED = 32
#: Neighbours in order of cost that a partial network is compared with where several costs are limited.
_WINDOW = 16


@dataclass(frozen=True)
class Answer:
    """No network within the limits costs less than `lower`: infinite if there is none.

    `exact`: `row` costs just that, or there is none. Else `row` is the best that was met, if any.
    """

    lower: float
    row: npt.NDArray[np.int64] | None
    exact: bool


@dataclass
class _Best:
    """The best network met so far within the limits."""

    problem: SumProblem
    value: float = np.inf  # in units of the problem's scale
    row: npt.NDArray[np.int64] | None = None

    def meet(self, population: Population) -> None:
        values = np.where(self.problem.keeps(population), self.problem.values(population)[:, 0], np.inf)
        if len(values) and values.min() < self.value:
            self.value, self.row = float(values.min()), population[values.argmin()].copy()

    def exactly(self) -> Answer:
        """It is the answer, or there is none."""
        least = np.inf if self.row is None else float(self.problem.costs[0].evaluate(self.row[None])[0])
        return Answer(least, self.row, exact=True)


def least_sum(problem: SumProblem, *, room: int = 100_000, enough: float = -np.inf) -> Answer:
    """The answer to `problem`, with `room` for so many partial networks at a time.

    A network that costs no more than `enough` ends the search; `lower` is then a bound only.
    """
    bounds, best = [problem.bound(weights) for weights in np.eye(len(problem.costs))], _Best(problem)
    barred = problem.barred is not None and problem.barred.constant > 0
    if barred or not all(np.isfinite(bound.root) for bound in bounds):
        return Answer(np.inf, None, exact=True)
    for bound in bounds:
        best.meet(bound.completed(problem.start(), 0))
    if best.value <= bounds[0].root + _ROUNDING * abs(bounds[0].root):  # the limits do not bind
        return best.exactly()
    multipliers = problem.best_multipliers()
    if multipliers.any():
        bounds.append(problem.bound([1.0, *multipliers]))
        bounds.append(problem.bound([0.0, *multipliers / multipliers.sum()]))
        best.meet(bounds[-2].completed(problem.start(), 0))
    step = _Step(problem, bounds)
    rows, floors = problem.start(), np.array([[bound.root for bound in bounds]])
    dropped = np.inf  # the least that what was dropped for want of room could still cost
    for number in range(len(step.order)):
        hopeful = step.promising(floors, best.value)
        rows, floors = step.decide(number, rows[hopeful], floors[hopeful], best.value)
        kept = step.undominated(number + 1, rows, floors)
        rows, floors = rows[kept], floors[kept]
        least = step.least(floors)
        order = np.argsort(least, kind="stable")
        if len(order) > room:
            dropped = min(dropped, float(least[order[room]]))
            order = order[:room]
        rows, floors = rows[order], floors[order]
        for i, bound in enumerate(bounds):
            for first in (slice(0, _COMPLETED), np.argsort(floors[:, i])[:_COMPLETED]):
                best.meet(bound.completed(rows[first], number + 1))
        if best.value * problem.scale[0] <= enough:
            break
    else:
        best.meet(rows)
    left = step.least(floors[step.promising(floors, best.value)])  # over a limit by what may be rounding; or undecided
    lower = min(best.value, dropped, float(left.min(initial=np.inf)))
    if lower == best.value:
        return best.exactly()
    return Answer(lower * float(problem.scale[0]), best.row, exact=False)


class _Step:
    """How partial networks (rows, and `floors` (num, num_bounds): what each bound says of them) grow by a gene."""

    def __init__(self, problem: SumProblem, bounds: Sequence[Bound]) -> None:
        self.order, self._scopes = bounds[0].order, bounds[0].scopes
        self._num_costs, self._num_options = len(problem.costs), problem.costs[0].genome.num_options
        pointless = _pointless(problem)
        self._added = []
        for number, (gene, scope) in enumerate(zip(self.order, self._scopes, strict=True)):
            added = np.stack([bound.added[number] for bound in bounds], axis=-1)
            added[_where(scope, gene, pointless[gene], added.shape[:-2]), 1:] = np.inf
            self._added.append(added)
        weights = np.stack([bound.weights for bound in bounds])
        self._of_cost = weights[:, 0]
        self._allowed = weights[:, 1:] @ (problem.shares * (1 + _ROUNDING))

    def promising(self, floors: Floats, best: float) -> npt.NDArray[np.bool_]:
        """(...) which may still keep the limits and cost less than `best`; `floors` is (..., num_bounds)."""
        at_most = self._allowed.copy()
        at_most[self._of_cost > 0] += self._of_cost[self._of_cost > 0] * best * (1 - _ROUNDING)
        return np.asarray((floors <= at_most).all(axis=-1) & np.isfinite(floors).all(axis=-1))

    def least(self, floors: Floats) -> Floats:
        """(num,) the least that any completion within the limits costs."""
        of_cost = self._of_cost > 0
        return np.asarray(((floors - self._allowed)[:, of_cost] / self._of_cost[of_cost]).max(axis=1))

    def decide(self, number: int, rows: Population, floors: Floats, best: float) -> tuple[Population, Floats]:
        """Every row with every option of the gene whose turn it is that is promising."""
        gene, scope = self.order[number], self._scopes[number]
        added = self._added[number][tuple(rows[:, g] for g in scope)]
        grown = floors[:, None] + added  # (num, num_options, num_bounds)
        parents, options = np.nonzero(self.promising(grown, best))
        rows = rows[parents]
        rows[:, gene] = options
        return rows, grown[parents, options]

    def undominated(self, num_decided: int, rows: Population, floors: Floats) -> npt.NDArray[np.int64]:
        """Positions of those that no other with the same choices left is as good as in every cost (some may be missed
        where several are limited).
        """
        state = np.zeros(len(rows), dtype=np.int64)
        needed = {gene for scope in self._scopes[num_decided:] for gene in scope}
        for gene in sorted(needed.intersection(self.order[:num_decided])):
            state = np.unique(state * self._num_options[gene] + rows[:, gene], return_inverse=True)[1]
        costs = np.round(floors[:, : self._num_costs] / _EQUAL)
        order = np.lexsort((*costs.T[:0:-1], costs[:, 0], state))
        state, costs = state[order], costs[order]
        beaten = np.zeros(len(order), dtype=bool)
        if self._num_costs == 2:
            rank = np.unique(costs[:, 1], return_inverse=True)[1]
            lowest = np.minimum.accumulate(rank - len(rank) * state)  # begins anew with every state
            beaten[1:] = (state[1:] == state[:-1]) & (lowest[:-1] <= (rank - len(rank) * state)[1:])
        else:
            for back in range(1, min(_WINDOW, len(order) - 1) + 1):
                better = (costs[:-back] <= costs[back:]).all(axis=1)
                beaten[back:] |= better & (state[:-back] == state[back:])
        return np.asarray(order[~beaten])


def _pointless(problem: SumProblem) -> list[dict[int, npt.NDArray[np.bool_]]]:
    """For every gene: by other genes, for which of their options it changes no cost (it is switched off, say). A gene
    that never does has itself as the key.
    """
    tables = [*problem.costs, *([] if problem.barred is None else [problem.barred])]
    found = []
    for gene in range(len(tables[0].genome.genes)):
        matters: dict[int, npt.NDArray[np.bool_]] | None = None
        for table in tables:
            for genes, values in zip(table.genes, table.tables, strict=True):
                if gene not in genes:
                    continue
                axis = genes.index(gene)
                varies = (values != values.take([0], axis=axis)).any(axis=axis)
                if not varies.any():
                    continue
                others = [g for g in genes if g != gene]
                by = {g: varies.any(axis=tuple(a for a in range(varies.ndim) if a != i)) for i, g in enumerate(others)}
                matters = by if matters is None else {g: m | by[g] for g, m in matters.items() if g in by}
        if matters is None:
            found.append({gene: np.ones(int(tables[0].genome.num_options[gene]), dtype=bool)})
        else:
            found.append({g: ~m for g, m in matters.items() if not m.all()})
    return found


def _where(
    scope: tuple[int, ...], gene: int, pointless: dict[int, npt.NDArray[np.bool_]], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """`shape` (the options of the genes of `scope`): where the options of `gene` make no difference."""
    where = np.full(shape, gene in pointless)
    for axis, other in enumerate(scope):
        if other in pointless:
            where |= pointless[other].reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return where
