"""What low rank costs in accuracy: trained factors beside the singular values of the dense layers.

    python -m benchmarks.low_rank runs/cifar10_vit_nano
    python -m benchmarks.low_rank runs/cifar10_vit_nano --network ARCH.json

From a trained supernet of transformers: the largest subnet (or another one, of dense layers), and the same network with
every MLP (or every attention, or both) at each rank that the space has. Once as the supernet has it, once with the best
factors of the dense layers (singular value decomposition, nothing trained after it). Beside them, what the network
scores that was trained alone for the same steps, where the run has it (`ofa train CONFIG --alone ARCH.json`). Selection
accuracies. Writes `benchmarks/results/low_rank.json`.
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
from trainers.alone import FILE, FOLDER
from trainers.architectures import read_architecture

RESULTS = ROOT / "benchmarks" / "results" / "low_rank.json"
#: what is made low-rank: title -> groups of choices
PARTS = {"MLP": ("mlp_rank",), "attention": ("attention_rank",), "both": ("mlp_rank", "attention_rank")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.low_rank", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of a run with a trained supernet of transformers")
    parser.add_argument("--network", type=Path, help="the JSON file of a network, instead of the largest")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    try:
        results = measure(options.run, None if options.network is None else read_architecture(options.network))
        write_json(options.output, results)
        print(markdown(results))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def networks(space: SearchSpace, dense: Architecture | None = None) -> Iterator[tuple[str, float, Architecture]]:
    """(part, share of the dense weights, network): `dense`, or the largest network, with this part at this rank."""
    if dense is None:
        (dense,) = space.decode(space.largest())
    for part, groups in PARTS.items():
        options = {group: set(space.settings.get(group, (1,))) for group in groups}
        for share in sorted(set.intersection(*options.values()), reverse=True):
            yield part, share, _with(dense, dict.fromkeys(groups, share))


def _with(architecture: Architecture, shares: Mapping[str, float]) -> Architecture:
    """The architecture with these ranks wherever it has any (softmax attention: a convolution has none)."""
    values = dict(architecture.values)
    for group, share in shares.items():
        entries = values[group]
        assert isinstance(entries, tuple)
        values[group] = tuple(None if entry is None else share for entry in entries)
    return Architecture(values)


def measure(run: Path, dense: Architecture | None = None) -> dict[str, Any]:
    from ofa.config import load_run_config
    from search_spaces.elastic.tokens import ElasticLinear
    from trainers.checkpoints.store import load_supernet
    from trainers.data import load_data
    from trainers.evaluation.evaluate import evaluate_architecture

    config = load_run_config(run)
    loaded = load_supernet(run)
    if not {"mlp_rank", "attention_rank"} <= loaded.space.settings.keys():
        raise UserError("its space has no ranks", file=run)
    data = load_data(config.data, seed=config.seed)
    decomposed = copy.deepcopy(loaded.supernet)
    for layer in decomposed.modules():
        if isinstance(layer, ElasticLinear):
            layer.order_ranks()
    entries = []
    for part, share, architecture in networks(loaded.space, dense):
        row = loaded.space.encode([architecture])
        entries.append(
            {
                "part": part,
                "share": share,
                "params": int(loaded.space.cost("params").evaluate(row)[0]),
                "macs": int(loaded.space.cost("macs").evaluate(row)[0]),
                "trained": evaluate_architecture(loaded.supernet, architecture, data).accuracy,
                "decomposed": evaluate_architecture(decomposed, architecture, data).accuracy,
                "alone": _alone(run, architecture),
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


def _alone(run: Path, architecture: Architecture) -> float | None:
    """What the network scores that was trained from scratch, if the run has it."""
    path = run / FOLDER / architecture.key / FILE
    if not path.exists():
        return None
    return float(read_json(path, "score")["selection"]["recalibrated"]["accuracy"])


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| low rank | share of weights | parameters | MACs | as trained | singular values alone | trained alone |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for entry in results["networks"]:
        lines.append(
            f"| {entry['part']} | {entry['share']:g} | {entry['params'] / 1e3:.0f} k | {entry['macs'] / 1e6:.1f} M "
            f"| {100 * entry['trained']:.1f} | {100 * entry['decomposed']:.1f} "
            + ("| |" if entry["alone"] is None else f"| {100 * entry['alone']:.1f} |")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
