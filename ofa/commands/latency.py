"""`ofa latency`: what one network costs on a device, layer by layer."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit

if TYPE_CHECKING:
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.cortex_m.estimate import Estimate
    from latency_tables.table import Table


def latency(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A table of a device, or a shipped device's name.")],
    architecture: Annotated[
        str, typer.Argument(metavar="ARCH", help="An architecture: ARCH.json, or `smallest`, or `largest`.")
    ],
    confidence: Annotated[float, typer.Option(help="Of the interval of the whole network.")] = 0.95,
    contention: Annotated[
        int | None, typer.Option(min=0, help="Of a table with columns: the one beside so many busy processes.")
    ] = None,
    clock: Annotated[
        str | None, typer.Option(help="168MHz: with counted instructions, estimate ms. An estimate, not a measurement.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="With --clock: cycles a class of instructions, load=2,branch=3,...")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Explain a network's latency (or whatever a table tells): every layer, what a network costs besides, the sum.

    With the interval that the table's own error on whole networks gives. Of a board: instructions, memory and flash.
    """
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.explain import explain
    from latency_tables.shipped import find_table
    from latency_tables.table import LatencyTable, load_any_table
    from search_spaces.common.errors import UserError

    path = find_table(table)
    loaded = load_any_table(path)
    if contention is not None:
        if not isinstance(loaded, LatencyTable):
            raise UserError("goes with a table that was measured here", file=path, key="--contention", value=contention)
        loaded = loaded.column(contention, key="--contention")
    if isinstance(loaded, BoardTable):
        _explain_board(loaded, path, architecture, confidence, clock, weights, json=json)
        return
    found = explain(loaded, architecture, confidence=confidence, file=path)
    guess = _estimate(loaded, found.architecture, clock, weights)
    if json:
        emit({"table": str(path), **found.facts(), "estimate": None if guess is None else asdict(guess)})
        return
    from rich.console import Console
    from rich.table import Table as Rows

    from search_spaces.common.units import format_quantity

    rows = Rows("layer", "operator", found.metric, "share", title=f"{found.key} on {path.stem}")
    for layer in found.layers:
        cost = format_quantity(layer.value, found.metric)
        rows.add_row(layer.slot, layer.operator, cost, f"{layer.value / found.total:.1%}")
    if found.constant:
        cost = format_quantity(found.constant, found.metric)
        rows.add_row("", "the network besides", cost, f"{found.constant / found.total:.1%}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(rows)
    text = f"together {format_quantity(found.total, found.metric)}"
    if found.interval is None:
        console.print(f"{text}; the table's error on whole networks is not known well enough for an interval")
    else:
        low, high = (format_quantity(value, found.metric) for value in found.interval)
        console.print(f"{text}; {low} to {high} with {confidence:.4g} confidence")
    if guess is not None:
        console.print(f"about {guess.ms:.3g} ms at {clock} ({guess.cycles:.4g} cycles): {guess.note}")


def _explain_board(
    table: BoardTable,
    path: Path,
    architecture: str,
    confidence: float,
    clock: str | None,
    weights: str | None,
    *,
    json: bool,
) -> None:
    """Every layer's instructions, memory and flash side by side; the network's memory is its largest layer's."""
    from latency_tables.explain import explain

    tables = table.tables()
    found = {one.metric: explain(one, architecture, confidence=confidence, file=path) for one in tables}
    told = found["instructions"]
    guess = _estimate(table.of_core(), told.architecture, clock, weights)
    if json:
        costs = {metric: one.facts() for metric, one in found.items()}
        told_of = {"table": str(path), "board": table.board.model_dump(mode="json"), "memory_plan": table.memory_plan}
        emit({**told_of, "costs": costs, "estimate": None if guess is None else asdict(guess)})
        return
    from rich.console import Console
    from rich.table import Table as Rows

    from search_spaces.common.units import format_quantity

    rows = Rows(
        "layer", "operator", *(metric.replace("_", " ") for metric in found), title=f"{told.key} on {path.stem}"
    )
    for layers in zip(*(one.layers for one in found.values()), strict=True):
        costs_of = (format_quantity(layer.value, metric) for layer, metric in zip(layers, found, strict=True))
        rows.add_row(layers[0].slot, layers[0].operator, *costs_of)
    besides = (format_quantity(one.constant, metric) if one.constant else "" for metric, one in found.items())
    rows.add_row("", "the network besides", *besides)
    console = Console(highlight=False, soft_wrap=True)
    console.print(rows)
    for one in tables:
        total = found[one.metric].total
        fits = "" if one.capacity is None else f" of {format_quantity(one.capacity, one.metric)} that are there"
        over = ", TOO MUCH" if one.capacity is not None and total > one.capacity else ""
        where = ""
        if one.metric == "peak_memory":
            where = f", in {max(found[one.metric].layers, key=lambda layer: layer.value).slot}"
        console.print(f"{one.metric.replace('_', ' ')} {format_quantity(total, one.metric)}{fits}{over}{where}")
    if guess is not None:
        console.print(f"about {guess.ms:.3g} ms at {clock} ({guess.cycles:.4g} cycles): {guess.note}")


def _estimate(table: Table, architecture: dict[str, Any], clock: str | None, weights: str | None) -> Estimate | None:
    from search_spaces.common.errors import UserError

    if clock is None:
        if weights is not None:
            raise UserError("goes with --clock", key="--weights", value=weights)
        return None
    from latency_tables.cortex_m.estimate import estimate
    from latency_tables.listed import ListedTable
    from search_spaces import Architecture

    if not isinstance(table, ListedTable):
        raise UserError("goes with a table of instructions that were counted", key="--clock", value=clock)
    number = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?) *([kMG]?)Hz", clock)
    if number is None:
        raise UserError("not a clock", key="--clock", value=clock, hint="Write like 168MHz")
    try:
        hertz = float(number[1]) * {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[number[2]]
        pairs = (pair.partition("=") for pair in (weights or "").split(",") if pair)
        cycles = {name.strip(): float(amount) for name, _, amount in pairs}
    except ValueError:
        raise UserError("not numbers", key="--clock/--weights", value=f"{clock} {weights or ''}") from None
    return estimate(table, Architecture.from_json(architecture), clock_hz=hertz, weights=cycles)
