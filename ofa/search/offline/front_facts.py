"""The front of a whole space as JSON: what `ofa search --front` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ofa.search.algorithms.limits import Limits
from ofa.search.front import predicted_front, random_front
from search_spaces.common.errors import UserError, unknown_name

if TYPE_CHECKING:
    from predictors.base import Predict
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable


def whole_front(
    space: SearchSpace,
    predict: Predict,
    costs: Mapping[str, CostTable],
    names: Sequence[str],
    *,
    limits: Mapping[str, float] | None = None,
    num_random: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """The front of predicted accuracy against the costs called `names`, among networks that keep `limits` (base units,
    by cost): searched, or that of `num_random` random networks. Cheapest in the first cost first.

    `UserError` for an unknown cost, or if no network that was met keeps the limits.
    """
    if not names:
        raise UserError("a front needs a cost", key="--front", hint=f"Known: {', '.join(sorted(costs))}")
    for name in (*names, *(limits or {})):
        if name not in costs:
            raise unknown_name("cost", name, costs, key="--front")
    tables = [costs[name] for name in names]
    violation = Limits(costs, limits) if limits else None
    if num_random:
        archive = random_front(space, predict, tables, num=num_random, seed=seed, violation=violation)
        rows = archive.population[::-1]
        rows = rows[tables[0].evaluate(rows).argsort(kind="stable")]
    else:
        rows = predicted_front(space, predict, tables, seed=seed, violation=violation)
    if not len(rows):
        raise UserError("no network that was met keeps the limits", key="--front", value=dict(limits or {}))
    prediction = predict(rows)
    values = {name: table.evaluate(rows) for name, table in costs.items()}
    return {
        "costs": list(names),
        "limits": dict(limits or {}),
        "num_random": num_random,
        "points": [
            {
                "key": architecture.key,
                "architecture": architecture.to_json(),
                "predicted_accuracy": prediction.facts(row),
                "predicted_costs": {name: float(value[row]) for name, value in values.items()},
            }
            for row, architecture in enumerate(space.decode(rows))
        ],
    }
