from __future__ import annotations

import pytest

from ofa.search.budgets import ResolvedBudget, ascending, cost_name, parse_budget, parse_max, resolve
from ofa.search.settings import SearchSettings
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from search_spaces.costs import CostTable


def test_amounts_are_read_with_their_units() -> None:
    budget = parse_max(["latency@a=500us", "peak_memory=2KiB", "macs=1.5M"])
    values = {name: quantity.value for name, quantity in budget.constraints.items()}
    assert values == {"latency@a": 0.5, "peak_memory": 2048, "macs": 1.5e6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency=-5ms", "'-5ms' is not a positive amount of latency"),
        ("latency=nan", "nan"),
        ("latency=inf ms", "inf"),
        ("latency=0ms", "not a positive amount"),
        ("latency=5", "has no unit"),
        ("latency=5KiB", "unknown unit 'KiB'"),
        ("peak_memory=5ms", "unknown unit 'ms'"),
        ("latency=130%", "above 100%"),
        ("latencies=5ms", "unknown metric 'latencies'. Did you mean 'latency'"),
        ("accuracy=90%", "unknown metric 'accuracy'"),
        ("latency", "not of the form metric=amount"),
        ("latency@=5ms", "names no cost"),
        ("macs@phone=5M", "names no cost"),
        ("latency=", "not an amount of latency"),
    ],
)
def test_bad_limits_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match="--max") as caught:
        parse_max([text])
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_twice_or_not_at_all() -> None:
    with pytest.raises(UserError, match="limited twice"):
        parse_max(["macs=5M", "macs=6M"])
    with pytest.raises(UserError, match="no limit given"):
        parse_max([])


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({"small": {"latency": "-5ms"}}, "config.yaml: search.budgets.small.latency: '-5ms' is not a positive amount"),
        ({"small": {"latency": float("nan")}}, "search.budgets"),
        ({"small": {"latency": 5}}, "has no unit"),
        ({"small": {}}, "holds no limit"),
        ({}, "search.budgets"),
        ({"../small": {"latency": "5ms"}}, "becomes a folder"),
        ({"small": {"latncy": "5ms"}}, "Did you mean 'latency'"),
    ],
)
def test_budgets_of_a_config(budgets: dict[str, dict[str, str | float]], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_settings(SearchSettings, {"budgets": budgets}, file="config.yaml", prefix="search")
    assert message in str(caught.value)


def test_per_cents_are_shares_of_the_exact_range(costs: dict[str, CostTable]) -> None:
    low, high = costs["latency@a"].minimum()[0], costs["latency@a"].maximum()[0]
    for text, share in (("0%", 0.0), ("30%", 0.3), ("100%", 1.0)):
        resolved = resolve(parse_budget("b", {"latency": text}), costs)
        assert resolved.limits == {"latency@a": pytest.approx(low + share * (high - low), rel=1e-9)}
        assert resolved.limits["latency@a"] >= low
        assert resolved.written == {"latency@a": text}


def test_which_device(costs: dict[str, CostTable]) -> None:
    two = {**costs, "latency@b": costs["latency@a"]}
    with pytest.raises(UserError, match=r"latency of which device.*latency@a.*a, b"):
        resolve(parse_max(["latency=5ms"]), two)
    assert list(resolve(parse_max(["latency=5ms"]), two, default_device="b").limits) == ["latency@b"]
    assert list(resolve(parse_max(["latency=5ms"]), costs).limits) == ["latency@a"]
    with pytest.raises(UserError, match="unknown device 'c'"):
        resolve(parse_max(["latency@c=5ms"]), two)
    with pytest.raises(UserError, match="needs a table"):
        cost_name("latency", [])
    with pytest.raises(UserError, match="latency@a is limited twice"):
        resolve(parse_max(["latency=5ms", "latency@a=6ms"]), costs)


def test_tighter_budgets_come_first(costs: dict[str, CostTable]) -> None:
    macs = costs["macs"].minimum()[0]
    loose = ResolvedBudget("loose", {"macs": 9 * macs})
    tight = ResolvedBudget("tight", {"macs": 2 * macs, "params": costs["params"].minimum()[0]})
    middle = ResolvedBudget("middle", {"macs": 2 * macs})
    assert [b.name for b in ascending([loose, tight, middle], costs)] == ["tight", "middle", "loose"]
