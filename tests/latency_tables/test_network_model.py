"""From operators to networks: the model that made the numbers is found, and no richer one than needed."""

from __future__ import annotations

import numpy as np
import pytest

from latency_tables.few_samples import operator_counts
from latency_tables.network_model import NetworkModel, fit_networks
from search_spaces import Architecture, SearchSpace, get_space


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space({"name": "mobilenet_v3_digits", "resolution": [16, 24]}, num_classes=10, in_channels=1)


@pytest.fixture(scope="module")
def known(space: SearchSpace) -> dict[str, float]:
    rng = np.random.default_rng(0)
    return {key: 1e-3 + 1e-8 * float(op.macs()) * rng.uniform(0.7, 1.4) for key, op in space.operators().items()}


def networks(space: SearchSpace, num: int, seed: int = 0) -> list[Architecture]:
    return space.decode(space.sample(num, np.random.default_rng(seed), uniform=False))


def latencies(
    space: SearchSpace, known: dict[str, float], architectures: list[Architecture], kind: str, noise: float = 0.003
) -> np.ndarray:
    counts = operator_counts(space, space.encode(architectures))
    own = np.array([known[key] for key in space.operators()])
    exact = {
        "line": 1.2 * counts @ own + 0.002,
        "calls": 1.1 * counts @ own - 4e-4 * counts.sum(axis=1) + 0.003,
        "work": 0.5 * counts @ own
        + 0.002
        + counts @ np.array([5e-9 * float(op.macs()) for op in space.operators().values()]),
    }[kind]
    return exact * (1 + noise * np.random.default_rng(1).standard_normal(len(exact)))


def predicted(
    space: SearchSpace, known: dict[str, float], model: NetworkModel, architectures: list[Architecture]
) -> np.ndarray:
    within = model.operators_ms or known
    cost = space.cost_of(lambda operator: model.slope * within[operator.key], constant=model.constant_ms)
    return cost.evaluate(space.encode(architectures))


@pytest.mark.parametrize("kind", ["line", "calls", "work"])
def test_networks_it_never_saw(space: SearchSpace, known: dict[str, float], kind: str) -> None:
    seen, new = networks(space, 60), networks(space, 60, seed=7)
    model = fit_networks(space, known, seen, latencies(space, known, seen, kind))
    errors = np.abs(predicted(space, known, model, new) / latencies(space, known, new, kind, noise=0.0) - 1)
    assert errors.mean() < 0.006
    assert set(model.errors) == {"line", "calls", "work"}
    assert model.name == kind or kind == "work", "a line where a line does; calls where they share"
    assert (model.operators_ms is None) == (model.name == "line")
    if model.operators_ms is not None:
        assert list(model.operators_ms) == list(space.operators()) and min(model.operators_ms.values()) > 0


def test_what_neighbours_share_is_no_more_than_a_short_operator_takes(space: SearchSpace) -> None:
    known = {key: 1e-4 + 2e-8 * float(op.macs()) for key, op in space.operators().items()}
    own = np.array(list(known.values()))
    saved = 4e-3 * (1 - np.exp(-own / 4e-3))  # milliseconds: nearly all of the shortest, a hundredth of the longest

    def measured(architectures: list[Architecture]) -> np.ndarray:
        return operator_counts(space, space.encode(architectures)) @ (1.05 * own - 0.9 * saved)

    ends = space.decode(np.stack([space.smallest(), space.largest()]))
    seen, new = ends + networks(space, 20), networks(space, 60, seed=7)
    model = fit_networks(space, known, seen, measured(seen))
    assert model.name == "calls"
    errors = np.abs(predicted(space, known, model, ends + new) / measured(ends + new) - 1)
    assert errors[2:].mean() < 0.02 and errors[:2].max() < 0.1
    assert model.errors["calls"] < 0.7 * model.errors["line"]


def test_the_slowest_network_is_no_judge(space: SearchSpace, known: dict[str, float]) -> None:
    seen = [*networks(space, 20), *space.decode(space.largest()[None])]
    measured = latencies(space, known, seen, "calls", noise=0.0)
    model = fit_networks(space, known, seen, measured)
    measured[-1] *= 1.5  # fitted, with little weight; judged, it would be some percent in the mean for every model
    assert fit_networks(space, known, seen, measured).errors["calls"] < model.errors["calls"] + 0.01


def test_order_does_not_matter(space: SearchSpace, known: dict[str, float]) -> None:
    seen = networks(space, 30)
    measured = latencies(space, known, seen, "calls")
    order = np.random.default_rng(3).permutation(30)
    assert fit_networks(space, known, seen, measured) == fit_networks(
        space, known, [seen[i] for i in order], measured[order]
    )


def test_few_networks_tell_a_line_and_none_the_sum(space: SearchSpace, known: dict[str, float]) -> None:
    seen = networks(space, 6)
    model = fit_networks(space, known, seen, latencies(space, known, seen, "calls"))
    assert model.name == "line" and model.errors == {}
    assert fit_networks(space, known, [], []) == NetworkModel("line", 1.0, 0.0, None, {})


def test_one_disturbed_network_does_not_bend_the_line(space: SearchSpace, known: dict[str, float]) -> None:
    seen, new = networks(space, 40), networks(space, 40, seed=7)
    measured = latencies(space, known, seen, "line")
    measured[3] *= 2
    model = fit_networks(space, known, seen, measured)
    errors = np.abs(predicted(space, known, model, new) / latencies(space, known, new, "line", noise=0.0) - 1)
    assert errors.mean() < 0.01
