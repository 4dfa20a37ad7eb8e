"""Plain numbers from a file: converted, complete, and every mistake told with its line."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.given import read_given, template
from latency_tables.listed import ListedTable
from latency_tables.table import load_table
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError

OPERATOR = "classifier-128-10-1"
Write = Callable[..., Path]


@pytest.fixture
def small(tiny: SearchSpace) -> SearchSpace:
    return tiny.restrict(resolution=[16])


@pytest.fixture
def write(small: SearchSpace, tmp_path: Path) -> Write:
    """The template, filled in with 1, 2, 3 ...; `changes` by operator, None leaves it out."""

    def write(changes: dict[str, str | None] | None = None, more: str = "", num_networks: int = 0) -> Path:
        rows = list(csv.reader(template(small, num_networks=num_networks).splitlines()))
        for number, row in enumerate(rows[1:], start=1):
            row[1] = str(number)
        path = tmp_path / "numbers.csv"
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            for row in rows:
                value = (changes or {}).get(row[0], row[1])
                if value is not None:
                    writer.writerow([row[0], value, *row[2:]])
            stream.write(more)
        return path

    return write


def read(path: Path, space: SearchSpace, **changes: Any) -> ListedTable:
    return read_given(path, space, **{"device": "phone", "metric": "energy", "unit": "uJ", **changes})


@pytest.mark.parametrize(
    ("metric", "unit", "factor"),
    [
        ("energy", "uJ", 1e-3),
        ("energy", "µJ", 1e-3),
        ("energy", "mJ", 1.0),
        ("energy", "J", 1e3),
        ("latency", "ns", 1e-6),
        ("latency", "us", 1e-3),
        ("latency", "s", 1e3),
        ("instructions", None, 1.0),
        ("instructions", "k", 1e3),
        ("cycles", "Mcycles", 1e6),
    ],
)
def test_units(small: SearchSpace, write: Write, metric: str, unit: str | None, factor: float) -> None:
    table = read(write(), small, metric=metric, unit=unit)
    assert list(table.entries) == list(small.operators())
    assert list(table.entries.values()) == pytest.approx([factor * (i + 1) for i in range(len(table.entries))])
    assert (table.metric, table.device) == (metric, "phone")


def test_the_sum_is_the_cost_of_a_network(small: SearchSpace, write: Write, tmp_path: Path) -> None:
    path = write()
    table = read(path, small, per_network="0.5uJ", note="energy from a power meter", about={"meter": "INA226"})
    network = small.decode(small.largest())[0]
    values = {key: i + 1 for i, key in enumerate(small.operators())}
    expected = 1e-3 * (0.5 + sum(values[operator.key] for _, operator in small.network(network)))
    assert table.cost(small).evaluate(small.largest()[None])[0] == pytest.approx(expected)
    assert table.source.files == {"numbers.csv": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert table.note == "energy from a power meter"
    assert table.provenance == {"unit_of_the_file": "uJ", "meter": "INA226"}
    table.save(tmp_path / "table.json")
    assert load_table(tmp_path / "table.json") == table


def test_json_and_csv_say_the_same(small: SearchSpace, write: Write, tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps({key: i + 1 for i, key in enumerate(small.operators())}, indent=1))
    assert read(path, small).entries == read(write(), small).entries


def test_what_people_write_beside_the_numbers(small: SearchSpace, write: Write) -> None:
    path = write()
    plain = read(path, small).entries
    path.write_text("\ufeff# taken on a warm day\n" + path.read_text().replace(",1,", ", 1.0e0 ,") + "\n,,,,\n")
    assert read(path, small).entries == plain


def test_whole_networks_check_the_sums(small: SearchSpace, write: Write) -> None:
    table = read(write(num_networks=4), small)
    assert table.checked is not None and len(table.checked.networks) == 4
    first = table.checked.networks[0]
    assert first.observed == pytest.approx(1e-3 * (len(table.entries) + 1))
    errors = [abs(network.predicted / network.observed - 1) for network in table.checked.networks]
    assert table.checked.largest_error == pytest.approx(max(errors)) and np.std(errors) > 0
    assert table.origin["checked"] == {"num": 4, "largest_error": table.checked.largest_error}
    lines = template(small, num_networks=4).splitlines()
    empty = {next(csv.reader([line]))[0]: "" for line in lines if line.startswith('"network')}
    assert read(write(empty, num_networks=4), small).checked is None
    bad = '"network {""resolution"": 17}",3,1,1,1\n'
    with pytest.raises(UserError, match=r"numbers\.csv: line \d+: "):
        read(write(more=bad), small)
    with pytest.raises(UserError, match=r"numbers\.csv: line \d+: not the JSON of an architecture"):
        read(write(more="network of mine,3,1,1,1\n"), small)


BAD = {
    "missing": ({OPERATOR: None}, "", rf"numbers\.csv: 1 of \d+ operators of .* are missing: {OPERATOR}.*--template"),
    "no value": ({OPERATOR: ""}, "", rf"numbers\.csv: line \d+: '{OPERATOR}' has no value"),
    "NaN": ({OPERATOR: "nan"}, "", r"numbers\.csv: line \d+: 'nan' is not a number"),
    "infinite": ({OPERATOR: "inf"}, "", r"line \d+: 'inf' is not a number"),
    "huge": ({OPERATOR: "1e999"}, "", r"line \d+: 1e999 is not a positive finite number"),
    "negative": ({OPERATOR: "-3"}, "", r"line \d+: -3 is not a positive"),
    "zero": ({OPERATOR: "0.0"}, "", r"line \d+: 0\.0 is not a positive"),
    "unit": ({OPERATOR: "3mJ"}, "", r"line \d+: '3mJ' is not a number\. .*--unit"),
    "underscore": ({OPERATOR: "1_000"}, "", r"line \d+: '1_000' is not a number"),
    "comma": ({}, f"{OPERATOR},1,5,0,0,0\n", r"line \d+: 6 cells where 5 columns are\. Write 1\.5, not 1,5"),
    "unknown": (
        {},
        "classifier-128-10-2,1,,,\n",
        rf"line \d+: 'classifier-128-10-2' is no operator.*mean '{OPERATOR}'",
    ),
    "twice": ({}, f"{OPERATOR},1,,,\n", rf"line \d+: '{OPERATOR}' is there already, at line \d+"),
    "quotes": ({}, 'a,"b', r"line \d+: not CSV"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_in_a_csv(small: SearchSpace, write: Write, name: str) -> None:
    changes, more, told = BAD[name]
    with pytest.raises(UserError, match=told):
        read(write(changes, more), small)


def test_the_line_is_the_right_one(small: SearchSpace, write: Write) -> None:
    path = write({OPERATOR: "x"})
    number = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if line.startswith(OPERATOR))
    with pytest.raises(UserError, match=rf"line {number}: 'x'"):
        read(path, small)
    json_file = path.with_suffix(".json")
    keys = list(small.operators())
    lines = [f' "{key}": {i + 1}' for i, key in enumerate(keys)]
    for extra, told in (
        (f' "{keys[0]}": 3', rf"line {len(keys) + 2}: '{keys[0]}' is there already, at line 2"),
        (' "conv": 3', rf"line {len(keys) + 2}: 'conv' is no operator"),
    ):
        json_file.write_text("{\n" + ",\n".join([*lines, extra]) + "\n}")
        with pytest.raises(UserError, match=told):
            read(json_file, small)
    for value, told in (
        ("NaN", "nan is not a positive"),
        ("-1", "-1.0 is not a positive"),
        ("1e400", "inf is not a positive"),
        ('"1"', "is not a number"),
        ("true", "'true' is not a number"),
        ("null", "'null' is not a number"),
        ("{}", "is not a number"),
    ):
        json_file.write_text("{\n" + ",\n".join([f' "{keys[0]}": {value}', *lines[1:]]) + "\n}")
        with pytest.raises(UserError, match=rf"numbers\.json: line 2: .*{told}"):
            read(json_file, small)


def test_files_that_are_none(small: SearchSpace, tmp_path: Path) -> None:
    for name, content, told in (
        ("a.csv", "operator;value\n", r"line 1: the columns are operator;value"),
        ("a.csv", "operator,value,value\n", r"line 1: the columns are"),
        ("a.csv", "", r"operators of .* are missing"),
        ("a.json", "[1]", "holds a list"),
        ("a.json", "{\n\n1}", "line 3: not JSON"),
        ("a.txt", "", r"a \.csv or a \.json"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=told):
            read(tmp_path / name, small)
    with pytest.raises(UserError, match="no such file of numbers"):
        read(tmp_path / "none.csv", small)
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not a text file"):
        read(tmp_path / "a.csv", small)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metric": "joy"}, r"--metric: unknown metric 'joy'.*Known: cycles, energy, instructions, latency"),
        ({"metric": "macs"}, "--metric: unknown metric 'macs'"),
        ({"unit": "ms"}, r"--unit: unknown unit 'ms' of energy, which is told in mJ\. Known: uJ, mJ, J"),
        ({"unit": None}, "--unit: energy needs a unit"),
        ({"device": "a/b"}, r"--device: .*'a/b'"),
        ({"per_network": "3ms"}, r"--per-network: .*unknown unit 'ms'"),
        ({"per_network": "3%"}, "--per-network: must be an amount"),
    ],
)
def test_mistakes_beside_the_file(small: SearchSpace, write: Write, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        read(write(), small, **changes)
