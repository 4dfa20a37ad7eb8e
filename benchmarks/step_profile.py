"""Where the time of a training step goes.

    python -m benchmarks.step_profile                       # configs/cifar10_mobilenet_v3.yaml, 100 steps, one thread
    python -m benchmarks.step_profile CONFIG --steps 50 --threads 2 --set train.compile=true
    python -m benchmarks.step_profile --markdown            # the table of the results that are there, for the docs

Trains as `ofa run` does, without evaluations and checkpoints: a short run that warms the process up, then the one whose
ledger is read. Writes `benchmarks/results/step_profile.json`. CIFAR-10 is found through the variable OFA_BENCH_DATA
(default: `../shared/data` beside the checkout).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peer.machine import Neighbours, checkout, machine_facts
from benchmarks.peer.process import ROOT
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json

RESULTS = ROOT / "benchmarks" / "results" / "step_profile.json"
CONFIG = ROOT / "configs" / "cifar10_mobilenet_v3.yaml"
DATA_VARIABLE = "OFA_BENCH_DATA"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_profile", description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, nargs="?", default=CONFIG)
    parser.add_argument("--steps", type=int, default=100, help="steps that are measured (default 100)")
    parser.add_argument("--warm-up", type=int, default=10, help="steps of the run before (default 10)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="change the config")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--markdown", action="store_true", help="measure nothing: print the table of --output")
    options = parser.parse_args()
    try:
        if options.markdown:
            result = read_json(options.output, "step profile")
        else:
            result = measure(options)
            write_json(options.output, result)
        print(markdown(result))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Mean wall milliseconds of every part of a step, of one run after another that warmed up."""
    import torch

    from trainers.data import keep_loaded
    from trainers.settings.train import load_training_config
    from trainers.training import train

    if options.steps < 1 or options.warm_up < 1:
        raise UserError("must be at least 1", key="--steps, --warm-up")
    torch.set_num_threads(options.threads)
    data = ROOT.parent / "shared" / "data"
    if not os.environ.get(DATA_VARIABLE) and data.is_dir():
        os.environ[DATA_VARIABLE] = str(data)
    fixed = ["train.checkpoint_every=1000000", "train.eval_every=null"]
    warm_up, config = (
        load_training_config(options.config, [*options.set, *fixed, f"train.max_steps={steps}"])
        for steps in (options.warm_up, options.steps)
    )
    with tempfile.TemporaryDirectory() as folder, keep_loaded():
        train(warm_up, Path(folder) / "warm_up")
        neighbours, load = Neighbours(), os.getloadavg()[0]
        train(config, Path(folder) / "measured")
        busy = neighbours.cores([])
        info = read_json(Path(folder) / "measured" / "supernet.json", "supernet description")
    steps, cost = info["step"], info["cost"]
    return {
        "schema": 1,
        "config": options.config.name,
        "changed": options.set,
        "space": config.space,
        "batch_size": config.train.batch_size,
        "micro_batch": config.train.group_size,
        "steps": steps,
        "warm_up": options.warm_up,
        "threads": options.threads,
        "device": "cuda" if config.train.device != "cpu" and torch.cuda.is_available() else "cpu",
        "milliseconds": {part: round(1000 * seconds / steps, 3) for part, seconds in cost["seconds"].items()},
        "forward_macs_per_step": round(cost["forward_macs"] / steps),
        "machine": machine_facts(),
        "load": load,
        "busy_cores_of_others": busy,
        "commit": checkout(),
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The table, and the conditions it was taken under."""
    parts = {part: value for part, value in result["milliseconds"].items() if part != "pauses"}
    total = sum(parts.values())
    lines = ["| part of a step | ms | share |", "|---|---|---|"]
    lines += [f"| {part.replace('_', ' ')} | {value:.2f} | {value / total:.1%} |" for part, value in parts.items()]
    small = (parts["data"] + parts["bookkeeping"]) / total
    lines += [f"| whole step | {total:.2f} | |", f"| data and bookkeeping together | | {small:.1%} |", ""]
    machine, changed = result["machine"], "".join(f", {change}" for change in result["changed"])
    lines += [
        f"`{result['config']}`{changed}: mean of {result['steps']} steps of {result['batch_size']} images after "
        f"{result['warm_up']} to warm up; {result['device']}, {result['threads']} thread(s); {machine['processor']}, "
        f"{machine['cores']} cores, torch {machine['torch']}; load {result['load']:.1f}, cores busy with other things "
        f"{json.dumps(result['busy_cores_of_others'])}; commit {result['commit']}."
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
