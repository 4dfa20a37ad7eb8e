"""`ofa run`: every stage of a run in order. Each stage resumes by itself and returns at once when its inputs are
unchanged.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ofa.config import RunConfig, load_config
from ofa.console import note
from ofa.search.budgets import DEVICE_METRICS, ResolvedBudget, ascending, device_of, full_name, metric_of, resolve
from ofa.search.costs import EXACT, all_costs, capacities, run_tables
from ofa.search.feasibility.feasible import feasible_networks
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError, in_file, unknown_name
from search_spaces.common.files import remove_leftovers, write_text

if TYPE_CHECKING:
    from latency_tables.settings import BoardSettings, DeviceSettings
    from latency_tables.table import Table
    from search_spaces.costs import CostTable


def run_pipeline(config_file: Path, overrides: Sequence[str], *, runs: Path, quiet: bool = False) -> dict[str, Any]:
    """Take a config all the way to specialised networks and a report in `runs`/NAME; returns the report.

    Budgets are checked before anything expensive: those on exact costs at once, those on latency as soon as the
    tables are there.
    """
    config = load_config(config_file, overrides)
    from trainers.data import keep_loaded  # torch comes with it, so only after the config is known to be right

    with keep_loaded():
        return _run_stages(config, config_file, runs / config.name, quiet=quiet)


def _run_stages(config: RunConfig, config_file: Path, run: Path, *, quiet: bool) -> dict[str, Any]:
    with in_file(config_file):
        check_devices(config)
        space = config_space(config)
        check_budgets(config, space, {})
    with lock_run(run):
        with in_file(config_file):
            check_training(config, run)
        remove_leftovers(run)
        resolved = run / "config.yaml"
        if not resolved.exists():
            _write_config(config, resolved)
        tables = measure(config, space, run)
        with in_file(config_file):
            check_budgets(config, space, tables)
        _write_config(config, resolved)  # not before: tables of another space are refused, and the config stays theirs
        with in_file(config_file):
            _train(config, run)
        _record_and_fit(config, run, quiet=quiet)
        return _search_and_export(config, run, quiet=quiet)


def check_training(config: RunConfig, run: Path) -> None:
    """Training that would fail is told before anything is measured, and before anything of this run is written."""
    from trainers.processes.distributed import find_device
    from trainers.training import check_same_training, is_finished

    check_same_training(config, run)
    if not is_finished(config, run):
        find_device(config.train.device)


def config_space(config: RunConfig) -> SearchSpace:
    """The space of a config, with the classes and channels of its data."""
    from trainers.data import load_data

    data = load_data(config.data, seed=config.seed)
    return get_space(config.space, num_classes=data.num_classes, in_channels=data.in_channels)


def check_devices(config: RunConfig) -> None:
    """Every budget on a device's cost must name a device of the config, and there is none on what a run cannot measure;
    told before anything is measured.
    """
    names = [device.name for device in config.devices]
    if config.search.device is not None and config.search.device not in names:
        raise unknown_name("device", config.search.device, names, key="search.device")
    costs = device_costs(config)
    measured = {"latency", *map(metric_of, costs)}
    for budget in config.search.parsed_budgets():
        for written in budget.constraints:
            key = f"search.budgets.{budget.name}.{written}"
            if metric_of(written) in DEVICE_METRICS and metric_of(written) not in measured:
                hint = "Search its predictor with a table: ofa search --accuracy RUN/predictor --device TABLE.json"
                if metric_of(written) == "instructions":
                    hint = "Instructions are counted of a board: devices: [{name: board, board: stm32f746}]"
                raise UserError(f"a run measures latency, not {metric_of(written)}", key=key, hint=hint)
            full_name(written, costs, default=config.search.device, key=key)


def device_costs(config: RunConfig) -> list[str]:
    """The costs that the tables of the config's devices will tell: `latency@phone`, `flash@board`, ..."""
    from latency_tables.cortex_m.board_table import COSTS

    timed = [f"latency@{device.name}" for device in config.timed]
    return timed + [f"{metric}@{board.name}" for board in config.boards for metric in COSTS]


def check_budgets(config: RunConfig, space: SearchSpace, tables: Mapping[str, Table]) -> None:
    """Raise `Infeasible` for a budget that no network keeps; limits without a table yet are left out."""
    default, later = config.search.device, device_costs(config)
    costs: dict[str, CostTable] = all_costs(space, tables, dtype=config.search.dtype, plan=config.search.memory_plan)
    budgets: list[ResolvedBudget] = []
    for budget in config.search.parsed_budgets():
        known = {
            written: quantity
            for written, quantity in budget.constraints.items()
            if tables or (metric_of(written) in EXACT and device_of(full_name(written, later, default=default)) is None)
        }
        if known:
            part = replace(budget, constraints=known)
            budgets.append(resolve(part, costs, default_device=default, capacities=capacities(tables)))
    for resolved in ascending(budgets, costs):
        feasible_networks(space, costs, resolved, seed=config.seed)


def measure(config: RunConfig, space: SearchSpace, run: Path) -> Mapping[str, Table]:
    """The tables of all devices, by the names of `run_tables`: measured or counted now, or found finished."""
    for device in config.timed:
        _measure_device(config, space, run, device)
    for board in config.boards:
        _count_board(config, space, run, board)
    return run_tables(run, [device.name for device in config.devices])


def _measure_device(config: RunConfig, space: SearchSpace, run: Path, device: DeviceSettings) -> None:
    from latency_tables.measure import measure_table

    note(f"[{config.name}] latency of {len(space.operators())} operators on {device.name}")
    table = measure_table(space, device, path=run / "tables" / f"{device.name}.json", seed=config.seed)
    errors = table.heldout
    note(
        f"[{config.name}] table of {device.name}: {errors.mape:.1%} off on {errors.num} networks it was not "
        f"fitted on, Kendall tau {_tau(errors.kendall_tau)}"
    )
    if table.conditions.disturbed > 0.5 and device.max_other_load is None:
        note(
            f"[{config.name}] {table.conditions.disturbed:.0%} of its samples were disturbed by other work on this "
            f"machine or its host: delete {run / 'tables' / device.name}.json and run again when it is quiet"
        )


def _count_board(config: RunConfig, space: SearchSpace, run: Path, device: BoardSettings) -> None:
    from latency_tables.counted import count_on_board

    note(f"[{config.name}] instructions, memory and flash of {len(space.operators())} operators on {device.board}")
    table = count_on_board(
        device.board,
        space,
        path=run / "tables" / f"{device.name}.json",
        seed=config.seed,
        compiler=device.compiler,
        memory_plan=device.memory_plan,
        num_checked=device.holdout,
    )
    if (checked := table.checked) is not None:
        errors = ", ".join(
            f"{metric.replace('_', ' ')} {error:.2%}" for metric, error in checked.largest_errors.model_dump().items()
        )
        note(f"[{config.name}] table of {device.name}: largest errors on {len(checked.networks)} networks: {errors}")


def _write_config(config: RunConfig, path: Path) -> None:
    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _train(config: RunConfig, run: Path) -> None:
    from trainers.training import train

    note(f"[{config.name}] training the supernet")
    train(config, run)


def _record_and_fit(config: RunConfig, run: Path, *, quiet: bool) -> None:
    from predictors.fit import fit_predictor
    from predictors.records import record_subnets

    note(f"[{config.name}] evaluating {config.records.num} subnets for the accuracy predictor")
    record_subnets(run, config, quiet=quiet)
    predictor = fit_predictor(run, config, quiet=quiet)
    grade = predictor.grade
    assert grade is not None, "a fitted predictor is graded"
    note(
        f"[{config.name}] accuracy predictor ({predictor.name}): Kendall tau {_tau(grade.predictor.tau.value)} on "
        f"{grade.num_heldout} networks it was not fitted on (MACs alone {_tau(grade.baselines['macs'].tau.value)})"
    )


def _search_and_export(config: RunConfig, run: Path, *, quiet: bool) -> dict[str, Any]:
    from ofa.export.export import OverBudget
    from ofa.export.winners import export_winners
    from ofa.report.report import write_report
    from ofa.search.loop import search_evaluating
    from ofa.search.measurements import Median
    from ofa.search.stage import load_problem, measurement_books
    from ofa.tensorboard.show import show_round, show_search

    note(f"[{config.name}] searching {', '.join(config.search.budgets)}")
    while True:
        found = search_evaluating(run, config, on_round=show_round, quiet=quiet)
        show_search(run, config, found)
        note(f"[{config.name}] exporting the winners")
        try:
            export_winners(run, config, quiet=quiet)
            break
        except OverBudget as over:  # its file is slower than the candidate was: from now on that measurement counts
            note(f"[{config.name}] {over}: searching again without it")
            median = Median(**{name: over.measured[name] for name in ("median_ms", "p10_ms", "p90_ms", "count")})
            measurement_books(load_problem(run, config))[over.cost].correct(over.key, median)
    return write_report(run)


def _tau(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"


@contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """One process works in a run folder at a time; the lock goes with the process, however it ends."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", file=run) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                "another process is working in this run folder", file=run, hint="Wait for it, or choose another name"
            ) from None
        yield
    finally:
        os.close(descriptor)
