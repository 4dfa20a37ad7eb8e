"""What `ofa measure` does for devices whose operators are counted under emulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_tables.counted import COUNTED
from ofa.console import emit
from search_spaces.common.errors import UserError, in_file

if TYPE_CHECKING:
    from latency_tables.listed import ListedTable
    from search_spaces import SearchSpace


def count(
    device: str,
    space: str | None,
    config: Path | None,
    num_classes: int,
    in_channels: int,
    *,
    output: Path,
    seed: int,
    compiler: str,
    replace: bool,
    refused: dict[str, Any],
    json: bool,
) -> None:
    """`refused` are the options of timing, by name: one that was given is a `UserError`."""
    for name, value in refused.items():
        if value is not None:
            raise UserError(f"instructions are counted, not timed: {device} takes no such option", key=name)
    counted_space = _space(space, config, num_classes, in_channels)
    table = COUNTED.get(device)(counted_space, path=output, seed=seed, compiler=compiler, replace=replace)
    if json:
        emit(summary(table) | {"table": str(output)})
    else:
        _print(table, counted_space, output)


def summary(table: ListedTable) -> dict[str, Any]:
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


def _print(table: ListedTable, space: SearchSpace, path: Path) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    cost, checked = table.cost(space), table.checked
    console.print(f"{path}: {table.num_operators} operators of {table.space.name} on {table.device} ({table.note})")
    console.print(f"  {table.provenance['compiler']}, {table.provenance['emulator']}")
    low, high = cost.minimum()[0], cost.maximum()[0]
    console.print(f"  networks from {low / 1e6:.4g} to {high / 1e6:.4g} million instructions")
    if checked is not None:
        console.print(
            f"  {len(checked.networks)} random networks, each emulated from end to end, are predicted to "
            f"{checked.largest_error:.4%}"
        )
