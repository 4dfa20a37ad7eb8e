"""What compiling in parts saves of AOTInductor's time (`latency_tables.runtimes.inductor_compiling`), and costs a call.

    python -m benchmarks.inductor_compiling mobilenet_v3_28 vit_nano

One thread; operators and networks drawn from a space, each compiled as torch does and in parts, after one of another
space has compiled what all share. Seconds of compiling are means; of calls the median of both ways is taken round by
round, three copies of each in random order, and printed is the median of the rounds' ratios with its 95 % interval.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from unittest.mock import patch

import numpy as np
import torch

from latency_tables.items import Item, network_items, operator_items
from latency_tables.runtimes import inductor_compiling
from latency_tables.runtimes.torch_inductor import TorchInductor
from latency_tables.samples import median_uncertainty
from search_spaces import SearchSpace, get_space

OPERATORS, NETWORKS, ROUNDS, CALLS, COPIES = 12, 2, 400, 3, 3
WAYS = ("as torch", "in parts")


def main() -> None:
    parser = argparse.ArgumentParser(description="AOTInductor's compiling in parts.")
    parser.add_argument("spaces", nargs="+")
    torch.set_num_threads(1)
    runtime = TorchInductor()
    other = next(iter(operator_items(get_space({"name": "mobilenet_v3_digits"}, 10, 1)).values()))
    for way in WAYS:
        compile_item(runtime, other, way)
    for name in parser.parse_args().spaces:
        space = get_space({"name": name}, 1000, 3)
        rng = np.random.default_rng(0)
        operators = operator_items(space)
        first = int(rng.integers(len(operators) - OPERATORS))  # neighbours, as a table's workers have them
        report(runtime, space, "operator", list(operators.values())[first : first + OPERATORS])
        networks = network_items(space, space.decode(space.sample(NETWORKS, rng)))
        for item in networks.values():
            report(runtime, space, "network", [item])


def report(runtime: TorchInductor, space: SearchSpace, what: str, items: list[Item]) -> None:
    calls: dict[tuple[str, int], list[Callable[[], object]]] = {}
    seconds = dict.fromkeys(WAYS, 0.0)
    for number, item in enumerate(items):
        for way in WAYS:
            begin = time.monotonic()
            artifact = compile_item(runtime, item, way)
            seconds[way] += (time.monotonic() - begin) / len(items)
            calls[way, number] = [runtime.load(artifact, item.input_shape, threads=1) for _ in range(COPIES)]
    ms, ratios = in_turn(calls, len(items))
    ratio, uncertain = statistics.median(ratios), median_uncertainty(ratios)
    print(
        f"{space.name:17} {what:8} {' -> '.join(f'{seconds[way]:.1f} s' for way in WAYS)}   "
        f"{ms['as torch']:.3f} ms, {ratio:.4f} ({ratio * (1 - uncertain):.4f} to {ratio * (1 + uncertain):.4f})",
        flush=True,
    )


def compile_item(runtime: TorchInductor, item: Item, way: str) -> bytes:
    torch.manual_seed(0)
    whole = patch.object(inductor_compiling, "_objects_kept", nullcontext)
    with whole if way == "as torch" else nullcontext():
        return runtime.compile(item.build(), item.input_shape)


def in_turn(calls: dict[tuple[str, int], list[Callable[[], object]]], num: int) -> tuple[dict[str, float], list[float]]:
    """Milliseconds of the median item by way, and the ratio in parts / as torch of every round and item."""
    copies = [(key, call) for key, several in calls.items() for call in several]
    rounds: list[dict[tuple[str, int], list[float]]] = []
    for _ in range(ROUNDS):
        taken: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
        random.shuffle(copies)
        for key, call in copies:
            call()
            begin = time.perf_counter()
            for _ in range(CALLS):
                call()
            taken[key].append((time.perf_counter() - begin) / CALLS)
        rounds.append(taken)
    medians = [{key: 1e3 * statistics.median(values) for key, values in taken.items()} for taken in rounds]
    ms = {way: statistics.median(each[way, number] for each in medians for number in range(num)) for way in WAYS}
    return ms, [each["in parts", number] / each["as torch", number] for each in medians for number in range(num)]


if __name__ == "__main__":
    main()
