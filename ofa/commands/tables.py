"""`ofa tables`: the tables that are there, and how far each can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit, note

if TYPE_CHECKING:
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.table import Table


def tables(
    places: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TABLE|FOLDER]...", help="Tables, or folders that hold some; left out: the shipped."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """List tables: device, space, date, error on whole networks, licence. Without a place: those that are shipped."""
    from latency_tables.shipped import find_table, shipped_devices
    from latency_tables.table import load_any_table

    found = {} if places else _shipped()
    for place in places or []:
        found |= dict.fromkeys(_tables_in(place) if place.is_dir() else [find_table(place)])
    facts = [
        {"table": str(path), "plugin": plugin, **_facts(path.stem, load_any_table(path))}
        for path, plugin in found.items()
    ]
    for about in facts:
        if about["licence"] is None:
            ours = "this project's" if about["name"] in shipped_devices() else "yours"
            about["licence"] = ours if about["plugin"] is None else f"that of {about['plugin']}"
    if json:
        emit({"tables": facts})
    else:
        _print(facts)


def _shipped() -> dict[Path, str | None]:
    """Those of this project and of plug-ins, with their distribution; what does not work is told and left out."""
    from latency_tables.shipped import TABLES, shipped_devices
    from latency_tables.table import load_any_table
    from search_spaces.common.errors import UserError

    distributions = {plugin.name: plugin.distribution for plugin in TABLES.plugins()}
    found: dict[Path, str | None] = {}
    for name in shipped_devices():
        try:
            path = Path(TABLES.get(name))
            if name in distributions:
                load_any_table(path)
            found[path] = distributions.get(name)
        except UserError as error:
            note(str(error))
    return found


def _tables_in(folder: Path) -> list[Path]:
    """The JSON files of a folder, or of the `tables` of a run, that say they are tables."""
    from search_spaces.common.errors import UserError
    from search_spaces.common.files import read_json

    found = []
    for path in sorted({*folder.glob("*.json"), *folder.glob("tables/*.json")}):
        data = read_json(path, "latency table")
        if isinstance(data, dict) and "entries" in data and "space" in data:
            found.append(path)
    if not found:
        raise UserError("holds no tables", file=folder, hint="Measure one with `ofa measure`")
    return found


def _facts(name: str, table: Table | BoardTable) -> dict[str, Any]:
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.table import LatencyTable

    if isinstance(table, BoardTable):
        return _board_facts(name, table)
    about: dict[str, Any] = {
        "name": name,
        "metric": table.metric,
        "unit": table.unit,
        "space": table.space.name,
        "space_fingerprint": table.space.fingerprint,
    }
    if isinstance(table, LatencyTable):
        heldout = table.heldout
        return about | {
            "device": table.device.model_dump(),
            "created": table.created,
            "num_operators": len(table.entries),
            "error": heldout.model_dump(exclude={"pairs"}),
            "contended": {
                str(column.device.contention): column.heldout.model_dump(exclude={"pairs"})
                for column in table.contended
            },
            "note": None,
            "licence": None,
        }
    predicted, observed = table.graded
    error = None if not predicted else max(abs(p / o - 1) for p, o in zip(predicted, observed, strict=True))
    return about | {
        "device": table.device,
        "created": None,
        "num_operators": table.num_operators,
        "error": None if error is None else {"largest": error, "num": len(predicted)},
        "note": table.note,
        "licence": table.licence,
    }


def _board_facts(name: str, table: BoardTable) -> dict[str, Any]:
    from latency_tables.cortex_m.board_table import COSTS

    checked = table.checked
    return {
        "name": name,
        "metric": list(COSTS),
        "unit": [one.unit for one in table.tables()],
        "space": table.space.name,
        "space_fingerprint": table.space.fingerprint,
        "device": table.device,
        "board": table.board.model_dump(mode="json"),
        "memory_plan": table.memory_plan,
        "created": None,
        "num_operators": table.num_operators,
        "error": checked
        and {"largest": max(checked.largest_errors.model_dump().values()), "num": len(checked.networks)},
        "note": table.note,
        "licence": table.licence,
    }


def _print(facts: list[dict[str, Any]]) -> None:
    """A few lines a table: in columns, nothing would fit."""
    for about in facts:
        board = "board" in about
        unit = "" if board or about["metric"] == about["unit"] else f" in {about['unit']}"
        metric = ", ".join(about["metric"]) if board else about["metric"]
        print(f"{about['name']}: {metric}{unit} of {about['num_operators']} operators of {about['space']}")
        device = _board(about["board"], about["memory_plan"]) if board else _device(about["device"])
        print(f"    space {about['space_fingerprint']}; {device}")
        print(f"    {_error(about['error'])}; {about['created'] or about['note']}; licence: {about['licence']}")
        if about["plugin"] is not None:
            print(f"    from the plug-in {about['plugin']}")
        for number, error in about.get("contended", {}).items():
            print(f"    beside {number} busy processes: {_error(error)}")


def _board(board: dict[str, Any], memory_plan: str) -> str:
    from search_spaces.common.units import format_quantity

    sram, flash = (format_quantity(board[memory]["size"], "flash") for memory in ("sram", "flash"))
    return f"{board['title']}: {board['core']}, {sram} of SRAM, {flash} of flash, {memory_plan} memory plan"


def _device(device: str | dict[str, Any]) -> str:
    if isinstance(device, str):
        return device
    threads = f"{device['threads']} thread{'s' if device['threads'] > 1 else ''}"
    busy = f", beside {device['contention']} busy processes" if device["contention"] else ""
    return f"{device['cpu']}: {device['runtime']} {device['runtime_version']} {device['precision']}, {threads}{busy}"


def _error(error: dict[str, Any] | None) -> str:
    if error is None:
        return "error on whole networks not known"
    if "largest" in error:
        return f"at most {error['largest']:.2%} off on {error['num']} whole networks"
    tau = "" if error["kendall_tau"] is None else f", Kendall tau {error['kendall_tau']:.2f}"
    return f"{error['mape']:.1%} off on {error['num']} whole networks{tau}"
