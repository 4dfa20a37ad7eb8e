"""`ofa import table`: a published latency table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit, note

if TYPE_CHECKING:
    from latency_tables.once_for_all.convert import Converted
    from latency_tables.table import Table


def import_table(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.yaml", help="The tables of one device.")],
    device: Annotated[str, typer.Option(help="The device's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write (JSON).")],
    space: Annotated[
        str | None, typer.Option(help="A space's name, or a YAML file with a `space` section; left out: the published.")
    ] = None,
    width_mult: Annotated[
        float | None, typer.Option(min=0.01, help="Width multiplier; left out: the one that the channels fit.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="What the values are in: ms, us, ns or s; left out: ms.")] = None,
    title: Annotated[str | None, typer.Option(help="What was measured, for the table's `source`.")] = None,
    source: Annotated[str, typer.Option(help="Where the files are from.")] = "not stated",
    licence: Annotated[str, typer.Option(help="Under which licence.")] = "not stated",
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite another table.")] = False,
    json: JsonFlag = False,
) -> None:
    """Import a latency table of once-for-all: YAML, count/mean/std by operator string, one file for each resolution.

    The table is for `ofa search --device TABLE.json`. It says that it was published, not measured here.
    """
    from latency_tables.once_for_all.convert import convert

    settings = None if space is None else _settings(space)
    found = convert(
        files,
        device=device,
        settings=settings,
        width_mult=width_mult,
        unit=unit,
        title=title or None,
        where=source or "not stated",
        licence=licence or "not stated",
    )
    check_output(output, found.table, replace=replace)
    found.table.save(output)
    facts = _facts(found, output)
    if json:
        emit(facts)
        return
    for file, lines in found.unused.items():
        note(f"{file}: {len(lines)} lines are no operator of {found.space.name}: {', '.join(lines)}")
    low, high = facts["range_ms"]
    print(f"{output}: {facts['num_operators']} operators of {facts['space']['name']} on {device}, {facts['note']}")
    print(f"  resolutions {', '.join(map(str, facts['resolutions']))}; networks from {low:.4g} ms to {high:.4g} ms")


def _settings(space: str) -> dict[str, Any]:
    from search_spaces.common.errors import UserError
    from search_spaces.common.settings import load_yaml

    if Path(space).suffix not in (".yaml", ".yml"):
        return {"name": space}
    section = load_yaml(space).get("space")
    if not isinstance(section, dict):
        raise UserError("needs a `space` section", file=space, key="space", value=section)
    return section


def check_output(path: Path, table: Table, *, replace: bool) -> None:
    """Another table may be somebody's work of hours."""
    from latency_tables.table import load_table
    from search_spaces.common.errors import UserError

    if path.exists() and not replace and load_table(path).model_dump() != table.model_dump():
        raise UserError("holds another table", file=path, hint="Give another file, or --replace")


def _facts(found: Converted, path: Path) -> dict[str, Any]:
    table, cost = found.table, found.table.cost(found.space)
    return {
        "table": str(path),
        **table.model_dump(mode="json", exclude={"entries"}),
        "resolutions": table.resolutions,
        "num_operators": sum(map(len, table.entries.values())),
        "range_ms": [cost.minimum()[0], cost.maximum()[0]],
        "unused": found.unused,
    }
