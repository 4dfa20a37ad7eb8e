"""Nested records, evaluated together: what they save, and what they do to the predictor.

    python -m benchmarks.sharing time         # 200 records together and one by one, in turn, group by group
    python -m benchmarks.sharing predictor    # fits on NAS-Bench-Macro

Both go on where they were stopped and write `benchmarks/results/sharing.json`. The data are found through the variable
OFA_BENCH_DATA (default: `../shared/data` beside the checkout).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from benchmarks.peer.machine import Neighbours, checkout, machine_facts
from benchmarks.peer.process import ROOT
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_json

RESULTS = ROOT / "benchmarks" / "results" / "sharing.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS)
    commands = parser.add_subparsers(dest="command", required=True)
    time = commands.add_parser("time", help="wall time of records together and one by one")
    time.add_argument("--num", type=int, default=200, help="records (default 200; 40 is a short try)")
    time.add_argument("--space", default="mobilenet_v3_64", help="default: mobilenet_v3_64")
    time.add_argument("--images", type=int, default=1000, help="of each of both splits (default 1000)")
    time.add_argument("--threads", type=int, default=1)
    time.add_argument("--synthetic", action="store_true", help="images made by a formula instead of CIFAR-10")
    predictor = commands.add_parser("predictor", help="predictors fitted to nested records and to others")
    predictor.add_argument("--seeds", type=int, default=20)
    predictor.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    try:
        {"time": _time, "predictor": _predictor}[options.command](options)
    except UserError as error:
        sys.exit(f"error: {error}")


def _time(options: argparse.Namespace) -> None:
    import torch

    from benchmarks.sharing_time import Setting, measure, summary

    torch.set_num_threads(options.threads)
    data = None if options.synthetic else _data("cifar10_webp.npz")
    setting = Setting(options.space, options.num, options.images, options.threads, data is None)
    results = _read(options.output)
    part = results.setdefault("time", {})
    if part.get("setting") != setting.facts():
        part.clear()
        part |= {"setting": setting.facts(), "groups": {}}
    neighbours = Neighbours()
    for number, entry in measure(setting, data, known=set(part["groups"])):
        part["groups"][number] = entry
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        part |= {"summary": summary(part["groups"]), "peak_rss_mib": round(peak), "commit": checkout()}
        part |= {"machine": machine_facts(), "busy_cores_of_others": neighbours.cores([])}
        write_json(options.output, results)
        _say(f"group {number}: {json.dumps(part['summary'])}")
    print(json.dumps({**part["summary"], "peak_rss_mib": part["peak_rss_mib"]}, indent=2))


def _predictor(options: argparse.Namespace) -> None:
    from benchmarks.nas_bench_macro import load
    from benchmarks.sharing_predictor import SIZES, graded, lanes, summary, table

    benchmark = load(_data("nas_bench_macro_cifar10.json") / "nas_bench_macro_cifar10.json")
    results = _read(options.output)
    part = results.setdefault("predictor", {"fits": []})
    known = {(fit["seed"], fit["size"], fit["lane"]) for fit in part["fits"]}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for size in SIZES:
            for lane in lanes(benchmark, size, seed):
                if (seed, size, lane.name) not in known:
                    fit = graded(benchmark, lane, seed)
                    part["fits"].append({"seed": seed, "size": size, "lane": lane.name, **fit})
        part |= {"summary": summary(part["fits"]), "commit": checkout()}
        write_json(options.output, results)
        _say(f"seed {seed}")
    print(table(part["summary"]), end="")


def _data(name: str) -> Path:
    """The folder with the data; `UserError` where the file is missing."""
    folder = Path(os.environ.get("OFA_BENCH_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / name).is_file():
        raise UserError("no such file", file=folder / name, hint="Set OFA_BENCH_DATA to the folder that holds it")
    return folder


def _read(path: Path) -> dict[str, Any]:
    results = json.loads(path.read_text()) if path.exists() else {"schema": 1}
    if not isinstance(results, dict) or results.get("schema") != 1:
        raise UserError("is not a results file of this benchmark", file=path, hint="Choose another --output")
    return results


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
