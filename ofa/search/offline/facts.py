"""A search by predictor and tables alone, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ofa.search.facts import contributions
from ofa.search.gene_effects import effects_facts
from ofa.search.offline.joint_front import joint_front

if TYPE_CHECKING:
    from ofa.search.offline.confidence import Bounds
    from ofa.search.offline.shared_scores import SharedScores
    from ofa.search.several_devices import Found, Several
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable


def found_facts(
    space: SearchSpace, costs: Mapping[str, CostTable], found: Found | None, *, dtype: str
) -> dict[str, Any]:
    """The candidates for one budget, and the costs of the first explained; nothing of everything if none was found."""
    if found is None:
        return {"algorithm": None, "candidates": [], "contributions": {}, "gene_effects": {}}
    rows = found.population
    naive = space.cost("peak_memory", dtype).evaluate(rows)
    return {
        "algorithm": found.algorithm,
        "candidates": [
            {
                "key": architecture.key,
                "architecture": architecture.to_json(),
                "predicted_accuracy": found.prediction.facts(i),
                "predicted_costs": {name: float(values[i]) for name, values in found.costs.items()},
                "naive_peak_memory": float(naive[i]),
                "measured": {name: vars(measurement) for name, measurement in found.measured[i].items()},
            }
            for i, architecture in enumerate(space.decode(rows))
        ],
        "contributions": contributions(costs, rows[0]),
        "gene_effects": effects_facts(space, costs, rows[0]),
    }


def several_facts(
    space: SearchSpace,
    predict: SharedScores,
    costs: Mapping[str, CostTable],
    several: Several,
    *,
    dtype: str,
    seed: int,
) -> dict[str, Any]:
    """`winners` by device, with their candidates; `universal`, the network for all; `front` over all limited costs.

    `clash` says why no network keeps all limits, where none does (`universal` is None then).
    """
    limited = list(dict.fromkeys(name for found in several.devices.values() for name in found.budget.limits))
    over = {name: costs[name] for name in limited}
    front = joint_front(space, predict, over, [found.budget for found in several.devices.values()], seed=seed)
    prediction = predict(front.population)
    values = {name: table.evaluate(front.population) for name, table in over.items()}
    losses = several.losses
    winners = {}
    for device, found in several.devices.items():
        facts = found_facts(space, costs, found, dtype=dtype)
        winners[device] = {"limits": found.budget.limits, "winner": facts["candidates"][0], **facts}
    return {
        "winners": winners,
        "universal": None
        if several.universal is None
        else {
            "key": space.decode(several.universal.population[:1])[0].key,
            "losses": losses,
            "worst_loss": max(losses.values()),
        },
        "clash": None if several.clash is None else {"message": str(several.clash), **several.clash.details},
        "front": {
            "exact": front.exact,
            "num": front.num,
            "networks": [
                {
                    "key": architecture.key,
                    "architecture": architecture.to_json(),
                    "predicted_accuracy": prediction.facts(i),
                    "predicted_costs": {name: float(value[i]) for name, value in values.items()},
                }
                for i, architecture in enumerate(space.decode(front.population))
            ],
        },
    }


def confidence_facts(bounds: Bounds, here: Mapping[str, object], found: Found | None) -> dict[str, Any]:
    """The intervals that limits were kept by, and what was measured."""
    return {
        "confidence": bounds.confidence,
        "upper": bounds.upper,
        "intervals": {name: [bound.low, bound.high] for name, bound in bounds.intervals.items()},
        "measured_here": sorted(here),
        "num_rejected": 0 if found is None else found.num_rejected,
    }
