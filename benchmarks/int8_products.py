"""How long transformers take in LiteRT: in float32, in int8, and in int8 with the products of attention as layers.

    python -m benchmarks.int8_products vit_nano hybrid_nano mcuformer autoformer_small

One thread; networks of fresh weights, all forms of one called in turn; median milliseconds of 40 calls. And what the
weights do: the slowest of four draws, as a share of the fastest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from latency_tables.runtimes.litert import random_inputs
from latency_tables.tflite.file import TFLiteModel
from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.int8 import quantize
from latency_tables.tflite.interpreter import LoadedModel
from latency_tables.tflite.products import products_as_layers
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.plain import build_network

CALLS, NETWORKS, DRAWS = 40, 3, 4


def main() -> None:
    parser = argparse.ArgumentParser(description="int8 transformers in LiteRT, with and without products as layers.")
    parser.add_argument("spaces", nargs="+")
    torch.set_num_threads(1)
    print(f"{'':24} float32     int8   layers   int8/float32 -> layers/float32   weights: int8, layers")
    for name in parser.parse_args().spaces:
        space = get_space({"name": name}, 1000, 3)
        for architecture in space.decode(space.sample(NETWORKS, np.random.default_rng(0))):
            report(space, architecture)


def report(space: SearchSpace, architecture: Architecture) -> None:
    draws = [forms(space, architecture, seed) for seed in range(DRAWS)]
    calls = {(way, seed): ready(model) for seed, models in enumerate(draws) for way, model in models.items()}
    ms = in_turn(calls)
    plain, int8, layers = (ms[way, 0] for way in ("float32", "int8", "layers"))
    int8_weights, layers_weights = (
        weights_matter([ms[way, seed] for seed in range(DRAWS)]) for way in ("int8", "layers")
    )
    print(
        f"{space.name:17} {architecture.resolution:3} px {plain:8.3f} {int8:8.3f} {layers:8.3f}   "
        f"{int8 / plain:.2f} -> {layers / plain:.2f}   {int8_weights:.1%}, {layers_weights:.1%}",
        flush=True,
    )


def weights_matter(ms: list[float]) -> float:
    return max(ms) / min(ms) - 1


def forms(space: SearchSpace, architecture: Architecture, seed: int) -> dict[str, TFLiteModel]:
    torch.manual_seed(seed)
    side = architecture.resolution
    plain = to_tflite(build_network(space, architecture).eval(), (space.in_channels, side, side))
    int8 = quantize(plain, random_inputs(plain.input.shape))
    return {"float32": plain, "int8": int8, "layers": products_as_layers(int8)}


def ready(model: TFLiteModel) -> Callable[[], object]:
    loaded = LoadedModel(model.to_bytes())
    loaded.set_inputs(np.random.default_rng(0).standard_normal(model.input.shape).astype(np.float32))
    return loaded.call


def in_turn(calls: dict[tuple[str, int], Callable[[], object]]) -> dict[tuple[str, int], float]:
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    for _ in range(CALLS):
        for key, call in calls.items():
            begin = time.perf_counter()
            call()
            seconds[key].append(time.perf_counter() - begin)
    return {key: 1e3 * statistics.median(taken) for key, taken in seconds.items()}


if __name__ == "__main__":
    main()
