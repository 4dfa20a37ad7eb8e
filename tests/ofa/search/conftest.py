from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import ofa.search.offline.search
from latency_tables.identity import SpaceIdentity
from latency_tables.listed import CheckedNetwork, ListedTable, WholeNetworks
from latency_tables.published import Source
from predictors.base import Prediction
from search_spaces import SearchSpace, get_space
from search_spaces.costs import CostTable
from search_spaces.operators import Operator

Predict = Callable[[np.ndarray], Prediction]


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """5,292 networks: two stages of one or two blocks."""
    return get_space(
        {
            "name": "mobilenet_v3_digits",
            "resolution": [20, 24, 28],
            "expand": [3, 6],
            "depth": [1, 2],
            "widths": [16, 24],
            "strides": [2, 2],
            "activations": ["relu", "hard_swish"],
            "squeeze_excite": [False, True],
        },
        num_classes=10,
        in_channels=1,
    )


@pytest.fixture(scope="session")
def costs(space: SearchSpace) -> dict[str, CostTable]:
    """The exact costs, and a latency on device `a` that is not in step with them."""
    exact = {metric: space.cost(metric) for metric in ("macs", "params", "peak_memory", "flash")}
    latency = space.cost_of(
        lambda operator: 1e-3 * operator.params() ** 0.5 + 2e-6 * operator.macs() ** 0.9, constant=0.02
    )
    return {**exact, "latency@a": latency}


@pytest.fixture(scope="session")
def landscape(space: SearchSpace) -> Callable[[int], Predict]:
    """Accuracies (num,) in 0..1 from main effects, interactions of neighbouring genes and size, by seed."""

    def make(seed: int) -> Predict:
        rng = np.random.default_rng(seed)
        num = space.one_hot(space.smallest()[None]).shape[1]
        effects = rng.normal(size=num)
        pairs = rng.integers(num, size=(2 * num, 2))
        interactions = rng.normal(size=2 * num)
        macs = space.cost("macs")

        def predict(population: np.ndarray) -> Prediction:
            x = space.one_hot(population).astype(np.float64)
            score = x @ effects + (x[:, pairs[:, 0]] * x[:, pairs[:, 1]]) @ interactions
            score = score + 2.0 * np.log(macs.evaluate(population) / 1e5)
            mean = 1.0 / (1.0 + np.exp(-score / 10))
            return Prediction(mean=mean, lower=mean - 0.01, upper=mean + 0.01)

        return predict

    return make


@pytest.fixture
def stub(space: SearchSpace, landscape: Callable[[int], Predict], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """`--accuracy` is the landscape of seed 0, whatever the folder; the list tells how many networks it was asked."""
    asked: list[int] = []

    def predict(population: np.ndarray) -> Prediction:
        asked.append(len(population))
        return landscape(0)(population)

    predictor = SimpleNamespace(
        name="stub", published=None, space_description=space.description, bind=lambda searched: predict
    )
    monkeypatch.setattr(ofa.search.offline.search, "load_predictor", lambda folder: predictor)
    return asked


@pytest.fixture
def tables(space: SearchSpace, tmp_path: Path) -> dict[str, ListedTable]:
    """Given numbers for devices `a` and `b`, saved as `a.json` and `b.json`: `a` counts MACs, to `b` they matter less
    than the size of the kernels; each up to 10 % off on 20 whole networks.
    """
    made = {}
    for device in "ab":

        def value_of(operator: Operator, device: str = device) -> float:
            macs, smaller = operator.macs(), 7 - getattr(operator, "kernel_size", 7)
            return 1e-5 * macs if device == "a" else 1e-2 * (1 + 4 * smaller + macs**0.2)

        cost = space.cost_of(value_of)
        rows = space.sample(20, np.random.default_rng(0))
        pairs = zip(space.decode(rows), cost.evaluate(rows), np.linspace(0.9, 1.1, 20), strict=True)
        checked = [CheckedNetwork(architecture=a.to_json(), predicted=ms, observed=ms * off) for a, ms, off in pairs]
        made[device] = ListedTable(
            metric="latency",
            unit="ms",
            device=device,
            note="made up",
            licence="none",
            source=Source(title="none", where="here", files={}),
            provenance={},
            space=SpaceIdentity.of(space),
            entries={key: value_of(operator) for key, operator in space.operators().items()},
            checked=WholeNetworks.of(checked),
        )
        made[device].save(tmp_path / f"{device}.json")
    return made
