"""How long ExecuTorch takes to lower an operator and a network, left alone and as this project has it do it.

    python -m benchmarks.lowering mobilenet_v3_28 vit_nano

In turn, on one thread; seconds of the processor, which other work disturbs less than the clock. The programs are
compared: their bytes must be equal.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, fx

from latency_tables.executorch.graph import for_xnnpack
from latency_tables.executorch.program import as_fed, export, to_pte
from search_spaces import get_space
from search_spaces.plain import build_network, build_operator
from tests.latency_tables.executorch.plain import plain_pte

REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Lowering by ExecuTorch, left alone and in haste.")
    parser.add_argument("spaces", nargs="+")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in parser.parse_args().spaces:
        space = get_space({"name": name}, 10, 3)
        (architecture,) = space.decode(space.sample(1, np.random.default_rng(0)))
        operators = [operator for _, operator in space.network(architecture)]
        operator = operators[len(operators) // 2]
        image = (3, architecture.resolution, architecture.resolution)
        report(f"{name}, {operator.key}", build_operator(operator), operator.input_shape)
        report(f"{name}, a network of {len(operators)} operators", build_network(space, architecture), image)


def report(what: str, module: fx.GraphModule, input_shape: tuple[int, ...]) -> None:
    network, x = for_xnnpack(module.eval(), input_shape), as_fed(torch.randn(1, *input_shape))
    ways: dict[str, Callable[[fx.GraphModule, Tensor], bytes]] = {
        "left alone": plain_pte,
        "in haste": lambda network, x: to_pte(export(network, x), x),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(REPEATS):
        programs = set()
        for way, lower in ways.items():
            begin = time.process_time()
            programs.add(lower(network, x))
            seconds[way].append(time.process_time() - begin)
        assert len(programs) == 1, f"{what}: the programs differ"
    alone, haste = (statistics.median(seconds[way]) for way in ways)
    print(f"{what}: {alone:.2f} s left alone, {haste:.2f} s in haste, {alone / haste:.1f} times as fast", flush=True)


if __name__ == "__main__":
    main()
