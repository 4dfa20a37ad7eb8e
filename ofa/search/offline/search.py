"""Search with a predictor and latency tables alone: no supernet, no images, no device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latency_tables.conformal import check_confidence
from latency_tables.table import LatencyTable
from ofa.config import space_of
from ofa.console import note
from ofa.search.algorithms.registry import ALGORITHMS, AUTO
from ofa.search.budgets import ResolvedBudget, full_name, parse_max, resolve
from ofa.search.costs import all_costs, capacities, cost_of, named_tables
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.offline.confidence import AtHand, Bounds, Kept, search_with_confidence, tables_here
from ofa.search.offline.facts import confidence_facts, found_facts, several_facts
from ofa.search.offline.front_facts import whole_front
from ofa.search.offline.shared_scores import SharedScores
from ofa.search.run import search
from ofa.search.settings import SearchSettings
from ofa.search.several_devices import Found, budgets_by_device, search_devices
from predictors.base import Predict, Predictor, load_predictor
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError, in_file

if TYPE_CHECKING:
    from latency_tables.table import Table
    from search_spaces.architecture import Value
    from search_spaces.costs import CostTable

#: by gene, the options that are left of it
Restriction = dict[str, list["Value"]]


@dataclass(frozen=True)
class _Known:
    """What there is to search with: the part of a space that the predictor and all tables know, and its costs."""

    space: SearchSpace
    restricted: list[dict[str, Any]]
    predictor: Predictor
    predict: Predict
    devices: dict[str, Table]
    costs: dict[str, CostTable]

    @staticmethod
    def read(accuracy: Path, tables: Sequence[Path], space: str | None, dtype: str, memory_plan: str) -> _Known:
        predictor = load_predictor(accuracy)
        devices = named_tables(tables)
        searched, restricted = _common_space(_space(space, predictor), predictor, _measured(devices))
        with in_file(accuracy):
            predict = predictor.bind(searched)
        costs = all_costs(searched, devices, dtype=dtype, plan=memory_plan)
        return _Known(searched, restricted, predictor, predict, devices, costs)

    def facts(self) -> dict[str, Any]:
        published = self.predictor.published
        return {
            "space": self.space.name,
            "restricted": self.restricted,
            "predictor": {
                "model": self.predictor.name,
                "published": None if published is None else asdict(published),
            },
            "devices": {
                name: {"published": None if isinstance(table, LatencyTable) else table.origin}
                for name, table in self.devices.items()
            },
        }


def front_offline(
    accuracy: Path,
    tables: Sequence[Path],
    limits: Sequence[str],
    front: Sequence[str],
    *,
    num_random: int = 0,
    space: str | None = None,
    seed: int = 0,
    dtype: str = "float32",
    memory_plan: str = "naive",
) -> dict[str, Any]:
    """The front of predicted accuracy against the costs `front`, within `limits` if there are any: searched, or that of
    `num_random` random networks.
    """
    budget = parse_max(limits) if limits else None
    known = _Known.read(accuracy, tables, space, dtype, memory_plan)
    names = [full_name(name, known.costs, key="--front") for name in front]
    resolved = None if budget is None else resolve(budget, known.costs, capacities=capacities(known.devices))
    if resolved is not None:
        feasible_networks(known.space, known.costs, resolved, seed=seed)
    found = whole_front(
        known.space,
        known.predict,
        known.costs,
        names,
        limits=None if resolved is None else resolved.limits,
        num_random=num_random,
        seed=seed,
    )
    return {**known.facts(), "memory_plan": memory_plan, **found}


def search_offline(
    accuracy: Path,
    tables: Sequence[Path],
    limits: Sequence[str],
    *,
    space: str | None = None,
    num: int = 8,
    seed: int = 0,
    dtype: str = "float32",
    memory_plan: str = "naive",
    confidence: float | None = None,
    algorithm: str = AUTO,
) -> dict[str, Any]:
    """The `num` best candidates under `limits` (`["latency=5ms"]`), as predicted; without `space`, the predictor's.

    Where limits name several devices, the candidates are those that keep all of them (the first is the universal
    network), `winners` are the best for every device alone, and `front` is what can be had between them.
    With a `confidence`, candidates keep the limits that tables tell with that probability, or were measured to do so.
    Only networks that the predictor and all tables know are searched; what that leaves out is told on stderr.
    """
    budget = parse_max(limits)
    if algorithm != AUTO and algorithm not in ALGORITHMS:
        raise ALGORITHMS.unknown(algorithm, also=(AUTO,), key="--algorithm")
    known = _Known.read(accuracy, tables, space, dtype, memory_plan)
    searched, predict, costs, devices = known.space, known.predict, known.costs, known.devices
    resolved = resolve(budget, costs, capacities=capacities(devices))
    settings = SearchSettings.model_validate(
        {"budgets": {budget.name: budget.written}, "candidates": num, "algorithm": algorithm}
    )
    bounds: Bounds | None = None
    here: dict[str, AtHand] = {}
    if confidence is not None:
        told = {cost_of(name, table): table for name, table in devices.items()}
        bounds = Bounds.of(resolved, told, check_confidence(confidence, key="--confidence"))
        here = tables_here({name: told[name] for name in resolved.limits if name in told})

    if own := budgets_by_device(resolved):
        for part in own.values() if bounds is None else ():  # with a confidence, what is measured may count
            feasible_networks(searched, costs, part, seed=seed)
        shared = SharedScores(predict, searched.num_genes)
        finding = partial(_find, searched, shared, costs, settings, bounds, here, seed)
        sure = (lambda part: part) if bounds is None else bounds.sure
        several = search_devices(finding, shared, costs, resolved, sure=sure, num=num)
        found, num_scored = several.universal, len(shared.population)
        more = several_facts(searched, shared, costs, several, dtype=dtype, seed=seed)
    else:
        found = _find(searched, predict, costs, settings, bounds, here, seed, resolved)
        num_scored, more = found.num_scored, {}
    return {
        **known.facts(),
        "limits": resolved.limits,
        "memory_plan": memory_plan,
        "num_scored": num_scored,
        **found_facts(searched, costs, found, dtype=dtype),
        **more,
        "confidence": None if bounds is None else confidence_facts(bounds, here, found),
    }


def _find(
    space: SearchSpace,
    predict: Predict,
    costs: Mapping[str, CostTable],
    settings: SearchSettings,
    bounds: Bounds | None,
    here: Mapping[str, AtHand],
    seed: int,
    budget: ResolvedBudget,
) -> Found:
    if bounds is None:
        ranked = search(space, predict, costs, [budget], settings, seed=seed)[budget.name]
        return Found.of(ranked, Kept(np.arange(len(ranked.population)), {}, 0))
    at_hand = {name: table for name, table in here.items() if name in budget.limits}
    return Found.of(*search_with_confidence(space, predict, costs, budget, settings, bounds, at_hand, seed=seed))


def _space(text: str | None, predictor: Predictor) -> SearchSpace:
    """The predictor's own space, which its name means too; or another name's or a config file's, with the predictor's
    classes and channels.
    """
    known = predictor.space_description
    if text is None or text == known["name"]:
        return SearchSpace.from_description(known)
    return space_of(text, known["num_classes"], known["in_channels"])


def _measured(devices: Mapping[str, Any]) -> dict[str, SearchSpace]:
    """What each table was measured for."""
    spaces = {}
    for device, table in devices.items():
        with in_file(f"table {device}"):
            spaces[device] = table.measured_space()
    return spaces


def _common_space(
    space: SearchSpace, predictor: Predictor, measured: Mapping[str, SearchSpace]
) -> tuple[SearchSpace, list[dict[str, Any]]]:
    """The part of `space` that the predictor and every table of the same space know, and what was left out for whom.

    A predictor or table of another space is left to say so itself.
    """
    known = {"the predictor": SearchSpace.from_description(predictor.space_description)}
    known |= {f"the table of {device}": part for device, part in measured.items()}
    restricted = []
    for who, part in known.items():
        if part.fingerprint == space.fingerprint and (kept := _left(space, part, who)):
            space = space.restrict(kept)
            restricted.append({"by": who, "to": kept})
            note(f"searching {_words(kept)} only: {who} knows no other")
    return space, restricted


def _left(space: SearchSpace, part: SearchSpace, who: str) -> Restriction:
    """The genes of which `part` has fewer options than `space`, with those that both have."""
    left: Restriction = {}
    for gene, theirs in zip(space.genes, part.genes, strict=True):
        common = [option for option in gene.options if option in theirs.options]
        if not common:
            has, knows = ", ".join(map(str, gene.options)), ", ".join(map(str, theirs.options))
            raise UserError(f"nothing is left to search: {gene.name} would be {has}, but {who} knows {knows} only")
        if len(common) < len(gene.options):
            left[gene.name] = common
    return left


def _words(restriction: Restriction) -> str:
    """`resolution 160, 176; kernel.0 3` ..."""
    return "; ".join(f"{name} {', '.join(map(str, options))}" for name, options in restriction.items())
