"""The peer's two evolutionary searches, with the published accuracy predictor and the Note10's tables."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ofa.nas.accuracy_predictor import AccuracyPredictor as LibraryPredictor
from ofa.nas.accuracy_predictor import MobileNetArchEncoder
from ofa.nas.efficiency_predictor import Mbv3LatencyModel
from ofa.nas.search_algorithm import EvolutionFinder as LibraryFinder
from ofa.tutorial import AccuracyPredictor, EvolutionFinder, LatencyTable
from ofa.tutorial.accuracy_predictor import ex_map, ks_map

from benchmarks.peer.clock import timed
from benchmarks.peer.theirs import shim
from benchmarks.peer.theirs.networks import Subnet, supernet

RESOLUTIONS = (160, 176, 192, 208, 224)


class _Counting:
    """An object whose `method` counts the architectures it is asked about."""

    def __init__(self, inner: Any, method: str, size: Callable[[Any], int]) -> None:
        self._inner, self.asked = inner, 0
        asked_about = getattr(inner, method)

        def counted(argument: Any) -> Any:
            self.asked += size(argument)
            return asked_about(argument)

        setattr(self, method, counted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Search:
    """Population 100, 25 parents, half mutants and half children, as published."""

    def __init__(self, *, library: bool) -> None:
        shim.use_published_files()
        self.tables = LatencyTable(device="note10", resolutions=RESOLUTIONS)
        self.predictor = AccuracyPredictor(pretrained=True, device="cpu")
        if library:
            self.library_predictor = self._library_predictor()
            paths = dict.fromkeys(RESOLUTIONS, str(shim.table_folder()))
            self.library_latency = Mbv3LatencyModel(supernet(width_mult=1.2), paths)

    def tutorial(self, limit: float, seed: int, generations: int) -> dict[str, Any]:
        """The classes of its tutorial."""
        accuracy = _Counting(self.predictor, "predict_accuracy", len)
        latency = _Counting(self.tables, "predict_efficiency", lambda subnet: 1)
        finder = EvolutionFinder("note10", limit, latency, accuracy, population_size=100, max_time_budget=generations)
        return _searched(finder.run_evolution_search, seed, accuracy, latency)

    def library(self, limit: float, seed: int, generations: int) -> dict[str, Any]:
        """The classes of its library, with the same predictor and tables."""
        accuracy = _Counting(self.library_predictor, "predict_acc", len)
        latency = _Counting(self.library_latency, "get_efficiency", lambda subnet: 1)
        finder = LibraryFinder(latency, accuracy, population_size=100, max_time_budget=generations)
        with torch.no_grad():
            return _searched(lambda: finder.run_evolution_search(limit), seed, accuracy, latency)

    def score(self, subnets: Sequence[Subnet]) -> dict[str, Any]:
        """What the peer says of networks that somebody else found."""
        accuracies = self.predictor.predict_accuracy([{"wid": None, **subnet} for subnet in subnets])
        return {
            "seconds": 0.0,
            "accuracies": [float(value) for value in accuracies.flatten()],
            "latencies": [float(self.tables.predict_efficiency(subnet)) for subnet in subnets],
        }

    def _library_predictor(self) -> LibraryPredictor:
        """The published weights in the library's class, whose features come in another order: r, then k and e."""
        encoder = MobileNetArchEncoder(image_size_list=list(RESOLUTIONS))
        predictor = LibraryPredictor(encoder, hidden_size=400, n_layers=3, device="cpu")
        columns = [120 + (side - 112) // 16 for side in RESOLUTIONS]
        columns += [3 * block + ks_map[kernel] for block in range(20) for kernel in (3, 5, 7)]
        columns += [60 + 3 * block + ex_map[expand] for block in range(20) for expand in (3, 4, 6)]
        published = [layer for layer in self.predictor.model if isinstance(layer, torch.nn.Linear)]
        with torch.no_grad():
            own = [module for module in predictor.layers.modules() if isinstance(module, torch.nn.Linear)]
            own[0].weight.copy_(published[0].weight[:, columns])
            for mine, theirs in zip(own[1:], published[1:], strict=True):
                mine.weight.copy_(theirs.weight)
            for mine, theirs in zip(own[:-1], published[:-1], strict=True):
                mine.bias.copy_(theirs.bias)
            predictor.base_acc.copy_(published[-1].bias)
        return predictor


def _searched(run: Callable[[], Any], seed: int, accuracy: _Counting, latency: _Counting) -> dict[str, Any]:
    random.seed(seed)
    np.random.seed(seed)
    seconds, (_, best) = timed(run)
    return {
        "seconds": seconds,
        "count": accuracy.asked,
        "latency_lookups": latency.asked,
        "accuracy": float(best[0]),
        "latency_ms": float(best[2]),
    }


load = Search
