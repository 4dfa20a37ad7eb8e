"""Accuracy predictors on NAS-Bench-Macro: ranking and coverage by number of records, candidates and the chosen one.

    python -m benchmarks.predictors [--seeds 20] [--sizes 10,20,50,100,200] [--models gp,ridge,...] [-o RESULTS.json]

n networks are drawn uniformly; their accuracies are those of ONE training, the same of all of them (training number:
seed modulo 3). The truth is the mean of the two other trainings, of all networks that were not drawn. `chosen` is what
`fit_records` hands out under its default settings: its own choice of model, on the same records.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from benchmarks.nas_bench_macro import Benchmark, data_file, load
from predictors.features import Encoder
from predictors.fit import fit_records
from predictors.fit_job import Job
from predictors.models import MODELS
from predictors.record_file import Records
from predictors.settings import PredictorSettings
from predictors.targets import TARGETS
from search_spaces.common.files import read_json, write_json

ROOT = Path(__file__).parents[1]
SIZES = (10, 20, 50, 100, 200)
METRICS = ("tau", "coverage", "coverage_of_truth", "width", "seconds")


def draw(benchmark: Benchmark, num: int, seed: int) -> tuple[Records, np.ndarray, int]:
    """Records of `num` random networks, the positions of all others, and the number of the training seen."""
    training = seed % benchmark.trainings.shape[1]
    places = np.random.default_rng([seed, num]).choice(len(benchmark.population), num, replace=False)
    places = places[np.argsort([benchmark.keys[place] for place in places])]
    accuracies = benchmark.trainings[places, training]
    records = Records(
        population=benchmark.population[places],
        accuracies=accuracies,
        losses=1.0 - accuracies,
        keys=tuple(benchmark.keys[place] for place in places),
        origins=tuple("sampled" for _ in places),
    )
    return records, np.setdiff1d(np.arange(len(benchmark.population)), places), training


def graded(benchmark: Benchmark, model: str, num: int, seed: int, encodings: np.ndarray) -> dict[str, Any]:
    """One fit (`model`, or `chosen`: by default settings) held against every network that it was not given."""
    records, others, training = draw(benchmark, num, seed)
    start = time.process_time()
    if model == "chosen":
        predictor = fit_records(benchmark.space, records, PredictorSettings(), seed=seed, quiet=True)
        name, fitted, scale = predictor.name, predictor.model, predictor.interval_scale
    else:
        job = Job.of(benchmark.space, records, PredictorSettings(candidates=(model,)), seed)
        every = np.arange(num)
        name, fitted = model, job.fit(model, every)
        scale = job.scale(job.out_of_fold(model, every, lambda *_, **__: None), every)
    seconds = time.process_time() - start
    prediction = fitted.predict(encodings[others]).calibrated(scale, TARGETS["log_error"].to_accuracy)
    (lower, upper), truth = prediction.ends, benchmark.unseen(training)[others]
    same = benchmark.trainings[others, training]
    return {
        "model": model,
        "num": num,
        "seed": seed,
        "picked": name,
        "tau": float(kendalltau(prediction.mean, truth).statistic),
        "coverage": float(np.mean((lower <= same) & (same <= upper))),
        "coverage_of_truth": float(np.mean((lower <= truth) & (truth <= upper))),
        "width": 100 * float(np.median(upper - lower)),
        "seconds": seconds,
    }


def summary(fits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{model: {num: {metric: mean and standard error over the seeds}}}, and what was picked."""
    found: dict[str, Any] = {}
    for model in dict.fromkeys(fit["model"] for fit in fits):
        for num in sorted({fit["num"] for fit in fits}):
            own = [fit for fit in fits if (fit["model"], fit["num"]) == (model, num)]
            if not own:
                continue
            entry: dict[str, Any] = {"seeds": len(own)}
            for metric in METRICS:
                values = [fit[metric] for fit in own]
                error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
                entry[metric] = {"mean": round(statistics.mean(values), 4), "standard_error": round(error, 4)}
            picked = [fit["picked"] for fit in own]
            entry["picked"] = {name: picked.count(name) for name in sorted(set(picked))}
            found.setdefault(model, {})[str(num)] = entry
    return found


def table(found: dict[str, Any], metric: str, digits: int = 3) -> str:
    """One metric as Markdown: mean and standard error."""
    sizes = list(dict.fromkeys(num for entries in found.values() for num in entries))
    lines = [f"| {metric} | " + " | ".join(f"n = {num}" for num in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for model, entries in found.items():
        cells = [
            f"{entries[num][metric]['mean']:.{digits}f} ± {entries[num][metric]['standard_error']:.{digits}f}"
            if num in entries
            else ""
            for num in sizes
        ]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--models", default=",".join(["chosen", *MODELS.names()]))
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "predictors.json")
    arguments = parser.parse_args(words)
    if not data_file().exists():
        raise SystemExit(f"{data_file()} is missing: set OFA_BENCH_DATA to the folder that holds it")
    benchmark = load(data_file())
    encodings = Encoder(benchmark.space)(benchmark.population)
    fits = []
    for model in arguments.models.split(","):
        for num in map(int, arguments.sizes.split(",")):
            fits += [graded(benchmark, model, num, seed, encodings) for seed in range(arguments.seeds)]
            print(table(summary([f for f in fits if (f["model"], f["num"]) == (model, num)]), "tau"), flush=True)
        known = read_json(arguments.output, "results") if arguments.output.exists() else {}
        write_json(arguments.output, {**known, **summary(fits)})
    for metric in METRICS:
        print(table(summary(fits), metric))


if __name__ == "__main__":
    main()
