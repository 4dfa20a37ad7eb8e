"""`ofa adapt`: a table of a device where only a few whole networks were measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit, note

if TYPE_CHECKING:
    from latency_tables.listed import ListedTable
    from latency_tables.table import Table
    from search_spaces import SearchSpace


def adapt(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The table, or the list of networks, to write (JSON).")
    ],
    table: Annotated[
        Path | None, typer.Argument(help="A known table of another device, or a shipped one's name; or give --space.")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="JSON or CSV: networks and what they took on the new device, in ms.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="The new device's name.")] = None,
    choose: Annotated[int | None, typer.Option(help="Write this many networks that are worth measuring.")] = None,
    space: Annotated[
        str | None, typer.Option(help="Without a table: a space's name, or a YAML file with a `space` section.")
    ] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Classes of the classifier (with --space).")] = 1000,
    in_channels: Annotated[int, typer.Option(min=1, help="Channels of the images (with --space).")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the networks that --choose picks among.")] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite another file.")] = False,
    json: JsonFlag = False,
) -> None:
    """Predict a new device's table from a few whole networks measured there, and a table of another device if any.

    First `--choose 10` writes the networks to measure. Fill in their latencies, and give the file with --measured: the
    table that comes out is for `ofa search --device`.
    """
    from search_spaces.common.errors import UserError

    if (choose is None) == (measured is None):
        raise UserError("give either --choose, to get networks to measure, or --measured, when they are measured")
    path, known, of = _known(table, space, num_classes, in_channels)
    if output.exists() and not replace:
        raise UserError("exists", file=output, key="-o", hint="Give another file, or --replace")
    if choose is not None:
        facts = _choose(of, choose, seed, output)
    elif device is None:
        raise UserError("the new device needs a name", key="--device")
    else:
        assert measured is not None
        facts = _adapt(of, known, path, measured, device, output)
    if json:
        emit(facts)
    elif choose is not None:
        print(f"{output}: {facts['num']} networks of {of.name}; fill in latency_ms, then give it with --measured")
    else:
        _print(facts, output)


def _known(
    table: Path | None, space: str | None, num_classes: int, in_channels: int
) -> tuple[Path | None, Table | None, SearchSpace]:
    from latency_tables.shipped import find_table
    from latency_tables.table import load_table
    from ofa.config import space_of
    from search_spaces.common.errors import UserError

    if table is None:
        if space is None:
            raise UserError("give a known table, or --space to do without")
        return None, None, space_of(space, num_classes, in_channels)
    if space is not None:
        raise UserError("a table has a space of its own", key="--space", value=space)
    path = find_table(table)
    known = load_table(path)
    return path, known, known.measured_space(file=path)


def _choose(space: SearchSpace, num: int, seed: int, output: Path) -> dict[str, Any]:
    from latency_tables.measured_networks import choose_networks_to_measure, write_networks
    from search_spaces.common.errors import UserError

    try:
        chosen = choose_networks_to_measure(space, num, seed=seed)
    except UserError as error:
        raise UserError(error.message, key="--choose", value=error.value) from None
    write_networks(output, space, chosen)
    keys = [architecture.key for architecture in chosen]
    return {"networks": str(output), "space": space.name, "num": len(keys), "seed": seed, "keys": keys}


def _adapt(
    space: SearchSpace, known: Table | None, path: Path | None, measured: Path, device: str, output: Path
) -> dict[str, Any]:
    from latency_tables.adapt import adapted_table
    from latency_tables.measured_networks import read_measured
    from search_spaces.common.errors import UserError

    _check_name(device)
    networks = read_measured(measured, space)
    if networks.num_missing:
        note(f"{measured}: {networks.num_missing} networks have no latency yet, and are left out")
    files = {measured.name: measured} | ({} if path is None else {path.name: path})
    if path is not None and path.name == measured.name:
        raise UserError("has the name of the table; give it another", file=measured, key="--measured")
    table, errors = adapted_table(space, networks, device=device, files=files, known=known)
    table.save(output)
    return _facts(table, space, output) | {
        "num_networks": len(networks.architectures),
        "num_missing": networks.num_missing,
        "held_out": vars(errors),
    }


def _check_name(device: str) -> None:
    import re

    from latency_tables.published import NAME
    from search_spaces.common.errors import UserError

    if not re.match(NAME, device):
        raise UserError("a device's name has letters, digits, dot, dash and underscore", key="--device", value=device)


def _facts(table: ListedTable, space: SearchSpace, output: Path) -> dict[str, Any]:
    cost = table.cost(space)
    return {
        "table": str(output),
        **table.model_dump(mode="json", exclude={"entries", "space"}),
        "space": space.name,
        "num_operators": table.num_operators,
        "range_ms": [cost.minimum()[0], cost.maximum()[0]],
    }


def _print(facts: dict[str, Any], output: Path) -> None:
    errors, (low, high) = facts["held_out"], facts["range_ms"]
    tau = "" if errors["kendall_tau"] is None else f", Kendall tau {errors['kendall_tau']:.2f}"
    print(f"{output}: {facts['num_operators']} operators of {facts['space']} on {facts['device']}, {facts['note']}")
    print(f"  networks from {low:.4g} ms to {high:.4g} ms")
    print(
        f"  each network by the others ({facts['provenance']['validation']}): mean error {errors['mape']:.1%}, "
        f"{errors['share_within_10']:.0%} within 10 %{tau}"
    )
