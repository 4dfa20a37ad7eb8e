"""What low rank costs in accuracy: trained factors beside the singular values of the dense layers.

    python -m benchmarks.low_rank runs/cifar10_vit_nano

From a trained supernet of transformers: the largest subnet, and the same network with every MLP (or every attention, or
both) at each rank that the space has. Once with the factors that were trained beside the dense layers, once with the
best factors of the trained dense layers themselves (singular value decomposition, nothing trained after it). Selection
accuracies, batch norm recalibrated where there is any. Writes `benchmarks/results/low_rank.json`.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peer.machine import checkout
from benchmarks.peer.process import ROOT
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json

RESULTS = ROOT / "benchmarks" / "results" / "low_rank.json"
#: what is made low-rank: title -> groups of choices
PARTS = {"MLP": ("mlp_rank",), "attention": ("attention_rank",), "both": ("mlp_rank", "attention_rank")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.low_rank", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of a run with a trained supernet of transformers")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    try:
        results = measure(options.run)
        write_json(options.output, results)
        print(markdown(results))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def networks(space: SearchSpace) -> Iterator[tuple[str, float, Architecture]]:
    """(part, share of the dense weights, network): the largest network, with this part at this rank."""
    (largest,) = space.decode(space.largest())
    for part, groups in PARTS.items():
        options = {group: set(space.settings.get(group, (1,))) for group in groups}
        for share in sorted(set.intersection(*options.values()), reverse=True):
            yield part, share, _with(largest, dict.fromkeys(groups, share))


def _with(architecture: Architecture, shares: Mapping[str, float]) -> Architecture:
    """The architecture with these ranks wherever it has any (softmax attention: a convolution has none)."""
    values = dict(architecture.values)
    for group, share in shares.items():
        entries = values[group]
        assert isinstance(entries, tuple)
        values[group] = tuple(None if entry is None else share for entry in entries)
    return Architecture(values)


def measure(run: Path) -> dict[str, Any]:
    from ofa.config import load_run_config
    from trainers.checkpoints.store import load_supernet
    from trainers.data import load_data
    from trainers.evaluation.evaluate import evaluate_architecture

    config = load_run_config(run)
    loaded = load_supernet(run)
    if not {"mlp_rank", "attention_rank"} <= loaded.space.settings.keys():
        raise UserError("its space has no ranks", file=run)
    data = load_data(config.data, seed=config.seed)
    decomposed = copy.deepcopy(loaded.supernet)
    decomposed.sort_channels()  # of which factors of the dense layers are a part
    entries = []
    for part, share, architecture in networks(loaded.space):
        row = loaded.space.encode([architecture])
        entries.append(
            {
                "part": part,
                "share": share,
                "params": int(loaded.space.cost("params").evaluate(row)[0]),
                "macs": int(loaded.space.cost("macs").evaluate(row)[0]),
                "trained": evaluate_architecture(loaded.supernet, architecture, data).accuracy,
                "decomposed": evaluate_architecture(decomposed, architecture, data).accuracy,
            }
        )
    info = read_json(run / "supernet.json", "supernet description")
    return {
        "schema": 1,
        "space": loaded.space.description,
        "num_images": data.size("selection"),
        "steps": info["step"],
        "networks": entries,
        "commit": checkout(),
    }


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| low rank | share of dense weights | parameters | MACs | trained factors | singular values alone |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for entry in results["networks"]:
        lines.append(
            f"| {entry['part']} | {entry['share']:g} | {entry['params'] / 1e3:.0f} k | {entry['macs'] / 1e6:.1f} M "
            f"| {100 * entry['trained']:.1f} | {100 * entry['decomposed']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
