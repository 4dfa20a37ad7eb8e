"""Several devices in one search: a winner for each, and the universal network that serves them all.

A limit on a device's cost (`latency@phone`) is that device's own; one without a device (`flash`) is everybody's. The
universal network keeps all of them and loses least on the device where it loses most, against that device's own winner.
Accuracy does not depend on the device, so this is the most accurate network that keeps all limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ofa.search.budgets import ResolvedBudget, device_of, physical_device
from ofa.search.offline.shared_scores import selected
from search_spaces.common.errors import Infeasible, UserError

if TYPE_CHECKING:
    import numpy.typing as npt

    from latency_tables.samples import Answer, Measurement
    from ofa.search.offline.confidence import Kept
    from ofa.search.run import Ranked
    from predictors.base import Prediction
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

UNIVERSAL = "universal"


@dataclass(frozen=True)
class Found:
    """The networks found for one budget (at least one), best predicted accuracy first."""

    budget: ResolvedBudget
    population: Population  # (num, num_genes), distinct
    prediction: Prediction
    costs: dict[str, npt.NDArray[np.float64]]  # all known costs, (num,) each, as predicted
    measured: tuple[dict[str, Measurement | Answer], ...]
    algorithm: str
    num_scored: int
    num_rejected: int = 0

    @classmethod
    def of(cls, ranked: Ranked, kept: Kept) -> Found:
        rows = ranked.population[kept.rows]
        measured = tuple(kept.measured.get(int(row), {}) for row in kept.rows)
        costs = {name: values[kept.rows] for name, values in ranked.costs.items()}
        prediction = selected(ranked.prediction, kept.rows)
        return cls(
            ranked.budget, rows, prediction, costs, measured, ranked.algorithm, ranked.num_scored, kept.num_rejected
        )


@dataclass(frozen=True)
class Several:
    """What was found for each device, and for all together; or why no network keeps all limits."""

    devices: dict[str, Found]
    universal: Found | None
    clash: Infeasible | None

    @property
    def losses(self) -> dict[str, float]:
        """By device, how much less accurate the universal network is than the device's own winner."""
        if self.universal is None:
            return {}
        best = float(self.universal.prediction.mean[0])
        return {device: float(found.prediction.mean[0]) - best for device, found in self.devices.items()}


def budgets_by_device(budget: ResolvedBudget) -> dict[str, ResolvedBudget]:
    """For every device that a limit of `budget` names, the budget of that name with its limits and everybody's, in the
    order of the limits. Empty where fewer than two are named.
    """
    devices = list(dict.fromkeys(device for name in budget.limits if (device := _device(name)) is not None))
    if len(devices) < 2:
        return {}
    if UNIVERSAL in devices:
        raise UserError("with several devices, this names the network for all of them", key=UNIVERSAL, hint="Rename it")
    found = {}
    for device in devices:
        limits = {name: limit for name, limit in budget.limits.items() if _device(name) in (device, None)}
        written = {name: text for name, text in budget.written.items() if name in limits}
        found[device] = ResolvedBudget(device, limits, written)
    return found


def _device(cost: str) -> str | None:
    """Columns of one device are one device: its network has to keep the limits of all of them."""
    device = device_of(cost)
    return None if device is None else physical_device(device)


def budgets_in_run(budget: ResolvedBudget) -> tuple[ResolvedBudget, ...]:
    """The budget itself; or, where it names several devices, one for each and the universal one, which holds all."""
    own = budgets_by_device(budget)
    return (*own.values(), replace(budget, name=UNIVERSAL)) if own else (budget,)


def search_devices(
    find: Callable[[ResolvedBudget], Found],
    predict: Callable[[Population], Prediction],
    costs: Mapping[str, CostTable],
    budget: ResolvedBudget,
    *,
    sure: Callable[[ResolvedBudget], ResolvedBudget],
    num: int,
) -> Several:
    """`find` the best for every device of `budget`, then for all; the `num` best each of everything found that fits.

    So nothing universal is better than a device's own winner. `sure` gives the limits that predicted costs must keep
    (measured ones keep the budget's own). Raises `Infeasible` if no network keeps one device's limits; where only all
    limits together are too much there is no universal network.
    """
    own = budgets_by_device(budget)
    found = {device: find(part) for device, part in own.items()}
    universal, clash = None, None
    try:
        universal = find(replace(budget, name=UNIVERSAL))
    except Infeasible as error:
        clash = error
    everything = [*found.values(), *([] if universal is None else [universal])]
    found = {device: _best_of(everything, part, predict, costs, sure, num) for device, part in found.items()}
    if universal is not None:
        universal = _best_of(everything, universal, predict, costs, sure, num)
    return Several(found, universal, clash)


def _best_of(
    everything: Sequence[Found],
    own: Found,
    predict: Callable[[Population], Prediction],
    costs: Mapping[str, CostTable],
    sure: Callable[[ResolvedBudget], ResolvedBudget],
    num: int,
) -> Found:
    """The best of all networks found that the budget of `own` admits."""
    limits, certain = own.budget.limits, sure(own.budget).limits
    rows, first = np.unique(np.concatenate([found.population for found in everything]), axis=0, return_index=True)
    told = [measured for found in everything for measured in found.measured]
    values = {name: table.evaluate(rows) for name, table in costs.items()}
    kept = []
    for place, index in enumerate(first):
        measured = told[index]
        if all(
            measured[name].value <= limit if name in measured else values[name][place] <= certain[name]
            for name, limit in limits.items()
        ):
            kept.append(place)
    prediction = predict(rows)
    chosen = np.array(kept)[np.argsort(-prediction.mean[kept], kind="stable")][:num]
    return replace(
        own,
        population=rows[chosen],
        prediction=selected(prediction, chosen),
        costs={name: value[chosen] for name, value in values.items()},
        measured=tuple(told[first[place]] for place in chosen),
    )
