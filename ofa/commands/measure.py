"""`ofa measure`: the latency table of a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit

if TYPE_CHECKING:
    from latency_tables.settings import DeviceSettings
    from latency_tables.table import LatencyTable
    from search_spaces import SearchSpace


def measure(
    output: Annotated[Path, typer.Option("--output", "-o", help="The table to write (JSON).")],
    space: Annotated[str | None, typer.Option(help="A space's name, or a YAML file with a `space` section.")] = None,
    device: Annotated[str | None, typer.Option(help="A runtime (docs/runtimes.md), or a device of --config.")] = None,
    config: Annotated[Path | None, typer.Option(help="Take space and device from this config.")] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Classes of the classifier (without --config).")] = 1000,
    in_channels: Annotated[int, typer.Option(min=1, help="Channels of the images (without --config).")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads an inference may use.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Samples of every operator and network.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Picks the networks that the table is graded on.")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a finished table of another device or space.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Measure every operator of a space on this machine; interrupted, the same command goes on where it was."""
    from latency_tables.measure import measure_table

    settings, measured_space = _inputs(space, device, config, num_classes, in_channels)
    changes = {key: value for key, value in (("threads", threads), ("rounds", rounds)) if value is not None}
    table = measure_table(measured_space, settings.model_copy(update=changes), path=output, seed=seed, replace=replace)
    if json:
        emit(summary(table) | {"table": str(output)})
    else:
        _print(table, measured_space, output)


def summary(table: LatencyTable) -> dict[str, Any]:
    """A table without its entries."""
    data = table.model_dump(mode="json", exclude={"entries": True, "heldout": {"pairs"}})
    return data | {"num_operators": len(table.entries)}


def _inputs(
    space: str | None, device: str | None, config: Path | None, num_classes: int, in_channels: int
) -> tuple[DeviceSettings, SearchSpace]:
    from latency_tables.runtimes import RUNTIMES
    from latency_tables.settings import DeviceSettings
    from ofa.config import load_config, space_of
    from search_spaces.common.errors import UserError, in_file, unknown_name
    from search_spaces.common.settings import parse_settings

    if config is not None:
        from ofa.pipeline import config_space

        if space is not None:
            raise UserError("give either a space or a config, which has one", key="--space", value=space)
        loaded = load_config(config)
        devices = {entry.name: entry for entry in loaded.devices}
        if device is None and len(devices) != 1:
            raise UserError("pick one of the devices with --device", file=config, key="devices", value=list(devices))
        name = next(iter(devices)) if device is None else device
        if name not in devices:
            raise unknown_name("device", name, devices, file=config, key="devices")
        with in_file(config):
            return devices[name], config_space(loaded)
    if space is None or device is None:
        raise UserError("--space and --device are needed, or a --config that has them")
    RUNTIMES.get(device, key="--device")
    settings = parse_settings(DeviceSettings, {"name": device, "runtime": device})
    return settings, space_of(space, num_classes, in_channels)


def _print(table: LatencyTable, space: SearchSpace, path: Path) -> None:
    from rich.console import Console

    cost, heldout = table.cost(space), table.heldout
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{path}: {len(table.entries)} operators of {table.space.name} on {table.settings.name}")
    console.print(
        f"  {table.device.cpu}, {table.device.runtime} {table.device.runtime_version}, "
        f"{table.device.threads} thread{'s' if table.device.threads > 1 else ''}, {table.device.precision}"
    )
    console.print(f"  networks from {cost.minimum()[0]:.4g} ms to {cost.maximum()[0]:.4g} ms, batch 1")
    tau = "" if heldout.kendall_tau is None else f", Kendall tau {heldout.kendall_tau:.2f}"
    console.print(
        f"  on {heldout.num} random networks it was not fitted on: mean error {heldout.mape:.1%}, "
        f"{heldout.share_within_10:.0%} within 10 %{tau}"
    )
    if table.conditions.disturbed > 0.1:
        console.print(
            f"  {table.conditions.disturbed:.0%} of the samples were interrupted by other work: "
            "measure again on a quieter machine for a better table"
        )
