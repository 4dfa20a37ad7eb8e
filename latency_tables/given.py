"""Plain numbers by operator, from a CSV or JSON file, as a `ListedTable`; and the file with the numbers left out."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_tables.identity import SpaceIdentity
from latency_tables.listed import CheckedNetwork, ListedTable, WholeNetworks
from latency_tables.networks import choose_networks
from latency_tables.published import NAME, Source
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError, in_file, unknown_name
from search_spaces.common.files import file_digest
from search_spaces.common.units import METRICS, parse_quantity

#: what a table can be of
LISTED_METRICS = ("latency", "energy", "instructions", "cycles")
#: before the JSON of an architecture, in the place of an operator's key: a whole network
NETWORK = "network "

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_TEMPLATE = "`ofa import costs --template` writes a file with all operators of a space"


@dataclass(frozen=True)
class Row:
    """A line of the file: an operator's key (or a network), its value as written, and where that is."""

    key: str
    value: str | float
    place: str


def template(space: SearchSpace, *, num_networks: int = 0, seed: int = 0) -> str:
    """A CSV with every operator of `space`, its values empty; MACs, parameters and input (C, H, W) beside, for whoever
    fills it in. With `num_networks`, that many random whole networks, which are only compared with their sums.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["operator", "value", "macs", "params", "input"])
    for key, operator in space.operators().items():
        shape = " ".join(map(str, operator.input_shape))
        writer.writerow([key, "", int(operator.macs()), int(operator.params()), shape])
    if num_networks:
        networks = choose_networks(space, num_fit=0, num_heldout=num_networks, seed=seed).heldout
        rows = space.encode(networks)
        costs = zip(space.cost("macs").evaluate(rows), space.cost("params").evaluate(rows), strict=True)
        for network, (macs, params) in zip(networks, costs, strict=True):
            shape = f"{space.in_channels} {network.resolution} {network.resolution}"
            writer.writerow([NETWORK + json.dumps(network.to_json()), "", int(macs), int(params), shape])
    return out.getvalue()


def read_given(
    path: Path,
    space: SearchSpace,
    *,
    device: str,
    metric: str,
    unit: str | None,
    note: str = "given as numbers, not measured here",
    title: str | None = None,
    where: str = "not stated",
    licence: str = "not stated",
    about: Mapping[str, str] | None = None,
    per_network: str | None = None,
) -> ListedTable:
    """The table of a file of numbers in `unit` (`uJ`, `ms`, ...), converted to the metric's base unit.

    CSV: columns `operator` and `value`, others are left alone, and so are empty lines and those that begin with `#`.
    JSON: an object from operator to number. Raises `UserError`, with file and line, for an operator that is missing,
    unknown or there twice and for a value that is no positive number; and for a unit that is not one of `metric`.
    """
    if not re.fullmatch(NAME, device):
        what = "a device's name is letters, digits, dot, dash and underscore"
        raise UserError(what, key="--device", value=device)
    if metric not in LISTED_METRICS:
        raise unknown_name("metric", metric, LISTED_METRICS, key="--metric")
    factor = _factor(metric, unit)
    extra = 0.0
    if per_network is not None:
        quantity = parse_quantity(per_network, metric, key="--per-network")
        if quantity.relative:
            raise UserError("must be an amount", key="--per-network", value=per_network)
        extra = quantity.value
    operators = space.operators()
    # whole networks may stay empty: they only check the sums
    rows = [row for row in _rows(path) if row.value != "" or not row.key.startswith(NETWORK)]
    _check_keys(path, rows, space)
    amounts = {row.key: _amount(path, row) * factor for row in rows}
    if missing := [key for key in operators if key not in amounts]:
        listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        what = f"{len(missing)} of {len(operators)} operators of {space.name!r} are missing: {listed}"
        raise UserError(what, file=path, hint=_TEMPLATE)
    table = ListedTable.model_validate(
        {
            "metric": metric,
            "unit": METRICS[metric][0],
            "device": device,
            "note": note,
            "licence": licence,
            "source": Source(title=title or f"{metric} by operator", where=where, files={path.name: file_digest(path)}),
            "provenance": {"unit_of_the_file": unit or METRICS[metric][0], **(about or {})},
            "space": SpaceIdentity.of(space),
            "per_network": extra,
            "entries": {key: amounts[key] for key in operators},
        }
    )
    observed = [(row, amounts[row.key]) for row in rows if row.key.startswith(NETWORK)]
    return table.model_copy(update={"checked": _checked(path, observed, table, space)}) if observed else table


def _factor(metric: str, unit: str | None) -> float:
    base, units = METRICS[metric]
    known = [name.replace("j", "J") for name in units if name]
    if unit is None and "" not in units:
        raise UserError(f"{metric} needs a unit", key="--unit", hint=f"Known: {', '.join(known)}")
    name = re.sub("[µμ]", "u", (unit or "").strip().lower())
    if name not in units:
        what = f"unknown unit {unit!r} of {metric}, which is told in {base}"
        raise UserError(what, key="--unit", hint=f"Known: {', '.join(known)}")
    return units[name]


def _rows(path: Path) -> list[Row]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError("no such file of numbers", file=path) from None
    except UnicodeDecodeError:
        raise UserError("not a text file", file=path) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", file=path) from error
    if path.suffix.lower() not in (".csv", ".json"):
        raise UserError("a file of numbers is a .csv or a .json", file=path, value=path.suffix)
    return list(_json_rows(path, text) if path.suffix.lower() == ".json" else _csv_rows(path, text))


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text), strict=True)
    columns: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
                continue
            place = f"line {reader.line_num}"
            if columns is None:
                columns = [cell.strip() for cell in cells]
                if any(columns.count(name) != 1 for name in ("operator", "value")):
                    what = f"the columns are {', '.join(columns)}; there must be one `operator` and one `value`"
                    raise UserError(what, file=path, key=place, hint=_TEMPLATE)
            elif len(cells) != len(columns):
                hint = "Write 1.5, not 1,5" if len(cells) > len(columns) else None
                what = f"{len(cells)} cells where {len(columns)} columns are"
                raise UserError(what, file=path, key=place, hint=hint)
            else:
                row = dict(zip(columns, cells, strict=True))
                yield Row(row["operator"].strip(), row["value"].strip(), place)
    except csv.Error as error:
        raise UserError(f"not CSV: {error}", file=path, key=f"line {reader.line_num}") from None


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its repetitions."""


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    try:
        data = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg}", file=path, key=f"line {error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", file=path) from None
    if not isinstance(data, _Pairs):
        raise UserError(f"holds a {type(data).__name__}, not an object from operator to number", file=path)
    position: Counter[str] = Counter()
    for key, value in data:
        found = text.find(json.dumps(key), position[key])
        place = f"line {text.count(chr(10), 0, found) + 1}" if found >= 0 else repr(key)
        position[key] = found + 1
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        yield Row(key, float(str(value)) if number else json.dumps(value), place)


def _check_keys(path: Path, rows: list[Row], space: SearchSpace) -> None:
    operators, seen = space.operators(), dict[str, str]()
    for row in rows:
        if row.key in seen:
            raise UserError(f"{row.key!r} is there already, at {seen[row.key]}", file=path, key=row.place)
        seen[row.key] = row.place
        if row.key not in operators and not row.key.startswith(NETWORK):
            near = difflib.get_close_matches(row.key, operators, n=1, cutoff=0.5)
            hint = (f"Did you mean {near[0]!r}? " if near else "") + _TEMPLATE
            raise UserError(f"{row.key!r} is no operator of {space.name!r}", file=path, key=row.place, hint=hint)


def _amount(path: Path, row: Row) -> float:
    if row.value == "":
        raise UserError(f"{row.key!r} has no value", file=path, key=row.place)
    text = str(row.value)
    if not isinstance(row.value, float) and not _NUMBER.fullmatch(text):
        hint = "Numbers alone: --unit says what they are in"
        raise UserError(f"{text!r} is not a number", file=path, key=row.place, hint=hint)
    number = float(row.value)
    if not math.isfinite(number) or number <= 0:
        raise UserError(f"{text} is not a positive finite number", file=path, key=row.place)
    return number


def _checked(path: Path, observed: list[tuple[Row, float]], table: ListedTable, space: SearchSpace) -> WholeNetworks:
    """Whole networks beside what the sums of their operators say."""
    networks = []
    for row, _ in observed:
        with in_file(path):
            try:
                data = json.loads(row.key.removeprefix(NETWORK))
            except (ValueError, RecursionError) as error:
                raise UserError(f"not the JSON of an architecture: {error}", key=row.place) from None
            architecture = Architecture.from_json(data, file=f"{path}: {row.place}")
            space.encode([architecture], file=f"{path}: {row.place}")
            networks.append(architecture)
    predicted = table.cost(space).evaluate(space.encode(networks))
    return WholeNetworks.of(
        [
            CheckedNetwork(architecture=network.to_json(), predicted=float(sum_), observed=amount)
            for network, sum_, (_, amount) in zip(networks, predicted, observed, strict=True)
        ]
    )
