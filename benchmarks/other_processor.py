"""What the table of one processor says of another, and how many networks measured there make it one of the other's.

    python -m benchmarks.other_processor

Of every pair of shipped tables of AMD Zen 3 and Zen 4 through the same runtime, for the same space: n of the whole
networks that were measured on Zen 4 are taken at random, and Kendall's tau and the mean error are those of all the
others (medians over 30 draws). Three ways: the table of Zen 3 as it is; multiplied by the median ratio of the n; and
adapted to the n as `ofa adapt` does it. Beside them what the table says that was measured on Zen 4. Measures nothing.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator

import numpy as np

from latency_tables.correction import Errors, prediction_errors
from latency_tables.few_samples import Terms, fit_few, known_latencies, operator_counts
from latency_tables.operator_work import operator_work
from latency_tables.shipped import find_table, shipped_devices
from latency_tables.table import LatencyTable, load_table
from search_spaces import Architecture

NUMS = (5, 10)
DRAWS = 30
OLD, NEW = "amd_zen3", "amd_zen4"


def main() -> None:
    argparse.ArgumentParser(description="Tables of AMD Zen 3 on AMD Zen 4.").parse_args()
    columns = [
        "table",
        "measured there",
        "Zen 3 as it is",
        *(f"{way}, {n}" for n in NUMS for way in ("factor", "adapted")),
    ]
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for name, old, new in pairs():
        cells = [told(new.heldout.mape, new.heldout.kendall_tau)]
        cells += [median_of(found) for found in compare(old, new)]
        print(f"| `{name}` | " + " | ".join(cells) + " |", flush=True)


def pairs() -> Iterator[tuple[str, LatencyTable, LatencyTable]]:
    """(runtime and space, table of the old processor, of the new one)."""
    tables = {name: load_table(find_table(name)) for name in shipped_devices() if name.startswith((OLD, NEW))}
    found = {
        (name.startswith(NEW), table.device.runtime, table.space.fingerprint): table
        for name, table in tables.items()
        if isinstance(table, LatencyTable)
    }
    for (new, runtime, fingerprint), table in found.items():
        if new and (old := found.get((False, runtime, fingerprint))) is not None:
            yield f"{runtime} {table.space.name}", old, table


def compare(old: LatencyTable, new: LatencyTable) -> list[list[Errors]]:
    """Errors of a draw each: as it is, then by one factor and adapted for each of `NUMS`."""
    space = new.measured_space()
    rows = space.encode([Architecture.from_json(pair.architecture) for pair in new.heldout.pairs])
    measured_ms = np.array([pair.measured_ms for pair in new.heldout.pairs])
    known_ms = old.cost(space).evaluate(rows)
    terms = Terms.of(operator_work(space), [known_latencies(space, old.cost(space))])
    calls, amounts = terms.of_networks(operator_counts(space, rows))
    results = [[prediction_errors(known_ms, measured_ms)]]
    for num in NUMS:
        scaled, adapted = [], []
        for draw in range(DRAWS):
            taken = np.random.default_rng((num, draw)).permutation(len(rows))[:num]
            others = np.setdiff1d(np.arange(len(rows)), taken)
            factor = np.median(measured_ms[taken] / known_ms[taken])
            scaled.append(prediction_errors(factor * known_ms[others], measured_ms[others]))
            fitted = fit_few(calls[taken], amounts[taken], measured_ms[taken])
            adapted.append(prediction_errors(fitted.predict(calls[others], amounts[others]), measured_ms[others]))
        results += [scaled, adapted]
    return results


def median_of(errors: list[Errors]) -> str:
    taus = [error.kendall_tau for error in errors if error.kendall_tau is not None]
    return told(statistics.median(error.mape for error in errors), statistics.median(taus))


def told(mape: float, tau: float | None) -> str:
    return f"{mape:.1%}, {0.0 if tau is None else tau:.2f}"


if __name__ == "__main__":
    main()
