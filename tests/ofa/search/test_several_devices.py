"""Several devices in one search: a winner each, the universal network, the front between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latency_tables.listed import ListedTable
from ofa.cli import main
from ofa.search.budgets import ResolvedBudget
from ofa.search.front import pareto_front
from ofa.search.offline.confidence import Kept
from ofa.search.offline.joint_front import joint_front
from ofa.search.offline.shared_scores import SharedScores
from ofa.search.run import search
from ofa.search.settings import SearchSettings
from ofa.search.several_devices import Found, budgets_by_device, search_devices
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError

Ofa = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ofa(tables: dict[str, ListedTable], stub: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ofa:
    def run(*arguments: str) -> tuple[int, str, str]:
        devices = ",".join(str(tmp_path / f"{device}.json") for device in tables)
        try:
            main(["search", "--accuracy", "stub", "--device", devices, *arguments])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def limits(space: SearchSpace, tables: dict[str, ListedTable]) -> dict[str, float]:
    """Kept by a fifth to two fifths of the networks each."""
    rows = space.enumerate(10_000)
    found = {f"latency@{d}": float(np.quantile(t.cost(space).evaluate(rows), 0.3)) for d, t in tables.items()}
    return {**found, "flash": float(np.quantile(space.cost("flash").evaluate(rows), 0.5))}


def asked(limits: dict[str, float]) -> list[str]:
    units = {"flash": "B"}
    return [word for name, limit in limits.items() for word in ("--max", f"{name}={limit!r}{units.get(name, 'ms')}")]


def test_winners_and_the_universal_network_are_those_of_brute_force(
    ofa: Ofa,
    limits: dict[str, float],
    space: SearchSpace,
    tables: dict[str, ListedTable],
    landscape: Callable,
    stub: list[int],
    tmp_path: Path,
) -> None:
    code, out, _ = ofa(*asked(limits), "--json", "-n", "3", "-o", str(tmp_path / "best.json"))
    facts = json.loads(out)
    assert code == 0
    assert sum(stub) == facts["num_scored"] == space.size, "every network is scored once for all devices"
    rows = space.enumerate(10_000)
    accuracy = landscape(0)(rows).mean
    values = {f"latency@{device}": table.cost(space).evaluate(rows) for device, table in tables.items()}
    values["flash"] = space.cost("flash").evaluate(rows)
    kept = {name: values[name] <= limit for name, limit in limits.items()}
    best = {}
    for device in tables:
        own = kept[f"latency@{device}"] & kept["flash"]
        best[device] = accuracy[own].max()
        winner = facts["winners"][device]
        assert winner["winner"]["predicted_accuracy"]["mean"] == best[device]
        assert set(winner["limits"]) == {f"latency@{device}", "flash"}
        assert [c["predicted_accuracy"]["mean"] for c in winner["candidates"]] == sorted(accuracy[own])[::-1][:3]
    everywhere = kept["latency@a"] & kept["latency@b"] & kept["flash"]
    universal = facts["universal"]
    assert facts["candidates"][0]["key"] == universal["key"]
    assert facts["candidates"][0]["predicted_accuracy"]["mean"] == accuracy[everywhere].max()
    assert universal["losses"] == {device: best[device] - accuracy[everywhere].max() for device in tables}
    worst = np.max([best[device] - accuracy[everywhere] for device in tables], axis=0)
    assert universal["worst_loss"] == worst.min() > 0

    some = np.flatnonzero((kept["latency@a"] | kept["latency@b"]) & kept["flash"])
    columns = np.stack([values[name][some] for name in limits], axis=1)
    front = some[pareto_front(columns, accuracy[some])]
    assert facts["front"]["exact"] and facts["front"]["num"] == len(front)
    shown = {tuple(n["predicted_costs"][name] for name in limits) for n in facts["front"]["networks"]}
    everyone = {tuple(values[name][row] for name in limits) for row in front}
    assert shown == everyone if len(front) <= 500 else shown < everyone

    for file, key in (
        ("best", universal["key"]),
        *((f"best.{d}", facts["winners"][d]["winner"]["key"]) for d in tables),
    ):
        assert Architecture.from_json(json.loads((tmp_path / f"{file}.json").read_text())).key == key


def test_where_no_network_serves_all(
    ofa: Ofa, space: SearchSpace, tables: dict[str, ListedTable], tmp_path: Path
) -> None:
    rows = space.enumerate(10_000)
    values = {f"latency@{device}": table.cost(space).evaluate(rows) for device, table in tables.items()}
    limits = {"latency@a": 1.001 * float(values["latency@a"].min()), "latency@b": 0.0}
    limits["latency@b"] = 0.999 * float(values["latency@b"][values["latency@a"] <= limits["latency@a"]].min())
    assert (values["latency@b"] <= limits["latency@b"]).any()
    code, out, _ = ofa(*asked(limits), "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["universal"] is None and facts["candidates"] == [] and set(facts["winners"]) == {"a", "b"}
    least = facts["clash"]["least_within_the_others"]["latency@b"]
    assert least == {"value": pytest.approx(limits["latency@b"] / 0.999, rel=1e-12), "exact": True}
    code, out, _ = ofa(*asked(limits), "--explain")
    assert code == 0 and "no network serves all" in out and "the least latency@" in " ".join(out.split())

    code, out, err = ofa(*asked(limits), "--json", "-o", str(tmp_path / "best.json"))
    assert code == 3 and json.loads(out)["winners"].keys() == {"a", "b"}
    assert "best.json: not written, because no network keeps the limits of all devices" in err
    assert not (tmp_path / "best.json").exists() and (tmp_path / "best.a.json").exists()

    limits["latency@b"] = 0.9 * float(values["latency@b"].min())
    code, _, err = ofa(*asked(limits))
    assert code == 3 and "budget 'b': no network of" in err, "nothing at all keeps this device's own limit"


def test_with_confidence_every_device_keeps_its_upper_end(
    ofa: Ofa, limits: dict[str, float], space: SearchSpace, tables: dict[str, ListedTable]
) -> None:
    code, out, _ = ofa(*asked(limits), "--json", "--confidence", "0.9")
    facts = json.loads(out)
    assert code == 0
    upper = facts["confidence"]["upper"]
    assert set(upper) == {"latency@a", "latency@b"} and all(1.05 < factor <= 1.1 for factor in upper.values())
    plain = json.loads(ofa(*asked(limits), "--json")[1])
    for device in tables:
        cost = f"latency@{device}"
        for candidate in facts["winners"][device]["candidates"]:
            assert candidate["predicted_costs"][cost] * upper[cost] <= limits[cost] * (1 + 1e-12)
        best, sure = (part["winners"][device]["winner"]["predicted_accuracy"]["mean"] for part in (plain, facts))
        assert sure <= best
    for candidate in facts["candidates"]:
        assert all(candidate["predicted_costs"][cost] * upper[cost] <= limits[cost] * (1 + 1e-12) for cost in upper)
    assert min(facts["universal"]["losses"].values()) >= 0


def test_it_is_shown(ofa: Ofa, limits: dict[str, float]) -> None:
    code, out, _ = ofa(*asked(limits), "--explain")
    assert code == 0
    for words in ("universal", "loses to the device's own winner", "trade accuracy", "cheapest", "resolution"):
        assert words in " ".join(out.split())


def test_one_device_and_shared_limits_are_one_budget(ofa: Ofa, limits: dict[str, float]) -> None:
    facts = json.loads(ofa(*asked({name: limits[name] for name in ("latency@a", "flash")}), "--json")[1])
    assert "winners" not in facts and "universal" not in facts
    assert facts["candidates"] and set(facts["limits"]) == {"latency@a", "flash"}
    one = ResolvedBudget("max", {"latency@a": 1.0, "energy@a": 2.0, "flash": 3.0})
    assert budgets_by_device(one) == {}
    two = budgets_by_device(ResolvedBudget("max", {"flash": 3.0, "latency@b": 1.0, "energy@a": 2.0, "latency@a": 9.0}))
    assert {name: set(part.limits) for name, part in two.items()} == {
        "b": {"flash", "latency@b"},
        "a": {"flash", "energy@a", "latency@a"},
    }
    with pytest.raises(UserError, match="names the network for all"):
        budgets_by_device(ResolvedBudget("max", {"latency@universal": 1.0, "latency@a": 9.0}))


def test_by_evolution_nothing_is_scored_twice_and_no_loss_is_negative(
    space: SearchSpace, tables: dict[str, ListedTable], limits: dict[str, float], landscape: Callable
) -> None:
    rows: list[np.ndarray] = []

    def predict(population: np.ndarray) -> object:
        rows.append(population)
        return landscape(1)(population)

    costs = {f"latency@{device}": table.cost(space) for device, table in tables.items()}
    costs["flash"] = space.cost("flash")
    settings = SearchSettings.model_validate(
        {"budgets": {"b": {"macs": "1M"}}, "algorithm": "evolution", "population": 16, "generations": 8}
    )
    shared = SharedScores(predict, space.num_genes)

    def find(budget: ResolvedBudget) -> Found:
        ranked = search(space, shared, costs, [budget], settings, seed=3)[budget.name]
        return Found.of(ranked, Kept(np.arange(len(ranked.population)), {}, 0))

    several = search_devices(find, shared, costs, ResolvedBudget("max", limits), sure=lambda part: part, num=4)
    front = joint_front(space, shared, costs, [found.budget for found in several.devices.values()], generations=4)
    everything = np.concatenate(rows)
    assert len(np.unique(everything, axis=0)) == len(everything) == len(shared.population)
    assert min(several.losses.values()) >= 0
    assert not front.exact or len(everything) == space.size
    values = np.stack([table.evaluate(front.population) for table in costs.values()], axis=1)
    assert len(pareto_front(values, shared(front.population).mean)) == len(front.population)
    for device, found in several.devices.items():
        assert found.budget.name == device and 0 < len(found.population) <= 4
        assert (found.costs[f"latency@{device}"] <= limits[f"latency@{device}"]).all()
