"""A latency table of what a device sent back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from latency_tables.fingerprint import DeviceFingerprint
from latency_tables.measure import check_same, conclude
from latency_tables.remote.bundle import read_bundle
from latency_tables.remote.results import read_results
from latency_tables.table import LatencyTable, load_table
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError


def import_results(
    results: Sequence[Path], bundle: Path, *, path: Path, name: str | None = None, replace: bool = False
) -> LatencyTable:
    """The table of the device that measured `bundle` and wrote `results`, concluded as if it had been measured here.

    `name` is the device's, left out: that of `path`. Raises `UserError` for anything that does not fit together, and
    if `path` holds a table of another space or device, unless `replace`.
    """
    found = read_bundle(bundle)
    united = read_results(results, found)
    if not replace:
        _check_output(path, found.space, united.device)
    changes = {"name": _name(name, path), "threads": united.device.threads, "rounds": united.rounds}
    settings = found.manifest.settings.model_copy(update=changes)
    table = conclude(
        found.space, settings, united.device, found.manifest.seed, found.probes, united.samples, united.conditions
    ).model_copy(update={"created": united.created})
    table.save(path)
    return table


def _check_output(path: Path, space: SearchSpace, device: DeviceFingerprint) -> None:
    if not path.exists():
        return
    there = load_table(path)
    if not isinstance(there, LatencyTable):
        what = f"holds a {there.kind} table of {there.device!r}"
        raise UserError(what, file=path, hint="Give another file, or --replace")
    check_same(there, space, device, path, hint="Give another file, or --replace")


def _name(name: str | None, path: Path) -> str:
    if name is None:
        return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]+", "", path.stem) or "device"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        what = "a device's name is letters, digits, dot, dash and underscore"
        raise UserError(what, key="--device", value=name)
    return name
