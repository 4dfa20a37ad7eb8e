"""What the page's script computes with: slot by slot, yet exactly what the tables and the records say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ofa.report.page_data import page_data
from ofa.report.report import write_report
from ofa.report.sources import Sources, read_sources
from predictors.record_file import Records
from search_spaces import get_space
from search_spaces.common.errors import UserError
from tests.ofa.report.picking import totals


def test_slots_add_up_to_what_the_tables_say(finished_run) -> None:
    found = read_sources(finished_run.folder)
    data = page_data(found)
    assert [cost["name"] for cost in data["costs"]] == ["latency@here", "macs", "params", "peak_memory", "flash"]
    rows = {record.key: record for record in found.space.decode(found.records.population)}
    population = found.space.encode([rows[key] for key in data["networks"]["keys"][: len(rows)]])
    for index, cost in enumerate(data["costs"]):
        expected = finished_run.costs[cost["name"]].evaluate(population)
        assert totals(data)[index][: len(rows)] == pytest.approx(expected, rel=1e-6)
    facts = json.loads((finished_run.folder / "search.json").read_text())
    by_key = dict(zip(data["networks"]["keys"], totals(data)[0], strict=True))
    for point in facts["fronts"]["latency@here"]:
        assert by_key[point["key"]] == pytest.approx(point["cost"], rel=1e-6)


def test_operators_are_those_of_the_network(finished_run) -> None:
    found = read_sources(finished_run.folder)
    data = page_data(found)
    for number, architecture in enumerate(found.space.decode(found.records.population)):
        expected = [(slot, operator.key) for slot, operator in found.space.network(architecture)]
        slots = zip(data["slots"], data["operators"], data["networks"]["slots"][number], strict=True)
        assert [(slot, known[place]["key"]) for slot, known, place in slots if place >= 0] == expected
        assert data["networks"]["keys"][number] == architecture.key


def test_memory_of_a_network_is_that_of_its_largest_layer(finished_run) -> None:
    data = page_data(read_sources(finished_run.folder))
    (memory,) = [cost for cost in data["costs"] if cost["name"] == "peak_memory"]
    assert memory["reduce"] == "max" and memory["space"][0] == min(finished_run.costs["peak_memory"].minimum()[:1])


def test_costs_follow_the_number_format_of_the_search(run) -> None:
    found = read_sources(run.folder)
    (flash,) = [index for index, cost in enumerate(page_data(found)["costs"]) if cost["name"] == "flash"]
    whole = totals(page_data(found))[flash]
    found.config["search"] = {"dtype": "int8"}
    assert max(totals(page_data(found))[flash]) < 0.5 * max(whole)


def test_a_search_that_did_not_say_which_networks_are_on_its_front(run) -> None:
    path = run.folder / "search.json"
    facts = json.loads(path.read_text())
    for point in facts["fronts"]["latency@here"]:
        del point["architecture"]
    path.write_text(json.dumps(facts))
    write_report(run.folder)
    data = page_data(read_sources(run.folder))
    front = data["fronts"]["latency@here"]
    assert [point["key"] for point in front] == [point["key"] for point in facts["fronts"]["latency@here"]]
    known = set(data["networks"]["keys"])
    assert all((point["network"] is not None) == (point["key"] in known) for point in front)
    assert any(point["network"] is None for point in front)


def test_a_front_of_another_space_is_refused(run) -> None:
    path = run.folder / "search.json"
    facts = json.loads(path.read_text())
    facts["fronts"]["latency@here"][0] |= {"key": "0" * 12, "architecture": {"resolution": 1}}
    path.write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"search\.json"):
        write_report(run.folder)


def test_two_thousand_networks_of_a_large_space_stay_small() -> None:
    space = get_space({"name": "ofa_mobilenet_v3"}, num_classes=1000, in_channels=3)
    population = space.sample(2000, np.random.default_rng(0))
    keys = tuple(architecture.key for architecture in space.decode(population))
    accuracies = np.linspace(0.6, 0.8, len(keys))
    records = Records(population, accuracies, accuracies, keys, ("sampled",) * len(keys))
    operators = {key: 1e-7 * float(operator.macs()) + 1e-9 * len(key) for key, operator in space.operators().items()}
    devices = {
        name: SimpleNamespace(
            metric="latency",
            cost=lambda space, slope=slope: space.cost_of(lambda operator: slope * operators[operator.key]),
        )
        for name, slope in (("phone", 1.23456789), ("server", 0.98765432))
    }
    supernet = {"data": {"split_sizes": {"selection": 10_000}}}
    found: Any = Sources(Path("run"), {}, supernet=supernet, space=space, records=records, tables=devices)  # type: ignore[arg-type]
    data = page_data(found)
    assert len(data["slots"]) >= 20 and len(data["networks"]["keys"]) == len(set(keys))
    assert len(json.dumps(data, separators=(",", ":"))) < 1_500_000
    for index, cost in enumerate(data["costs"][:2]):
        expected = devices[cost["device"]].cost(space).evaluate(population)
        assert totals(data)[index] == pytest.approx(expected, rel=1e-6)
