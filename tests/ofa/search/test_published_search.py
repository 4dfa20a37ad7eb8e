"""Search with the published predictor on the published Note10 table finds what millions of evaluations found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ofa.search.budgets import ResolvedBudget
from ofa.search.costs import all_costs, named_tables
from ofa.search.run import search
from ofa.search.settings import SearchSettings
from predictors.published import import_predictor
from search_spaces import SearchSpace

DATA = Path(os.environ.get("OFA_BENCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
FILE = DATA / "published" / "accuracy_predictors" / "acc_predictor.pth"

#: ms -> the best predicted accuracy known from long searches
BEST = {15: 0.7868, 20: 0.8079, 25: 0.8211, 30: 0.8305, 40: 0.8414}
COST = "latency@samsung_note10"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"OFA_BENCH_DATA has no {FILE}")


def shortfall(limit: int, seed: int) -> float:
    """How far the best network within `limit` ms stays behind the best known, with default settings."""
    predictor = import_predictor(FILE)
    space = SearchSpace.from_description(predictor.space_description).restrict(resolution=[160, 176, 192, 208, 224])
    costs = all_costs(space, named_tables(["samsung_note10"]))
    settings = SearchSettings.model_validate({"budgets": {"b": {"latency": f"{limit}ms"}}})
    budget = ResolvedBudget("b", {COST: float(limit)})
    found = search(space, predictor.bind(space), costs, [budget], settings, seed=seed)["b"]
    assert (found.costs[COST] <= limit).all()
    return BEST[limit] - float(found.prediction.mean[0])


@pytest.mark.parametrize("limit", BEST)
def test_one_seed(limit: int) -> None:
    assert shortfall(limit, seed=0) < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("limit", BEST)
def test_every_seed_of_ten(limit: int) -> None:
    assert max(shortfall(limit, seed) for seed in range(10)) < 0.001
