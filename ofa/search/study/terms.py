"""What all workers of a study agree on: space, supernet, limits, objectives, and the costs these are told by."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import digest

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

#: The attribute of a study that holds its terms.
ATTRIBUTE = "ofa"

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Terms:
    """`limits` in base units and `objectives` (`accuracy` first, which is maximised; costs are minimised) by names of
    `costs`.
    """

    space: SearchSpace
    weights_sha256: str
    costs: Mapping[str, CostTable]
    limits: Mapping[str, float]
    objectives: tuple[str, ...] = (ACCURACY,)

    def __post_init__(self) -> None:
        if not self.objectives or self.objectives[0] != ACCURACY or len(set(self.objectives)) < len(self.objectives):
            hint = "Write for example accuracy,macs"
            raise UserError(
                "accuracy comes first, then costs, each once", key="objectives", value=self.objectives, hint=hint
            )
        for name in self.objectives[1:]:
            if name not in self.costs:
                raise unknown_name("cost", name, self.costs, key="objectives")

    @cached_property
    def used_costs(self) -> tuple[str, ...]:
        """The costs of limits and objectives, each once."""
        return tuple(dict.fromkeys([*self.limits, *self.objectives[1:]]))

    def excess(self, population: Population) -> npt.NDArray[np.float64]:
        """(num, num_limits) how far each limit is exceeded, as a share of it; at most 0 where it is kept."""
        columns = [self.costs[name].evaluate(population) / limit - 1.0 for name, limit in self.limits.items()]
        return np.stack(columns, axis=1) if columns else np.zeros((len(population), 0))

    def keeps(self, population: Population) -> npt.NDArray[np.bool_]:
        """(num,) which networks keep every limit."""
        kept = np.ones(len(population), dtype=bool)
        for name, limit in self.limits.items():
            kept &= self.costs[name].evaluate(population) <= limit
        return kept

    def constraints(self, row: Population) -> list[float]:
        """Of one network, as Optuna wants them: positive where a limit is exceeded."""
        return [float(value) for value in self.excess(row[None])[0]]

    def values(self, row: Population, accuracy: float) -> list[float]:
        """The objectives of one network."""
        return [accuracy, *(float(self.costs[name].evaluate(row[None])[0]) for name in self.objectives[1:])]

    def shown_costs(self, row: Population) -> dict[str, float]:
        return {name: float(self.costs[name].evaluate(row[None])[0]) for name in self.used_costs}

    def facts(self) -> dict[str, Any]:
        """JSON that is equal exactly for workers that may share a study."""
        return {
            "space": self.space.name,
            "fingerprint": self.space.fingerprint,
            "restriction": self.space.description["restriction"],
            "weights_sha256": self.weights_sha256,
            "limits": dict(self.limits),
            "objectives": list(self.objectives),
            "costs": {name: _cost_digest(self.costs[name]) for name in self.used_costs},
        }


def open_study(storage: BaseStorage, name: str, terms: Terms, *, where: str, stale_after_s: float) -> tuple[int, float]:
    """(id of the study, its `stale_after_s`): the study of that name, made on these terms if there is none.

    Raises `UserError`, with nothing written, if there is one on other terms.
    """
    import optuna

    if not name.strip():
        raise UserError("a study needs a name", key="--study", value=name)
    directions = ["maximize", *("minimize" for _ in terms.objectives[1:])]
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        study_id = storage.get_study_id_from_name(name)
    if ATTRIBUTE not in storage.get_study_user_attrs(study_id):
        known = [direction.name.lower() for direction in storage.get_study_directions(study_id)]
        if storage.get_n_trials(study_id) or known != directions:
            raise _other(where, name, "was made by another program")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.load_study(storage=storage, study_name=name).set_metric_names(list(terms.objectives))
        storage.set_study_user_attr(study_id, ATTRIBUTE, {**terms.facts(), "stale_after_s": stale_after_s})
    return study_id, check_study(storage, study_id, terms, where=where, name=name)


def check_study(storage: BaseStorage, study_id: int, terms: Terms, *, where: str, name: str) -> float:
    """The study's `stale_after_s`; `UserError` if it is on other terms."""
    known = storage.get_study_user_attrs(study_id).get(ATTRIBUTE)
    if not isinstance(known, dict) or not isinstance(known.get("stale_after_s"), (int, float)):
        raise _other(where, name, "was made by another program")
    for key, value in terms.facts().items():
        if known.get(key) != value:
            raise _other(where, name, _difference(key, known.get(key), value))
    return float(known["stale_after_s"])


def _difference(key: str, known: Any, value: Any) -> str:
    match key:
        case "space" | "fingerprint" | "restriction":
            return f"is of another space ({known if key == 'space' else f'another {key}'})"
        case "weights_sha256":
            return f"is of another supernet ({str(known)[:12]}, this run's is {value[:12]})"
        case "limits":
            return f"has other limits ({_listed(known)}; asked for {_listed(value)})"
        case "objectives":
            return f"has other objectives ({', '.join(map(str, known or []))}; asked for {', '.join(value)})"
    return "knows costs by other tables than these"


def _listed(limits: Any) -> str:
    from ofa.search.budgets import format_cost

    if not isinstance(limits, dict) or not limits:
        return "none"
    return " and ".join(f"{name} <= {format_cost(limit, name)}" for name, limit in limits.items())


def _other(where: str, name: str, what: str) -> UserError:
    return UserError(f"study {name!r} {what}", file=where, key="--study", hint="Give the study another name")


def _cost_digest(table: CostTable) -> str:
    tables = [values.tolist() for values in table.tables]
    return digest([table.metric, table.reduce, table.constant, [list(genes) for genes in table.genes], tables])[:12]
