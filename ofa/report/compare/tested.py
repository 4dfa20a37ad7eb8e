"""Networks of a run that were read on the test split, and the best of them under each budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from ofa import text
from ofa.report.compare.costs import SharedCost
from ofa.report.compare.proportions import accuracy_interval, difference
from ofa.report.compare.runs import Run

#: budgets whose limits are no farther apart are taken as one: about the precision of a measurement
_SAME = 0.02


@dataclass(frozen=True)
class Tested:
    """`costs` by the name of the shared cost: measured on the exported file or as a whole network, else predicted.
    Accuracies are in int8 where a board's budget named the network.
    """

    name: str
    key: str
    architecture: dict[str, Any]
    precision: str
    selection: float
    test: float
    num_images: int
    costs: dict[str, float]
    measured: tuple[str, ...]

    def keeps(self, limits: Mapping[str, float]) -> bool:
        return all(name in self.costs and self.costs[name] <= limit for name, limit in limits.items())

    @property
    def facts(self) -> dict[str, Any]:
        interval = accuracy_interval(self.test, self.num_images)
        facts = {**asdict(self), "measured": list(self.measured)}
        return {**facts, "lower": interval.lower, "upper": interval.upper}


def tested_networks(number: int, run: Run, shared: Sequence[SharedCost]) -> list[Tested]:
    """Winners that were exported, and the largest subnet."""
    names = {cost.own[number]: cost.name for cost in shared if number in cost.own}
    found = [one for winner in run.report["winners"] if (one := _winner(winner, names)) is not None]
    reference = run.report["reference"]
    if reference is not None and "test" in reference["accuracy"]:
        own = {**reference["costs"], **{f"latency@{device}": ms for device, ms in reference["latency"].items()}}
        costs = {names[name]: float(value) for name, value in own.items() if name in names}
        accuracy = reference["accuracy"]
        found.append(
            Tested(
                name="largest subnet",
                key=reference["key"],
                architecture=reference["architecture"],
                precision="fp32",
                selection=accuracy["selection"]["accuracy"],
                test=accuracy["test"]["accuracy"],
                num_images=accuracy["test"]["num_images"],
                costs=costs,
                measured=(),
            )
        )
    return found


def under_budgets(runs: Sequence[Run], shared: Sequence[SharedCost]) -> list[dict[str, Any]]:
    """For every budget whose costs at least two runs know, and for none: each run's best network, and who is better.

    Best by the selection split; the test split then says how good it is. `networks` has None for a run that has none,
    or does not know the costs (`known`).
    """
    tested = [tested_networks(number, run, shared) for number, run in enumerate(runs)]
    rows = []
    for limits, owners in [*_budgets(runs, shared), (dict[str, float](), list[str]())]:
        known = [all(number in _by_name(shared, name).own for name in limits) for number in range(len(runs))]
        if sum(known) < 2:
            continue
        best = [
            max((one for one in networks if one.keeps(limits)), key=lambda one: one.selection, default=None)
            for networks in tested
        ]
        rows.append(
            {
                "limits": limits,
                "of": owners,
                "known": known,
                "networks": [None if one is None else one.facts for one in best],
                "differences": _differences(runs, best),
            }
        )
    return rows


def _differences(runs: Sequence[Run], best: Sequence[Tested | None]) -> list[dict[str, Any]]:
    """Of every two runs with the same task, the better by how much, in shares."""
    found = []
    for (i, one), (j, two) in combinations(enumerate(best), 2):
        if one is None or two is None or not runs[i].same_task(runs[j]):
            continue
        (a, first), (b, second) = sorted([(i, one), (j, two)], key=lambda pair: -pair[1].test)
        gap = difference(first.test, first.num_images, second.test, second.num_images)
        found.append({"better": a, "worse": b, **asdict(gap), "distinct": gap.distinct})
    return found


def _winner(winner: Mapping[str, Any], names: Mapping[str, str]) -> Tested | None:
    export = winner["export"]
    if export is None:
        return None
    accuracy, precision = export["accuracy"], "fp32"
    boards = export.get("boards") or {}
    if winner["chosen_by"] == "int8_accuracy" and boards:
        accuracy, precision = next(iter(boards.values()))["accuracy"], "int8"
    test = accuracy.get("test")
    if test is None:
        return None
    costs, measured = {}, []
    for own, name in names.items():
        value = text.exported_cost(winner, own)
        value = text.remeasured(winner, own) if value is None else value
        if value is not None:
            measured.append(name)
        predicted = winner["predicted_costs"].get(own)
        value = predicted if value is None else value
        if value is not None:
            costs[name] = float(value)
    return Tested(
        name=winner["budget"],
        key=winner["key"],
        architecture=winner["architecture"],
        precision=precision,
        selection=accuracy["selection"]["accuracy"],
        test=test["accuracy"],
        num_images=test["num_images"],
        costs=costs,
        measured=tuple(measured),
    )


def _budgets(runs: Sequence[Run], shared: Sequence[SharedCost]) -> list[tuple[dict[str, float], list[str]]]:
    """Every run's budgets in shared costs, tightest first, with whose they are; close ones joined at the looser."""
    found: list[tuple[dict[str, float], list[str]]] = []
    for number, run in enumerate(runs):
        names = {cost.own[number]: cost.name for cost in shared if number in cost.own}
        for winner in run.report["winners"]:
            if not winner["limits"] or not all(own in names for own in winner["limits"]):
                continue
            limits = {names[own]: float(limit) for own, limit in winner["limits"].items()}
            owner = f"{winner['budget']} of {run.label}"
            same = next((pair for pair in found if _close(pair[0], limits)), None)
            if same is None:
                found.append((limits, [owner]))
                continue
            same[1].append(owner)
            same[0].update({name: max(limit, same[0][name]) for name, limit in limits.items()})
    return sorted(found, key=lambda pair: (sorted(pair[0]), [pair[0][name] for name in sorted(pair[0])]))


def _close(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        abs(one[name] - other[name]) <= _SAME * min(one[name], other[name]) for name in one
    )


def _by_name(shared: Sequence[SharedCost], name: str) -> SharedCost:
    return next(cost for cost in shared if cost.name == name)
