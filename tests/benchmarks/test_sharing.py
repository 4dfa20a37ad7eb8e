"""The benchmark of nested records: its space is the published one, its two ways agree, its summaries add up."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nas_bench_macro import load, macs_together, nas_bench_macro
from benchmarks.sharing_predictor import graded, lanes, summary, table
from benchmarks.sharing_time import Setting, measure
from benchmarks.sharing_time import summary as time_summary

DATA = Path(os.environ.get("OFA_BENCH_DATA") or Path(__file__).parents[3] / "shared" / "data")
PUBLISHED = DATA / "nas_bench_macro_cifar10.json"


def test_together_counts_a_layer_once() -> None:
    space = nas_bench_macro()
    rows = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 2]])
    layers = space.cost("macs").contributions(rows)
    alone = macs_together(space, [rows[:1], rows[1:]])
    assert alone == layers.sum()
    assert alone - macs_together(space, [rows]) == layers[0, :-3].sum()  # all but the last layer and the head


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED} is missing")
def test_predictors_are_graded_on_networks_without_a_record() -> None:
    benchmark = load(PUBLISHED)  # checks MACs and parameters of all networks
    fits = []
    for lane in lanes(benchmark, 30, seed=0):
        fit = {"seed": 0, "size": 30, "lane": lane.name, **graded(benchmark, lane, seed=0)}
        assert 0.3 < fit["tau"] < 0.9
        assert fit["regret_of_10"] <= fit["regret"]
        fits.append(fit)
    by_lane = {fit["lane"]: fit for fit in fits}
    paid = by_lane["nested"]["gmacs"]
    assert paid < 0.6 * by_lane["stratified"]["gmacs"]
    assert 0.85 * paid < by_lane["stratified, equal cost"]["gmacs"] <= paid
    assert by_lane["stratified, equal cost"]["records"] < 30
    entry = summary(fits)["30"]["uniform"]
    assert entry["nested_minus_this_tau"]["mean"] == by_lane["nested"]["tau"] - by_lane["uniform"]["tau"]
    assert len(table(summary(fits)).splitlines()) == 2 + 6


def test_both_ways_of_evaluating_agree() -> None:
    setting = Setting("mobilenet_v3_28", num=5, images=20, threads=1, synthetic=True)
    groups = dict(measure(setting, None, known={"1"}))  # the largest is known
    assert list(groups) == ["0", "2"]
    found = time_summary(groups)
    assert found["records"] == 4
    assert 0.3 < found["ratio_of_macs"] < 0.9
