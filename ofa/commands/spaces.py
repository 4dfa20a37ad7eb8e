"""`ofa spaces`: what can be built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit, note

if TYPE_CHECKING:
    from search_spaces import SearchSpace


def spaces(
    name: Annotated[str | None, typer.Argument(help="A space's name, or a config file: show its space.")] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Classes of the classifier the costs are for.")] = 1000,
    in_channels: Annotated[int, typer.Option(min=1, help="Channels of the images.")] = 3,
    json: JsonFlag = False,
) -> None:
    """List the search spaces; or one of them: genes, options, exact size, smallest and largest costs."""
    from search_spaces import get_space, list_spaces
    from search_spaces.common.errors import UserError

    if name is None:
        rows, broken = [], []
        for known in list_spaces():
            try:
                rows.append(_summary(get_space({"name": known}, num_classes, in_channels)))
            except UserError as error:  # of a plug-in: the others are there all the same
                broken.append(error)
        if json:
            emit({"spaces": rows, "broken": [str(error) for error in broken]})
        else:
            _print_list(rows)
        for problem in broken:
            note(str(problem))
        return
    from ofa.config import space_of

    space = space_of(name, num_classes, in_channels, key="NAME")
    details = _summary(space) | {
        "genes": [{"name": gene.name, "options": list(gene.options)} for gene in space.genes],
        "num_operators": len(space.operators()),
        "settings": space.settings,
    }
    if json:
        emit(details)
    else:
        _print_one(details)


def _summary(space: SearchSpace) -> dict[str, Any]:
    costs = {}
    for metric in ("macs", "params", "peak_memory", "flash"):
        table = space.cost(metric)
        costs[metric] = {"smallest": table.minimum()[0], "largest": table.maximum()[0], "unit": table.unit}
    return {"name": space.name, "family": space.family, "size": space.size, "costs": costs, "plugin": _plugin(space)}


def _plugin(space: SearchSpace) -> str | None:
    """The distribution that a space comes with, if that is not this one."""
    from search_spaces.registry import SPACES

    return next((plugin.distribution for plugin in SPACES.plugins() if plugin.name == space.name), None)


def _ranges(row: dict[str, Any]) -> list[str]:
    from search_spaces.common.units import format_quantity

    return [
        f"{format_quantity(cost['smallest'], metric)} - {format_quantity(cost['largest'], metric)}"
        for metric, cost in row["costs"].items()
    ]


def _print_list(rows: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False)
    table.add_column("space", no_wrap=True)
    for name in ("networks", "MACs", "parameters"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        macs, params, *_ = _ranges(row)
        table.add_row(row["name"], _size(row["size"]), macs.replace("MACs", ""), params)
    console = Console()
    console.print(table)
    if others := [f"{row['name']} of {row['plugin']}" for row in rows if row["plugin"]]:
        console.print(f"From plug-ins: {', '.join(others)}", highlight=False)


def _print_one(details: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{details['name']}: {details['size']:,} networks, {details['num_operators']} distinct operators")
    for metric, text in zip(details["costs"], _ranges(details), strict=True):
        console.print(f"  {metric:12} {text}")
    groups: dict[str, list[str]] = {}
    for gene in details["genes"]:
        groups.setdefault(f"{gene['name'].partition('.')[0]}\t{gene['options']}", []).append(gene["name"])
    table = Table("genes", "number", "options")
    for text, names in groups.items():
        group, _, options = text.partition("\t")
        table.add_row(group, str(len(names)), options)
    console.print(table)


def _size(size: int) -> str:
    return f"{size:,}" if size < 10**9 else f"{float(size):.3g}"
