"""Networks as lists of operator slots: each slot's distinct operators with what they cost, and one number a slot for
every network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa.export.layers import describe_operator
from ofa.report.words import operator_label, operator_words
from search_spaces import SearchSpace
from search_spaces.costs import CostTable
from search_spaces.genome import Population


@dataclass(frozen=True)
class SlotTable:
    """`operators[slot]` are JSON-able; `numbers` (num, num_slots) says which of them each network has, -1: none."""

    slots: tuple[str, ...]
    operators: list[list[dict[str, Any]]]
    numbers: npt.NDArray[np.int64]


def slot_table(space: SearchSpace, population: Population, costs: Mapping[str, CostTable]) -> SlotTable:
    """What stands in every slot of the rows of `population`, and what it costs there by each of `costs`.

    A slot's cost may depend on more than its operator (a classifier's time on the input's size): such operators are
    listed once for every cost they have. The costs of a network's operators, summed or their largest as the table
    says, with the table's constant, are the network's.
    """
    known = list(space.operators().values())
    number_of = {operator.key: number for number, operator in enumerate(known)}
    # as a cost of its own: one more than the operator's number, as 0 is what an empty slot costs
    marks = space.cost_of(lambda operator: 1.0 + number_of[operator.key])
    columns = [marks.contributions(population), *(_by_slot(table, marks, population) for table in costs.values())]
    stacked = np.stack(columns, axis=-1)  # (num, num_slots, 1 + num_costs)
    numbers = np.full(stacked.shape[:2], -1, dtype=np.int64)
    operators: list[list[dict[str, Any]]] = []
    for slot in range(len(marks.slots)):
        distinct, inverse = np.unique(stacked[:, slot], axis=0, return_inverse=True)
        filled = distinct[:, 0] > 0
        numbers[:, slot] = np.where(filled, np.cumsum(filled) - 1, -1)[inverse.ravel()]
        operators.append([_operator(known[int(row[0]) - 1], row[1:]) for row in distinct[filled]])
    return SlotTable(marks.slots, operators, numbers)


def compact(value: float) -> float | int:
    """Nine digits: a sum of them is right to 1e-8, and JSON stays short."""
    return int(value) if float(value).is_integer() else float(f"{value:.9g}")


def _by_slot(table: CostTable, marks: CostTable, population: Population) -> npt.NDArray[np.float64]:
    assert table.slots == marks.slots
    return table.contributions(population)


def _operator(operator: Any, values: npt.NDArray[np.float64]) -> dict[str, Any]:
    facts = describe_operator(operator)
    return {
        "key": facts["operator"],
        "kind": facts["kind"],
        "text": operator_words(facts),
        "label": operator_label(facts),
        "kernel": facts["options"].get("kernel_size"),
        "in": facts["in_channels"],
        "out": facts["out_channels"],
        "side": facts["resolution"],
        "output_side": facts["output_resolution"],
        "costs": [compact(value) for value in values],
    }
