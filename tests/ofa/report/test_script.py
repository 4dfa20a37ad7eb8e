"""The page's arithmetic, run without a page: under Node, against brute force and the project's own units in Python."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from ofa.report.page_data import page_data
from ofa.report.script import PURE, asset
from ofa.report.sources import read_sources
from ofa.search.budgets import parse_max
from search_spaces.common.units import METRICS, format_quantity, parse_quantity
from tests.ofa.report.picking import BASES, brute_force, totals

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed; test_browser.py runs the same script")

_DRIVER = """
const { data, limits, quantities, texts } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const totals = totalsOf(data);
const scores = Object.fromEntries(basesOf(data.networks).map((basis) => [basis, BASES[basis].of(data.networks)]));
console.log(JSON.stringify({
  totals: totals.map((column) => [...column]),
  picks: Object.fromEntries(
    Object.entries(scores).map(([basis, of]) => [basis, limits.map((one) => pick(totals, of, one))]),
  ),
  blames: limits.map((one) => blame(totals, scores.predicted, one)),
  together: blame([[1, 3, 2], [3, 1, 2.5]], [0.9, 0.8, 0.85], [2, 2.4]),
  commands: limits.map((one) => searchCommand(data, one)),
  layers: data.networks.keys.map((_, network) => layersOf(data, network)),
  quantities: quantities.map(([value, unit]) => quantity(value, unit)),
  plain: texts.map(plain),
  quoted: texts.map(quoted),
}));
"""
TEXTS = ["<b>&amp;</b>", "a 'quoted' $(name); rm", "plain-1.2@x", "a\nb", "é"]
AMOUNTS = [(metric, value) for metric in METRICS for value in (7.0, 999.0, 1023.0, 1234567.0, 3.4e9)]
AMOUNTS += [(metric, value) for metric in ("latency", "energy") for value in (0.01234567, 999.96)]


@pytest.fixture(scope="module")
def data(finished_run) -> dict[str, Any]:
    return page_data(read_sources(finished_run.folder)) | {"run": "runs/my 'first' run"}


@pytest.fixture(scope="module")
def limits(data: dict[str, Any]) -> list[list[float | None]]:
    """From loose to impossible, on some costs or on all."""
    rng, columns = np.random.default_rng(0), totals(data)
    tight = [[float(np.quantile(column, part)) for column in columns] for part in (0, 0.05, 0.1, 0.2)]
    drawn = [
        [float(rng.choice(column) * rng.uniform(0.9, 1.2)) if rng.random() < 0.4 else None for column in columns]
        for _ in range(200)
    ]
    return [[None] * len(columns), [1e-9] + [None] * (len(columns) - 1), *tight, *drawn]


@pytest.fixture(scope="module")
def found(data: dict[str, Any], limits: list[list[float | None]]) -> dict[str, Any]:
    script = "\n".join(['"use strict";', *(asset(f"{part}.js") for part in PURE), _DRIVER])
    quantities = [(value, METRICS[metric][0]) for metric, value in AMOUNTS]
    told = json.dumps({"data": data, "limits": limits, "quantities": quantities, "texts": TEXTS})
    assert NODE is not None
    done = subprocess.run([NODE, "-e", script], input=told, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_networks_cost_what_their_layers_cost(data: dict[str, Any], found: dict[str, Any]) -> None:
    for index, (cost, expected) in enumerate(zip(data["costs"], totals(data), strict=True)):
        assert found["totals"][index] == pytest.approx(expected, rel=1e-12)
        for network, layers in enumerate(found["layers"]):
            parts = [layer["operator"]["costs"][index] for layer in layers]
            whole = sum(parts) if cost["reduce"] == "sum" else max(parts)
            assert whole == pytest.approx(expected[network], rel=1e-12)
    assert all(layers[-1]["slot"] == "overhead" for layers in found["layers"])


@pytest.mark.parametrize("basis", BASES)
def test_the_pick_is_that_of_brute_force(data: dict[str, Any], limits: list, found: dict[str, Any], basis: str) -> None:
    columns = totals(data)
    expected = [brute_force(data, one, basis, columns) for one in limits]
    assert found["picks"][basis] == expected
    assert -1 in expected and len(set(expected)) > 5


def test_what_is_impossible_is_blamed_on_limits(data: dict[str, Any], limits: list, found: dict[str, Any]) -> None:
    columns = totals(data)
    refused = [number for number, pick in enumerate(found["picks"]["predicted"]) if pick < 0]
    assert len(refused) > 10
    for number in refused:
        blame, one = found["blames"][number], limits[number]
        assert blame["costs"]
        for cost in blame["costs"]:
            if blame["together"]:
                raised = [limit if index != cost["cost"] else cost["least"] for index, limit in enumerate(one)]
                assert brute_force(data, raised, "predicted", columns) >= 0
            else:
                assert min(columns[cost["cost"]]) == pytest.approx(cost["least"]) and cost["least"] > one[cost["cost"]]
    # two costs of which each network is good at one: with the one limit lifted, how much of it there must be
    assert found["together"] == {"together": True, "costs": [{"cost": 0, "least": 3}, {"cost": 1, "least": 2.5}]}


def test_the_command_asks_for_the_same_limits(data: dict[str, Any], limits: list, found: dict[str, Any]) -> None:
    for one, command in zip(limits, found["commands"], strict=True):
        if all(limit is None for limit in one):
            assert command is None
            continue
        words = shlex.split(command)
        assert words[:3] == ["ofa", "search", data["run"]]
        budget = parse_max([word for word in words[3:] if word != "--max"])
        wanted = {cost["name"]: limit for cost, limit in zip(data["costs"], one, strict=True) if limit is not None}
        assert {name: amount.value for name, amount in budget.constraints.items()} == pytest.approx(wanted, rel=1e-5)


def test_amounts_read_as_everywhere_else(found: dict[str, Any]) -> None:
    for (metric, value), shown in zip(AMOUNTS, found["quantities"], strict=True):
        expected = format_quantity(value, metric)
        if "e+" not in expected:  # a million milliseconds are written out
            assert shown == expected
        assert parse_quantity(shown.replace(" ", ""), metric).value == pytest.approx(value, rel=1e-3)


def test_texts_of_users_stay_texts(found: dict[str, Any]) -> None:
    import html

    for text, plain, quoted in zip(TEXTS, found["plain"], found["quoted"], strict=True):
        assert "<" not in plain and html.unescape(plain) == text
        assert shlex.split(quoted) == [text]
