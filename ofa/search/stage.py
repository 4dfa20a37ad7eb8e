"""The search of a run: its budgets, tables, predictor and records in; measured winners, in `search.json`, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa.console import note
from ofa.search.algorithms.base import violations
from ofa.search.budgets import Budget, ResolvedBudget, ascending, device_of, resolve
from ofa.search.costs import all_costs, capacities, run_tables
from ofa.search.facts import outcome_facts, universal_facts
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.finalists import Int8, Outcome, choose_winners
from ofa.search.measurements import MeasurementBook, device_book
from ofa.search.run import Ranked, search, search_budget
from ofa.search.search_file import check_search
from ofa.search.several_devices import UNIVERSAL, budgets_in_run
from predictors.base import Predict, load_predictor
from predictors.record_file import load_records
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import Infeasible, UserError, in_file
from search_spaces.common.files import digest, read_json, write_json

if TYPE_CHECKING:
    from latency_tables.listed import ListedTable
    from latency_tables.table import LatencyTable
    from ofa.config import RunConfig
    from predictors.base import Predictor
    from predictors.settings import Origin
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

_ALGORITHM = 2  # part of the digest of the inputs: raise it when searching changes


@dataclass(frozen=True)
class Learned:
    """What a search learnt by evaluating: the predictor to go by, and what there is to tell of it as JSON."""

    predictor: Predictor
    facts: dict[str, Any]


#: Evaluates networks of a problem and says what was learnt.
Learn = Callable[["Problem"], Learned]


@dataclass(frozen=True)
class Problem:
    """Everything a search reads, loaded without torch, so that an impossible budget is answered at once."""

    run: Path
    config: RunConfig
    space: SearchSpace
    weights_sha256: str
    tables: dict[str, LatencyTable | ListedTable]
    costs: dict[str, CostTable]
    budgets: tuple[ResolvedBudget, ...]

    @property
    def default_device(self) -> str | None:
        return self.config.search.device

    def inputs(self, predictor_inputs: str) -> str:
        """Equal exactly when the search would be the same."""
        corrections = [
            [name, key, median.median_ms]
            for name, book in measurement_books(self).items()
            for key, median in sorted(book.corrections.items())
        ]
        tables = {name: table.model_dump(mode="json") for name, table in self.tables.items()}
        devices = [device.model_dump(mode="json") for device in self.config.devices]
        limits = [asdict(budget) for budget in self.budgets]
        boards = [self.config.quantization.model_dump(mode="json")] if self.config.boards else []
        settings = self.config.search.model_dump(mode="json", exclude={"budgets"})
        if settings["memory_plan"] == "naive":
            del settings["memory_plan"]  # newer than searches that are done
        if not settings["evaluate"]:
            del settings["evaluate"]  # as above
        facts = [settings, limits, devices, tables, self.space.fingerprint, self.weights_sha256, self.config.seed]
        return digest([_ALGORITHM, predictor_inputs, *facts, *([corrections] if corrections else []), *boards])


def load_problem(run: Path, config: RunConfig, *, budget: Budget | None = None) -> Problem:
    """Read the run and check that every budget (or the one given) can be kept. Raises `UserError`, `Infeasible`."""
    run = Path(run)
    info = read_json(run / "supernet.json", "supernet description")
    if not isinstance(info, dict) or not isinstance(info.get("weights_sha256"), str) or "space" not in info:
        raise UserError("not a supernet description", file=run / "supernet.json")
    space = SearchSpace.from_description(info["space"], file=run / "supernet.json")
    tables = run_tables(run, [device.name for device in config.devices])
    costs = all_costs(space, tables, dtype=config.search.dtype, plan=config.search.memory_plan)
    wanted = (budget,) if budget is not None else config.search.parsed_budgets()
    there = capacities(tables)
    budgets = tuple(resolve(b, costs, default_device=config.search.device, capacities=there) for b in wanted)
    if budget is not None:
        budgets = budgets_in_run(budgets[0])
    for resolved in reversed(ascending(budgets, costs)):  # a device's own before all devices' together
        try:
            feasible_networks(space, costs, resolved, seed=config.seed)
        except Infeasible as error:
            if len(budgets) == 1 or budget is None or resolved.name != UNIVERSAL:
                raise
            budgets = _without_universal(budgets, error)
    return Problem(run, config, space, info["weights_sha256"], tables, costs, budgets)


def search_run(
    run: Path,
    config: RunConfig,
    *,
    budget: Budget | None = None,
    learn: Learn | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Find, try and name the winners of a run's budgets, and write `search.json`; at once if nothing changed.

    With a `budget` of one's own that one alone is searched, and `search.json` is left as it is; if its limits name
    several devices, it has a winner for each, and the network that serves all if there is one. `learn` may evaluate
    networks before winners are named, and gives the predictor to name them by. Returns the content.
    """
    problem = load_problem(run, config, budget=budget)
    learned = learn(problem) if learn is not None else None
    predictor = load_predictor(problem.run / "predictor") if learned is None else learned.predictor
    inputs, path = problem.inputs(predictor.inputs), problem.run / "search.json"
    if budget is None and path.exists():
        known = read_json(path, "search result")
        if isinstance(known, dict) and known.get("inputs") == inputs:
            return check_search(known, file=path)
    with in_file(problem.run / "predictor"):
        predict = predictor.bind(problem.space)
    origins: tuple[Origin, ...] = ("sampled",) if learned is None else ("sampled", "search")
    try:
        outcome, ranked = _find(problem, predict, origins, quiet=quiet)
    except Infeasible as error:
        if budget is None or len(problem.budgets) == 1 or error.details.get("budget") != UNIVERSAL:
            raise
        problem = replace(problem, budgets=_without_universal(problem.budgets, error))
        outcome, ranked = _find(problem, predict, origins, quiet=quiet)
    facts = outcome_facts(problem.space, predict, problem.costs, outcome, ranked, seed=config.seed)
    facts = {"inputs": inputs, "weights_sha256": problem.weights_sha256, "seed": config.seed, **facts}
    if learned is not None:
        facts["evaluated"] = learned.facts
    if budget is None:
        write_json(path, facts)
    elif len(problem.budgets) > 1:
        facts["universal"] = universal_facts(outcome)
    return facts


def _tell_torn(path: Path) -> None:
    """Note a half-written last line of a lines file: readers leave it out, and the next writer mends it."""
    if path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size:
        note(f"{path}: the last line is half-written, as by a crash, and is left out")


def _without_universal(budgets: tuple[ResolvedBudget, ...], error: Infeasible) -> tuple[ResolvedBudget, ...]:
    note(f"no network serves all devices: {error}")
    return tuple(part for part in budgets if part.name != UNIVERSAL)


def _find(
    problem: Problem, predict: Predict, origins: Sequence[Origin], *, quiet: bool
) -> tuple[Outcome, dict[str, Ranked]]:
    settings, seed = problem.config.search, problem.config.seed
    ranked = search(problem.space, predict, problem.costs, problem.budgets, settings, seed=seed)
    outcome = choose_winners(
        problem.space,
        predict,
        problem.costs,
        ranked,
        evaluate=_Evaluate(problem),
        books=measurement_books(problem),
        again=partial(_again, problem, predict),
        also=_recorded(problem, origins),
        int8=_int8(problem),
        max_rounds=settings.max_rounds,
        quiet=quiet,
    )
    return outcome, ranked


def _again(problem: Problem, predict: Predict, budget: ResolvedBudget) -> Ranked:
    """Search with tightened limits; no candidates where they clash."""
    space, costs, settings, seed = problem.space, problem.costs, problem.config.search, problem.config.seed
    try:
        start = feasible_networks(space, costs, budget, seed=seed)
    except Infeasible:
        nothing = np.zeros((0, space.num_genes), dtype=np.int64)
        return Ranked(budget, nothing, predict(nothing), {}, "none", 0)
    return search_budget(space, predict, costs, budget, settings, seed=seed, start=start)


def _int8(problem: Problem) -> Int8 | None:
    """What judges the budgets of boards, if the run has any."""
    if not problem.config.boards:
        return None
    from ofa.search.int8_accuracy import Int8Evaluator

    return Int8(Int8Evaluator(problem.run, problem.config), frozenset(board.name for board in problem.config.boards))


class _Evaluate:
    """Accuracy on the selection split through the run's records; supernet and images are loaded when first needed."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._evaluator: Any = None

    def __call__(self, architecture: Architecture) -> float:
        from predictors.records import SubnetEvaluator

        if self._evaluator is None:
            self._evaluator = SubnetEvaluator(self._problem.run, self._problem.config)
        return float(self._evaluator.book.accuracy(architecture, self._evaluator, origin="search"))


def measurement_books(problem: Problem) -> dict[str, MeasurementBook]:
    """For every limited cost of a device that is timed here: the book that measures it."""
    from latency_tables.table import LatencyTable

    limited = sorted({name for budget in problem.budgets for name in budget.limits})
    here = {
        device.name: (device, table)
        for device in problem.config.timed
        if isinstance(table := problem.tables.get(device.name), LatencyTable)
    }
    return {
        name: device_book(problem.run / "measurements.jsonl", problem.space, *here[device])
        for name in limited
        if (device := device_of(name)) is not None and device in here
    }


def _recorded(problem: Problem, origins: Sequence[Origin]) -> dict[str, Population]:
    """By budget, the records of these origins that scored best among those predicted to keep it."""
    path = problem.run / "records.jsonl"
    records = load_records(path, space=problem.space, weights_sha256=problem.weights_sha256).of(origins)
    _tell_torn(path)
    best = {}
    for budget in problem.budgets:
        kept = np.flatnonzero(violations(problem.costs, budget.limits, records.population) == 0)
        order = kept[np.argsort(-records.accuracies[kept], kind="stable")]
        best[budget.name] = records.population[order[: problem.config.search.recorded]]
    return best
