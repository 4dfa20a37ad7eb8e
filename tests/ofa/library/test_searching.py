"""`ofa.search` with an evaluation of one's own, and with a predictor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ofa
from predictors.base import Prediction
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import Infeasible, UserError

Accuracy = Callable[[Architecture], float]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    """800 networks."""
    return ofa.space(
        "mobilenet_v3_digits",
        num_classes=10,
        in_channels=1,
        resolution=[20, 28],
        kernel=[3, 5],
        expand=[3, 6],
        depth=[1, 2],
        widths=[16, 24],
        strides=[2, 2],
        activations=["relu", "relu"],
        squeeze_excite=[False, False],
    )


@pytest.fixture(scope="module")
def accuracy(space: SearchSpace) -> Accuracy:
    """Grows with size, and likes large kernels."""

    def accuracy(architecture: Architecture) -> float:
        row = space.encode([architecture])
        kernels = np.mean([kernel for kernel in architecture.values["kernel"] if kernel is not None])  # type: ignore
        return float(0.5 + 0.02 * np.log(space.cost("macs").evaluate(row)[0]) + 0.01 * kernels)

    return accuracy


def test_finds_the_best_network_within_the_limits(space: SearchSpace, accuracy: Accuracy) -> None:
    asked: list[str] = []

    def evaluate(architecture: Architecture) -> float:
        asked.append(architecture.key)
        return accuracy(architecture)

    found = ofa.search(space, evaluate=evaluate, limits={"macs": "60%"}, num_evaluations=14)
    assert len(asked) == len(set(asked)) == len(found.history) == 14
    assert [candidate.architecture.key for candidate in found.history] == asked
    low, high = space.cost("macs").minimum()[0], space.cost("macs").maximum()[0]
    limit = low + 0.6 * (high - low)
    assert all(candidate.costs["macs"] <= limit * (1 + 1e-9) for candidate in found.history)
    everything = space.decode(space.enumerate())
    within = [a for a in everything if space.cost("macs").evaluate(space.encode([a]))[0] <= limit]
    assert found.best.accuracy == max(candidate.accuracy for candidate in found.history)
    better = sum(accuracy(architecture) > found.best.accuracy for architecture in within)
    assert better <= 0.02 * len(within)  # 14 at random leave 7 % on average
    costs = [candidate.costs["macs"] for candidate in found.front]
    accuracies = [candidate.accuracy for candidate in found.front]
    assert costs == sorted(costs) and accuracies == sorted(accuracies) and found.front[-1] == found.best


def test_stopped_it_goes_on_as_it_would_have(space: SearchSpace, accuracy: Accuracy, tmp_path: Path) -> None:
    whole = ofa.search(space, evaluate=accuracy, num_evaluations=14, seed=3)
    calls = 0

    def dies(architecture: Architecture) -> float:
        nonlocal calls
        calls += 1
        if calls == 13:
            raise KeyboardInterrupt
        return accuracy(architecture)

    with pytest.raises(KeyboardInterrupt):
        ofa.search(space, evaluate=dies, num_evaluations=14, seed=3, journal=tmp_path / "j.jsonl")
    again = ofa.search(space, evaluate=dies, num_evaluations=14, seed=3, journal=tmp_path / "j.jsonl")
    assert again == whole and calls == 15
    assert all(json.loads(line)["origin"] == "search" for line in (tmp_path / "j.jsonl").read_text().splitlines())


def test_a_journal_belongs_to_one_evaluation(space: SearchSpace, accuracy: Accuracy, tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    ofa.search(space, evaluate=accuracy, num_evaluations=2, journal=journal, label="one")
    with pytest.raises(UserError, match=r"j.jsonl: line 1"):
        ofa.search(space, evaluate=accuracy, num_evaluations=2, journal=journal, label="other")


def test_costs_of_devices_are_limits_by_the_names_given(space: SearchSpace, accuracy: Accuracy) -> None:
    latency = space.cost_of(lambda operator: operator.macs() * 1e-6 + 0.1)
    half = ofa.search(
        space, evaluate=accuracy, limits={"latency": "50%"}, costs={"latency": latency}, num_evaluations=4
    )
    middle = (latency.minimum()[0] + latency.maximum()[0]) / 2
    assert 0 < half.best.costs["latency"] <= middle * (1 + 1e-9)
    two = {"latency@phone": latency, "latency@laptop": latency}
    both = ofa.search(
        space, evaluate=accuracy, limits={"latency@phone": "50%", "macs": "900k"}, costs=two, num_evaluations=2
    )
    assert both.best.costs["latency@phone"] == both.best.costs["latency@laptop"] and both.best.costs["macs"] <= 9e5


def test_a_predictor_ranks_without_evaluating(space: SearchSpace) -> None:
    params = space.cost("params")

    def predict(population: np.ndarray) -> Prediction:
        return Prediction(params.evaluate(population) / params.maximum()[0])

    found = ofa.search(space, predictor=predict, limits={"macs": "60%"})
    exact = ofa.search(space, predictor=predict, limits={"macs": "60%"}, algorithm="exhaustive")
    assert found.best == exact.best == found.history[0]
    assert found.front[-1].accuracy == found.best.accuracy
    assert [c.accuracy for c in found.history] == sorted((c.accuracy for c in found.history), reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a function that evaluates a network, or a predictor"),
        ({"evaluate": lambda a: 93.5, "num_evaluations": 1}, r"evaluate: must give an accuracy in 0..1 \(got 93.5"),
        ({"evaluate": lambda a: None, "num_evaluations": 1}, "evaluate: must give a number"),
        ({"evaluate": lambda a: 0.5, "num_evaluations": 0}, "num_evaluations: must be at least 1"),
        ({"evaluate": lambda a: 0.5, "limits": {"latency": "5ms"}}, "limits.latency: a limit on latency needs a table"),
        ({"evaluate": lambda a: 0.5, "limits": {"mac": "5"}}, "limits.mac: unknown metric 'mac'. Did you mean 'macs'"),
        ({"evaluate": lambda a: 0.5, "algorithm": "annealling"}, "search.algorithm: unknown search algorithm"),
        ({"predictor": 7}, "predictor: is no predictor"),
        ({"predictor": lambda rows: rows}, "predictor: gives no Prediction"),
        ({"predictor": lambda rows: rows, "journal": "x"}, "journal: is kept of evaluations"),
    ],
)
def test_mistakes_are_told(space: SearchSpace, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ofa.search(space, **arguments)


def test_a_cost_under_another_metrics_name_is_refused(space: SearchSpace) -> None:
    with pytest.raises(UserError, match=r"is a cost in macs.*Call it macs"):
        ofa.search(space, evaluate=lambda a: 0.5, costs={"latency": space.cost("macs")})


def test_limits_that_no_network_keeps_are_told_before_anything_is_evaluated(space: SearchSpace) -> None:
    def never(architecture: Architecture) -> float:
        raise AssertionError

    with pytest.raises(Infeasible, match="macs"):
        ofa.search(space, evaluate=never, limits={"macs": "10"})
