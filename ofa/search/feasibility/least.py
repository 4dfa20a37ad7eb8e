"""The least of one cost that networks within limits on others can have: exactly, or a bound that says it is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ofa.search.budgets import format_cost
from ofa.search.feasibility.constrained import Answer, least_sum
from ofa.search.feasibility.relaxation import SumProblem
from search_spaces.common.errors import unknown_name
from search_spaces.costs import align

if TYPE_CHECKING:
    import numpy.typing as npt

    from search_spaces.costs import CostTable


@dataclass(frozen=True)
class Least:
    """`value`: no network within the limits has less; infinite if no network keeps them.

    `exact`: `row` has just that (or there is none). Else `row` is the best network met within the limits, None if none
    was.
    """

    name: str
    value: float
    row: npt.NDArray[np.int64] | None
    exact: bool

    def text(self) -> str:
        """`the least flash is 1.2 MiB`, or `... at least ...`."""
        if not np.isfinite(self.value):
            return f"no network is left, whatever its {self.name}"
        return f"the least {self.name} is {'' if self.exact else 'at least '}{format_cost(self.value, self.name)}"


def least(
    costs: Mapping[str, CostTable], name: str, limits: Mapping[str, float] | None = None, *, room: int = 100_000
) -> Least:
    """The least of the cost `name` among the networks that keep `limits` (one on `name` itself is left out).

    Limits on maxima (peak memory) are exact. With limits on sums the answer is exact unless more than `room` partial
    networks at a time are still in question; exact to a share of 1e-12, as sums of floating-point numbers are. Raises
    `UserError` for a cost that `costs` does not hold.
    """
    limits = {other: limit for other, limit in (limits or {}).items() if other != name}
    for wanted in (name, *limits):
        if wanted not in costs:
            raise unknown_name("cost", wanted, costs)
    names = [name, *limits]
    tables = dict(zip(names, align([costs[wanted] for wanted in names]), strict=True))
    sums = [other for other in limits if tables[other].reduce == "sum"]
    caps = {other: limits[other] for other in limits if tables[other].reduce == "max"}
    barred = _barred(tables[name], [(tables[other], cap) for other, cap in caps.items()])
    if tables[name].reduce == "max":
        return _least_maximum(tables, name, sums, limits, barred, room)
    problem = SumProblem(tuple(tables[wanted] for wanted in (name, *sums)), tuple(limits[o] for o in sums), barred)
    answer = least_sum(problem, room=room)
    return Least(name, answer.lower, answer.row, answer.exact)


def _least_maximum(
    tables: Mapping[str, CostTable],
    name: str,
    sums: list[str],
    limits: Mapping[str, float],
    barred: CostTable,
    room: int,
) -> Least:
    """The lowest of all values that slots have which, as a cap on all slots, leaves a network within the limits on
    sums; by bisection.
    """
    table = tables[name]
    steps = np.unique(np.concatenate([[table.constant], *(values.ravel() for values in table.tables)]))
    steps = steps[steps >= max(table.constant, table.minimum()[0])]
    objective, others = (sums[0], sums[1:]) if sums else (None, [])

    def ask(cap: float) -> Answer:
        mask = _barred(table, [(barred, 0.0), (table, cap)])
        if objective is None:
            value, row = mask.minimum()
            return Answer(value, row, exact=True) if value == 0 else Answer(np.inf, None, exact=True)
        chosen = tuple(tables[other] for other in (objective, *others))
        limit = limits[objective]
        answer = least_sum(SumProblem(chosen, tuple(limits[o] for o in others), mask), room=room, enough=limit)
        if answer.row is not None and tables[objective].evaluate(answer.row[None])[0] <= limit:
            return answer
        return Answer(answer.lower, None, exact=answer.lower > limit * (1 + 1e-12))

    proven, low, high = -1, -1, len(steps)  # no network up to `proven`; none found up to `low`; one at `high`
    best: npt.NDArray[np.int64] | None = None
    while high - low > 1:
        middle = (low + high) // 2
        answer = ask(float(steps[middle]))
        if answer.row is not None:
            best, high = answer.row, middle
        else:
            low, proven = middle, middle if answer.exact else proven
    if best is None and proven == len(steps) - 1:
        return Least(name, np.inf, None, exact=True)
    exact = best is not None and proven == high - 1
    return Least(name, float(steps[high if exact else proven + 1]), best, exact)


def _barred(like: CostTable, caps: list[tuple[CostTable, float]]) -> CostTable:
    """1 for a network of which a slot exceeds a cap, else 0."""
    masks = [
        np.any([table.tables[slot] > cap for table, cap in caps], axis=0).astype(np.float64)
        if caps
        else np.zeros(values.shape)
        for slot, values in enumerate(like.tables)
    ]
    constant = float(any(table.constant > cap for table, cap in caps))
    return replace(like, metric="barred", unit="", reduce="max", tables=tuple(masks), constant=constant)
