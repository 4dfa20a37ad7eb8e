"""What each kind of gene of a vision transformer is worth: rank, patch, tokens and attention, alone and together.

    python -m benchmarks.transformer_genes --train            # supernets only: about 12 minutes of one core each
    python -m benchmarks.transformer_genes                    # the rest of each run: on a quiet machine
    python -m benchmarks.transformer_genes --only "rank,all"

Six supernets of `vit_nano` on CIFAR-10: `base` has elastic depth, embedding, heads and MLP; four have one kind of gene
besides, `all` has every one. All train for the same multiply-accumulates by the same recipe, and each goes the whole
of `ofa run` under the same limits of latency: its table, 96 evaluated subnets, a predictor, a search, measured
candidates, an exported file. Accuracies are those of the exported files on the test split, which nothing else reads.
The winners of the others are networks of `all`, too: what they score there (selection split) says what sharing costs.

Goes on where it was stopped. Writes `benchmarks/results/transformer_genes.json` and the figure (needs matplotlib: extra
`bench`). The data are found through the variable OFA_BENCH_DATA (default: `../shared/data` beside the checkout).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peer.machine import checkout, machine_facts
from benchmarks.peer.process import ROOT
from benchmarks.training.budget import KnownBudgets
from benchmarks.training.plots import COLOURS, prepare_matplotlib
from benchmarks.training.setting import Setting, data_folder
from search_spaces import Architecture
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json, write_text

RESULTS = ROOT / "benchmarks" / "results" / "transformer_genes.json"
FIGURE = ROOT / "docs" / "transformer_genes.svg"
WORK = ROOT / "runs" / "transformer_genes"
DATA_FILE = "cifar10_webp.npz"

#: the genes of the space that are switched off, by kind
OFF: dict[str, dict[str, Any]] = {
    "rank": {"attention_rank": [1], "mlp_rank": [1]},
    "patch": {"patch": [4]},
    "tokens": {"selects": [], "keep": [1]},
    "attention": {"attention": ["softmax"]},
}
VARIANTS = ("base", *OFF, "all")
#: limits of latency; the first only where patches make networks that fast
LIMITS_MS = (0.15, 0.3, 0.45, 0.65, 1.0)

SETTING = Setting(
    space={"name": "vit_nano"},
    data={
        "name": "cifar10",
        "limit": 50_000,
        "split": {"calibration": 1000, "selection": 2000},
        "augment": {"crop_padding": 4, "flip": True},
    },
    train={
        "recipe": "bounded_jumps",
        "batch_size": 128,
        "micro_batch": 64,
        "optimizer": {"name": "adamw", "lr": 1.0e-3, "weight_decay": 0.05},
        "schedule": {"warmup_epochs": 1},
        "label_smoothing": 0.1,
        "clip_grad_norm": 1.0,
        "ema_decay": 0.999,
        "device": "cpu",
    },
    epochs=10,
    reference="base",
    recipe_seeds=(0,),
    file=DATA_FILE,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transformer_genes", description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="supernets only")
    parser.add_argument("--report", action="store_true", help="table of what is done")
    parser.add_argument("--only", default=",".join(VARIANTS), help="which variants, separated by commas")
    parser.add_argument("--work", type=Path, default=WORK, help="where runs are kept")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--figure", type=Path, default=FIGURE, help="file of the figure, .svg or .png")
    parser.add_argument("--no-figure", action="store_true", help="table only")
    options = parser.parse_args()
    try:
        names = options.only.split(",")
        if unknown := [name for name in names if name not in VARIANTS]:
            raise UserError("no such variant", key="--only", value=unknown[0], hint=f"Known: {', '.join(VARIANTS)}")
        if not options.report:
            budgets = KnownBudgets(options.work)
            for name in names:
                carry_out(name, budgets, options.work, train_only=options.train)
        if not options.train:
            write_json(options.output, results := gather(options.work))
            print(markdown(results), comparison(results), sep="\n\n")
            if not options.no_figure:
                draw(results, options.figure)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def space_of(variant: str) -> dict[str, Any]:
    """The section `space` of a variant."""
    kept = OFF if variant == "all" else {variant}
    switched_off = {key: value for kind, off in OFF.items() if kind not in kept for key, value in off.items()}
    return {**SETTING.space, **switched_off}


def limits_of(variant: str) -> tuple[float, ...]:
    return LIMITS_MS if variant in ("patch", "all") else LIMITS_MS[1:]


def config_of(variant: str, epochs: float) -> dict[str, Any]:
    """The whole config of a variant's run."""
    return {
        "name": variant,
        "seed": 0,
        "space": space_of(variant),
        "data": {**SETTING.data, "path": str(data_folder(DATA_FILE))},
        "train": {**SETTING.train, "epochs": epochs},
        "devices": [{"name": "onnxruntime", "runtime": "onnxruntime", "threads": 1}],
        "records": {"num": 96, "sampling": "nested"},
        "search": {
            "device": "onnxruntime",
            "budgets": {f"ms{limit:g}".replace(".", "_"): {"latency": f"{limit:g}ms"} for limit in limits_of(variant)},
        },
        "export": {"forms": ["safetensors", "onnx"]},
    }


def carry_out(variant: str, budgets: KnownBudgets, work: Path, *, train_only: bool) -> None:
    """Train a variant for the MACs of `base`; unless `train_only`, take its run to the end."""
    from ofa.config import load_config
    from ofa.pipeline import run_pipeline
    from trainers.training import train

    macs = budgets.get(SETTING, space_of("base"), SETTING.train).macs
    budget = budgets.get(SETTING, space_of(variant), SETTING.train, macs=macs, seed=0)
    path = work / f"{variant}.yaml"
    write_text(path, yaml.safe_dump(config_of(variant, budget.epochs), sort_keys=False))
    if train_only:
        train(load_config(path), work / variant)
    else:
        run_pipeline(path, [], runs=work)


def gather(work: Path) -> dict[str, Any]:
    """What the finished runs say about their networks."""
    variants = {}
    for name in VARIANTS:
        run = work / name
        exports = sorted((run / "specialized").glob("*/report.json")) if run.exists() else []
        if not exports:
            continue
        info = read_json(run / "supernet.json", "supernet description")
        networks = [read_json(path, "export report") for path in exports]
        variants[name] = {
            "space": info["space"],
            "steps": info["step"],
            "cost": info["cost"],
            "networks": [
                {
                    "limit": network["name"],
                    "key": network["key"],
                    "architecture": network["architecture"],
                    "costs": network["costs"],
                    "latency": network["latency"]["onnxruntime"],
                    "accuracy": network["accuracy"],
                }
                for network in networks
            ],
        }
    if not variants:
        raise UserError("no run is finished", file=work, hint="Run this without --report")
    if "all" in variants:
        score_in_all(variants, work)
    return {"schema": 1, "variants": variants, "commit": checkout(), "machine": machine_facts()}


def score_in_all(variants: Mapping[str, Any], work: Path) -> None:
    """Put into every network `in_all`, what it scores as a subnet of that supernet, or None where it is none."""
    from ofa.config import load_run_config
    from trainers.checkpoints.store import load_supernet
    from trainers.data import load_data
    from trainers.evaluation.evaluate import evaluate_architecture

    loaded, config = load_supernet(work / "all"), load_run_config(work / "all")
    data = load_data(config.data, seed=config.seed)
    for network in (network for variant in variants.values() for network in variant["networks"]):
        values = dict(Architecture.from_json(network["architecture"]).values)
        depth, selects = int(str(values["depth"])), loaded.space.settings["selects"]
        values.setdefault("keep", tuple(1 if block <= depth else None for block in selects))
        try:
            loaded.space.encode([architecture := Architecture(values)])
        except UserError:
            network["in_all"] = None
            continue
        network["in_all"] = evaluate_architecture(loaded.supernet, architecture, data).accuracy


def comparison(results: Mapping[str, Any]) -> str:
    """Selection accuracies of the winners: in their own supernet, and in `all`."""
    lines = ["| winners of | " + " | ".join(f"{limit:g} ms" for limit in LIMITS_MS) + " |"]
    lines.append("|---|" + "---:|" * len(LIMITS_MS))
    for name, variant in results["variants"].items():
        known = {network["limit"]: network for network in variant["networks"] if network.get("in_all") is not None}
        if name == "all" or not known:
            continue
        pairs = [known.get(f"ms{limit:g}".replace(".", "_")) for limit in LIMITS_MS]
        cells = [
            "" if pair is None else f"{100 * pair['accuracy']['selection']['accuracy']:.1f}, {100 * pair['in_all']:.1f}"
            for pair in pairs
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown(results: Mapping[str, Any]) -> str:
    """Test accuracy and measured latency of the winner under each limit."""
    variants = results["variants"]
    lines = [
        "| genes | " + " | ".join(f"{limit:g} ms" for limit in LIMITS_MS) + " |",
        "|---|" + "---:|" * len(LIMITS_MS),
    ]
    for name, variant in variants.items():
        cells = [_cell(variant["networks"], limit) for limit in LIMITS_MS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Test accuracy over measured latency, one line a variant."""
    prepare_matplotlib()
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(7.5, 4.6), layout="constrained")
    for number, (name, variant) in enumerate(results["variants"].items()):
        points = sorted(
            (network["latency"]["measured"]["median_ms"], 100 * network["accuracy"]["test"]["accuracy"])
            for network in variant["networks"]
        )
        width = 2.4 if name == "all" else 1.3
        axes.plot(
            *zip(*points, strict=True), marker="o", markersize=4, linewidth=width, color=COLOURS[number], label=name
        )
    axes.set_xscale("log")
    axes.set_xlabel("measured latency, ms (ONNX Runtime, one thread)")
    axes.set_ylabel("accuracy of the exported file, test split, %")
    axes.xaxis.set_major_locator(ticker.FixedLocator(LIMITS_MS))
    axes.xaxis.set_major_formatter(ticker.ScalarFormatter())
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.grid(True, linewidth=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    pyplot.close(figure)


def _cell(networks: Sequence[Mapping[str, Any]], limit: float) -> str:
    for network in networks:
        if network["limit"] == f"ms{limit:g}".replace(".", "_"):
            accuracy, latency = network["accuracy"]["test"]["accuracy"], network["latency"]["measured"]["median_ms"]
            return f"{100 * accuracy:.1f} % ({latency:.2f} ms)"
    return ""


if __name__ == "__main__":
    sys.exit(main())
