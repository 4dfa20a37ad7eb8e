from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ofa.search.budgets import ResolvedBudget, parse_budget, resolve
from ofa.search.facts import outcome_facts
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.finalists import Outcome, choose_winners
from ofa.search.measurements import MeasurementBook, Median
from ofa.search.run import Ranked, search, search_budget
from ofa.search.settings import SearchSettings
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import Infeasible, UserError
from search_spaces.costs import CostTable

Costs = dict[str, CostTable]
COST = "latency@a"
SETTINGS = SearchSettings.model_validate({"budgets": {"b": {"macs": "5M"}}, "candidates": 6})


class Bench:
    """A search whose device takes `slower(architecture)` times what the table says; remembers what it was asked."""

    def __init__(
        self, space: SearchSpace, costs: Costs, predict, folder: Path, slower: Callable[[Architecture], float]
    ):
        self.space, self.costs, self.predict, self.folder, self.slower = space, costs, predict, folder, slower
        self.sets: list[list[str]] = []
        self.evaluated: list[str] = []

    def measure(self, architectures: Sequence[Architecture]) -> list[Median]:
        self.sets.append([architecture.key for architecture in architectures])
        predicted = self.costs[COST].evaluate(self.space.encode(list(architectures)))
        times = [float(ms) * self.slower(a) for ms, a in zip(predicted, architectures, strict=True)]
        return [Median(ms, 0.9 * ms, 1.1 * ms, 5) for ms in times]

    def accuracy(self, architecture: Architecture) -> float:
        """The truth differs from the prediction by something that belongs to the network."""
        mean = self.predict(self.space.encode([architecture])).mean[0]
        return float(np.clip(mean + (int(architecture.key[:4], 16) / 65535 - 0.5) * 0.1, 0, 1))

    def evaluate(self, architecture: Architecture) -> float:
        self.evaluated.append(architecture.key)
        return self.accuracy(architecture)

    def again(self, budget: ResolvedBudget) -> Ranked:
        start = feasible_networks(self.space, self.costs, budget)
        return search_budget(self.space, self.predict, self.costs, budget, SETTINGS, start=start)

    def choose(self, **budgets: str) -> Outcome:
        resolved = [resolve(parse_budget(name, {"latency": text}), self.costs) for name, text in budgets.items()]
        return choose_winners(
            self.space,
            self.predict,
            self.costs,
            search(self.space, self.predict, self.costs, resolved, SETTINGS),
            evaluate=self.evaluate,
            books={COST: self.book()},
            again=self.again,
            quiet=True,
        )

    def book(self, device: str = "a", setup: str = "s") -> MeasurementBook:
        return MeasurementBook(self.folder / "measurements.jsonl", device=device, setup=setup, measure=self.measure)


@pytest.fixture
def bench(space: SearchSpace, costs: Costs, landscape: Callable, tmp_path: Path) -> Callable[..., Bench]:
    def make(slower: Callable[[Architecture], float], seed: int = 0) -> Bench:
        return Bench(space, costs, landscape(seed), tmp_path, slower)

    return make


def noisy(architecture: Architecture) -> float:
    """From 6 % faster to 6 % slower than the table says, by network."""
    return 0.94 + 0.12 * int(architecture.key[4:8], 16) / 65535


@pytest.mark.parametrize("seed", range(5))
def test_winners_keep_their_budgets_and_accuracies_do_not_fall(bench, seed: int) -> None:
    trial = bench(noisy, seed)
    outcome = trial.choose(large="70%", small="8%", medium="30%", tight="10%")
    assert [winner.budget.name for winner in outcome.winners] == ["small", "tight", "medium", "large"]
    accuracies = [winner.winner.selection_accuracy for winner in outcome.winners]
    assert accuracies == sorted(accuracies)
    for winner in outcome.winners:
        limit = winner.budget.limits[COST]
        assert winner.winner.measured[COST].median_ms <= limit
        admitted = [f for f in outcome.finalists.values() if f.measured[COST].median_ms <= limit]
        assert winner.winner.selection_accuracy == max(f.selection_accuracy for f in admitted)
        assert winner.winner.selection_accuracy == trial.accuracy(winner.winner.architecture)
    assert len(trial.evaluated) == len(set(trial.evaluated))
    assert len(trial.sets[0]) > 12  # all budgets' candidates were measured against each other


def test_a_rejected_network_is_not_evaluated_and_says_why(bench) -> None:
    trial = bench(noisy)
    outcome = trial.choose(small="12%")
    (winner,) = outcome.winners
    rejected = [f for f in outcome.finalists.values() if f.measured[COST].median_ms > winner.budget.limits[COST]]
    assert rejected
    assert all(finalist.selection_accuracy is None for finalist in rejected)
    assert not {finalist.architecture.key for finalist in rejected} & set(trial.evaluated)


def test_when_the_device_rejects_all_the_search_is_tightened(bench) -> None:
    trial = bench(lambda architecture: 1.3)
    outcome = trial.choose(small="40%")
    (winner,) = outcome.winners
    limit = winner.budget.limits[COST]
    assert winner.rounds > 1
    assert 0.85 * limit < winner.winner.measured[COST].median_ms <= limit
    assert winner.winner.predicted_costs[COST] <= limit / 1.3
    assert all(outcome.finalists[key].exceeded({COST: limit}) for key in winner.candidates[:6])


def test_a_later_find_may_win_a_smaller_budget_too(bench) -> None:
    """The large budget's second round may find what suits the small one: the rule holds on the final pool."""
    for seed in range(6):
        outcome = bench(lambda a: 1.25 if int(a.key[0], 16) % 2 else 1.02, seed).choose(small="30%", large="45%")
        small, large = (winner.winner for winner in outcome.winners)
        assert small.selection_accuracy <= large.selection_accuracy


def test_a_device_that_rejects_even_the_cheapest(bench, space: SearchSpace, costs: Costs) -> None:
    trial = bench(lambda architecture: 3.0)
    with pytest.raises(Infeasible, match=r"budget 'small'.*when measured") as caught:
        trial.choose(small="5%")
    details = caught.value.details
    cheapest = space.decode(costs[COST].minimum()[1])[0]
    assert details["binding"] == COST
    assert details["nearest"]["key"] == cheapest.key
    assert details["smallest"][COST] == pytest.approx(3 * costs[COST].minimum()[0])
    assert trial.evaluated == []


def test_an_interrupted_choice_measures_and_evaluates_nothing_twice(bench) -> None:
    known: dict[str, float] = {}

    def remembering(trial: Bench) -> Callable[[Architecture], float]:
        def evaluate(architecture: Architecture) -> float:
            if architecture.key not in known:
                if len(known) == 4:
                    raise KeyboardInterrupt
                trial.evaluated.append(architecture.key)
                known[architecture.key] = trial.accuracy(architecture)
            return known[architecture.key]

        return evaluate

    first = bench(noisy)
    first.evaluate = remembering(first)
    with pytest.raises(KeyboardInterrupt):
        first.choose(small="20%", large="60%")
    known_before = dict(known)
    second = bench(noisy)
    second.evaluate = lambda a: known_before.get(a.key) or Bench.evaluate(second, a)
    outcome = second.choose(small="20%", large="60%")
    assert second.sets == []  # all medians were on file
    assert not set(second.evaluated) & set(known_before)
    (second.folder / "measurements.jsonl").unlink()
    fresh = bench(noisy).choose(small="20%", large="60%")
    assert [w.winner.architecture for w in outcome.winners] == [w.winner.architecture for w in fresh.winners]


def test_measurements_of_another_device_or_setup_are_not_used(bench, space: SearchSpace) -> None:
    trial = bench(noisy)
    architectures = space.decode(space.sample(3, np.random.default_rng(0)))
    medians = trial.book().medians([*architectures, architectures[0]])
    assert trial.book().medians(architectures) == medians
    assert len(trial.sets) == 1
    trial.book(device="b").medians(architectures)
    trial.book(setup="t").medians(architectures[:1])
    assert [len(keys) for keys in trial.sets] == [3, 3, 1]


@pytest.mark.parametrize("change", ['{"key": 1}', "[]", '{"key": "k", "device": "a", "setup": "s", "median_ms": -1}'])
def test_bad_measurements_are_named(bench, change: str) -> None:
    trial = bench(noisy)
    (trial.folder / "measurements.jsonl").write_text(change + "\n")
    with pytest.raises(UserError, match=r"measurements.jsonl: line 1"):
        trial.book()


def test_the_facts_add_up(bench, space: SearchSpace, costs: Costs) -> None:
    import json

    trial = bench(noisy)
    outcome = trial.choose(small="12%", large="70%")
    resolved = [winner.budget for winner in outcome.winners]
    ranked = search(space, trial.predict, costs, resolved, SETTINGS)
    facts = json.loads(json.dumps(outcome_facts(space, trial.predict, costs, outcome, ranked), allow_nan=False))
    assert [budget["name"] for budget in facts["budgets"]] == ["small", "large"]
    for budget in facts["budgets"]:
        winner = budget["winner"]
        for cost, slots in winner["contributions"].items():
            reduce = max if costs[cost].reduce == "max" else sum
            total = reduce([entry["value"] for entry in slots])
            assert total == winner["predicted_costs"][cost]
        for candidate in budget["candidates"]:
            assert (candidate["status"] == "rejected") == bool(candidate["exceeded"])
            assert (candidate["status"] == "winner") == (candidate["key"] == winner["key"])
            architecture = Architecture.from_json(candidate["architecture"])
            assert costs[COST].evaluate(space.encode([architecture]))[0] == candidate["predicted_costs"][COST]
    statuses = {candidate["status"] for candidate in facts["budgets"][0]["candidates"]}
    assert "rejected" in statuses
    front = facts["fronts"][COST]
    assert all(a["cost"] < b["cost"] and a["accuracy"] < b["accuracy"] for a, b in pairwise(front))
