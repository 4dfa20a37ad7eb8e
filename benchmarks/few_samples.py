"""How many measured networks a table of a new device needs: one GPU at two batch sizes, and a phone's table.

    python -m benchmarks.few_samples                # about four minutes of one core
    python -m benchmarks.few_samples --report       # tables and figure of the last run

1,000 whole networks of once-for-all's MobileNetV3 (width 1.2) were measured on a Titan RTX at batch 1 and batch 64
(data of HELP, Lee et al., NeurIPS 2021). n of them are taken, at random or by design among 300 random ones, a table is
predicted, and Kendall's tau and the mean absolute relative error are taken on all others: mean and 10-90 % band over
draws. Known beforehand: nothing but the networks; or the 1,000 latencies at the other batch size; or the shipped table
of a Samsung Note10 (networks of its five resolutions only). The ceiling is ten-fold cross-validation.

Writes `benchmarks/results/few_samples.json` and the figure (needs matplotlib: extra `bench`). The data are found
through the variable OFA_BENCH_DATA (default: `../shared/data` beside the checkout), else it is skipped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peer.machine import checkout, machine_facts
from benchmarks.peer.process import ROOT
from benchmarks.training.plots import COLOURS, prepare_matplotlib
from benchmarks.training.setting import data_folder
from latency_tables.correction import fit_line, prediction_errors
from latency_tables.few_samples import (
    Terms,
    fit_few,
    known_latencies,
    operator_counts,
    operator_latencies,
    spread,
)
from latency_tables.operator_work import operator_work
from latency_tables.shipped import find_table
from latency_tables.table import load_table
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json

RESULTS = ROOT / "benchmarks" / "results" / "few_samples.json"
FIGURE = ROOT / "docs" / "few_samples.svg"
DATA_FILE = "published/gpu_whole_network_latency.json"
NUMS = (5, 10, 20, 50)
CANDIDATES = 300
#: (what is predicted, what is known) -> title of its panel
PANELS = {
    "batch 1 from batch 64": "Titan RTX, batch 1, from batch 64",
    "batch 64 from batch 1": "Titan RTX, batch 64, from batch 1",
    "batch 1 from Note10": "Titan RTX, batch 1, from a phone's table",
    "batch 64 from Note10": "Titan RTX, batch 64, from a phone's table",
}
OURS = ("model, known table", "model, known table, designed", "model, counts alone")

Floats = NDArray[np.float64]
#: (sampled rows, all latencies with those of the others unread) -> predicted latencies of all
Method = Callable[[NDArray[np.int64], Floats], Floats]


@dataclass(frozen=True)
class Case:
    """Networks of a space, what they take on the new device, and what the known device takes by operator."""

    space: SearchSpace
    rows: NDArray[np.int64]
    target_ms: Floats
    known_ms: Floats
    """(n,) of the networks on the known device: measured, or by its table."""
    counted: tuple[Floats, Floats]
    with_known: tuple[Floats, Floats]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_samples", description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=24, help="samples of every size")
    parser.add_argument("--report", action="store_true", help="tables and figure of the last run")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--figure", type=Path, default=FIGURE, help="file of the figure, .svg or .png")
    parser.add_argument("--no-figure", action="store_true", help="tables only")
    options = parser.parse_args()
    try:
        if not options.report:
            try:
                path = data_folder(DATA_FILE) / DATA_FILE
            except UserError as error:
                print(f"skipped: {error}", file=sys.stderr)
                return 0
            write_json(options.output, measure(path, options.draws))
        results = read_json(options.output, "result")
        print(markdown(results))
        if not options.no_figure:
            draw(results, options.figure)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def measure(path: Path, draws: int) -> dict[str, Any]:
    panels = {}
    for name, case in cases(path).items():
        methods = methods_of(case)
        entries = {
            method: {str(num): statistics(case, predict, num, draws, designed="designed" in method) for num in NUMS}
            for method, predict in methods.items()
        }
        panels[name] = {"num_networks": len(case.rows), "methods": entries, "ceiling": ceiling(case)}
        print(f"{name}: done", file=sys.stderr, flush=True)
    return {"schema": 1, "draws": draws, "panels": panels, "machine": machine_facts(), "commit": checkout()}


def load(path: Path) -> tuple[SearchSpace, NDArray[np.int64], dict[str, Floats]]:
    """The space, the rows of the 1,000 networks, and their latencies in ms by setting."""
    space = load_table(find_table("samsung_note10")).measured_space()
    whole = SearchSpace.from_description({**space.description, "restriction": []})
    data = read_json(path, "file of whole-network latencies")
    architectures = [
        Architecture({"resolution": a["r"], "depth": a["d"], "kernel": a["ks"], "expand": a["e"]})
        for a in data["architectures"]
    ]
    latencies = {name: np.array(values, dtype=np.float64) for name, values in data["latency_ms"].items()}
    return whole, whole.encode(architectures, file=path), latencies


def cases(path: Path) -> dict[str, Case]:
    space, rows, latencies = load(path)
    one, many = latencies["titan_rtx_1"], latencies["titan_rtx_64"]
    counts, work = operator_counts(space, rows), operator_work(space)
    terms = Terms.of(work)
    counted = terms.of_networks(counts)
    found = {}
    for name, target, source in (("batch 1 from batch 64", one, many), ("batch 64 from batch 1", many, one)):
        table = np.array([*operator_latencies(terms, fit_few(*counted, source)).values()])
        found[name] = Case(space, rows, target, source, counted, Terms.of(work, [table]).of_networks(counts))
    phone = load_table(find_table("samsung_note10"))
    part = phone.measured_space()
    covered = np.isin(space.genome.option_values("resolution")[rows[:, 0]], part.genome.option_values("resolution"))
    some = part.encode(space.decode(rows[covered]))
    cost, counts, work = phone.cost(part), operator_counts(part, some), operator_work(part)
    counted = Terms.of(work).of_networks(counts)
    with_known = Terms.of(work, [known_latencies(part, cost)]).of_networks(counts)
    for name, target in (("batch 1 from Note10", one), ("batch 64 from Note10", many)):
        found[name] = Case(part, some, target[covered], cost.evaluate(some), counted, with_known)
    return found


def methods_of(case: Case) -> dict[str, Method]:
    exact = {
        name: case.space.cost(metric).evaluate(case.rows)
        for name, metric in (("MACs", "macs"), ("parameters", "params"))
    }
    blocks = case.space.cost_of(lambda operator: 1.0).evaluate(case.rows)
    one_hot = case.space.one_hot(case.rows).astype(np.float64)

    def few(terms: tuple[Floats, Floats]) -> Method:
        calls, amounts = terms
        return lambda taken, target: fit_few(calls[taken], amounts[taken], target[taken]).predict(calls, amounts)

    return {
        "model, known table": few(case.with_known),
        "model, known table, designed": few(case.with_known),
        "model, counts alone": few(case.counted),
        "known device, one factor": lambda taken, target: (
            case.known_ms * np.median(target[taken] / case.known_ms[taken])
        ),
        "known device, line": line(case.known_ms),
        "MACs, line": line(exact["MACs"]),
        "parameters, line": line(exact["parameters"]),
        "depth, line": line(blocks),
        "calls of layers, line": line(case.counted[0].sum(axis=1)),
        "one-hot ridge": lambda taken, target: ridge(one_hot, taken, target),
        "Gaussian process on one-hot": lambda taken, target: gaussian_process(one_hot, taken, target),
        "Gaussian process around the line": lambda taken, target: residual_process(
            one_hot, case.known_ms, taken, target
        ),
    }


def line(values: Floats) -> Method:
    def predict(taken: NDArray[np.int64], target: Floats) -> Floats:
        return fit_line(values[taken], target[taken], least_ms=float(values.min()))(values)

    return predict


def ridge(one_hot: Floats, taken: NDArray[np.int64], target: Floats) -> Floats:
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(np.logspace(-3, 3, 13)).fit(one_hot[taken], np.log(target[taken]))
    return np.asarray(np.exp(model.predict(one_hot)), dtype=np.float64)


def gaussian_process(one_hot: Floats, taken: NDArray[np.int64], target: Floats) -> Floats:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(5.0, (1.0, 1e2)) + WhiteKernel(1e-2, (1e-5, 1.0))
    model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=0)
    return np.asarray(np.exp(model.fit(one_hot[taken], np.log(target[taken])).predict(one_hot)), dtype=np.float64)


def residual_process(one_hot: Floats, known: Floats, taken: NDArray[np.int64], target: Floats) -> Floats:
    """The line over the known latencies, times a Gaussian process of what it is off."""
    start = line(known)(taken, target)
    return start * gaussian_process(one_hot, taken, target / start)


def statistics(case: Case, predict: Method, num: int, draws: int, *, designed: bool) -> dict[str, Any]:
    """On the networks that were not taken: mean, and 10 and 90 % of the draws. Every method gets the same draws."""
    import warnings

    found = []
    for draw_number in range(draws):
        order = np.random.default_rng((draw_number, num)).permutation(len(case.rows))
        taken = order[:num]
        if designed:
            among = order[: min(CANDIDATES, len(order) // 2)]
            taken = among[spread(case.counted[0][among], case.counted[1][among], num)]
        rest = np.setdiff1d(order, taken)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a kernel's parameters at the end of their range
            predicted = predict(taken, case.target_ms)
        errors = prediction_errors(predicted[rest], case.target_ms[rest])
        found.append((errors.kendall_tau or 0.0, errors.mape))
    values = np.array(found)
    return {
        name: [float(column.mean()), *(float(edge) for edge in np.quantile(column, (0.1, 0.9)))]
        for name, column in zip(("tau", "mape"), values.T, strict=True)
    }


def ceiling(case: Case) -> dict[str, Any]:
    """Fitted to nine tenths of the networks, asked for the rest, ten times: the model, one-hot ridge (free additive
    terms) and a robust regression on one-hot terms."""
    from sklearn.linear_model import HuberRegressor

    one_hot = case.space.one_hot(case.rows).astype(np.float64)
    fold = np.random.default_rng(0).permutation(len(case.rows)) % 10
    predicted = {name: np.empty(len(fold)) for name in ("model", "one-hot ridge", "one-hot, robust")}
    for number in range(10):
        out, rest = fold == number, np.flatnonzero(fold != number)
        calls, amounts = case.with_known
        predicted["model"][out] = fit_few(calls[rest], amounts[rest], case.target_ms[rest]).predict(calls, amounts)[out]
        predicted["one-hot ridge"][out] = ridge(one_hot, rest, case.target_ms)[out]
        robust = HuberRegressor(epsilon=1.1, alpha=0.01, max_iter=5000).fit(one_hot[rest], np.log(case.target_ms[rest]))
        predicted["one-hot, robust"][out] = np.exp(robust.predict(one_hot))[out]
    errors = {name: prediction_errors(values, case.target_ms) for name, values in predicted.items()}
    return {name: {"tau": found.kendall_tau, "mape": found.mape} for name, found in errors.items()}


def markdown(results: Mapping[str, Any]) -> str:
    parts = []
    for name, panel in results["panels"].items():
        lines = [
            f"{name}, {panel['num_networks']} networks",
            "",
            "| method | " + " | ".join(f"n = {num}" for num in NUMS) + " |",
            "|---|" + "---|" * len(NUMS),
        ]
        for method, entries in panel["methods"].items():
            lines.append(f"| {method} | " + " | ".join(_cell(entries[str(num)]) for num in NUMS) + " |")
        best = ", ".join(f"{key} {value['tau']:.3f} ({value['mape']:.1%})" for key, value in panel["ceiling"].items())
        parts.append("\n".join([*lines, "", f"fitted to nine tenths of the networks: {best}"]))
    return "\n\n".join(parts)


def _cell(entry: Mapping[str, Sequence[float]]) -> str:
    mean, low, high = entry["tau"]
    return f"{mean:.3f} [{low:.3f}, {high:.3f}], {entry['mape'][0]:.1%}"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Tau over the number of networks, one panel for each device and what was known; bands hold 80 % of the draws."""
    prepare_matplotlib()
    from matplotlib import pyplot, ticker

    shown = [*OURS, "known device, line", "MACs, line", "depth, line", "one-hot ridge"]
    figure, grid = pyplot.subplots(2, 2, figsize=(10, 7.4), layout="constrained", sharex=True, sharey=True)
    for axes, (name, title) in zip(grid.flat, PANELS.items(), strict=True):
        panel = results["panels"][name]
        for number, method in enumerate(shown):
            values = np.array([panel["methods"][method][str(num)]["tau"] for num in NUMS])
            ours = method in OURS
            style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "linestyle": "-" if ours else "--"}
            axes.plot(NUMS, values[:, 0], marker="o" if ours else "s", markersize=4, label=method, **style)
            if method == "model, known table":
                axes.fill_between(NUMS, values[:, 1], values[:, 2], color=style["color"], alpha=0.15, linewidth=0)
        top = max(entry["tau"] for entry in panel["ceiling"].values())
        axes.axhline(
            top, color="#555555", linewidth=1, linestyle=":", label="best additive model, nine tenths of all networks"
        )
        axes.set_title(title, fontsize=10)
        axes.set_xscale("log")
        axes.set_yscale("function", functions=(_stretched, lambda drawn: 1 - 10 ** -np.asarray(drawn)))
        axes.set_ylim(0, 0.985)
        axes.xaxis.set_major_locator(ticker.FixedLocator(NUMS))
        axes.xaxis.set_major_formatter(ticker.ScalarFormatter())
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.yaxis.set_major_locator(
            ticker.FixedLocator((0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98))
        )
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(True, linewidth=0.3)
    for axes in grid[1]:
        axes.set_xlabel("networks measured on the new device")
    for axes in grid[:, 0]:
        axes.set_ylabel("Kendall tau on all other networks\n(scale: log of 1 - tau)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=130)
    pyplot.close(figure)


def _stretched(tau: Floats) -> Floats:
    """What is missing to 1, on a logarithmic scale."""
    return np.asarray(-np.log10(np.maximum(1 - np.asarray(tau), 1e-4)), dtype=np.float64)


if __name__ == "__main__":
    sys.exit(main())
