"""How good are the networks that a search finds by so many evaluations? On NAS-Bench-Macro, answered from its table.

    python -m benchmarks.tabular_search              # all ways to propose, 20 seeds: some minutes
    python -m benchmarks.tabular_search --markdown   # the results that are there, for the docs

An evaluation answers with the accuracy of ONE of the three published trainings (0, 1 and 2 in turn); what was found is
judged by the mean of the two others, which no search saw. Two tasks:

- *regret*: among the networks of at most the median MACs, the accuracy of the truly best one minus that of the one
  chosen, in points. A search with a predictor chooses by it, the others by what they saw. The truth is noisy too: even
  after evaluating every network once the choice is not free of regret, and that ceiling is printed.
- *hypervolume* of the networks chosen for the front of accuracy against MACs, over that of the true front; the
  reference point is the largest MACs and the lowest accuracy.

Writes `benchmarks/results/tabular_search.json`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.nas_bench_macro import Benchmark, data_file, load
from benchmarks.peer.machine import checkout, machine_facts
from benchmarks.peer.process import ROOT
from ofa.search.budgets import ResolvedBudget
from ofa.search.front import pareto_front
from ofa.search.loop import fit_history
from ofa.search.proposals import Known, PredictorProposals
from ofa.search.settings import SearchSettings
from ofa.search.study.fresh import fresh_rows
from ofa.search.study.proposer import History, Proposer
from ofa.search.study.samplers import make_proposer
from ofa.search.study.terms import Terms
from predictors.settings import PredictorSettings
from search_spaces.common.files import read_json, write_json
from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]

RESULTS = ROOT / "benchmarks" / "results" / "tabular_search.json"
#: evaluations after which each task is judged
AT = {"regret": (25, 50, 100), "hypervolume": (30, 60, 100, 200)}
#: the model that fits to a run's records pick here anyway, so that a study takes minutes and not hours
SETTINGS = PredictorSettings(candidates=("gp",), bootstrap=100)
WAYS = ("predictor", "random", "tpe", "nsga2")


@dataclass(frozen=True)
class Tabular:
    """The benchmark as one search sees it: what it is told (`seen`), and what is true; (6561,) each, by network."""

    benchmark: Benchmark
    seen: Floats
    truth: Floats
    macs: Floats
    numbers: dict[bytes, int]

    @classmethod
    def of(cls, benchmark: Benchmark, seed: int) -> Tabular:
        which = seed % benchmark.trainings.shape[1]
        rows = np.ascontiguousarray(benchmark.population)
        return cls(
            benchmark,
            benchmark.trainings[:, which],
            np.delete(benchmark.trainings, which, axis=1).mean(axis=1),
            benchmark.space.cost("macs").evaluate(rows),
            {row.tobytes(): number for number, row in enumerate(rows)},
        )

    def find(self, rows: Population) -> npt.NDArray[np.int64]:
        return np.array([self.numbers[row.tobytes()] for row in np.ascontiguousarray(rows)], dtype=np.int64)

    def hypervolume(self, chosen: npt.NDArray[np.int64]) -> float:
        """Of the truth of these networks, over that of the true front."""
        return self._area(chosen) / self._area(np.arange(len(self.truth)))

    def _area(self, chosen: npt.NDArray[np.int64]) -> float:
        macs, truth = self.macs[chosen], self.truth[chosen]
        front = pareto_front(macs, truth)
        right = np.append(macs[front][1:], self.macs.max())
        return float(((right - macs[front]) * (truth[front] - self.truth.min())).sum())


def search(table: Tabular, way: str, task: str, seed: int, stops: Sequence[int] | None = None) -> dict[int, float]:
    """By number of evaluations: the regret in points, or the share of the hypervolume."""
    limits = {"macs": float(np.median(table.macs))} if task == "regret" else {}
    terms = Terms(
        table.benchmark.space,
        "0" * 64,
        {"macs": table.benchmark.space.cost("macs")},
        limits,
        ("accuracy",) if limits else ("accuracy", "macs"),
    )
    proposer = _proposer(table, terms, way, seed)
    found: dict[int, float] = {}
    known = table.benchmark.population[:0]
    for stop in AT[task] if stops is None else stops:
        while len(known) < stop:
            accuracies = table.seen[table.find(known)]
            history = History(known, accuracies, known[:0], (0, len(known), 0, 0))
            new = fresh_rows(
                terms.space,
                proposer.propose(history, min(5, stop - len(known))),
                known,
                keeps=terms.keeps,
                anchors=terms.space.smallest()[None],
                rng=np.random.default_rng([seed, len(known)]),
                num=min(5, stop - len(known)),
            )
            known = np.concatenate([known, new])
        found[stop] = _judge(table, terms, known, way)
    return found


def _judge(table: Tabular, terms: Terms, known: Population, way: str) -> float:
    """What the networks are worth that would be chosen now, among those that were evaluated."""
    rows = table.find(known)
    believed = table.seen[rows]
    if way == "predictor":
        names = tuple(table.benchmark.keys[row] for row in rows)
        believed = fit_history(terms.space, SETTINGS)(Known(known, believed, names))(known).mean
    if not terms.limits:
        return table.hypervolume(rows[pareto_front(table.macs[rows], believed)])
    allowed = table.macs <= terms.limits["macs"]
    return float(100 * (table.truth[allowed].max() - table.truth[rows[np.argmax(believed)]]))


def _proposer(table: Tabular, terms: Terms, way: str, seed: int) -> Proposer:
    if way != "predictor":
        return make_proposer(way, terms, seed=seed)
    budgets = [ResolvedBudget("within", dict(terms.limits))] if terms.limits else []
    settings = SearchSettings.model_validate({"budgets": {"within": {"macs": "50%"}}})
    fronts = () if terms.limits else ("macs",)
    return PredictorProposals(
        terms.space, terms.costs, budgets, fronts, settings, fit_history(terms.space, SETTINGS), seed=seed
    )


def ceiling(table: Tabular) -> dict[str, float]:
    """Regret of choosing among all networks within the limit by what one training says, and by all three."""
    allowed = np.flatnonzero(table.macs <= np.median(table.macs))
    best = table.truth[allowed].max()
    choices = {"one training": table.seen, "all trainings": table.benchmark.trainings.mean(axis=1)}
    return {name: float(100 * (best - table.truth[allowed[np.argmax(by[allowed])]])) for name, by in choices.items()}


def summary(values: list[float]) -> dict[str, float]:
    array = np.array(values)
    return {"mean": float(array.mean()), "error": float(array.std(ddof=1) / np.sqrt(len(array))), "num": len(array)}


def run(ways: list[str], seeds: int, data: Path, tell: Callable[[str], object]) -> dict[str, Any]:
    benchmark = load(data)
    tables = [Tabular.of(benchmark, seed) for seed in range(seeds)]
    results: dict[str, Any] = {"seeds": seeds, "tasks": {}}
    for task, stops in AT.items():
        for way in ways:
            found = []
            for seed, table in enumerate(tables):
                found.append(search(table, way, task, seed))
                tell(f"{task} {way}: {seed + 1} of {seeds}")
            results["tasks"].setdefault(task, {})[way] = {
                str(stop): summary([each[stop] for each in found]) for stop in stops
            }
    ceilings = [ceiling(table) for table in tables]
    results["regret_ceiling"] = {name: summary([each[name] for each in ceilings]) for name in ceilings[0]}
    return results


def markdown(results: dict[str, Any]) -> str:
    lines: list[str] = []
    for task, ways in results["tasks"].items():
        stops = list(next(iter(ways.values())))
        unit = "points" if task == "regret" else "of the optimum"
        lines += [f"| {task} ({unit}) | " + " | ".join(f"{stop} evaluations" for stop in stops) + " |"]
        lines += ["|---" * (1 + len(stops)) + "|"]
        form = "{:.2f} ± {:.2f}" if task == "regret" else "{:.4f} ± {:.4f}"
        for way, found in ways.items():
            cells = [form.format(found[stop]["mean"], found[stop]["error"]) for stop in stops]
            lines += [f"| {way} | " + " | ".join(cells) + " |"]
        lines += [""]
    for name, found in results["regret_ceiling"].items():
        lines += [
            f"Regret of choosing among all networks by {name}: {found['mean']:.2f} ± {found['error']:.2f} points."
        ]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular_search", description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="*", default=list(WAYS), help=f"of {', '.join(WAYS)} (default: all)")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--markdown", action="store_true", help="search nothing: print what is in --output")
    options = parser.parse_args(words)
    if not options.markdown:
        data = data_file()
        if not data.exists():
            print(f"skipped: no {data}. Set OFA_BENCH_DATA to the folder that holds it", file=sys.stderr)
            return 0
        results = run(options.ways, options.seeds, data, lambda text: print(text, file=sys.stderr))
        write_json(options.output, {"machine": machine_facts(), "checkout": checkout(), **results})
    print(markdown(read_json(options.output, "results")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
