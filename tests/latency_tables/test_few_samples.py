"""Tables from few whole networks: what must hold whatever the device, and what is reached on a published one."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.passes.shape_prop import ShapeProp

from latency_tables.adapt import adapted_table
from latency_tables.correction import kendall_tau
from latency_tables.few_samples import (
    Terms,
    fit_few,
    held_out,
    known_latencies,
    num_folds,
    operator_counts,
    operator_latencies,
    spread,
)
from latency_tables.measured_networks import MeasuredNetworks, choose_networks_to_measure
from latency_tables.operator_work import operator_work
from latency_tables.shipped import find_table
from latency_tables.table import load_table
from search_spaces import SearchSpace, get_space
from search_spaces.plain import build_operator

DATA = Path(os.environ.get("OFA_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
GPU = DATA / "published" / "gpu_whole_network_latency.json"

SPACES = ["mobilenet_v3_digits", "efficientnet_lite0", "hybrid_nano", "mcuformer"]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space({"name": "mobilenet_v3_28"}, num_classes=10, in_channels=1)


@pytest.fixture(scope="module")
def terms(space: SearchSpace) -> Terms:
    return Terms.of(operator_work(space))


def sampled(space: SearchSpace, num: int, seed: int) -> np.ndarray:
    return np.unique(space.sample(num, np.random.default_rng(seed), uniform=False), axis=0)


@pytest.mark.parametrize("name", SPACES)
def test_the_work_of_operators_is_that_of_their_modules(name: str) -> None:
    space = get_space({"name": name})
    work, operators = operator_work(space), list(space.operators().values())
    assert work.keys == tuple(space.operators())
    macs = work.amounts[:, 1] + work.amounts[:, 2]
    np.testing.assert_allclose(macs, [float(operator.macs()) for operator in operators], rtol=1e-12)
    assert (work.amounts >= 0).all() and (work.calls > 0).all()
    for place in np.random.default_rng(0).permutation(len(operators))[:6]:
        module = build_operator(operators[place]).eval()
        ShapeProp(module).propagate(torch.zeros(1, *operators[place].input_shape))
        calls = [node for node in module.graph.nodes if node.op.startswith("call")]
        shapes = {node: getattr(node.meta.get("tensor_meta"), "shape", None) for node in calls}
        written = {node: 0 if shape is None else math.prod(shape) for node, shape in shapes.items()}
        layers = {node: module.get_submodule(str(node.target)) for node in calls if node.op == "call_module"}
        grouped = sum(
            written[node] * layer.weight[0].numel()
            for node, layer in layers.items()
            if isinstance(layer, nn.Conv2d) and layer.groups > 1
        )
        assert work.calls[work.structure[place]] == len(calls)
        assert work.amounts[place, 0] == pytest.approx(sum(written.values()))
        assert work.amounts[place, 2] == pytest.approx(grouped)


def test_counts_and_known_costs_are_those_of_the_table(space: SearchSpace) -> None:
    rows = sampled(space, 50, 0)
    cost = space.cost_of(lambda operator: float(operator.macs()) + 7.0)
    counts = operator_counts(space, rows)
    np.testing.assert_allclose(counts @ known_latencies(space, cost), cost.evaluate(rows), rtol=1e-12)
    networks = [space.network(architecture) for architecture in space.decode(rows)]
    assert counts.sum(axis=1).tolist() == [len(network) for network in networks]


def test_a_published_table_keeps_its_sums() -> None:
    """Its entries depend on the resolution of the network too, but hardly."""
    table = load_table(find_table("samsung_note10"))
    space = table.measured_space()
    rows, cost = sampled(space, 40, 1), table.cost(space)
    sums = operator_counts(space, rows) @ known_latencies(space, cost)
    np.testing.assert_allclose(sums, cost.evaluate(rows), rtol=5e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_device_made_of_the_terms_is_found_again(space: SearchSpace, terms: Terms, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = rng.uniform(0.1, 1.0, len(terms.keys))
    both = Terms(terms.keys, terms.calls, np.column_stack([terms.amounts, known]))
    calls, amounts = both.of_networks(operator_counts(space, sampled(space, 400, seed)))
    shares = rng.dirichlet(np.ones(3))
    target = 3.0 * (
        shares[0] * calls.sum(axis=1) / calls.sum(axis=1).mean()
        + shares[1] * amounts[:, 0] / amounts[:, 0].mean()
        + shares[2] * amounts[:, -1] / amounts[:, -1].mean()
    )
    taken, rest = np.arange(40), np.arange(40, len(calls))
    predicted = fit_few(calls[taken], amounts[taken], target[taken]).predict(calls[rest], amounts[rest])
    assert np.abs(predicted / target[rest] - 1).max() < 0.02
    tau = kendall_tau(predicted, target[rest])
    assert tau is not None and tau > 0.98


@pytest.mark.parametrize("num", [3, 5, 30])
def test_nothing_is_ever_negative_even_for_nonsense(space: SearchSpace, terms: Terms, num: int) -> None:
    rng = np.random.default_rng(num)
    calls, amounts = terms.of_networks(operator_counts(space, sampled(space, 60, num)))
    for nonsense in (rng.lognormal(0.0, 3.0, num), 1e6 / calls[:num].sum(axis=1), np.full(num, 1e-9)):
        fitted = fit_few(calls[:num], amounts[:num], nonsense)
        assert fitted.per_network >= 0
        assert min(operator_latencies(terms, fitted).values()) > 0
        assert (fitted.predict(calls, amounts) > 0).all()


def test_one_disturbed_measurement_does_no_harm(space: SearchSpace, terms: Terms) -> None:
    calls, amounts = terms.of_networks(operator_counts(space, sampled(space, 200, 4)))
    target = 0.1 * calls.sum(axis=1) * np.random.default_rng(0).lognormal(0.0, 0.005, len(calls))
    disturbed = target[:12].copy()
    disturbed[3] *= 1.5
    clean, robust = (fit_few(calls[:12], amounts[:12], values) for values in (target[:12], disturbed))
    errors = [np.abs(fit.predict(calls, amounts) / target - 1).mean() for fit in (clean, robust)]
    assert errors[1] < errors[0] + 0.01


def test_unit_and_order_do_not_matter(space: SearchSpace, terms: Terms) -> None:
    calls, amounts = terms.of_networks(operator_counts(space, sampled(space, 40, 5)))
    target = np.random.default_rng(0).uniform(1, 2, len(calls))
    first = fit_few(calls[:12], amounts[:12], target[:12]).predict(calls, amounts)
    order = np.random.default_rng(1).permutation(12)
    assert np.array_equal(fit_few(calls[order], amounts[order], target[order]).predict(calls, amounts), first)
    scaled = fit_few(calls[:12], amounts[:12], 1000 * target[:12]).predict(calls, amounts)
    np.testing.assert_allclose(scaled, 1000 * first, rtol=1e-6)


def test_held_out_predictions_do_not_know_their_network(space: SearchSpace, terms: Terms) -> None:
    calls, amounts = terms.of_networks(operator_counts(space, sampled(space, 20, 6)))
    calls, amounts = calls[:8], amounts[:8]
    target = np.random.default_rng(0).uniform(1, 2, len(calls))
    changed = target.copy()
    changed[2] *= 10
    assert num_folds(8) == 8
    assert held_out(calls, amounts, target)[2] == held_out(calls, amounts, changed)[2]
    assert held_out(calls, amounts, target)[3] != held_out(calls, amounts, changed)[3]


def test_chosen_networks_tell_more_than_random_ones(space: SearchSpace, terms: Terms) -> None:
    calls, amounts = terms.of_networks(operator_counts(space, sampled(space, 300, 7)))
    everything = np.column_stack([np.ones(len(calls)), calls / calls.mean(), amounts / amounts.mean(axis=0)])

    def information(rows: list[int]) -> float:
        return float(np.linalg.slogdet(everything[rows].T @ everything[rows] + 1e-2 * np.eye(everything.shape[1]))[1])

    random = [information(list(range(start, start + 10))) for start in range(0, 200, 10)]
    chosen = spread(calls, amounts, 10)
    assert len(set(chosen)) == 10 and information(chosen) > max(random)
    first, second = (choose_networks_to_measure(space, 6, seed=seed) for seed in (0, 0))
    assert first == second and len(set(first)) == 6


@pytest.mark.slow
def test_the_same_networks_give_the_same_bytes(space: SearchSpace, tmp_path: Path) -> None:
    architectures = sorted(choose_networks_to_measure(space, 6), key=lambda architecture: architecture.key)
    latencies = np.random.default_rng(0).uniform(1, 2, len(architectures))
    given = tmp_path / "networks.json"
    given.write_text("{}")
    for number in range(2):
        measured = MeasuredNetworks(architectures, latencies)
        table, _ = adapted_table(space, measured, device="gpu", files={"networks.json": given})
        table.save(tmp_path / f"{number}.json")
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    again = load_table(tmp_path / "0.json")
    assert again.note == "predicted from 6 networks and counted work alone" and again.checked is None


@pytest.mark.slow
@pytest.mark.parametrize("target, known, least", [("batch 1", "batch 64", 0.9), ("batch 64", "batch 1", 0.96)])
def test_ten_networks_of_a_gpu_rank_the_other_990(target: str, known: str, least: float) -> None:
    if not GPU.exists():
        pytest.skip(f"OFA_BENCH_DATA has no {GPU}")
    from benchmarks.few_samples import cases, methods_of, statistics

    case = cases(GPU)[f"{target} from {known}"]
    found = statistics(case, methods_of(case)["model, known table"], 10, 20, designed=False)
    assert found["tau"][0] > least
    assert len(case.rows) == len(json.loads(GPU.read_text())["architectures"]) == 1000
