"""This project's search with the published accuracy predictor and the shipped table of the Note10. Needs no torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peer.architectures import theirs
from benchmarks.peer.clock import timed
from ofa.search.budgets import parse_max, resolve
from ofa.search.costs import all_costs, named_tables
from ofa.search.offline.search import search_offline
from ofa.search.run import search
from ofa.search.settings import SearchSettings
from predictors.base import load_predictor
from predictors.published import import_predictor
from predictors.storage import write_predictor
from search_spaces import Architecture, SearchSpace

DEVICE = Path("samsung_note10")
RESOLUTIONS = (160, 176, 192, 208, 224)


class Search:
    """Default settings; the predictor is imported from its published file first."""

    def __init__(self) -> None:
        published = Path(os.environ["OFA_BENCH_DATA"]) / "published" / "accuracy_predictors" / "acc_predictor.pth"
        self.folder = tempfile.TemporaryDirectory()
        self.predictor = Path(self.folder.name) / "predictor"
        write_predictor(import_predictor(published), self.predictor)
        predictor = load_predictor(self.predictor)
        whole = SearchSpace.from_description(predictor.space_description)
        self.space = whole.restrict(resolution=list(RESOLUTIONS))
        self.predict = predictor.bind(self.space)
        self.costs = all_costs(self.space, named_tables([DEVICE]))

    def search(self, limit: float, seed: int) -> dict[str, Any]:
        """With predictor and table in memory, as the peer's finder has them."""
        budget = parse_max([f"latency={limit}ms"])
        resolved = resolve(budget, self.costs)
        settings = SearchSettings.model_validate({"budgets": {budget.name: budget.written}})
        seconds, found = timed(
            lambda: search(self.space, self.predict, self.costs, [resolved], settings, seed=seed)[budget.name]
        )
        (winner,) = self.space.decode(found.population[:1])
        return {
            "seconds": seconds,
            "count": found.num_scored,
            "accuracy": float(found.prediction.mean[0]),
            "latency_ms": float(found.costs[f"latency@{DEVICE}"][0]),
            "subnet": theirs([winner])[0],
        }

    def offline(self, limit: float, seed: int) -> dict[str, Any]:
        """All that `ofa search` does after its start: reading predictor and table, the search, what each slot costs."""
        seconds, facts = timed(
            lambda: search_offline(self.predictor, [DEVICE], [f"latency={limit}ms"], space=self.space.name, seed=seed)
        )
        best = facts["candidates"][0]
        return {
            "seconds": seconds,
            "count": facts["num_scored"],
            "accuracy": float(best["predicted_accuracy"]["mean"]),
            "latency_ms": float(best["predicted_costs"][f"latency@{DEVICE}"]),
            "subnet": theirs([Architecture.from_json(best["architecture"])])[0],
        }


load = Search
