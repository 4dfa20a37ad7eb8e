"""What `ofa measure` does for devices that are not timed: counted under emulation, or told by their compiler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_tables.counted import COUNTED, count_on_board, is_board
from ofa.console import emit
from search_spaces.common.errors import UserError, in_file

if TYPE_CHECKING:
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.listed import ListedTable
    from search_spaces import SearchSpace


def count(
    device: str | None,
    space: str | None,
    config: Path | None,
    num_classes: int,
    in_channels: int,
    *,
    output: Path,
    seed: int,
    compiler: str,
    memory_plan: str | None,
    num_checked: int | None,
    replace: bool,
    refused: dict[str, Any],
    json: bool,
) -> None:
    """`refused` are the options of timing, by name: one that was given is a `UserError`."""
    assert device is not None
    for name, value in refused.items():
        if value is not None:
            raise UserError(f"{device} is not timed here, and takes no such option", key=name)
    counted_space = _space(space, config, num_classes, in_channels)
    options: dict[str, Any] = {"path": output, "seed": seed, "compiler": compiler, "replace": replace}
    table: ListedTable | BoardTable
    if is_board(device):
        more: dict[str, Any] = {} if num_checked is None else {"num_checked": num_checked}
        table = count_on_board(device, counted_space, memory_plan=memory_plan or "overwriting", **options, **more)
    elif memory_plan is not None:
        hint = "Give a board, for example --device stm32f746"
        raise UserError(f"{device} is a core: memory is that of a board", key="--memory-plan", hint=hint)
    else:
        table = COUNTED.get(device)(counted_space, **options)
    if json:
        emit(summary(table) | {"table": str(output)})
    else:
        _print(table, counted_space, output)


def summary(table: ListedTable | BoardTable) -> dict[str, Any]:
    """A table without its entries and networks."""
    data = table.model_dump(mode="json", exclude={"entries": True, "checked": {"networks"}})
    return data | {"num_operators": table.num_operators}


def _space(space: str | None, config: Path | None, num_classes: int, in_channels: int) -> SearchSpace:
    if config is not None:
        if space is not None:
            raise UserError("give either a space or a config, which has one", key="--space", value=space)
        from ofa.config import load_config
        from ofa.pipeline import config_space

        with in_file(config):
            return config_space(load_config(config))
    if space is None:
        raise UserError("--space and --device are needed, or a --config that has them")
    from ofa.config import space_of

    return space_of(space, num_classes, in_channels)


def _print(table: ListedTable | BoardTable, space: SearchSpace, path: Path) -> None:
    from rich.console import Console

    from latency_tables.correction import prediction_errors
    from latency_tables.listed import ListedTable
    from search_spaces.common.units import format_quantity

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{path}: {table.num_operators} operators of {table.space.name} on {table.device} ({table.note})")
    console.print("  " + "; ".join(f"{name} {what}" for name, what in table.provenance.items() if len(what) < 60))
    for one in (table,) if isinstance(table, ListedTable) else table.tables():
        cost = one.cost(space)
        low, high = (format_quantity(value, one.metric) for value in (cost.minimum()[0], cost.maximum()[0]))
        has = "" if one.capacity is None else f", of {format_quantity(one.capacity, one.metric)} that are there"
        what = "" if isinstance(table, ListedTable) else f"{one.metric.replace('_', ' ')} of "
        console.print(f"  {what}networks from {low} to {high}{has}")
    if isinstance(table, ListedTable) and table.checked is not None:
        errors = prediction_errors(*table.graded)
        tau = "" if errors.kendall_tau is None else f", Kendall tau {errors.kendall_tau:.3f}"
        console.print(
            f"  on {len(table.checked.networks)} random networks that it was not made from: mean error "
            f"{errors.mape:.3%}, largest {table.checked.largest_error:.3%}{tau}"
        )
    elif not isinstance(table, ListedTable) and table.checked is not None:
        largest = table.checked.largest_errors.model_dump()
        told = ", ".join(f"{metric.replace('_', ' ')} {error:.3%}" for metric, error in largest.items())
        console.print(f"  largest errors on {len(table.checked.networks)} random whole networks: {told}")
