"""A search as JSON: budgets, candidates, what was predicted and measured, who was rejected and why, the front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa.search.finalists import Finalist, Outcome, Winner
from ofa.search.front import predicted_front
from ofa.search.gene_effects import effects_facts
from ofa.search.several_devices import UNIVERSAL

if TYPE_CHECKING:
    from ofa.search.run import Ranked
    from predictors.base import Predict
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable

SCHEMA = 1


def outcome_facts(
    space: SearchSpace,
    predict: Predict,
    costs: Mapping[str, CostTable],
    outcome: Outcome,
    ranked: Mapping[str, Ranked],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """The content of `search.json`: `budgets` from the smallest upwards, `fronts` by cost."""
    limited = dict.fromkeys(name for winner in outcome.winners for name in winner.budget.limits)
    return {
        "schema": SCHEMA,
        "space": space.name,
        "fingerprint": space.fingerprint,
        "units": {name: table.unit for name, table in costs.items()},
        "budgets": [_budget(space, winner, outcome, ranked[winner.budget.name], costs) for winner in outcome.winners],
        "num_evaluated": sum(f.selection_accuracy is not None for f in outcome.finalists.values()),
        "fronts": {name: front_facts(space, predict, costs[name], seed=seed) for name in limited},
    }


def universal_facts(outcome: Outcome) -> dict[str, Any] | None:
    """The network for all devices of a search, and what it loses to each device's own winner on the selection split
    (in int8 where that is a board); None where none serves all.
    """
    winners = {winner.budget.name: winner for winner in outcome.winners}
    if UNIVERSAL not in winners:
        return None
    best = winners.pop(UNIVERSAL).winner

    def loss(winner: Winner) -> float:
        own, universal = (getattr(finalist, winner.chosen_by) for finalist in (winner.winner, best))
        return float(own - universal)

    losses = {device: loss(winner) for device, winner in winners.items()}
    return {"key": best.architecture.key, "losses": losses, "worst_loss": max(losses.values())}


def network_facts(finalist: Finalist) -> dict[str, Any]:
    """One network that was tried. `measured` by cost, in ms; `int8_accuracy` where a board's budget admits it."""
    int8 = {} if finalist.int8_accuracy is None else {"int8_accuracy": finalist.int8_accuracy}
    return {
        "key": finalist.architecture.key,
        "architecture": finalist.architecture.to_json(),
        "predicted_accuracy": finalist.predicted_accuracy,
        "predicted_costs": finalist.predicted_costs,
        "measured": {name: asdict(median) for name, median in finalist.measured.items()},
        "selection_accuracy": finalist.selection_accuracy,
        **int8,
    }


def contributions(costs: Mapping[str, CostTable], row: Any) -> dict[str, list[dict[str, Any]]]:
    """By cost, what every slot of a network costs; sums add up to the predicted cost exactly."""
    return {
        name: [{"slot": slot, "value": value} for slot, value in table.explain(row)] for name, table in costs.items()
    }


def front_facts(space: SearchSpace, predict: Predict, cost: CostTable, *, seed: int) -> list[dict[str, Any]]:
    """The predicted front, cheapest first; `lower` and `upper` where an interval is known."""
    rows = predicted_front(space, predict, cost, seed=seed)
    values, prediction = cost.evaluate(rows), predict(rows)
    order = np.argsort(values, kind="stable")
    architectures = space.decode(rows)
    points = [(architectures[i], float(values[i]), prediction.facts(i)) for i in order]
    return [
        {
            "key": architecture.key,
            "architecture": architecture.to_json(),
            "cost": value,
            "accuracy": facts.pop("mean"),
            **facts,
        }
        for architecture, value, facts in points
    ]


def _budget(
    space: SearchSpace, winner: Winner, outcome: Outcome, ranked: Ranked, costs: Mapping[str, CostTable]
) -> dict[str, Any]:
    limits = winner.budget.limits
    candidates = []
    for key in winner.candidates:
        finalist = outcome.finalists[key]
        exceeded = finalist.exceeded(limits)
        status = "winner" if key == winner.winner.architecture.key else "rejected" if exceeded else "admitted"
        candidates.append({**network_facts(finalist), "status": status, "exceeded": exceeded})
    return {
        "name": winner.budget.name,
        "limits": limits,
        "written": winner.budget.written,
        "algorithm": ranked.algorithm,
        "num_scored": ranked.num_scored,
        "rounds": winner.rounds,
        "chosen_by": winner.chosen_by,
        "winner": {
            **network_facts(winner.winner),
            "contributions": contributions(costs, winner.winner.row),
            "gene_effects": effects_facts(space, costs, winner.winner.row),
        },
        "candidates": candidates,
    }
