"""`ofa validate`: does a latency table still hold on this machine?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit

if TYPE_CHECKING:
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.listed import ListedTable
    from latency_tables.table import HeldOut


def validate(
    table: Annotated[Path, typer.Argument(help="A table that `ofa measure` wrote, or a shipped device's name.")],
    rounds: Annotated[int | None, typer.Option(min=1, help="Samples of every network.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    contention: Annotated[
        int | None, typer.Option(min=0, help="Of a table with columns: the one beside so many busy processes.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Add what was measured to the table: its intervals then allow for drift.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Check a table, and measure the networks it was graded on, and some of its operators, again.

    Drift, and the error then and now. Exit code 1: what the table claims does not hold any more. With --keep the table
    learns how its device differs from time to time, and claims less from then on.
    """
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.listed import ListedTable
    from latency_tables.shipped import find_table
    from latency_tables.table import LatencyTable, load_any_table
    from latency_tables.validate import validate_table
    from search_spaces.common.errors import UserError

    path = find_table(table)
    loaded = load_any_table(path)
    if keep and (path != table or not isinstance(loaded, LatencyTable)):
        raise UserError("goes with a table that was measured here, in a file of your own", file=path, key="--keep")
    if isinstance(loaded, BoardTable):
        _recount(table, loaded, seed=seed, json=json)
        return
    if isinstance(loaded, ListedTable) and loaded.metric == "instructions":
        from latency_tables.cortex_m.recount import can_recount

        if can_recount(loaded):
            _recount(table, loaded, seed=seed, json=json)
            return
    if not isinstance(loaded, LatencyTable):
        hint = f"Its source: {loaded.source.title} ({loaded.source.where})"
        what = f"this table of {loaded.device} cannot be validated: it was {loaded.note}"
        if isinstance(loaded, ListedTable):
            what = f"this table of {loaded.device} cannot be validated: its numbers were given, and there is no device "
            what += f"here that could tell the {loaded.metric} again ({loaded.note})"
        raise UserError(what, file=path, hint=hint)
    column = loaded if contention is None else loaded.column(contention, key="--contention")
    result = validate_table(column, file=table, rounds=rounds, seed=seed)
    if keep:
        loaded.with_column(column.with_later([pair.measured_ms for pair in result.now.pairs])).save(path)
    if json:
        emit(
            {
                "table": str(table),
                "device": column.device.model_dump(),
                "drift": result.drift,
                "stored": _statistics(result.stored),
                "now": _statistics(result.now),
                "operator_drift": result.operator_drift,
                "inside_95": result.inside,
                "holds": not result.broken,
                "broken": result.broken,
            }
        )
        raise typer.Exit(1 if result.broken else 0)
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    direction = "slower" if result.drift >= 0 else "faster"
    console.print(f"{table}: the same {result.now.num} networks are now {abs(result.drift):.1%} {direction} than then")
    rows = Table("held-out error", "stored", "now")
    for name, values in {
        key: (_statistics(result.stored)[key], _statistics(result.now)[key]) for key in _FORMATS
    }.items():
        rows.add_row(name, *("-" if value is None else _FORMATS[name].format(value) for value in values))
    console.print(rows)
    kinds = ", ".join(f"{kind} {drift:+.1%}" for kind, drift in result.operator_drift.items())
    console.print(f"operators now against then: {kinds}")
    if result.inside is not None:
        console.print(f"{result.inside:.0%} of the networks are within the 95 % interval of their prediction")
    for claim in result.broken:
        console.print(f"no longer true: {claim}")
    if keep:
        console.print(f"kept in {table}: from now on its intervals allow for this")
    if result.broken:
        if not keep:
            console.print(f"measure it again (ofa measure ... -o {table} --replace), or give --keep")
        raise typer.Exit(1)
    console.print("the table holds")


def _recount(path: Path, table: ListedTable | BoardTable, *, seed: int, json: bool) -> None:
    """Counts are exact: every one must be what it was."""
    from latency_tables.cortex_m.recount import recount, recount_board
    from latency_tables.listed import ListedTable

    found = recount(table, seed=seed) if isinstance(table, ListedTable) else recount_board(table, seed=seed)
    unit = "instructions" if isinstance(table, ListedTable) else "instructions or bytes"
    if json:
        counted = {"num_operators": found.num_operators, "num_networks": found.num_networks}
        emit({"table": str(path), **counted, "changed": found.changed, "holds": not found.changed})
    else:
        print(f"{path}: {found.num_operators} operators and {found.num_networks} whole networks counted again")
        for key, then, now in found.changed[:8]:
            print(f"  {key}: {then:.0f} {unit} then, {now} now")
        for what, (there, here) in found.made_otherwise.items():
            print(f"  {what}: {there} there, {here} here")
        print(f"  {len(found.changed)} counts have changed" if found.changed else "the table holds, to the instruction")
    if found.changed:
        raise typer.Exit(1)


_FORMATS = {"mape": "{:.1%}", "share_within_10": "{:.0%}", "kendall_tau": "{:.2f}"}


def _statistics(heldout: HeldOut) -> dict[str, Any]:
    return heldout.model_dump(exclude={"pairs"})
