"""Costs of measured, published and shipped tables beside the exact ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latency_tables.shipped import find_table
from latency_tables.table import LatencyTable, load_table
from ofa.search.budgets import ResolvedBudget, parse_max, resolve
from ofa.search.costs import all_costs, named_tables, run_tables
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.several_devices import budgets_by_device
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import Infeasible, UserError
from search_spaces.costs import align, combine

DEVICE = "samsung_note10"
LATENCY = f"latency@{DEVICE}"


@pytest.fixture(scope="module")
def phone_space() -> SearchSpace:
    return load_table(find_table(DEVICE)).measured_space()


def test_a_shipped_device_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = load_table(find_table(DEVICE))
    assert named_tables([Path(DEVICE)]) == {DEVICE: shipped}
    with pytest.raises(UserError, match=r"note11.json: --device: no such latency table\. .*Shipped devices: .*note10"):
        named_tables([Path("phones/note11.json")])
    own = shipped.model_copy(update={"device": "mine"})
    own.save(tmp_path / "phones" / f"{DEVICE}.json")
    assert named_tables([Path("phones", f"{DEVICE}.json")])[DEVICE].device == "mine"
    with pytest.raises(UserError, match="same file name"):
        named_tables([Path(DEVICE), Path("phones", f"{DEVICE}.json")])


def test_a_path_goes_before_a_shipped_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    load_table(find_table(DEVICE)).model_copy(update={"device": "mine"}).save(Path(DEVICE))
    assert named_tables([Path(DEVICE)])[DEVICE].device == "mine"


def test_a_run_needs_tables_of_its_own_device(tmp_path: Path) -> None:
    load_table(find_table(DEVICE)).save(tmp_path / "tables" / "phone.json")
    with pytest.raises(UserError, match=r"phone\.json: this table was published, not measured here"):
        run_tables(tmp_path, ["phone"])
    assert run_tables(tmp_path, ["none"]) == {}


def test_costs_whose_slots_read_other_genes_are_combined(phone_space: SearchSpace) -> None:
    """The classifier's MACs do not depend on the resolution; its published time does."""
    costs = all_costs(phone_space, named_tables([Path(DEVICE)]))
    plain = phone_space.cost("macs")
    assert len({table.genes for table in costs.values()}) == 1 and costs["macs"].genes != plain.genes
    rows = phone_space.sample(50, np.random.default_rng(0))
    for metric in ("macs", "params", "peak_memory", "flash"):
        assert (costs[metric].evaluate(rows) == phone_space.cost(metric).evaluate(rows)).all()
        assert costs[metric].minimum()[0] == phone_space.cost(metric).minimum()[0]
    both = combine([costs["macs"], costs[LATENCY]], [1e-9, 0.1], metric="latency")
    expected = 1e-9 * costs["macs"].evaluate(rows) + 0.1 * costs[LATENCY].evaluate(rows)
    assert both.evaluate(rows) == pytest.approx(expected)
    assert align([plain])[0] is plain


def test_limits_on_a_published_latency_and_others_together(phone_space: SearchSpace) -> None:
    costs = all_costs(phone_space, named_tables([Path(DEVICE)]))
    least = {name: costs[name].minimum()[0] for name in (LATENCY, "macs", "peak_memory")}
    budget = ResolvedBudget("both", {name: 1.3 * value for name, value in least.items()})
    rows = feasible_networks(phone_space, costs, budget)
    assert len(rows) and all((costs[name].evaluate(rows) <= limit).all() for name, limit in budget.limits.items())
    with pytest.raises(Infeasible, match=r"smallest achievable is 9\.89 ms"):
        feasible_networks(phone_space, costs, ResolvedBudget("small", {LATENCY: 5.0, "macs": 1e9}))
    clash = ResolvedBudget("clash", {LATENCY: 1.0001 * least[LATENCY], "params": 1.0001 * costs["params"].minimum()[0]})
    assert len(feasible_networks(phone_space, costs, clash))  # the same network has the least of both


def test_a_table_of_another_space_is_refused() -> None:
    with pytest.raises(UserError, match=r"width_mult: 1\.2 here, 1\.0 there"):
        all_costs(get_space({"name": "ofa_mobilenet_v3"}), named_tables([Path(DEVICE)]))


def test_columns_of_a_table_are_costs_of_one_device(tmp_path: Path) -> None:
    """`latency` is that of the machine at rest, `latency@here+2` that beside two busy processes."""
    name = "amd_zen3_onnxruntime_mobilenet_v3_28"
    table = load_table(find_table(name))
    assert isinstance(table, LatencyTable)
    slow = {key: entry.model_copy(update={"p90_ms": 9e9, "median_ms": 9e9}) for key, entry in table.entries.items()}
    device = table.device.model_copy(update={"contention": 2})
    busy = table.model_copy(update={"entries": slow, "device": device})
    table.with_column(busy).save(tmp_path / "here.json")
    space = table.measured_space()
    costs = all_costs(space, named_tables([tmp_path / "here.json"]))
    assert {"latency@here", "latency@here+2"} <= {*costs}
    assert costs["latency@here+2"].minimum()[0] > 1e6 * costs["latency@here"].minimum()[0]
    limits = parse_max(["latency=5ms", "latency@here+2=9e12ms"])
    resolved = resolve(limits, costs)
    assert set(resolved.limits) == {"latency@here", "latency@here+2"}
    assert budgets_by_device(resolved) == {}  # one network keeps both
