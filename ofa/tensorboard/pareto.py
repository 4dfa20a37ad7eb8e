"""Pictures of accuracy against every cost that is traded for it: records, their front, the winners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa.search.front import pareto_front
from ofa.tensorboard.events import NAME, holds, image, write_events
from ofa.tensorboard.scatter import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SIZE,
    SKY,
    VERMILION,
    Series,
    Shape,
    draw_scatter,
)

if TYPE_CHECKING:
    from predictors.record_file import Records
    from search_spaces.costs import CostTable

FOLDER = "tensorboard/search"

_WINNERS: tuple[tuple[str, Shape], ...] = (
    (VERMILION, "diamond"),
    (GREEN, "square"),
    (PURPLE, "triangle"),
    (ORANGE, "down"),
    (SKY, "cross"),
)

#: records less accurate than so many others are not drawn, unless they are on the front: they would squeeze the rest
_LEAST = 0.05


def write_pictures(
    run: Path,
    records: Records,
    costs: Mapping[str, CostTable],
    names: Sequence[str],
    winners: Sequence[Mapping[str, Any]] = (),
) -> None:
    """One picture for each cost of `names`, at a step that is the number of records. Done again it says the same once.

    `winners`: entries of `budgets` in a search's results.
    """
    if not len(records):
        return
    pictures = [image(f"pareto/{name}", draw_tradeoff(records, costs[name], name, winners), SIZE) for name in names]
    path = run / FOLDER / f"{NAME}.{len(records):08d}"
    if not holds(path, pictures):  # a run that has nothing left to do leaves its files as they are
        write_events(path, pictures, step=len(records))


def draw_tradeoff(records: Records, cost: CostTable, name: str, winners: Sequence[Mapping[str, Any]] = ()) -> bytes:
    """A PNG: accuracy on the selection split against a predicted cost; winners stand at their measured one."""
    values, accuracies = cost.evaluate(records.population), records.accuracies
    front = pareto_front(values, accuracies)
    on_front = np.zeros(len(records), dtype=bool)
    on_front[front] = True
    shown = on_front | (accuracies >= np.quantile(accuracies, _LEAST))
    searched = np.array([origin == "search" for origin in records.origins])
    hidden = int((~shown).sum())

    def points(chosen: Any) -> list[tuple[float, float]]:
        return [(float(values[i]), 100 * float(accuracies[i])) for i in chosen]

    series = [
        Series("sampled", points(np.flatnonzero(shown & ~searched)), GREY, "dot", 3.0),
        Series("searched", points(np.flatnonzero(shown & searched)), BLUE, "circle", 4.5),
        Series("front", points(front), BLUE, "steps"),
    ]
    for index, budget in enumerate(winners):
        if (point := _winner(budget, name)) is not None:
            colour, shape = _WINNERS[index % len(_WINNERS)]
            series.append(Series(budget["name"], [point], colour, shape, 8.0))
    below = f" ({hidden} lie below)" if hidden else ""
    unit = f" ({cost.unit})" if cost.unit else ""
    return draw_scatter(
        title=f"selection accuracy (%) of {len(records)} networks{below}",
        x_label=f"{name}{unit}",
        series=series,
    )


def _winner(budget: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    winner = budget["winner"]
    measured, accuracy = winner["measured"].get(name), winner["selection_accuracy"]
    cost = winner["predicted_costs"].get(name) if measured is None else measured["median_ms"]
    return None if cost is None or accuracy is None else (float(cost), 100 * float(accuracy))
