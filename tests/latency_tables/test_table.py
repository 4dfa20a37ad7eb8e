"""What a table file may hold, and what it answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.correction import LEAST_SHARE
from latency_tables.table import LatencyTable, load_table
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError

OPERATOR = "classifier-128-10-1"


def put(path: str, value: object) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        *parents, last = path.split("/")
        target = data
        for name in parents:
            target = target[int(name)] if isinstance(target, list) else target[name]
        target[int(last) if isinstance(target, list) else last] = value
        return data

    return change


def drop(*path: str) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        target = data
        for name in path[:-1]:
            target = target[name]
        del target[path[-1]]
        return data

    return change


CORRUPTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "NaN": (put(f"entries/{OPERATOR}/median_ms", float("nan")), f"entries.{OPERATOR}.median_ms.*finite.*nan"),
    "infinity": (put(f"entries/{OPERATOR}/p90_ms", float("inf")), f"entries.{OPERATOR}.p90_ms.*finite"),
    "huge": (put(f"entries/{OPERATOR}/p90_ms", 10**400), f"entries.{OPERATOR}.p90_ms"),
    "negative": (put(f"entries/{OPERATOR}/p10_ms", -1.0), f"entries.{OPERATOR}.p10_ms.*greater than 0.*-1.0"),
    "text": (put(f"entries/{OPERATOR}/median_ms", "0.3"), f"entries.{OPERATOR}.median_ms.*'0.3'"),
    "truth": (put("overhead_ms", True), "overhead_ms.*True"),
    "null": (put("overhead_ms", None), "overhead_ms.*number"),
    "no samples": (put(f"entries/{OPERATOR}/count", 0), f"entries.{OPERATOR}.count"),
    "out of order": (put(f"entries/{OPERATOR}/p10_ms", 1e6), f"entries.{OPERATOR}.*order"),
    "missing field": (drop("entries", OPERATOR, "p90_ms"), f"entries.{OPERATOR}.p90_ms.*required"),
    "missing section": (drop("heldout"), "heldout.*required"),
    "no entries": (put("entries", {}), "entries"),
    "extra field": (put(f"entries/{OPERATOR}/p91_ms", 1.0), f"entries.{OPERATOR}.p91_ms.*Did you mean 'p90_ms'"),
    "other unit": (put("unit", "cycles"), "unit.*'ms'.*cycles"),
    "other metric": (put("metric", "joy"), "metric.*'latency'.*joy"),
    "later schema": (put("schema", 2), "schema.*2.*Known: 1"),
    "schema is true": (put("schema", True), "schema"),
    "no schema": (drop("schema"), "schema"),
    "unknown runtime": (put("settings/runtime", "abacus"), "settings.runtime.*abacus"),
    "boasting": (put("heldout/mape", 0.0), "heldout.*mape is 0.0, but the pairs give"),
    "boasting of rank": (put("heldout/kendall_tau", None), "heldout.*kendall_tau is None"),
    "fewer pairs": (put("heldout/pairs", []), "heldout.*num"),
    "NaN pair": (put("heldout/pairs/0/measured_ms", float("nan")), "heldout.pairs.0.measured_ms"),
    "list": (lambda data: [data], "not a latency table"),
    "NaN correction": (put("correction/slope", float("nan")), "correction.slope"),
    "downward correction": (put("correction/slope", -1.0), "correction.slope"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_unsound_table_is_refused(name: str, table_file: Path, tmp_path: Path) -> None:
    change, message = CORRUPTIONS[name]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(change(json.loads(table_file.read_text()))))
    with pytest.raises(UserError, match=message) as caught:
        load_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\x80\x04\x95)\x00cos\nsystem\n(S'touch owned'\ntR.", b"null", b"[" * 10**5, b"\xff\xfe"]
)
def test_not_a_table_at_all(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"bad\.json"):
        load_table(path)
    with pytest.raises(UserError, match="no such latency table"):
        load_table(tmp_path / "none.json")
    with pytest.raises(UserError, match="is a folder"):
        load_table(tmp_path)


def test_saved_and_loaded_again(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "again.json"
    table.save(path)
    assert load_table(path) == table


def test_cost_is_the_corrected_sum(tiny: SearchSpace, table: LatencyTable) -> None:
    cost = table.cost(tiny)
    assert (cost.metric, cost.unit) == ("latency", "ms")
    rows = tiny.sample(5, np.random.default_rng(0))
    for row, architecture, latency in zip(rows, tiny.decode(rows), cost.evaluate(rows), strict=True):
        keys = [operator.key for _, operator in tiny.network(architecture)]
        medians = [table.entries[key].median_ms for key in keys]
        parts = [max(median - table.overhead_ms, LEAST_SHARE * median) for median in medians]
        if (within := table.correction.operators_ms) is not None:
            parts = [within[key] for key in keys]
        assert latency == pytest.approx(table.correction.slope * sum(parts) + table.correction.intercept_ms)
        assert sum(value for _, value in cost.explain(row)) == pytest.approx(latency, abs=1e-12)
    assert 0 < cost.minimum()[0] < cost.maximum()[0]


def test_overhead_never_eats_an_operator_up(tiny: SearchSpace, table: LatencyTable) -> None:
    correction = table.correction.model_copy(update={"intercept_ms": 0.0})  # a negative one would eat the sum up
    drowned = table.model_copy(update={"overhead_ms": 1e3, "correction": correction})
    assert drowned.cost(tiny).minimum()[0] > 0


def test_heldout_statistics_are_those_of_the_pairs(tiny: SearchSpace, table: LatencyTable) -> None:
    pairs = table.heldout.pairs
    assert table.heldout.num == len(pairs) >= 20
    relative = [abs(pair.predicted_ms / pair.measured_ms - 1) for pair in pairs]
    assert table.heldout.mape == pytest.approx(np.mean(relative))
    assert table.heldout.within_10 == pytest.approx(np.mean([error <= 0.1 for error in relative]))
    from search_spaces import Architecture

    rows = tiny.encode([Architecture.from_json(pair.architecture) for pair in pairs])
    assert table.cost(tiny).evaluate(rows) == pytest.approx([pair.predicted_ms for pair in pairs])


def test_part_of_the_measured_space_is_served(tiny: SearchSpace, table: LatencyTable) -> None:
    part = tiny.restrict(kernel=[3], resolution=[20])
    row = part.smallest()
    same = tiny.encode(part.decode(row))
    assert table.cost(part).evaluate(row[None]) == pytest.approx(table.cost(tiny).evaluate(same))


def test_missing_operators_are_counted_and_named(tiny: SearchSpace, table: LatencyTable) -> None:
    keys = list(table.entries)
    less = table.model_copy(update={"entries": {key: table.entries[key] for key in keys[5:]}})
    with pytest.raises(UserError) as caught:
        less.cost(tiny)
    assert f"5 of {len(keys)} operators" in str(caught.value) and keys[0] in str(caught.value)
    assert keys[4] not in str(caught.value)


def test_table_of_another_space_names_both(tiny: SearchSpace, table: LatencyTable) -> None:
    other = get_space({"name": "mobilenet_v3_28"}, num_classes=10, in_channels=1)
    with pytest.raises(UserError) as caught:
        table.cost(other)
    for text in (tiny.name, tiny.fingerprint, other.name, other.fingerprint):
        assert text in str(caught.value)


def test_correction_that_ends_below_zero_is_refused(tiny: SearchSpace, table: LatencyTable) -> None:
    correction = table.correction.model_copy(update={"intercept_ms": -1e3})
    with pytest.raises(UserError, match="zero or less"):
        copy.copy(table).model_copy(update={"correction": correction}).cost(tiny)
