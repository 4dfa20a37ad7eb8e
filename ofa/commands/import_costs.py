"""`ofa import costs`: numbers by operator that were taken elsewhere, by a power meter, a simulator, a vendor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ofa.commands.import_table import check_output
from ofa.console import JsonFlag, emit


def import_costs(
    space: Annotated[str, typer.Option(help="A space's name, or a YAML file with a `space` section.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write (JSON); the CSV of --template.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="CSV with columns operator,value; or JSON {operator: value}.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="The device's name.")] = None,
    metric: Annotated[str, typer.Option(help="energy, latency, instructions or cycles.")] = "energy",
    unit: Annotated[str | None, typer.Option(help="What the values are in: uJ, mJ, J; ns, us, ms, s; k, M, G.")] = None,
    per_network: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="What every network costs besides its operators: 0.2mJ.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="Where the numbers come from, in a few words.")] = None,
    title: Annotated[str | None, typer.Option(help="What was measured, for the table's `source`.")] = None,
    source: Annotated[str, typer.Option(help="Where the file is from.")] = "not stated",
    licence: Annotated[str, typer.Option(help="Under which licence.")] = "not stated",
    about: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What else decides the numbers: meter=INA226.")
    ] = None,
    template: Annotated[bool, typer.Option("--template", help="Write a CSV with all operators to fill in.")] = False,
    networks: Annotated[int, typer.Option(min=0, help="Whole networks in the --template, to check the sums.")] = 0,
    num_classes: Annotated[int, typer.Option(min=2, help="Classes of the classifier.")] = 1000,
    in_channels: Annotated[int, typer.Option(min=1, help="Channels of the images.")] = 3,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite another table.")] = False,
    json: JsonFlag = False,
) -> None:
    """Import one number per operator (energy, latency, instructions, cycles), for `ofa search --device TABLE.json`.

    --template writes the file to fill in. The table says that its numbers were given, not measured here.
    """
    from ofa.config import space_of
    from search_spaces.common.errors import UserError

    wanted = space_of(space, num_classes, in_channels)
    if template:
        if file is not None:
            raise UserError("--template writes a file and reads none", key="FILE", value=str(file))
        _write_template(wanted, output, networks, replace=replace, json=json)
        return
    if file is None or device is None:
        missing = "FILE" if file is None else "--device"
        raise UserError("a file of numbers and a device's name are needed", key=missing, hint="Or --template")
    from latency_tables.given import read_given

    told: dict[str, Any] = {} if not note else {"note": note}
    table = read_given(
        file,
        wanted,
        device=device,
        metric=metric,
        unit=unit,
        title=title,
        where=source or "not stated",
        licence=licence or "not stated",
        about=_about(about or []),
        per_network=per_network,
        **told,
    )
    check_output(output, table, replace=replace)
    table.save(output)
    cost = table.cost(wanted)
    low, high = cost.minimum()[0], cost.maximum()[0]
    if json:
        facts = table.model_dump(mode="json", exclude={"entries": True, "checked": {"networks"}})
        emit({"table": str(output), **facts, "num_operators": table.num_operators, "range": [low, high]})
        return
    from search_spaces.common.units import format_quantity

    print(f"{output}: {metric} of {table.num_operators} operators of {wanted.name} on {device}: {table.note}")
    print(f"  networks from {format_quantity(low, metric)} to {format_quantity(high, metric)}")
    if table.checked is not None:
        num = len(table.checked.networks)
        print(f"  on {num} whole networks: largest error {table.checked.largest_error:.1%}")


def _about(texts: list[str]) -> dict[str, str]:
    from search_spaces.common.errors import UserError

    pairs = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise UserError(f"{text!r} is not of the form key=value", key="--about")
        pairs[key.strip()] = value.strip()
    return pairs


def _write_template(space: Any, output: Path, networks: int, *, replace: bool, json: bool) -> None:
    from latency_tables.given import template
    from search_spaces.common.errors import UserError
    from search_spaces.common.files import write_text

    text = template(space, num_networks=networks)
    if output.exists() and not replace and output.read_bytes() != text.encode():
        raise UserError("is there already, perhaps filled in", file=output, hint="Give another file, or --replace")
    write_text(output, text)
    if json:
        emit({"file": str(output), "space": space.name, "num_operators": len(space.operators())})
        return
    print(f"{output}: {len(space.operators())} operators of {space.name}; fill in the column `value`")
