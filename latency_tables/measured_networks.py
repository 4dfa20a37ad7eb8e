"""Whole networks to be measured on a device, and files of them: chosen, written with gaps, read back filled in."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.few_samples import LEAST_NETWORKS, Terms, operator_counts, spread
from latency_tables.operator_work import operator_work
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json

#: networks that a choice is made among
CANDIDATES = 2000


@dataclass(frozen=True)
class MeasuredNetworks:
    """Distinct networks of a space and their latencies (n,) in ms, sorted by the architectures' keys; and how many of
    the file had no latency yet."""

    architectures: list[Architecture]
    latencies_ms: NDArray[np.float64]
    num_missing: int = 0


def choose_networks_to_measure(space: SearchSpace, num: int, *, seed: int = 0) -> list[Architecture]:
    """`num` networks that tell most about the operators, of some thousands drawn: half gene by gene, half by network.

    Raises `UserError` if the space has fewer, or `num` is too small to fit to.
    """
    if num < LEAST_NETWORKS or num > space.size:
        raise UserError(f"choose from {LEAST_NETWORKS} to {min(space.size, CANDIDATES)} networks", value=num)
    rng = np.random.default_rng((seed, 3))
    if space.size <= CANDIDATES:
        rows = space.enumerate()
    else:
        drawn = [space.sample(CANDIDATES // 2, rng, uniform=False), space.sample(CANDIDATES // 2, rng)]
        rows = np.unique(np.concatenate(drawn), axis=0)
    if num > len(rows):
        raise UserError(f"choose from {LEAST_NETWORKS} to {len(rows)} networks", value=num)
    counts = operator_counts(space, rows)
    return space.decode(rows[spread(*Terms.of(operator_work(space)).of_networks(counts), num)])


def write_networks(path: Path, space: SearchSpace, architectures: list[Architecture]) -> None:
    """A file for `read_measured` with `latency_ms: null` to be filled in."""
    networks = [{"architecture": architecture.to_json(), "latency_ms": None} for architecture in architectures]
    write_json(path, {"space": space.name, "fingerprint": space.fingerprint, "unit": "ms", "networks": networks})


def read_measured(path: Path, space: SearchSpace) -> MeasuredNetworks:
    """Networks and latencies from JSON (as `write_networks` makes it, or its list alone) or CSV (columns `architecture`
    and `latency_ms`). An architecture is JSON, or the path of its JSON file, seen from the folder of `path`.

    Raises `UserError` with file and entry for another space or architecture, a network given twice, a latency that is
    no positive number of ms, and fewer than three measured networks.
    """
    seen: dict[Architecture, str] = {}
    latencies: dict[Architecture, float] = {}
    missing = 0
    for where, given, latency in _entries(path, space):
        architecture = _architecture(given, path, where, space)
        if architecture in seen:
            raise UserError(f"the same network as {seen[architecture]}", file=path, key=where)
        seen[architecture] = where
        if latency is None:
            missing += 1
            continue
        if isinstance(latency, bool) or not isinstance(latency, (int, float)) or not 0 < latency <= sys.float_info.max:
            raise UserError(
                "not a latency: a positive number of ms", file=path, key=f"{where}.latency_ms", value=latency
            )
        latencies[architecture] = float(latency)
    if len(latencies) < LEAST_NETWORKS:
        hint = f"{missing} wait for their latency_ms" if missing else None
        what = f"at least {LEAST_NETWORKS} measured networks are needed, and this has {len(latencies)}"
        raise UserError(what, file=path, hint=hint)
    architectures = sorted(latencies, key=lambda architecture: architecture.key)
    return MeasuredNetworks(architectures, np.array([latencies[a] for a in architectures]), missing)


def _entries(path: Path, space: SearchSpace) -> Iterator[tuple[str, Any, Any]]:
    """(where, architecture, latency) as they stand in the file."""
    if path.suffix == ".csv":
        yield from _csv_entries(path)
        return
    data = read_json(path, "file of measured networks")
    if isinstance(data, dict):
        if data.get("unit", "ms") != "ms":
            raise UserError("latencies are told in ms", file=path, key="unit", value=data["unit"])
        if data.get("fingerprint", space.fingerprint) != space.fingerprint:
            of = f"networks of the space {data.get('space')!r} ({data['fingerprint']}), not of "
            raise UserError(f"{of}{space.name!r} ({space.fingerprint})", file=path, key="fingerprint")
        data = data.get("networks")
    if not isinstance(data, list):
        hint = 'Expected {"networks": [{"architecture": {...}, "latency_ms": 5.1}, ...]}'
        raise UserError("not a file of measured networks", file=path, key="networks", hint=hint)
    for number, entry in enumerate(data):
        where = f"networks[{number}]"
        if not isinstance(entry, dict) or entry.keys() != {"architecture", "latency_ms"}:
            raise UserError("needs the keys architecture and latency_ms, and no others", file=path, key=where)
        yield where, entry["architecture"], entry["latency_ms"]


def _csv_entries(path: Path) -> Iterator[tuple[str, Any, Any]]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UserError("no such file of measured networks", file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"this file of measured networks cannot be read: {error}", file=path) from error
    reader = csv.DictReader(io.StringIO(text))
    if set(reader.fieldnames or ()) != {"architecture", "latency_ms"}:
        raise UserError("needs the columns architecture and latency_ms, and no others", file=path, key="line 1")
    for row in reader:
        where = f"line {reader.line_num}"
        given, latency = row["architecture"] or "", row["latency_ms"] or ""
        try:
            value: Any = float(latency) if latency.strip() else None
        except ValueError:
            value = latency
        try:
            yield where, json.loads(given) if given.lstrip().startswith("{") else given, value
        except ValueError as error:
            raise UserError(f"not valid JSON ({error})", file=path, key=f"{where}.architecture") from None


def _architecture(given: Any, path: Path, where: str, space: SearchSpace) -> Architecture:
    """In its canonical form."""
    file, key = path, f"{where}.architecture"
    if isinstance(given, str) and given:
        file, key = path.parent / given, ""
        given = read_json(file, f"architecture file of {where} in {path.name}")
        given = given.get("architecture", given) if isinstance(given, dict) else given
    try:
        (architecture,) = space.decode(space.encode([Architecture.from_json(given)]))
    except UserError as error:
        told = ".".join(part for part in (key, error.key) if part) or None
        raise UserError(error.message, file=file, key=told, value=error.value, hint=error.hint) from None
    return architecture
