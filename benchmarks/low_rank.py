"""What low rank costs in accuracy: subnets of a supernet, and a network that was trained alone.

    python -m benchmarks.low_rank runs/cifar10_vit_nano
    python -m benchmarks.low_rank runs/cifar10_vit_nano --network ARCH.json

From a trained supernet of transformers: the largest subnet (or another one, of dense layers), and the same network with
every MLP (or every attention, or both) at each rank that the space has. Every rank is the best approximation of the
dense weights (singular values), nothing trained after it. Beside them the same of the dense network that was trained
alone for the same steps, where the run has it (`ofa train CONFIG --alone ARCH.json`). Selection accuracies. Writes
`benchmarks/results/low_rank.json`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.peer.machine import checkout
from benchmarks.peer.process import ROOT
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json
from search_spaces.supernet import Supernet, build_supernet
from trainers.alone import FOLDER
from trainers.architectures import read_architecture, restriction_to
from trainers.checkpoints.store import load_supernet

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
    from trainers.data import load_data
    from trainers.evaluation.evaluate import evaluate_architecture

    config = load_run_config(run)
    loaded = load_supernet(run)
    if not {"mlp_rank", "attention_rank"} <= loaded.space.settings.keys():
        raise UserError("its space has no ranks", file=run)
    data = load_data(config.data, seed=config.seed)
    alone = _alone(run, loaded.space, dense)
    entries = []
    for part, share, architecture in networks(loaded.space, dense):
        row = loaded.space.encode([architecture])
        entries.append(
            {
                "part": part,
                "share": share,
                "params": int(loaded.space.cost("params").evaluate(row)[0]),
                "macs": int(loaded.space.cost("macs").evaluate(row)[0]),
                "subnet": evaluate_architecture(loaded.supernet, architecture, data).accuracy,
                "alone": None if alone is None else evaluate_architecture(alone, architecture, data).accuracy,
            }
        )
    info = read_json(run / "supernet.json", "supernet description")
    return {
        "schema": 2,
        "space": loaded.space.description,
        "num_images": data.size("selection"),
        "steps": info["step"],
        "networks": entries,
        "commit": checkout(),
    }


def _alone(run: Path, space: SearchSpace, dense: Architecture | None) -> Supernet | None:
    """The dense network that was trained alone, if the run has it, with all ranks of the space."""
    if dense is None:
        (dense,) = space.decode(space.largest())
    folder = run / FOLDER / dense.key
    if not (folder / "supernet.json").exists():
        return None
    kept = {name: options for name, options in restriction_to(space, dense).items() if "rank" not in name}
    supernet = build_supernet(space.restrict(kept)).eval()
    supernet.load_state_dict(load_supernet(folder).supernet.state_dict())
    return supernet


def markdown(results: Mapping[str, Any]) -> str:
    lines = [
        "| low rank | share of dense weights | parameters | MACs | subnet | trained alone |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for entry in results["networks"]:
        lines.append(
            f"| {entry['part']} | {entry['share']:g} | {entry['params'] / 1e3:.0f} k | {entry['macs'] / 1e6:.1f} M "
            f"| {100 * entry['subnet']:.1f} " + ("| |" if entry["alone"] is None else f"| {100 * entry['alone']:.1f} |")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
