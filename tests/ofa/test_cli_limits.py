"""Limits nobody can keep: exit code 3, or the user's mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.table import load_table
from search_spaces import SearchSpace

TABLE = "tables/here.json"


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("latency", "--max: 'latency' is not of the form metric=amount"),
        ("latency=", "--max: '' is not an amount of latency"),
        ("latency=-1ms", "--max: '-1ms' is not a positive amount of latency"),
        ("latency=0ms", "--max: '0ms' is not a positive amount of latency"),
        ("latency=nan", "--max: 'nan' is not a positive amount of latency"),
        ("latency=inf ms", "--max: 'inf ms' is not a positive amount of latency"),
        ("latency=1e400ms", "--max: '1e400ms' is not a positive amount of latency"),
        ("latency=5", "--max: '5' has no unit for latency. Known: ns, us, ms, s"),
        ("latency=5 parsecs", "--max: '5 parsecs' has an unknown unit 'parsecs'"),
        ("latncy=3ms", "--max: unknown metric 'latncy'. Did you mean 'latency'?"),
        ("latency@phone=3ms", "--max latency@phone: unknown device 'phone'. Known: here"),
        ("latency@=3ms", "--max: 'latency@' names no cost"),
        ("macs@here=3M", "--max: 'macs@here' names no cost"),
        ("energy=3mJ", "--max energy: no table here tells the energy of a device. They tell latency@here"),
    ],
)
def test_limits_that_make_no_sense(refused: Any, run: Path, limit: str, told: str) -> None:
    assert told in refused("search", run, "--max", limit)
    assert "macs is limited twice" in refused("search", run, "--max", "macs=1M", "--max", "macs=2M")


def test_impossible_latency(ofa: Any, run: Path, space: SearchSpace) -> None:
    answer = ofa("search", run, "--max", "latency=1us")
    least, row = load_table(run / TABLE).cost(space).minimum()
    (cheapest,) = space.decode(row)
    assert answer.code == 3 and not answer.out
    assert "keeps latency@here <= 0.001 ms; the smallest achievable is" in answer.message
    assert f"Nearest network {cheapest.key}: latency@here {least:.4g} ms" in answer.message
    answer = ofa("search", run, "--max", "latency=1us", "--json")
    details = json.loads(answer.out)
    assert details["error"] == answer.message and details["exit_code"] == answer.code == 3
    assert details["binding"] == "latency@here" and details["smallest"] == {"latency@here": least}
    assert details["nearest"]["architecture"] == cheapest.to_json() and details["proven"] is True


def test_limits_that_clash_only_together(ofa: Any, run: Path, space: SearchSpace) -> None:
    """On a device where an operator is the faster the more it computes."""
    operators = space.operators()
    table = json.loads((run / TABLE).read_text())
    for key, entry in table["entries"].items():
        entry |= dict.fromkeys(("p10_ms", "median_ms", "p90_ms"), 1e4 / max(operators[key].macs(), 1000))
    table["overhead_ms"], table["correction"] = 1e-9, {"slope": 1.0, "intercept_ms": 0.0, "num": 4}
    (run / TABLE).write_text(json.dumps(table))
    costs = {"macs": space.cost("macs"), "latency@here": load_table(run / TABLE).cost(space)}
    least = {name: cost.minimum()[0] for name, cost in costs.items()}
    limits = {"macs": f"{1.05 * least['macs']:.0f}", "latency": f"{1.05 * least['latency@here']}ms"}
    line = ["search", run, *(word for name, amount in limits.items() for word in ("--max", f"{name}={amount}"))]
    population = space.enumerate(10_000)
    kept = np.all([cost.evaluate(population) <= 1.05 * least[name] for name, cost in costs.items()], axis=0)
    assert not kept.any()
    answer = ofa(*line)
    assert answer.code == 3 and "together" in answer.message and "binds most" in answer.message
    assert "the smallest achievable, each alone, are macs" in answer.message and "Nearest network" in answer.message
    details = json.loads(ofa(*line, "--json").out)
    assert details["smallest"] == pytest.approx(least) and details["binding"] in costs
    assert set(details["nearest"]["costs"]) == set(costs)


@pytest.fixture(scope="session")
def space(finished: Path) -> SearchSpace:
    return SearchSpace.from_description(json.loads((finished / "supernet.json").read_text())["space"])
