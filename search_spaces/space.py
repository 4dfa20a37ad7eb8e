"""`SearchSpace`: genome and operator slots under one name; sub-spaces; costs; operators of every network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture, Value
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import digest
from search_spaces.common.units import METRICS as UNITS
from search_spaces.costs import CostTable
from search_spaces.genome import Gene, Genome, Population
from search_spaces.operators import METRICS, Operator, check_dtype, check_plan

#: {choice name: value, or array of values}: what a slot sees of an architecture
Choices = Mapping[str, Any]


@dataclass(frozen=True)
class Slot:
    """A place in the network. `operator(choices)` says what stands there, `present(choices)` whether anything does.

    Both read only `choices`, and must broadcast when these are numpy arrays.
    """

    name: str
    choices: tuple[str, ...]
    operator: Callable[[Choices], Operator]
    present: Callable[[Choices], Any] = field(default=lambda choices: True)


class SearchSpace:
    """All networks of a family under given settings (or a restricted part of them).

    `description` is JSON and rebuilds the space through `SearchSpace.from_description`; `fingerprint` identifies the
    unrestricted space, so that checkpoints, tables and records know what they belong to.
    """

    def __init__(
        self,
        *,
        name: str,
        family: str,
        settings: Mapping[str, Any],
        num_classes: int,
        in_channels: int,
        genome: Genome,
        slots: Sequence[Slot],
        restriction: tuple[Mapping[str, Sequence[Value]], ...] = (),
    ) -> None:
        self.name, self.family, self.settings = name, family, dict(settings)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.genome, self.slots, self.restriction = genome, tuple(slots), restriction
        self._networks: dict[Architecture, list[tuple[str, Operator]]] = {}

    # -- identity ------------------------------------------------------------------------------------------------------

    @property
    def description(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "family": self.family,
            "settings": self.settings,
            "num_classes": self.num_classes,
            "in_channels": self.in_channels,
            "restriction": [{key: list(values) for key, values in part.items()} for part in self.restriction],
        }

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits: equal for equal families, settings, classes and input channels, whatever the name or
        restriction.
        """
        return digest([self.family, self.settings, self.num_classes, self.in_channels])[:12]

    @staticmethod
    def from_description(description: Any, *, file: object = None) -> SearchSpace:
        from search_spaces.registry import space_from_description

        return space_from_description(description, file=file)

    def __repr__(self) -> str:
        return f"SearchSpace({self.name}, {self.num_genes} genes, {float(self.size):.3g} networks)"

    # -- genome --------------------------------------------------------------------------------------------------------

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self.genome.genes

    @property
    def num_genes(self) -> int:
        return len(self.genome.genes)

    @property
    def size(self) -> int:
        return self.genome.size

    def sample(self, num: int, rng: np.random.Generator, uniform: bool = True) -> Population:
        return self.genome.sample(num, rng, uniform=uniform)

    def mutate(self, population: Population, rng: np.random.Generator, rate: float) -> Population:
        return self.genome.mutate(population, rng, rate)

    def crossover(self, first: Population, second: Population, rng: np.random.Generator) -> Population:
        return self.genome.crossover(first, second, rng)

    def canonical(self, population: Population) -> Population:
        return self.genome.canonical(population)

    def active(self, population: Population) -> NDArray[np.bool_]:
        return self.genome.active(population)

    def one_hot(self, population: Population) -> NDArray[np.float32]:
        return self.genome.one_hot(population)

    def encode(self, architectures: Sequence[Architecture], *, file: object = None) -> Population:
        return self.genome.encode(architectures, file=file)

    def decode(self, population: Population) -> list[Architecture]:
        return self.genome.decode(np.atleast_2d(population))

    def enumerate(self, limit: int = 10**6) -> Population:
        """Every distinct network, one row each. Raises `UserError` above `limit` networks."""
        if self.size > limit:
            raise UserError(f"{self.name} has {self.size} networks, too many to list (limit {limit})")
        return self.genome.enumerate()

    def smallest(self) -> NDArray[np.int64]:
        """The network with the fewest MACs (exact)."""
        return self.cost("macs").minimum()[1]

    def largest(self) -> NDArray[np.int64]:
        """The network with the most MACs (exact)."""
        return self.cost("macs").maximum()[1]

    def restrict(
        self, allowed: Mapping[str, Sequence[Value]] | None = None, /, **groups: Sequence[Value]
    ) -> SearchSpace:
        """The sub-space where the named groups or choices take only these values: `restrict(kernel=[7], depth=[3, 4])`.

        Its architectures are architectures of this space too; rows are not (options are renumbered): go through
        decode/encode.
        """
        merged = dict(allowed or {}) | groups
        return SearchSpace(
            name=self.name,
            family=self.family,
            settings=self.settings,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            genome=self.genome.restrict(merged),
            slots=self.slots,
            restriction=(*self.restriction, {key: tuple(values) for key, values in merged.items()})
            if merged
            else self.restriction,
        )

    # -- slots ---------------------------------------------------------------------------------------------------------

    def network(self, architecture: Architecture) -> list[tuple[str, Operator]]:
        """(slot name, operator) in the order of the network; slots that are switched off are left out."""
        if architecture not in self._networks:
            if len(self._networks) >= 1_000:  # about 3 kB each, and most are drawn once
                self._networks.clear()
            row = self.genome.encode([architecture])[0]
            self._networks[architecture] = self._look_up(row) if "_operator_numbers" in vars(self) else self._build(row)
        return self._networks[architecture]

    def fits_any_resolution(self, architecture: Architecture) -> bool:
        """Whether the layers of this network run on images of other sizes as well."""
        return all(operator.fits_any_resolution for _, operator in self.network(architecture))

    def _build(self, row: NDArray[np.int64]) -> list[tuple[str, Operator]]:
        values = self.genome.decode(row[None])[0].values
        flat: dict[str, Any] = {}
        for group, value in values.items():
            flat |= {f"{group}.{i}": v for i, v in enumerate(value)} if isinstance(value, tuple) else {group: value}
        return [(slot.name, slot.operator(flat)) for slot in self.slots if bool(slot.present(flat))]

    def _look_up(self, row: NDArray[np.int64]) -> list[tuple[str, Operator]]:
        """The same from the operators of all options, which are known once anything has asked for them."""
        known, tables = self._operator_numbers
        options = row.tolist()
        found = []
        for slot, genes, table in zip(self.slots, self._slot_genes, tables, strict=True):
            number = int(table[tuple([options[gene] for gene in genes])])
            if number >= 0:
                found.append((slot.name, known[number]))
        return found

    def slot_genes(self, slot: Slot) -> tuple[int, ...]:
        return tuple(sorted({self.genome.driver[choice] for choice in slot.choices}))

    @cached_property
    def _slot_genes(self) -> list[tuple[int, ...]]:
        return [self.slot_genes(slot) for slot in self.slots]

    def slot_operators(self, slot: Slot) -> list[Operator]:
        """The distinct operators that can stand in this slot (known by its name: it may come from an equal space)."""
        known, numbers = self._operator_numbers
        number = [own.name for own in self.slots].index(slot.name)
        return [known[i] for i in np.unique(numbers[number]) if i >= 0]

    def operators(self) -> dict[str, Operator]:
        """Every distinct operator of the space by its key, in the order of the slots: what a table must hold."""
        return {operator.key: operator for operator in self._operator_numbers[0]}

    @cached_property
    def _operator_numbers(self) -> tuple[list[Operator], list[NDArray[np.int64]]]:
        """All distinct operators, and for each slot which of them stands there by options of its genes (-1: none)."""
        known: dict[str, int] = {}
        operators: list[Operator] = []
        tables = []
        for slot in self.slots:
            genes = self.slot_genes(slot)
            table = np.full([int(self.genome.num_options[gene]) for gene in genes], -1, dtype=np.int64)
            values = {choice: self.genome.option_values(choice).tolist() for choice in slot.choices}
            axis = {choice: genes.index(self.genome.driver[choice]) for choice in slot.choices}
            for index in np.ndindex(table.shape):
                choices = {choice: values[choice][index[axis[choice]]] for choice in slot.choices}
                if bool(slot.present(choices)):
                    operator = slot.operator(choices)
                    key = operator.key
                    if key not in known:
                        known[key] = len(operators)
                        operators.append(operator)
                    table[index] = known[key]
            tables.append(table)
        return operators, tables

    # -- costs ---------------------------------------------------------------------------------------------------------

    def cost(self, metric: str, dtype: str = "float32", *, plan: str = "naive") -> CostTable:
        """An exact cost: `macs`, `params`, `peak_memory` or `flash` (bytes for `dtype` float32, float16 or int8).

        `plan` is how memory is used, for `peak_memory`: `naive`, a buffer for every tensor; or `overwriting`, where
        transformer blocks write over their input token by token.
        """
        if metric not in METRICS:
            raise unknown_name("exact cost", metric, METRICS)
        formula, reduce = METRICS[metric]
        check_dtype(dtype)
        check_plan(plan)
        tables = []
        for slot in self.slots:
            genes = self.slot_genes(slot)
            shape = [int(self.genome.num_options[gene]) for gene in genes]
            choices = {}
            for choice in slot.choices:
                values = self.genome.option_values(choice)
                axis = genes.index(self.genome.driver[choice])
                choices[choice] = values.reshape([-1 if i == axis else 1 for i in range(len(genes))])
            value = formula(slot.operator(choices), dtype, plan)
            tables.append(np.where(slot.present(choices), np.broadcast_to(value, shape), 0).astype(np.float64))
        return self._table(metric, reduce, tables, 0.0)

    def cost_of(
        self, value_of: Callable[[Operator], float], reduce: str = "sum", metric: str = "latency", constant: float = 0.0
    ) -> CostTable:
        """A cost from a value per operator, e.g. measured latencies; `constant` is added once per network."""
        operators, numbers = self._operator_numbers
        values = np.array(
            [value_of(operator) for operator in operators] + [0.0]
        )  # number -1 picks the last: no operator
        return self._table(metric, reduce, [values[table] for table in numbers], constant)

    def _table(self, metric: str, reduce: str, tables: Sequence[NDArray[np.float64]], constant: float) -> CostTable:
        return CostTable(
            genome=self.genome,
            metric=metric,
            unit=UNITS[metric][0],
            reduce=reduce,
            slots=tuple(slot.name for slot in self.slots),
            genes=tuple(self.slot_genes(slot) for slot in self.slots),
            tables=tuple(tables),
            constant=constant,
        )
