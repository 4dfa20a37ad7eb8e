"""Measure the models of this bundle on this device, and write results.json for `ofa measure --import`.

    python runner.py [--threads N] [--rounds N] [--budget SECONDS] [-o results.json]

Needs Python 3.8 or later, numpy, and the one runtime of the bundle: onnxruntime for .onnx, ai-edge-litert (or
tflite-runtime) for .tflite, executorch (which brings torch) for .pte. Interrupted or killed, the same command goes on
where it was.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Sequence

from .device import cpu_model, load_average
from .files import SCHEMA, Bundle, write_results
from .journal import Journal
from .loaders import get_runtime
from .measuring import Measuring
from .problem import Problem
from .timing import repeat


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="runner.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--threads", type=int, help="threads an inference may use (default: the bundle's)")
    parser.add_argument("--rounds", type=int, help="samples of every model (default: the bundle's)")
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS", help="stop early after so long (default: the bundle's)"
    )
    parser.add_argument("--memory", type=int, metavar="MB", help="memory for the models (default: the bundle's)")
    parser.add_argument(
        "--bundle", type=Path, default=Path(__file__).resolve().parents[1], help="another folder or zip file"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("results.json"))
    parser.add_argument(
        "--repeat", metavar="KEY", help="no measuring: run one model again and again, for a power meter"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to --repeat (default: 60)")
    options = parser.parse_args(arguments)
    for name in ("threads", "rounds", "budget", "memory", "seconds"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise Problem(f"--{name} must be positive, not {value}")
    return options


def run(options: argparse.Namespace) -> None:
    bundle = Bundle(options.bundle)
    plan: dict[str, Any] = dict(bundle.manifest["settings"])
    given = {"threads": options.threads, "rounds": options.rounds, "memory_mb": options.memory}
    given["time_budget_s"] = options.budget
    plan.update({key: value for key, value in given.items() if value is not None})
    if plan["threads"] > (os.cpu_count() or 1):
        raise Problem(f"this device has {os.cpu_count()} cores: --threads {plan['threads']} is too many")
    if options.repeat is None and options.output.exists():
        raise Problem(f"{options.output}: holds results already. Give another -o to measure again")
    version, load = get_runtime(bundle.manifest["runtime"]["suffix"])
    for key in bundle.items:
        bundle.artifact(key)
    device = {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "os": platform.system(),
        "runtime": bundle.manifest["runtime"]["name"],
        "runtime_version": version,
        "threads": plan["threads"],
        "precision": bundle.manifest["precision"],
        "contention": 0,
    }
    head = {"schema": SCHEMA, "manifest_sha256": bundle.sha256, "device": device, "run": uuid.uuid4().hex}
    head["load_start"] = load_average()
    if options.repeat is not None:
        if options.repeat not in bundle.items:
            raise Problem(
                f"--repeat {options.repeat}: no such model in the bundle. The first: {list(bundle.items)[:3]}"
            )
        call = load(bundle.artifact(options.repeat), [1, *bundle.items[options.repeat]["input_shape"]], plan["threads"])
        num, seconds = repeat(call, options.seconds)
        print(f"{options.repeat}: {num} calls in {seconds:.3f} s, {1e3 * seconds / num:.6g} ms each")
        return
    journal = Journal(options.output.with_suffix(".partial.jsonl"), head, plan["max_drift"])
    measuring = Measuring(bundle, load, journal, plan)
    if not journal.readings:
        measuring.check_all()
    measuring.measure()
    results = {key: journal.head[key] for key in ("schema", "manifest_sha256", "run", "device")}
    results["plan"] = {key: plan[key] for key in ("rounds", "threads", "time_budget_s", "memory_mb")}
    results["created"] = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    results["conditions"] = journal.conditions()
    results["samples"] = journal.samples()
    write_results(options.output, results)
    journal.path.unlink()
    print(
        f"{options.output}: {len(results['samples'])} models on {device['cpu']}. Bring it back to: ofa measure --import"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 2 something to mend (told on stderr), 130 interrupted."""
    try:
        run(parse_arguments(arguments))
    except Problem as problem:
        sys.stderr.write(f"\nerror: {problem}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the same command goes on here\n")
        return 130
    return 0
