"""How far latency tables can be trusted on this machine.

    python -m benchmarks.latency_tables build onnxruntime torch ...  # a table each, graded on 100 networks
    python -m benchmarks.latency_tables disturbed                    # the same beside a process that comes and goes
    python -m benchmarks.latency_tables again                        # what `ofa validate` says of the tables now
    python -m benchmarks.latency_tables --markdown                   # the results that are there, for the docs

`ofa_mobilenet_v3` at 96 to 160 px, one thread, batch 1. Tables stay in `--folder` (default: `runs/latency_tables`), so
that an interrupted build goes on and `again` can be asked an hour later. Writes
`benchmarks/results/latency_tables.json`. Wants a quiet machine, and says how quiet it was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer.machine import checkout, machine_facts
from benchmarks.peer.process import ROOT
from latency_tables.conformal import coverage
from latency_tables.measure import measure_table
from latency_tables.settings import DeviceSettings
from latency_tables.table import LatencyTable, load_table
from latency_tables.validate import validate_table
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json

RESULTS = ROOT / "benchmarks" / "results" / "latency_tables.json"
SPACE = {"name": "ofa_mobilenet_v3", "resolution": [96, 112, 128, 144, 160]}
SMALL = {"name": "mobilenet_v3_28"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency_tables", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["build", "disturbed", "again"])
    parser.add_argument("runtimes", nargs="*", default=["onnxruntime"])
    parser.add_argument("--holdout", type=int, default=100, help="networks that a table is graded on (default 100)")
    parser.add_argument("--fit", type=int, default=40, help="networks the correction is fitted on (default 40)")
    parser.add_argument("--budget", type=float, default=480.0, help="seconds a table may take (default 480)")
    parser.add_argument("--memory", type=int, default=1024, help="MB of items prepared at once (default 1024)")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to wait for quiet (default 300)")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "latency_tables")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--markdown", action="store_true", help="measure nothing: print what is in --output")
    options = parser.parse_args()
    results: dict[str, Any] = read_json(options.output, "results") if options.output.exists() else {}
    try:
        if not options.markdown:
            steps = {"build": build, "disturbed": disturbed, "again": again}
            if options.what is None:
                parser.error("say what: build, disturbed or again")
            for runtime in options.runtimes:
                found = steps[options.what](runtime, options)
                results.setdefault(options.what, {})[runtime] = found
                results["machine"], results["checkout"] = machine_facts(), checkout()
                write_json(options.output, results)
        print(markdown(results))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def device(runtime: str, options: argparse.Namespace) -> DeviceSettings:
    return DeviceSettings.model_validate(
        {
            "name": runtime,
            "runtime": runtime,
            "holdout": options.holdout,
            "fit_networks": options.fit,
            "time_budget_s": options.budget,
            "memory_mb": options.memory,
            "patience_s": options.patience,
        }
    )


def build(runtime: str, options: argparse.Namespace) -> dict[str, Any]:
    """A table from nothing, timed, with its own account of its error."""
    path = options.folder / f"{runtime}.json"
    start = time.monotonic()
    table = measure_table(get_space(SPACE, 1000, 3), device(runtime, options), path=path, replace=True)
    return {"seconds": time.monotonic() - start} | account(table)


def account(table: LatencyTable) -> dict[str, Any]:
    predicted, measured = table.graded
    return {
        "created": table.created,
        "num_operators": len(table.entries),
        "samples": float(np.median([entry.count for entry in table.entries.values()])),
        **table.heldout.model_dump(exclude={"pairs"}),
        "range_ms": [min(measured), max(measured)],
        "coverage_95": coverage(predicted, measured, 0.95),
        "correction": table.correction.model_dump(exclude={"operators_ms"}),
        "conditions": table.conditions.model_dump(),
    }


def again(runtime: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a validation now says of the table that was built before."""
    path = options.folder / f"{runtime}.json"
    table = load_table(path)
    if not isinstance(table, LatencyTable):
        raise UserError("was not measured here", file=path)
    found = validate_table(table, file=path, seed=1)
    return {
        "created": table.created,
        "minutes_later": (datetime.now(UTC) - datetime.fromisoformat(table.created)).total_seconds() / 60,
        "drift": found.drift,
        "now": found.now.model_dump(exclude={"pairs"}),
        "operator_drift": found.operator_drift,
        "inside_95": found.inside,
        "broken": found.broken,
    }


def disturbed(runtime: str, options: argparse.Namespace) -> dict[str, Any]:
    """Two tables of a smaller space, the second one beside a process that burns a core for 10 s of every 20 s."""
    space = get_space(SMALL, 10, 3)
    settings = device(runtime, options).model_copy(update={"holdout": 24, "fit_networks": 16})
    quiet = _timed(space, settings, options.folder / f"{runtime}_quiet.json")
    repeated = _timed(space, settings, options.folder / f"{runtime}_quiet_again.json")
    with neighbour(busy_s=10.0, idle_s=10.0) as burned:
        beside = _timed(space, settings, options.folder / f"{runtime}_disturbed.json")
    return {
        "seconds": [quiet[1], repeated[1], beside[1]],
        "burned_s": burned[0],
        "share_disturbed": [table.conditions.disturbed for table, _ in (quiet, repeated, beside)],
        "quiet_again": difference(space, quiet[0], repeated[0]),
        "disturbed": difference(space, quiet[0], beside[0]),
    }


def difference(space: SearchSpace, first: LatencyTable, second: LatencyTable) -> dict[str, float]:
    """How far two tables are apart, on operators and on what they predict for 1,000 random networks."""
    operators = [second.entries[key].median_ms / entry.median_ms - 1 for key, entry in first.entries.items()]
    population = space.sample(1000, np.random.default_rng(0))
    networks = second.cost(space).evaluate(population) / first.cost(space).evaluate(population) - 1
    return {
        "operators_median": float(np.median(operators)),
        "operators_p90": float(np.percentile(np.abs(operators), 90)),
        "networks_median": float(np.median(networks)),
        "networks_largest": float(np.abs(networks).max()),
    }


def _timed(space: SearchSpace, settings: DeviceSettings, path: Path) -> tuple[LatencyTable, float]:
    path.unlink(missing_ok=True)
    start = time.monotonic()
    return measure_table(space, settings, path=path), time.monotonic() - start


@contextmanager
def neighbour(*, busy_s: float, idle_s: float) -> Iterator[list[float]]:
    """A process that burns one core, on and off; yields [seconds burned so far]."""
    burned, stop = [0.0], threading.Event()

    def run() -> None:
        while not stop.is_set():
            with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
                start = time.monotonic()
                stop.wait(busy_s)
                process.kill()
            burned[0] += time.monotonic() - start
            stop.wait(idle_s)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield burned
    finally:
        stop.set()
        thread.join()


def markdown(results: dict[str, Any]) -> str:
    lines = []
    if found := results.get("build"):
        lines += ["| runtime | operators | built in | error | within 10 % | tau | 95 % interval holds | networks |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for runtime, entry in found.items():
            low, high = entry["range_ms"]
            lines.append(
                f"| {runtime} | {entry['num_operators']} | {entry['seconds']:.0f} s | {entry['mape']:.2%} | "
                f"{entry['share_within_10']:.0%} | {entry['kendall_tau']:.3f} | {entry['coverage_95']:.1%} | "
                f"{entry['num']}, {low:.2f}-{high:.2f} ms |"
            )
    if found := results.get("again"):
        lines += ["", "| runtime | later | drift | error | tau | within its 95 % interval | no longer true |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for runtime, entry in found.items():
            now, broken = entry["now"], "; ".join(entry["broken"]) or "-"
            lines.append(
                f"| {runtime} | {entry['minutes_later']:.0f} min | {entry['drift']:+.1%} | {now['mape']:.2%} | "
                f"{now['kendall_tau']:.3f} | {entry['inside_95']:.0%} | {broken} |"
            )
    if found := results.get("disturbed"):
        lines += ["", "| runtime | table | seconds | samples taken again | operators, median | networks, largest |"]
        lines += ["|---|---|---|---|---|---|"]
        for runtime, entry in found.items():
            for place, name in ((1, "quiet_again"), (2, "disturbed")):
                lines.append(
                    f"| {runtime} | {name.replace('_', ' ')} | {entry['seconds'][place]:.0f} | "
                    f"{entry['share_disturbed'][place]:.0%} | {entry[name]['operators_median']:+.1%} | "
                    f"{entry[name]['networks_largest']:.1%} |"
                )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
