"""What nested records do to the predictor: fitted on NAS-Bench-Macro, where the accuracy of every network is known.

Lanes: `nested`, `stratified` and `uniform` records, as many of each; `stratified` and `uniform` ones that cost as many
MACs to evaluate, each alone, as the nested ones do together; and nested ones whose groups the fit is not told of.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, t

from benchmarks.nas_bench_macro import Benchmark, macs_together
from predictors.features import Encoder
from predictors.fit import MIN_RECORDS, fit_records
from predictors.record_file import Records
from predictors.sampling import record_groups, record_list
from predictors.settings import PredictorSettings, Sampling
from predictors.targets import TARGETS

Rows = npt.NDArray[np.int64]

SIZES = (50, 100, 200, 400)
METRICS = ("tau", "tau_top", "regret", "regret_of_10", "grade_tau", "coverage")
_OTHERS: tuple[Sampling, ...] = ("stratified", "uniform")


@dataclass(frozen=True)
class Lane:
    """One sample of records; `macs` is what evaluating them costs per image."""

    name: str
    rows: Rows
    macs: float
    groups: tuple[int, ...] | None = None


def lanes(benchmark: Benchmark, num: int, seed: int) -> Iterator[Lane]:
    space, costs = benchmark.space, benchmark.space.cost("macs")
    groups = record_groups(space, num, seed=seed, sampling="nested")
    paid = macs_together(space, groups)
    rows = np.concatenate(groups)
    numbers = tuple(number for number, group in enumerate(groups) for _ in group)
    yield Lane("nested", rows, paid, numbers)
    yield Lane("nested, groups unknown", rows, paid)
    for sampling in _OTHERS:
        rows = record_list(space, num, seed=seed, sampling=sampling)
        macs = np.cumsum(costs.evaluate(rows))
        yield Lane(sampling, rows, float(macs[-1]))
        afforded = max(MIN_RECORDS, int(np.sum(macs <= paid)))
        yield Lane(f"{sampling}, equal cost", rows[:afforded], float(macs[afforded - 1]))


def graded(benchmark: Benchmark, lane: Lane, seed: int) -> dict[str, Any]:
    """The project's predictor fitted to the lane's records, and held against all other networks."""
    settings = PredictorSettings(bootstrap=100)
    places = _places(benchmark, lane.rows)
    by_key = sorted(range(len(places)), key=lambda i: benchmark.keys[places[i]])
    ordered = places[by_key]
    accuracies = benchmark.accuracies[ordered]
    records = Records(
        population=benchmark.population[ordered],
        accuracies=accuracies,
        losses=1.0 - accuracies,
        keys=tuple(benchmark.keys[place] for place in ordered),
        origins=tuple("sampled" for _ in ordered),
        groups=None if lane.groups is None else tuple(str(lane.groups[i]) for i in by_key),
    )
    predictor = fit_records(benchmark.space, records, settings, seed=seed, quiet=True)
    others = np.setdiff1d(np.arange(len(benchmark.population)), places)
    raw = predictor.model.predict(Encoder(benchmark.space)(benchmark.population[others]))
    prediction = raw.calibrated(predictor.interval_scale, TARGETS[predictor.target].to_accuracy)
    true, (lower, upper) = benchmark.accuracies[others], prediction.ends
    top = np.argsort(-true)[: len(true) // 10]
    ranked = np.argsort(-prediction.mean, kind="stable")
    assert predictor.grade is not None
    return {
        "records": len(lane.rows),
        "gmacs": lane.macs / 1e9,
        "model": predictor.name,
        "tau": float(kendalltau(prediction.mean, true).statistic),
        "tau_top": float(kendalltau(prediction.mean[top], true[top]).statistic),
        "regret": 100 * float(true.max() - true[ranked[0]]),
        "regret_of_10": 100 * float(true.max() - true[ranked[:10]].max()),
        "grade_tau": predictor.grade.predictor.tau.value,
        "coverage": float(np.mean((lower <= true) & (true <= upper))),
    }


def summary(fits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Per size and lane: mean and 95 % interval (Student) over the seeds, and of the difference from `nested`."""
    found: dict[str, Any] = {}
    for size in sorted({fit["size"] for fit in fits}):
        chosen = [fit for fit in fits if fit["size"] == size]
        nested = {fit["seed"]: fit for fit in chosen if fit["lane"] == "nested"}
        for lane in dict.fromkeys(fit["lane"] for fit in chosen):
            own = [fit for fit in chosen if fit["lane"] == lane and fit["seed"] in nested]
            entry: dict[str, Any] = {
                "seeds": len(own),
                "records": statistics.mean(fit["records"] for fit in own),
                "gmacs": statistics.mean(fit["gmacs"] for fit in own),
                "mlp_share": statistics.mean(fit["model"] == "mlp" for fit in own),
            }
            for metric in METRICS:
                entry[metric] = _interval([fit[metric] for fit in own])
                if lane != "nested":
                    differences = [nested[fit["seed"]][metric] - fit[metric] for fit in own]
                    entry[f"nested_minus_this_{metric}"] = _interval(differences)
            found.setdefault(str(size), {})[lane] = entry
    return found


def table(found: dict[str, Any]) -> str:
    """The summary as Markdown."""
    lines = [
        "| sample | records | GMACs | tau | tau of the top tenth | regret | of ten | tau reported | coverage |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, entries in found.items():
        for lane, entry in entries.items():
            cells = [_text(entry[metric], digits) for metric, digits in zip(METRICS, (3, 3, 2, 2, 3, 3), strict=True)]
            head = [f"{lane} ({size})", f"{entry['records']:.0f}", f"{entry['gmacs']:.2f}"]
            lines.append("| " + " | ".join(head + cells) + " |")
    return "\n".join(lines) + "\n"


def _places(benchmark: Benchmark, rows: Rows) -> Rows:
    """Positions of these networks in the benchmark."""
    powers = 3 ** np.arange(benchmark.population.shape[1])
    numbers = benchmark.population @ powers
    order = np.argsort(numbers)
    return np.asarray(order[np.searchsorted(numbers[order], rows @ powers)])


def _interval(values: Sequence[float]) -> dict[str, float]:
    mean, num = statistics.mean(values), len(values)
    half = float(t.ppf(0.975, num - 1)) * statistics.stdev(values) / math.sqrt(num) if num > 1 else math.nan
    return {"mean": mean, "half_width": half if math.isfinite(half) else 0.0}


def _text(interval: dict[str, float], digits: int) -> str:
    return f"{interval['mean']:.{digits}f} ± {interval['half_width']:.{digits}f}"
