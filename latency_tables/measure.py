"""Measuring: the latency table of a space, single networks, exported files."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from torch import fx

from latency_tables.batches import measure_items
from latency_tables.contention import contention
from latency_tables.fingerprint import DeviceFingerprint, fingerprint
from latency_tables.identity import SpaceIdentity
from latency_tables.items import EMPTY_CALL, network_key, quick_network
from latency_tables.journal import Journal
from latency_tables.network_model import fit_networks
from latency_tables.networks import ProbeNetworks, choose_networks
from latency_tables.one_sample import Call
from latency_tables.other_work import OtherWork
from latency_tables.pinning import pinned
from latency_tables.runtimes import FileRuntime, Runtime, get_runtime
from latency_tables.samples import Ledger, Measurement, Samples
from latency_tables.settings import DeviceSettings
from latency_tables.table import (
    Conditions,
    Correction,
    Entry,
    LatencyTable,
    grade,
    load_table,
    own_latencies,
)
from latency_tables.timing import measure_rounds, plans, quiet_process, torch_threads
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest
from search_spaces.common.progress import progress_bar

#: settings that say how to go about measuring, not what is measured
_INCIDENTAL = {"name", "time_budget_s", "memory_mb", "retries", "max_other_load", "patience_s"}


def measure_table(
    space: SearchSpace,
    device: DeviceSettings,
    *,
    path: Path,
    seed: int = 0,
    replace: bool = False,
    merge: Sequence[Path] = (),
    compiled: Path | None = None,
) -> LatencyTable:
    """Measure every operator of `space` on this machine, correct and grade the sums on whole networks, write `path`.

    Operators, the empty call and whole networks are measured in the same rounds. Finished samples are kept in
    `path.with_suffix(".journal.jsonl")`, and what the runtime compiled in `path.with_suffix(".compiled")`, until the
    table is written: after an interruption the same call goes on where it was. Files that other tables of the space
    need too are kept in a folder `compiled`, and stay there. A finished table of the same inputs is returned at once.
    `merge` names journals of other interrupted measurements on this device, whose samples count too. Raises `UserError`
    if `path` holds a table of another space or device, unless `replace`.
    """
    runtime, here = this_device(device)
    journal_path, folder = path.with_suffix(".journal.jsonl"), compiled or path.with_suffix(".compiled")
    if path.exists() and not replace:
        finished = load_table(path)
        if not isinstance(finished, LatencyTable):
            raise UserError(
                f"holds a {finished.kind} table of {finished.device!r}",
                file=path,
                hint="Give another file, or delete this one to measure here",
            )
        check_same(finished, space, here, path)
        if _same_inputs(finished, space, device, seed):
            _remove_kept(journal_path, folder if compiled is None else None)
            return finished

    probes = choose_networks(space, num_fit=device.fit_networks, num_heldout=device.holdout, seed=seed)
    architectures = [*probes.fit, *probes.heldout]
    load_start = _load()
    journal = Journal(journal_path, here, max_drift=device.max_drift)
    for other in merge:
        journal.merge(other, here)
    measure_items(
        runtime,
        space,
        architectures,
        ledger=journal,
        device=device,
        seed=seed,
        folder=folder,
    )
    conditions = Conditions(
        load_start=load_start, load_end=_load(), disturbed=journal.share_disturbed, drift=journal.drift
    )
    table = conclude(space, device, here, seed, probes, journal.samples, conditions)
    table.save(path)
    _remove_kept(journal_path, folder if compiled is None else None)
    return table


def measure_networks(
    modules: Sequence[fx.GraphModule],
    input_shapes: Sequence[tuple[int, ...]],
    device: DeviceSettings,
    *,
    rounds: int | None = None,
    seed: int = 0,
) -> list[Measurement]:
    """Time whole networks against each other: interleaved, batch 1, inputs of `(1, *input_shape)`."""
    runtime, _ = this_device(device)

    def prepare() -> list[Call]:
        pairs = zip(modules, input_shapes, strict=True)
        return [runtime.prepare(module, shape, threads=device.threads) for module, shape in pairs]

    return measure_calls(prepare, len(modules), device, rounds, seed)


def measure_architectures(
    space: SearchSpace, architectures: Sequence[Architecture], device: DeviceSettings
) -> list[Measurement]:
    """As `measure_networks`, for architectures of `space`: weights do not change the time a network takes, so they are
    built with fresh ones.
    """
    modules = [quick_network(space, architecture).eval() for architecture in architectures]
    shapes = [(space.in_channels, architecture.resolution, architecture.resolution) for architecture in architectures]
    return measure_networks(modules, shapes, device)


def measure_onnx_files(
    paths: Sequence[Path],
    device: DeviceSettings,
    *,
    rounds: int | None = None,
    seed: int = 0,
    input_shapes: Sequence[Sequence[tuple[int, ...]]] | None = None,
) -> list[Measurement]:
    """As `measure_networks`, for exported files; `input_shapes` (batch included) where they leave sides open."""
    runtime, _ = this_device(device)
    if not isinstance(runtime, FileRuntime):
        raise UserError(
            "this runtime does not run ONNX files", key="runtime", value=runtime.name, hint="Use onnxruntime"
        )
    shapes = [None] * len(paths) if input_shapes is None else list(input_shapes)

    def prepare() -> list[Call]:
        pairs = zip(paths, shapes, strict=True)
        return [runtime.prepare_file(Path(p), threads=device.threads, input_shapes=sides) for p, sides in pairs]

    return measure_calls(prepare, len(paths), device, rounds, seed)


def this_device(device: DeviceSettings) -> tuple[Runtime, DeviceFingerprint]:
    """The runtime and fingerprint of `device` here. Raises `UserError` if the machine cannot be that device."""
    cores = os.cpu_count() or 1
    if device.threads > cores:
        raise UserError(f"this machine has {cores} cores", key=f"{device.name}.threads", value=device.threads)
    runtime = get_runtime(device.runtime)
    return runtime, fingerprint(runtime, threads=device.threads, contention=device.contention)


def measure_calls(
    prepare: Callable[[], list[Call]], num: int, device: DeviceSettings, rounds: int | None = None, seed: int = 0
) -> list[Measurement]:
    """Time `num` calls against each other, interleaved; `prepare` makes them anew for each of `device.instances`.

    `device` says how long and how quiet the machine must be; its runtime is not asked. Raises `UserError` if the
    machine does not become quiet.
    """
    if rounds is not None:
        device = device.model_copy(update={"rounds": rounds})
    keys, ledger = [str(index) for index in range(num)], Ledger(max_drift=device.max_drift)
    deadline = time.monotonic() + device.time_budget_s
    with (
        progress_bar("measuring networks", device.rounds * num) as advance,
        contention(device.contention) as own_seconds,
        pinned(device.threads, wanted=device.pin),
        torch_threads(device.threads),
    ):
        others = OtherWork(device.max_other_load, device.patience_s, own_seconds)
        for plan in plans(device, deadline=deadline):
            calls = dict(zip(keys, prepare(), strict=True))
            with quiet_process(device.threads):
                measure_rounds(
                    {},
                    calls,
                    ledger=ledger,
                    plan=plan,
                    device=device,
                    others=others,
                    group_size=1,
                    seed=seed,
                    advance=advance,
                )
    return [ledger.samples[key].summary() for key in keys]


def conclude(
    space: SearchSpace,
    device: DeviceSettings,
    here: DeviceFingerprint,
    seed: int,
    probes: ProbeNetworks,
    samples: Mapping[str, Samples],
    conditions: Conditions,
) -> LatencyTable:
    """The table that finished samples of all operators, the empty call and the probe networks give."""

    def measured_ms(architectures: Sequence[Architecture]) -> list[float]:
        return [samples[network_key(space, network)].summary().median_ms for network in architectures]

    entries = {key: Entry(**vars(samples[key].summary())) for key in space.operators()}
    overhead_ms = samples[EMPTY_CALL].summary().median_ms
    own_ms = own_latencies(entries, overhead_ms)
    model = fit_networks(space, own_ms, probes.fit, measured_ms(probes.fit))
    correction = Correction(
        slope=model.slope,
        intercept_ms=model.constant_ms,
        num=len(probes.fit),
        model=model.name,
        cross_validated=model.errors,
        operators_ms=model.operators_ms,
    )
    within = own_ms if model.operators_ms is None else model.operators_ms
    sums = space.cost_of(lambda operator: model.slope * within[operator.key], constant=model.constant_ms)
    predicted_ms = sums.evaluate(space.encode(probes.heldout))
    return LatencyTable(
        unit="ms",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        space=SpaceIdentity.of(space),
        device=here,
        settings=device,
        seed=seed,
        overhead_ms=overhead_ms,
        entries=entries,
        correction=correction,
        heldout=grade(probes.heldout, predicted_ms, measured_ms(probes.heldout)),
        conditions=conditions,
    )


def check_same(
    table: LatencyTable,
    space: SearchSpace,
    here: DeviceFingerprint,
    path: Path,
    *,
    hint: str = "Give another file, or delete this one to measure here",
) -> None:
    """A finished table of something else is somebody's work: it is not overwritten unasked."""
    if table.device != here:
        raise UserError(
            f"holds a table of another device: {'; '.join(here.differences(table.device))}",
            file=path,
            key="device",
            hint=hint,
        )
    if table.space.fingerprint != space.fingerprint:
        raise UserError(
            f"holds a table of another space: {table.space.name!r} ({table.space.fingerprint}), "
            f"not {space.name!r} ({space.fingerprint})",
            file=path,
            key="space",
            hint=hint,
        )


def _same_inputs(table: LatencyTable, space: SearchSpace, device: DeviceSettings, seed: int) -> bool:
    before, now = table.settings.model_dump(exclude=_INCIDENTAL), device.model_dump(exclude=_INCIDENTAL)
    # through JSON, as the description read from a file has lists where a fresh one may have tuples
    return before == now and table.seed == seed and digest(table.space.description) == digest(space.description)


def _remove_kept(journal: Path, folder: Path | None) -> None:
    """What was kept in case that measuring is interrupted."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    journal.unlink(missing_ok=True)


def _load() -> float | None:
    """Mean number of runnable processes in the last minute, where the system tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
