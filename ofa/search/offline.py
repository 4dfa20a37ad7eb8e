"""Search with a predictor and latency tables alone: no supernet, no images, no device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofa.config import space_of
from ofa.search.budgets import parse_max, resolve
from ofa.search.costs import all_costs, named_tables
from ofa.search.facts import contributions
from ofa.search.run import search
from ofa.search.settings import SearchSettings
from predictors.base import Predictor, load_predictor
from search_spaces import SearchSpace
from search_spaces.common.errors import in_file


def search_offline(
    accuracy: Path,
    tables: Sequence[Path],
    limits: Sequence[str],
    *,
    space: str | None = None,
    num: int = 8,
    seed: int = 0,
    dtype: str = "float32",
) -> dict[str, Any]:
    """The `num` best candidates under `limits` (`["latency=5ms"]`), as predicted; without `space`, the predictor's."""
    budget = parse_max(limits)
    predictor = load_predictor(accuracy)
    searched = _space(space, predictor)
    with in_file(accuracy):
        predict = predictor.bind(searched)
    costs = all_costs(searched, named_tables(tables), dtype=dtype)
    resolved = resolve(budget, costs)
    settings = SearchSettings.model_validate({"budgets": {budget.name: budget.written}, "candidates": num})
    ranked = search(searched, predict, costs, [resolved], settings, seed=seed)[budget.name]
    architectures = searched.decode(ranked.population)
    mean, lower, upper = ranked.prediction.mean, ranked.prediction.lower, ranked.prediction.upper
    return {
        "space": searched.name,
        "limits": resolved.limits,
        "algorithm": ranked.algorithm,
        "num_scored": ranked.num_scored,
        "candidates": [
            {
                "key": architecture.key,
                "architecture": architecture.to_json(),
                "predicted_accuracy": {"mean": float(mean[i]), "lower": float(lower[i]), "upper": float(upper[i])},
                "predicted_costs": {name: float(values[i]) for name, values in ranked.costs.items()},
            }
            for i, architecture in enumerate(architectures)
        ],
        "contributions": contributions(costs, ranked.population[0]),
    }


def _space(space: str | None, predictor: Predictor) -> SearchSpace:
    """The space named, or of a config file, with the predictor's classes and channels; else the predictor's own."""
    known = predictor.space_description
    if space is None:
        return SearchSpace.from_description(known)
    return space_of(space, known["num_classes"], known["in_channels"])
