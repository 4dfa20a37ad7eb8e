"""What int8 costs in accuracy: networks of trained supernets, in floating point and in integers.

    python -m benchmarks.quantization runs/cifar10_mobilenet_v3 runs/fashion_mnist_mobilenet_v3 runs/cifar10_vit_nano

Of every run, some networks from small to large that the kernels take: accuracies on the test split, by every way to
find the ranges of values, and the signal-to-noise ratio of the logits on the selection split. A network is scored once
and its score kept in runs/quantization, so that the benchmark goes on where it was stopped. Data that a run's config
names no folder of are found through the variable OFA_BENCH_DATA. Adds to `benchmarks/results/quantization.json`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, fx, nn

from benchmarks.peer.machine import checkout
from benchmarks.peer.process import ROOT
from latency_tables.cortex_m.calibration import Method
from latency_tables.cortex_m.counting import network_program
from ofa.config import load_run_config
from ofa.mcu.integer import IntegerNetwork
from ofa.mcu.quantize import QuantizationSettings, calibration_images, quantize_network
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json
from trainers.checkpoints.store import load_supernet
from trainers.data import ImageData, load_data
from trainers.data.test_ledger import score_once
from trainers.evaluation.evaluate import evaluate_network, specialize

RESULTS = ROOT / "benchmarks" / "results" / "quantization.json"
WORK = ROOT / "runs" / "quantization"
METHODS: tuple[Method, ...] = get_args(Method)
_DRAWN, _BATCH_SIZE = 300, 250


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantization", description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs with trained supernets")
    parser.add_argument("--networks", type=int, default=3, help="how many of each run")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    try:
        entries = read_json(options.output, "results")["networks"] if options.output.exists() else []
        for run in options.runs:
            for entry in measure(run, options.networks, entries):
                entries.append(entry)
                write_json(options.output, {"schema": 1, "commit": checkout(), "networks": entries})
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(markdown(entries))
    return 0


def measure(run: Path, number: int, known: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What is not `known` yet."""
    config = load_run_config(run)
    supernet, data = load_supernet(run), load_data(config.data, seed=config.seed)
    for architecture in chosen(supernet.space, number):
        key = f"{supernet.weights_sha256[:12]}-{architecture.key}"
        if any(entry["key"] == key for entry in known):
            continue
        network = specialize(supernet, architecture, data, cache=WORK / "calibrated")
        row = supernet.space.encode([architecture])
        entry: dict[str, Any] = {
            "run": run.name,
            "key": key,
            "macs": int(supernet.space.cost("macs").evaluate(row)[0]),
            "accuracy": {"float": _score(network, data, architecture.resolution, f"{key}-float")},
            "signal_to_noise_db": {},
            "seconds_per_1000_images": 0.0,
        }
        for method in METHODS:
            settings = QuantizationSettings(calibration=method)
            images = calibration_images(data, resolution=architecture.resolution, num_images=settings.num_images)
            integers = IntegerNetwork(quantize_network(network, images, settings=settings))
            noise, seconds = _noise(network, integers, data, architecture.resolution)
            entry["accuracy"][method] = _score(integers, data, architecture.resolution, f"{key}-{method}")
            entry["signal_to_noise_db"][method], entry["seconds_per_1000_images"] = noise, seconds
        print(markdown([entry]).splitlines()[-1], file=sys.stderr, flush=True)
        yield entry


def chosen(space: SearchSpace, number: int) -> list[Architecture]:
    """From small to large by MACs, without those that there are no kernels for."""
    drawn = space.decode(space.sample(_DRAWN, np.random.default_rng(0)))
    macs = space.cost("macs").evaluate(space.encode(drawn))
    found: list[Architecture] = []
    for part in np.array_split(np.argsort(macs, kind="stable"), number):
        taken = (drawn[index] for index in part[len(part) // 2 :])
        found.extend([next(architecture for architecture in taken if _has_kernels(space, architecture))])
    return found


def _has_kernels(space: SearchSpace, architecture: Architecture) -> bool:
    try:
        network_program(space, architecture)
    except UserError:
        return False
    return True


def _score(network: nn.Module, data: ImageData, resolution: int, key: str) -> float:
    """Accuracy (0..1) on the test split."""

    def score(batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(evaluate_network(network, batches)).items()}

    ledger = WORK / "test_ledger.jsonl"
    return score_once(data, key=key, ledger=ledger, resolution=resolution, batch_size=_BATCH_SIZE, score=score)[
        "accuracy"
    ]


def _noise(network: fx.GraphModule, integers: nn.Module, data: ImageData, resolution: int) -> tuple[float, float]:
    """Signal to noise of the logits in dB, and seconds of the processor for 1,000 images in integers."""
    images, _ = next(data.batches("selection", resolution=resolution, batch_size=500))
    with torch.inference_mode():
        logits = network(images)
    start = time.process_time()
    noise = integers(images) - logits
    seconds = (time.process_time() - start) / len(images) * 1000
    return float(10 * torch.log10(logits.square().sum() / noise.square().sum())), seconds


def markdown(entries: Sequence[dict[str, Any]]) -> str:
    titles = [
        "run",
        "network",
        "M MACs",
        "float",
        *METHODS,
        *(f"dB {method}" for method in METHODS),
        "s / 1,000 images",
    ]
    lines = [" | ".join(("", *titles, "")).strip(), "|" + "---|" * len(titles)]
    for entry in entries:
        accuracy, noise = entry["accuracy"], entry["signal_to_noise_db"]
        cells = [entry["run"], entry["key"].split("-")[1], f"{entry['macs'] / 1e6:.1f}"]
        cells += [f"{100 * accuracy[name]:.2f}" for name in ("float", *METHODS)]
        cells += [f"{noise[method]:.1f}" for method in METHODS] + [f"{entry['seconds_per_1000_images']:.1f}"]
        lines.append(" | ".join(("", *cells, "")).strip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
