"""`ofa measure`: the latency table of a device."""

from __future__ import annotations

import statistics
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa.console import JsonFlag, emit

if TYPE_CHECKING:
    from latency_tables.settings import BoardSettings, DeviceSettings
    from latency_tables.table import LatencyTable
    from search_spaces import SearchSpace


def measure(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The table to write (JSON).")] = None,
    space: Annotated[str | None, typer.Option(help="A space's name, or a YAML file with a `space` section.")] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="A runtime (onnxruntime, litert ...), a board (stm32f746, BOARD.yaml), cortex-m4, ethos-u55-128; or a "
            "device of --config."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Take space and device from this config.")] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Classes of the classifier (without --config).")] = 1000,
    in_channels: Annotated[int, typer.Option(min=1, help="Channels of the images (without --config).")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads an inference may use.")] = None,
    contention: Annotated[
        list[int] | None,
        typer.Option(min=1, help="A further column: beside so many busy background processes. May be repeated."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Samples of every operator and network, at most.")] = None,
    precision: Annotated[
        float | None, typer.Option(min=0.0001, help="Enough when a median is certain to this share of it.")
    ] = None,
    budget: Annotated[float | None, typer.Option(min=1, help="Seconds after which the least samples do.")] = None,
    fit_networks: Annotated[int | None, typer.Option(min=4, help="Whole networks the correction is fitted on.")] = None,
    holdout: Annotated[int | None, typer.Option(min=20, help="Whole networks the table is graded on.")] = None,
    max_other_load: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of cores others may keep busy; 1: take times as they come."),
    ] = None,
    merge: Annotated[
        list[Path] | None, typer.Option(help="The journal of another interrupted measurement; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Picks the networks that the table is graded on.")] = 0,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Measure on another device: write this zip file for it; with --import, the one it ran."),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--import", metavar="results.json", help="What the device wrote; again for further runs of it."),
    ] = None,
    compiler: Annotated[
        str | None, typer.Option(help="Of a microcontroller's kernels: zig (the default) or gcc.")
    ] = None,
    memory_plan: Annotated[
        str | None, typer.Option(help="Of a board: overwriting (the default: fused kernels), or naive.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Measure anew, and overwrite what stands there.")] = False,
    json: JsonFlag = False,
) -> None:
    """Measure every operator of a space on this machine; interrupted, the same command goes on where it was.

    For a device that cannot run this: --bundle out.zip writes what it needs; `python runner.py` there measures; and
    --import results.json --bundle out.zip makes the table. See docs/remote_devices.md.
    """
    from latency_tables.counted import COUNTED, is_board
    from search_spaces.common.errors import UserError

    if results:
        wrong = {"--space": space, "--config": config, "--threads": threads, "--rounds": rounds, "--merge": merge}
        if given := [name for name, value in wrong.items() if value is not None]:
            raise UserError("the bundle says that already, it is not for --import", key=given[0])
        if bundle is None or output is None:
            missing = "--bundle" if bundle is None else "--output"
            raise UserError("--import needs the bundle that was measured, and a table to write", key=missing)
        from ofa.commands.bundles import import_results

        import_results(results, bundle, output, device, replace=replace, json=json)
        return
    board = _board_of(config, device)
    if board is not None or (device is not None and (device in COUNTED or is_board(device))):
        from ofa.commands.counted import count

        timing = {
            "--threads": threads,
            "--contention": contention or None,
            "--rounds": rounds,
            "--precision": precision,
        }
        grading = {"--budget": budget, "--fit-networks": fit_networks, "--holdout": holdout, "--merge": merge or None}
        if output is None:
            raise UserError("a table to write is needed", key="--output", hint="Give -o TABLE.json")
        count(
            device if board is None else board.board,
            space,
            config,
            num_classes,
            in_channels,
            output=output,
            seed=seed,
            compiler=compiler or ("zig" if board is None else board.compiler),
            memory_plan=memory_plan if memory_plan is not None or board is None else board.memory_plan,
            num_checked=None if board is None else board.holdout,
            replace=replace,
            refused={**timing, **grading, "--max-other-load": max_other_load, "--bundle": bundle},
            json=json,
        )
        return
    if memory_plan is not None:
        raise UserError("goes with a board: any other runtime plans its memory itself", key="--memory-plan")
    settings, measured_space = _inputs(space, device, config, num_classes, in_channels)
    wishes = {
        "threads": threads,
        "rounds": rounds,
        "precision": precision,
        "time_budget_s": budget,
        "fit_networks": fit_networks,
        "holdout": holdout,
        "max_other_load": max_other_load,
    }
    wishes = {key: value for key, value in wishes.items() if value is not None}
    if max_other_load == 1:
        wishes["max_other_load"] = None
    settings = settings.model_copy(update=wishes)
    if bundle is not None:
        if contention:
            raise UserError("a bundle's runner starts no busy processes", key="--contention", value=contention)
        if merge:
            raise UserError("a bundle is no measurement that another could be merged into", key="--merge")
        if output is not None:
            hint = "Give -o when the results are back: --import results.json --bundle out.zip -o TABLE.json"
            raise UserError("nothing is measured yet when a bundle is written", key="--output", hint=hint)
        from ofa.commands.bundles import write_bundle

        write_bundle(measured_space, settings, bundle, seed, replace=replace, json=json)
        return
    if output is None:
        raise UserError("a table to write is needed", key="--output", hint="Give -o TABLE.json, or --bundle out.zip")
    from latency_tables.columns import measure_columns

    written = output.stat().st_mtime_ns if output.exists() else None
    table = measure_columns(
        measured_space, settings, path=output, beside=contention or (), seed=seed, replace=replace, merge=merge or ()
    )
    if json:
        emit(summary(table) | {"table": str(output)})
    else:
        print_table(table, measured_space, output)
        if output.stat().st_mtime_ns == written:
            print(f"  finished {table.created}, and not measured again; --replace does that")


def summary(table: LatencyTable) -> dict[str, Any]:
    """A table without its entries, and so are its columns."""
    data = table.model_dump(mode="json", exclude={"entries": True, "heldout": {"pairs"}, "contended": True})
    columns = [summary(column) for column in table.contended]
    return data | {"num_operators": len(table.entries), "contended": columns}


def _board_of(config: Path | None, device: str | None) -> BoardSettings | None:
    """The board that is meant by a device of a config."""
    if config is None:
        return None
    from ofa.config import load_config

    loaded = load_config(config)
    boards = {board.name: board for board in loaded.boards}
    return boards.get(device or loaded.devices[0].name) if len(loaded.devices) == 1 or device else None


def _inputs(
    space: str | None, device: str | None, config: Path | None, num_classes: int, in_channels: int
) -> tuple[DeviceSettings, SearchSpace]:
    from latency_tables.counted import COUNTED
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
        chosen = devices[name]
        assert isinstance(chosen, DeviceSettings), "boards are counted"
        with in_file(config):
            return chosen, config_space(loaded)
    if space is None or device is None:
        raise UserError("--space and --device are needed, or a --config that has them")
    if device not in RUNTIMES:
        raise COUNTED.unknown(device, also=RUNTIMES, key="--device")
    settings = parse_settings(DeviceSettings, {"name": device, "runtime": device})
    return settings, space_of(space, num_classes, in_channels)


def print_table(table: LatencyTable, space: SearchSpace, path: Path) -> None:
    from rich.console import Console

    from latency_tables.conformal import interval
    from search_spaces.common.errors import UserError

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
    with suppress(UserError):  # graded on too few networks
        bounds = interval(*table.graded, 0.95)
        console.print(f"  95 % of networks take {bounds.low:.1%} to {bounds.high:.1%} of what it predicts")
    for column in table.contended:
        ratio = statistics.median(
            entry.median_ms / table.entries[key].median_ms for key, entry in column.entries.items()
        )
        console.print(
            f"  beside {column.device.contention} busy processes operators take {ratio - 1:+.1%} in the median; on "
            f"{column.heldout.num} random networks: mean error {column.heldout.mape:.1%}"
        )
    if table.conditions.disturbed and table.settings.max_other_load is not None:
        console.print(f"  {table.conditions.disturbed:.1%} of the samples were disturbed and taken again")
    if table.conditions.disturbed > 0.5 and table.settings.max_other_load is None:
        console.print(
            f"  {table.conditions.disturbed:.0%} of the samples were disturbed by other work, here or on the host: "
            "measure again on a quieter machine for a better table"
        )
