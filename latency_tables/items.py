"""What is timed for a table: operators, an empty call, whole networks; in batches that fit into memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import fx, nn

from latency_tables.journal import Journal
from latency_tables.runtimes import Runtime
from latency_tables.settings import DeviceSettings
from latency_tables.timing import Sample, instances, measure_rounds, quiet_process
from search_spaces import Architecture, SearchSpace
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


def operator_items(space: SearchSpace) -> dict[str, Item]:
    """Every operator of the space by its key, and the empty call."""

    def item(operator: Operator) -> Item:
        num_bytes = _held_bytes(float(operator.params()), float(operator.peak_memory("float32")))
        return Item(lambda: build_operator(operator), operator.input_shape, num_bytes)

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
    journal: Journal,
    device: DeviceSettings,
    group_size: int,
    seed: int,
) -> None:
    """Bring every item in the journal to its number of rounds."""
    items = {**operators, **networks}
    deadline = time.monotonic() + device.time_budget_s
    done = sum(min(count, device.rounds) for key, count in journal.counts().items() if key in items)
    with progress_bar(f"measuring {device.name}", device.rounds * len(items), done=done) as advance:

        def record(sample: Sample) -> None:
            journal.record(sample)
            advance(len(sample.ms))

        for batch in _batches(items, device.memory_mb * 2**20, seed):
            for rounds in instances(device):
                taken = journal.counts()
                keys = [key for key in batch if taken.get(key, 0) < rounds.stop]
                if not keys or (rounds.start >= device.min_rounds and time.monotonic() > deadline):
                    continue
                calls = {}
                for key in keys:
                    advance(0, note="preparing")
                    calls[key] = runtime.prepare(items[key].build(), items[key].input_shape, threads=device.threads)
                advance(0)
                with quiet_process(device.threads):
                    measure_rounds(
                        {key: call for key, call in calls.items() if key in operators},
                        {key: call for key, call in calls.items() if key in networks},
                        group_size=group_size,
                        device=device,
                        taken=taken,
                        record=record,
                        rounds=rounds,
                        seed=seed,
                        deadline=deadline,
                    )


def _batches(items: Mapping[str, Item], limit: float, seed: int) -> Iterator[list[str]]:
    """The keys in random order, cut into batches of at most `limit` bytes (one item at least)."""
    batch: list[str] = []
    held = 0.0
    keys = list(items)
    for index in np.random.default_rng((seed, 1)).permutation(len(keys)):
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
