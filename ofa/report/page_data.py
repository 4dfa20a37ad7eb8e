"""What the page's script knows: every network that was evaluated, tried or predicted to be on the front, slot by slot.

Accuracies are shares in 0..1, costs in their base units. Lists are columns, so that thousands of networks stay small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_tables.conformal import interval
from latency_tables.table import LatencyTable, Table
from ofa.proportions import wilson
from ofa.report.slot_table import compact, slot_table
from ofa.report.sources import Sources
from ofa.report.words import architecture_words
from ofa.search.costs import all_costs, cost_of
from predictors.record_file import Records
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.units import METRICS
from search_spaces.costs import CostTable
from search_spaces.genome import Population

Facts = dict[str, Any]
Floats = npt.NDArray[np.float64]

#: of the intervals of accuracies (Wilson) and of latencies (split conformal)
LEVEL = 0.95
TABLE_LEVEL = 0.9


@dataclass(frozen=True)
class _Networks:
    """Distinct networks, records first; `accuracy` is NaN where nothing was evaluated."""

    population: Population
    accuracy: Floats
    keys: list[str]
    origins: list[str]


def page_data(found: Sources) -> Facts:
    """The data block of a run's page; without a supernet, so without a space, there is nothing to choose from: `{}`.

    Raises `UserError` for tables or searches that are not of the run's space.
    """
    space = found.space
    if space is None:
        return {}
    tables = _tables(found)
    costs = _costs(found, space, tables)
    networks = _networks(found, space)
    listed = slot_table(space, networks.population, costs)
    number_of = {key: number for number, key in enumerate(networks.keys)}
    return {
        "run": str(found.run),
        "costs": [_cost(name, table, tables) for name, table in costs.items()],
        "slots": list(listed.slots),
        "operators": listed.operators,
        "networks": {
            "keys": networks.keys,
            "origins": networks.origins,
            "words": [architecture_words(a.to_json()) for a in space.decode(networks.population)],
            "slots": listed.numbers.tolist(),
            "measured": _measured(networks.accuracy, _num_images(found)),
            "predicted": _predicted(found, space, networks.population),
        },
        "fronts": _fronts(found, number_of),
        "winners": _winners(found, number_of),
        "level": LEVEL,
        "predicted_level": None if found.predictor is None else found.predictor.level,
    }


def _tables(found: Sources) -> dict[str, Table]:
    boards = {f"{one.metric}@{name}": one for name, board in found.boards.items() for one in board.tables(device=name)}
    return {**found.tables, **boards}


def _costs(found: Sources, space: SearchSpace, tables: Mapping[str, Table]) -> dict[str, CostTable]:
    """As the run's search has them, memory and flash in its number format: first those that budgets limit, then those
    of devices, then the others.
    """
    settings = found.config.get("search")
    settings = settings if isinstance(settings, dict) else {}
    dtype, plan = settings.get("dtype", "float32"), settings.get("memory_plan", "naive")
    costs = all_costs(space, tables, dtype=str(dtype), plan=str(plan))
    budgets = [] if found.search is None else found.search["budgets"]
    limited = {name for budget in budgets for name in budget["limits"]}
    return dict(sorted(costs.items(), key=lambda item: (item[0] not in limited, "@" not in item[0])))


def _cost(name: str, cost: CostTable, tables: Mapping[str, Table]) -> Facts:
    metric, _, device = name.partition("@")
    table = next((table for own, table in tables.items() if cost_of(own, table) == name), None)
    return {
        "name": name,
        "metric": metric,
        "device": device or None,
        "unit": METRICS[metric][0],
        "reduce": cost.reduce,
        "constant": compact(cost.constant),
        "space": [compact(cost.minimum()[0]), compact(cost.maximum()[0])],
        "interval": _interval(table),
    }


def _interval(table: Table | None) -> list[float] | None:
    """Factors around a predicted latency, from the networks that the table was graded on; None where too few were."""
    if not isinstance(table, LatencyTable):
        return None
    try:
        found = interval(*table.graded, TABLE_LEVEL)
    except UserError:
        return None
    return [compact(found.low), compact(found.high)]


def _networks(found: Sources, space: SearchSpace) -> _Networks:
    records = found.records or _no_records(space)
    seen = set(records.keys)
    others: dict[str, tuple[Architecture, float | None, str]] = {}
    for key, values, accuracy, origin in _searched(found):
        if key not in seen and key not in others:
            others[key] = Architecture.from_json(values, file=found.run / "search.json"), accuracy, origin
    rows = space.encode([architecture for architecture, _, _ in others.values()], file=found.run / "search.json")
    accuracies = np.array([np.nan if value is None else value for _, value, _ in others.values()], dtype=np.float64)
    return _Networks(
        population=np.concatenate([records.population, rows.reshape(-1, space.num_genes)]),
        accuracy=np.concatenate([records.accuracies, accuracies]),
        keys=[*records.keys, *others],
        origins=[*records.origins, *(origin for _, _, origin in others.values())],
    )


def _no_records(space: SearchSpace) -> Records:
    return Records(np.zeros((0, space.num_genes), dtype=np.int64), np.zeros(0), np.zeros(0), (), ())


def _searched(found: Sources) -> Iterator[tuple[str, Facts, float | None, str]]:
    """Networks of the search: candidates, and those of the front whose architecture it says."""
    if found.search is None:
        return
    for budget in found.search["budgets"]:
        for one in (budget["winner"], *budget["candidates"]):
            yield one["key"], one["architecture"], one["selection_accuracy"], "search"
    for points in found.search["fronts"].values():
        for point in points:
            if "architecture" in point:
                yield point["key"], point["architecture"], None, "front"


def _num_images(found: Sources) -> int | None:
    sizes = {} if found.supernet is None else found.supernet["data"].get("split_sizes", {})
    return sizes.get("selection")


def _measured(accuracy: Floats, num_images: int | None) -> Facts:
    low, high = (None, None) if num_images is None else wilson(accuracy, num_images, LEVEL)
    return {"mean": _column(accuracy), "lower": _column(low), "upper": _column(high)}


def _predicted(found: Sources, space: SearchSpace, population: Population) -> Facts | None:
    """What the predictor says of every network, evaluated or not; None without one."""
    if found.predictor is None:
        return None
    prediction = found.predictor.predict(space, population)
    return {name: _column(getattr(prediction, name)) for name in ("mean", "lower", "upper")}


def _column(values: Floats | None) -> list[float | None] | None:
    if values is None:
        return None
    return [None if value != value else value for value in np.round(values, 6).tolist()]


def _fronts(found: Sources, number_of: Mapping[str, int]) -> dict[str, list[Facts]]:
    """By cost, cheapest first; `network` is None where the search did not say which network it is."""
    if found.search is None:
        return {}
    told = ("key", "cost", "accuracy", "lower", "upper")
    return {
        name: [
            {"network": number_of.get(point["key"]), **{key: point[key] for key in told if key in point}}
            for point in points
        ]
        for name, points in found.search["fronts"].items()
    }


def _winners(found: Sources, number_of: Mapping[str, int]) -> list[Facts]:
    """The search's own winners: `measured` is (median, 10 %, 90 %) in ms by cost."""
    if found.search is None:
        return []
    return [
        {
            "name": budget["name"],
            "network": number_of[budget["winner"]["key"]],
            "limits": budget["limits"],
            "chosen_by": budget.get("chosen_by", "selection_accuracy"),
            "measured": {
                name: [median["median_ms"], median["p10_ms"], median["p90_ms"]]
                for name, median in budget["winner"]["measured"].items()
            },
        }
        for budget in found.search["budgets"]
    ]
