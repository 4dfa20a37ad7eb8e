"""What is timed for a table: operators, an empty call, whole networks; in batches that fit into memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import fx, nn

from latency_tables.contention import contention
from latency_tables.other_work import OtherWork
from latency_tables.pinning import pinned
from latency_tables.runtimes import Portable, Runtime
from latency_tables.samples import Ledger, Samples
from latency_tables.settings import DeviceSettings
from latency_tables.timing import measure_rounds, plans, quiet_process
from search_spaces import Architecture, SearchSpace
from search_spaces.common.files import digest
from search_spaces.common.progress import progress_bar
from search_spaces.operators import Operator
from search_spaces.plain import build_network, build_operator

#: the item that does nothing: what a call costs by itself
EMPTY_CALL = "empty call"


@dataclass(frozen=True)
class Item:
    """Something to time: how to build it, its input (C, H, W), and roughly the bytes it holds when prepared."""

    build: Callable[[], fx.GraphModule]
    input_shape: tuple[int, ...]
    num_bytes: float = 0.0
    macs: float = 0.0


def operator_items(space: SearchSpace) -> dict[str, Item]:
    """Every operator of the space by its key, and the empty call."""

    def item(operator: Operator) -> Item:
        num_bytes = _held_bytes(float(operator.params()), float(operator.peak_memory("float32")))
        return Item(lambda: build_operator(operator), operator.input_shape, num_bytes, float(operator.macs()))

    empty = Item(lambda: fx.symbolic_trace(nn.Identity()), (1, 1, 1))
    return {EMPTY_CALL: empty} | {key: item(operator) for key, operator in space.operators().items()}


def network_items(space: SearchSpace, architectures: Sequence[Architecture]) -> dict[str, Item]:
    """Whole networks by `network_key`."""
    rows = space.encode(architectures)
    params, memory = space.cost("params").evaluate(rows), space.cost("peak_memory").evaluate(rows)

    def item(index: int, architecture: Architecture) -> Item:
        shape = (space.in_channels, architecture.resolution, architecture.resolution)
        return Item(lambda: build_network(space, architecture), shape, _held_bytes(params[index], memory[index]))

    return {network_key(space, architecture): item(i, architecture) for i, architecture in enumerate(architectures)}


def network_key(space: SearchSpace, architecture: Architecture) -> str:
    return f"network {space.fingerprint} {architecture.key}"


def measure_items(
    runtime: Runtime,
    operators: Mapping[str, Item],
    networks: Mapping[str, Item],
    *,
    ledger: Ledger,
    device: DeviceSettings,
    group_size: int,
    seed: int,
) -> None:
    """Bring every item in the ledger to the number of samples that the device's settings ask for.

    Raises `UserError` if the machine does not become quiet; what was taken stays in the ledger.
    """
    items = {**operators, **networks}
    deadline = time.monotonic() + device.time_budget_s
    strict = device.max_other_load is not None
    done = sum(min(count, device.rounds) for key, count in ledger.counts(clean=strict).items() if key in items)
    with (
        progress_bar(f"measuring {device.name}", device.rounds * len(items), done=done) as advance,
        contention(device.contention) as own_seconds,
        pinned(device.threads, wanted=device.pin),
        tempfile.TemporaryDirectory(prefix="ofa-measure-") as folder,
    ):
        prepare = _Preparer(runtime, items, device.threads, Path(folder))
        others = OtherWork(device.max_other_load, device.patience_s, own_seconds)
        sentinels = {key: prepare(key) for key in choose_sentinels(operators)}
        # every item is visited once a plan: batches that alternate see the same slow and fast spells of the machine
        for number, plan in enumerate(plans(device, deadline=deadline)):
            for batch in _batches(items, device.memory_mb * 2**20, (seed, number)):
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
                        {key: call for key, call in calls.items() if key in networks},
                        ledger=ledger,
                        plan=plan,
                        device=device,
                        others=others,
                        sentinels=sentinels,
                        group_size=group_size,
                        seed=seed,
                        advance=advance,
                    )


class _Preparer:
    """Prepares items by key. What a runtime compiles to files is compiled once, and loaded from the file after."""

    def __init__(self, runtime: Runtime, items: Mapping[str, Item], threads: int, folder: Path) -> None:
        self._runtime, self._items, self._threads, self._folder = runtime, items, threads, folder

    def __call__(self, key: str) -> Callable[[], object]:
        item, runtime = self._items[key], self._runtime
        if not isinstance(runtime, Portable):
            return runtime.prepare(item.build(), item.input_shape, threads=self._threads)
        path = self._folder / digest(key)
        if path.exists():
            artifact = path.read_bytes()
        else:
            artifact = runtime.compile(item.build(), item.input_shape)
            path.write_bytes(artifact)
        return runtime.load(artifact, item.input_shape, threads=self._threads)


def choose_sentinels(operators: Mapping[str, Item]) -> list[str]:
    """Three operators, from a middling one to the largest, whose times tell how fast the machine is."""
    by_size = sorted((key for key in operators if key != EMPTY_CALL), key=lambda key: (operators[key].macs, key))
    return [by_size[int(share * (len(by_size) - 1))] for share in (0.5, 0.8, 1.0)] if by_size else []


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


def _held_bytes(params: float, peak_memory: float) -> float:
    """The weights given and as the runtime packs them, its buffers, and what a session needs besides."""
    return 3 * 4 * params + 2 * peak_memory + 2**20
