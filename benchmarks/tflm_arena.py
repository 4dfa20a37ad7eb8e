"""The arena of TensorFlow Lite Micro beside the memory planner of `latency_tables/cortex_m` (docs/tflm.md).

python -m benchmarks.tflm_arena
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from latency_tables.cortex_m.counting import network_program
from latency_tables.cortex_m.footprint import peak_memory
from latency_tables.runtimes.litert import random_inputs
from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.int8 import quantize
from latency_tables.tflite.micro import for_micro, run_micro
from search_spaces import get_space
from search_spaces.plain import build_network

_VIT: dict[str, Any] = {"name": "mcuformer", "embed": [192], "heads": [3], "mlp": [4], "depth": [12]}
_DENSE = {"attention_rank": [1], "mlp_rank": [1]}
_LOW_RANK = {"attention_rank": [0.125], "mlp_rank": [0.125]}

#: what is compared: title, space, image channels, whether its largest or its smallest network
NETWORKS: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    ("mobilenet_v3_28, smallest, 20 px", {"name": "mobilenet_v3_28"}, 1, "smallest"),
    ("mobilenet_v3_28, largest, 28 px", {"name": "mobilenet_v3_28"}, 1, "largest"),
    ("mobilenet_v3_64, largest, 64 px", {"name": "mobilenet_v3_64", "resolution": [64]}, 3, "largest"),
    ("mobilenet_v3_64, largest, 96 px", {"name": "mobilenet_v3_64", "resolution": [96]}, 3, "largest"),
    ("vit_nano, softmax, 64 tokens of 96", {"name": "vit_nano", "patch": [4], "attention": ["softmax"]}, 3, "largest"),
    ("ViT, D 192, 240 px, patch 20", _VIT | {"patch": [20]} | _DENSE, 3, "largest"),
    ("ViT, D 192, 240 px, patch 16", _VIT | {"patch": [16]} | _DENSE, 3, "largest"),
    ("the same, rank 1/8", _VIT | {"patch": [16]} | _LOW_RANK, 3, "largest"),
)


def compare(settings: dict[str, Any], channels: int, which: str) -> dict[str, int]:
    """Bytes of both, of a network with any weights."""
    space = get_space(settings, num_classes=10, in_channels=channels)
    architecture = space.decode(getattr(space, which)())[0]
    torch.manual_seed(0)
    side = architecture.resolution
    shape = (channels, side, side)
    model = to_tflite(for_micro(build_network(space, architecture), shape), shape)
    quantized = quantize(model, random_inputs(model.input.shape, num=1))
    run = run_micro(quantized.to_bytes(), np.zeros((1, *quantized.input.shape), np.int8))
    plans = {plan: peak_memory(network_program(space, architecture, plan=plan)) for plan in ("naive", "overwriting")}
    return {"operators": len(quantized.operators), "head": run.head_bytes, "tail": run.tail_bytes, **plans}


def main() -> None:
    columns = ("operators", "TFLM head", "TFLM tail", "planner, naive", "planner, overwriting")
    print(f"| network | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for title, *network in NETWORKS:
        print(f"| {title} | {' | '.join(f'{number:,}' for number in compare(*network).values())} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
