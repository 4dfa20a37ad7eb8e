"""`ofa latency`: what one network costs on a device, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, emit


def latency(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A table of a device, or a shipped device's name.")],
    architecture: Annotated[
        str, typer.Argument(metavar="ARCH", help="An architecture: ARCH.json, or `smallest`, or `largest`.")
    ],
    confidence: Annotated[float, typer.Option(help="Of the interval of the whole network.")] = 0.95,
    json: JsonFlag = False,
) -> None:
    """Explain a network's latency (or whatever a table tells): every layer, what a network costs besides, the sum.

    With the interval that the table's own error on whole networks gives.
    """
    from latency_tables.explain import explain
    from latency_tables.shipped import find_table
    from latency_tables.table import load_table

    path = find_table(table)
    found = explain(load_table(path), architecture, confidence=confidence, file=path)
    if json:
        emit({"table": str(path), **found.facts()})
        return
    from rich.console import Console
    from rich.table import Table

    from search_spaces.common.units import format_quantity

    rows = Table("layer", "operator", found.metric, "share", title=f"{found.key} on {path.stem}")
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
