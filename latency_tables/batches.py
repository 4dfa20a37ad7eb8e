"""The items of a table, prepared in batches that fit into memory, and measured."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import psutil

from latency_tables.compiled import Compiled
from latency_tables.contention import contention
from latency_tables.items import EMPTY_CALL, Item, choose_sentinels, network_items, operator_items, typical_length
from latency_tables.other_work import OtherWork
from latency_tables.pinning import pinned
from latency_tables.runtimes import Portable, Runtime
from latency_tables.samples import Ledger, Samples
from latency_tables.settings import DeviceSettings
from latency_tables.timing import measure_rounds, plans, quiet_process, torch_threads
from search_spaces import Architecture, SearchSpace
from search_spaces.common.progress import progress_bar


def measure_items(
    runtime: Runtime,
    space: SearchSpace,
    architectures: Sequence[Architecture],
    *,
    ledger: Ledger,
    device: DeviceSettings,
    seed: int,
    only: Container[str] | None = None,
    folder: Path | None = None,
) -> None:
    """Bring the operators of `space` (`only` those, where given), the empty call and the networks of `architectures` to
    the number of samples that the device's settings ask for.

    What a portable runtime compiles is kept in `folder`, if one is given. Raises `UserError` if the machine does not
    become quiet; what was taken stays in the ledger.
    """
    operators = {
        key: item for key, item in operator_items(space).items() if only is None or key in only or key == EMPTY_CALL
    }
    items = {**operators, **network_items(space, architectures)}
    group_size = typical_length(space, architectures)
    strict = device.max_other_load is not None
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory(prefix="ofa-measure-") as where:
        compiled = Compiled(runtime, space, items, Path(where)) if isinstance(runtime, Portable) else None
        if compiled is not None:
            compiled.ahead(architectures)
        prepare = _preparer(runtime, items, device.threads, compiled)
        done = sum(min(count, device.rounds) for key, count in ledger.counts(clean=strict).items() if key in items)
        deadline = time.monotonic() + device.time_budget_s
        with (
            progress_bar(f"measuring {device.name}", device.rounds * len(items), done=done) as advance,
            contention(device.contention) as own_seconds,
            pinned(device.threads, wanted=device.pin),
            torch_threads(device.threads),
        ):
            others = OtherWork(device.max_other_load, device.patience_s, own_seconds)
            sentinels = {key: prepare(key) for key in choose_sentinels(operators)}
            limit = _batch_bytes(device)
            # every item is visited once a plan: batches that alternate see the same slow and fast spells of the machine
            for number, plan in enumerate(plans(device, deadline=deadline)):
                for batch in _batches(items, limit, (seed, number)):
                    samples = ledger.samples
                    keys = [key for key in batch if plan.wants(samples.get(key, Samples()), strict=strict)]
                    if not keys:
                        continue
                    calls = {}
                    for key in keys:
                        advance(0, note="preparing")
                        calls[key] = prepare(key)
                    advance(0)
                    with quiet_process(device.threads):
                        measure_rounds(
                            {key: call for key, call in calls.items() if key in operators},
                            {key: call for key, call in calls.items() if key not in operators},
                            ledger=ledger,
                            plan=plan,
                            device=device,
                            others=others,
                            sentinels=sentinels,
                            group_size=group_size,
                            seed=seed,
                            advance=advance,
                        )


def _preparer(
    runtime: Runtime, items: Mapping[str, Item], threads: int, compiled: Compiled | None
) -> Callable[[str], Callable[[], object]]:
    def prepare(key: str) -> Callable[[], object]:
        item = items[key]
        if compiled is None or not isinstance(runtime, Portable):
            return runtime.prepare(item.build(), item.input_shape, threads=threads)
        return runtime.load(compiled[key], item.input_shape, threads=threads)

    return prepare


def _batch_bytes(device: DeviceSettings) -> float:
    """What the items of a batch may hold together: a third of the memory that is free now, unless the settings say."""
    return psutil.virtual_memory().available / 3 if device.memory_mb is None else device.memory_mb * 2**20


def _batches(items: Mapping[str, Item], limit: float, seed: tuple[int, int]) -> Iterator[list[str]]:
    """The keys in random order, cut into batches of at most `limit` bytes (one item at least)."""
    batch: list[str] = []
    held = 0.0
    keys = list(items)
    for index in np.random.default_rng((*seed, 1)).permutation(len(keys)):
        key = keys[index]
        if batch and held + items[key].num_bytes > limit:
            yield batch
            batch, held = [], 0.0
        batch.append(key)
        held += items[key].num_bytes
    if batch:
        yield batch
