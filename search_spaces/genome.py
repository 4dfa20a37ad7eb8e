"""Architectures as rows of small integers: genes, canonical form, exact size, uniform sampling, variation.

A *choice* is one entry of an architecture ("kernel.7", "depth.2", "resolution"). A *gene* is one coordinate of the
search: it drives one choice, or several together (coupled genes, CompOFA, https://arxiv.org/abs/2104.12642). A
choice may hang on another choice ("kernel.7" exists only while "depth.1" is 4). A population is an integer matrix
(num_architectures, num_genes) of option numbers; genes that are switched off hold 0, so equal networks are equal
rows. Loops run over genes, never over architectures.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture, Value
from search_spaces.codec import ArchitectureCodec
from search_spaces.common.errors import UserError, unknown_name

Population = NDArray[np.int64]
#: the number of a gene, and for each of its options whether what hangs on it is on
Condition = tuple[int, NDArray[np.bool_]]


@dataclass(frozen=True)
class Choice:
    """One entry of an architecture: `group.index`, or `group` alone (`index=None`).

    With a `parent`, the entry exists only while the parent exists and its value is in `active_for`. Restricting the
    group leaves a `fixed` entry alone: the family has one value for it, whatever the rest of the group may choose.
    """

    group: str
    index: int | None = None
    parent: str | None = None
    active_for: tuple[Value, ...] = ()
    fixed: bool = False

    @property
    def name(self) -> str:
        return self.group if self.index is None else f"{self.group}.{self.index}"


@dataclass(frozen=True)
class Gene:
    """One search coordinate. `drives` maps each choice it sets to that choice's value for every option."""

    name: str
    options: tuple[Value, ...]
    drives: tuple[tuple[str, tuple[Value, ...]], ...]

    @classmethod
    def simple(cls, choice: str, options: Sequence[Value]) -> Gene:
        """A gene that drives the choice of the same name."""
        return cls(choice, tuple(options), ((choice, tuple(options)),))


class Genome:
    """Ordered choices and genes; parents come before their children.

    Raises `UserError` when two options of a coupled gene give the same network in some context, because sizes and
    uniform sampling would then count it twice.
    """

    def __init__(self, choices: Sequence[Choice], genes: Sequence[Gene]) -> None:
        self.choices = {choice.name: choice for choice in choices}
        self.genes = tuple(genes)
        self.driver: dict[str, int] = {}
        for number, gene in enumerate(self.genes):
            for choice, values in gene.drives:
                assert choice in self.choices and choice not in self.driver, f"{choice} must have exactly one gene"
                assert len(values) == len(gene.options) > 0
                self.driver[choice] = number
        assert set(self.driver) == set(self.choices), "every choice needs a gene"
        self.num_options = np.array([len(gene.options) for gene in self.genes], dtype=np.int64)
        self._links: list[Condition | None] = []
        for number in range(len(self.genes)):
            self._links.append(self._link(number))
        self._check_options_differ()

    # -- activity and canonical form -----------------------------------------------------------------------------------

    def active(self, population: Population) -> NDArray[np.bool_]:
        """(num, num_genes): which genes matter to each architecture."""
        active = np.ones(population.shape, dtype=bool)
        for parent, switched_on, genes in self._hanging:
            on = active[:, parent] & switched_on[population[:, parent]]
            for gene in genes:
                active[:, gene] = on
        return active

    def canonical(self, population: Population) -> Population:
        """The population with every switched-off gene set to 0."""
        return population * self.active(population)

    @cached_property
    def _hanging(self) -> list[tuple[int, NDArray[np.bool_], list[int]]]:
        """Genes that hang on the same gene in the same way, with it; parents before what hangs on them."""
        alike: dict[tuple[int, bytes], tuple[int, NDArray[np.bool_], list[int]]] = {}
        for gene, link in enumerate(self._links):
            if link is not None:
                alike.setdefault((link[0], link[1].tobytes()), (*link, []))[2].append(gene)
        return sorted(alike.values(), key=lambda hanging: hanging[0])

    def values(self, population: Population) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.bool_]]]:
        """For every choice its values (num,) and whether it exists (num,)."""
        values, exists = {}, {}
        for name, choice in self.choices.items():
            gene = self.driver[name]
            values[name] = self.option_values(name)[population[:, gene]]
            exists[name] = np.ones(len(population), dtype=bool)
            if choice.parent is not None:
                exists[name] = exists[choice.parent] & np.isin(values[choice.parent], np.array(choice.active_for))
        return values, exists

    def option_values(self, choice: str) -> NDArray[Any]:
        """The value of `choice` for every option of its gene."""
        return np.array(self.options(choice))

    def options(self, choice: str) -> tuple[Value, ...]:
        """The same as Python values."""
        return dict(self.genes[self.driver[choice]].drives)[choice]

    # -- counting and sampling -----------------------------------------------------------------------------------------

    @cached_property
    def _weights(self) -> list[list[int]]:
        """For every gene and option, how many distinct networks hang below it (exact integers)."""
        weights: list[list[int]] = [[1] * len(gene.options) for gene in self.genes]
        for gene in reversed(range(len(self.genes))):
            link = self._links[gene]
            if link is not None:
                parent, switched_on = link
                total = sum(weights[gene])
                weights[parent] = [w * total if on else w for w, on in zip(weights[parent], switched_on, strict=True)]
        return weights

    @cached_property
    def size(self) -> int:
        """The exact number of distinct networks."""
        size = 1
        for gene, link in enumerate(self._links):
            if link is None:
                size *= sum(self._weights[gene])
        return size

    def sample(self, num: int, rng: np.random.Generator, *, uniform: bool = True) -> Population:
        """`num` canonical rows, independent; uniform over distinct networks, or (`uniform=False`) gene by gene."""
        population = np.empty((num, len(self.genes)), dtype=np.int64)
        for gene, weights in enumerate(self._weights):
            if uniform:
                total = sum(weights)
                cumulative = np.cumsum([weight / total for weight in weights])
                drawn = np.searchsorted(cumulative / cumulative[-1], rng.random(num), side="right")
                population[:, gene] = np.minimum(drawn, len(weights) - 1)
            else:
                population[:, gene] = rng.integers(len(weights), size=num)
        return self.canonical(population)

    def enumerate(self) -> Population:
        """Every distinct network once; the caller has checked `size`."""
        rows = np.zeros((1, 0), dtype=np.int64)
        padded = len(self.genes)
        for gene, num in enumerate(self.num_options):
            full = np.zeros((len(rows), padded), dtype=np.int64)
            full[:, :gene] = rows
            on = self.active(full)[:, gene]
            repeat = np.where(on, num, 1)
            starts = np.repeat(np.cumsum(repeat) - repeat, repeat)
            rows = np.column_stack([np.repeat(rows, repeat, axis=0), np.arange(repeat.sum()) - starts])
        return rows

    # -- variation -----------------------------------------------------------------------------------------------------

    def mutate(self, population: Population, rng: np.random.Generator, rate: float) -> Population:
        """Each gene is redrawn among its other options with probability `rate`."""
        shift = rng.integers(1, np.maximum(self.num_options, 2), size=population.shape)
        redraw = (rng.random(population.shape) < rate) & (self.num_options > 1)
        return self.canonical(np.where(redraw, (population + shift) % self.num_options, population))

    def change(self, population: Population, rng: np.random.Generator, count: NDArray[np.int64]) -> Population:
        """`count` (num,) genes of each row, drawn with repeats, take another option: cheaper than `mutate` by far."""
        variable = np.flatnonzero(self.num_options > 1)
        changed = population.copy()
        if len(variable):
            row = np.repeat(np.arange(len(population)), count)
            gene = variable[rng.integers(len(variable), size=len(row))]
            num = self.num_options[gene]
            shift = 1 + (rng.random(len(row)) * (num - 1)).astype(np.int64)
            changed[row, gene] = (population[row, gene] + shift) % num
        return self.canonical(changed)

    def crossover(
        self,
        first: Population,
        second: Population,
        rng: np.random.Generator,
        share: float | NDArray[np.float64] = 0.5,
    ) -> Population:
        """Uniform crossover: each gene from `first` with probability `share`, else from `second`; paired row by row.

        `share` may differ by row, (num, 1).
        """
        return self.canonical(np.where(rng.random(first.shape) < share, first, second))

    # -- forms ---------------------------------------------------------------------------------------------------------

    def one_hot(self, population: Population) -> NDArray[np.float32]:
        """(num, sum of option counts): one column per option; switched-off genes are all zero."""
        columns = np.zeros((len(population), int(self.num_options.sum())), dtype=np.float32)
        offsets = np.cumsum(self.num_options) - self.num_options
        rows, genes = np.nonzero(self.active(population))
        columns[rows, offsets[genes] + population[rows, genes]] = 1
        return columns

    def decode(self, population: Population) -> list[Architecture]:
        """Rows to architectures."""
        return self._codec.decode(population)

    def encode(self, architectures: Sequence[Architecture], *, file: object = None) -> Population:
        """Architectures to canonical rows. Entries of switched-off choices are ignored; a value outside the space is
        a `UserError`.
        """
        return self._codec.encode(architectures, file=file)

    @cached_property
    def _codec(self) -> ArchitectureCodec:
        return ArchitectureCodec(self)

    def driven(self, gene: Gene, option: int, state: Mapping[str, Value]) -> dict[str, Value]:
        """What `option` sets each choice of `gene` to (None: switched off), given the choices decided before it."""
        driven: dict[str, Value] = {}
        for name, values in gene.drives:
            choice = self.choices[name]
            parent = driven.get(choice.parent, state.get(choice.parent)) if choice.parent is not None else None
            driven[name] = values[option] if choice.parent is None or parent in choice.active_for else None
        return driven

    # -- sub-genomes ---------------------------------------------------------------------------------------------------

    def restrict(self, allowed: Mapping[str, Sequence[Value]]) -> Genome:
        """The same genes with only the options whose driven choices all have an allowed value.

        Keys name a group ("kernel"), one choice ("depth.2") or a coupled gene. Raises `UserError` for an unknown
        key, for values that no gene has, and when nothing is left of a gene.
        """
        groups = {choice.group for choice in self.choices.values()}
        known = groups | set(self.choices) | {gene.name for gene in self.genes}
        for key, values in allowed.items():
            if key not in known:
                raise unknown_name("gene or group", key, known)
            have = {v for gene in self.genes for v in self._values_under(gene, key)}
            if strange := [value for value in values if value not in have]:
                raise UserError(f"{strange[0]!r} is not an option", key=key, hint=f"Options: {sorted(have, key=str)}")
        genes = []
        for gene in self.genes:
            keep = [
                option
                for option in range(len(gene.options))
                if (gene.name not in allowed or gene.name in self.choices or gene.options[option] in allowed[gene.name])
                and all(
                    values[option] in allowed[key]
                    for choice, values in gene.drives
                    for key in self._keys(choice)
                    if key in allowed
                )
            ]
            if not keep:
                raise UserError(f"nothing is left of gene {gene.name!r} with {dict(allowed)}")
            drives = tuple((choice, tuple(values[o] for o in keep)) for choice, values in gene.drives)
            genes.append(replace(gene, options=tuple(gene.options[o] for o in keep), drives=drives))
        return Genome(list(self.choices.values()), genes)

    def _keys(self, name: str) -> tuple[str, ...]:
        """What a restriction may call this choice."""
        choice = self.choices[name]
        return (name,) if choice.fixed else (name, choice.group)

    def _values_under(self, gene: Gene, key: str) -> list[Value]:
        """The values that `key` (group, choice or gene name) can take in this gene."""
        values = [v for choice, vs in gene.drives if key in self._keys(choice) for v in vs]
        return values + (list(gene.options) if gene.name == key and gene.name not in self.choices else [])

    # -- construction --------------------------------------------------------------------------------------------------

    def _link(self, number: int) -> Condition | None:
        """The gene that switches this one on and off, and for which of its options this one is on (None: always on)."""
        conditions = []
        decided: set[str] = set()
        for name, _ in self.genes[number].drives:
            parent = self.choices[name].parent
            decided.add(name)
            if parent is not None and self.driver[parent] == number:
                assert parent in decided, f"{name}: a parent must come before its children"
                continue  # it exists at most when that other choice of the same gene does
            condition = self._condition(name)
            if condition is None:
                return None
            conditions.append(condition)
        gene = conditions[0][0]
        assert all(other == gene for other, _ in conditions), f"{self.genes[number].name} must hang on one gene only"
        return self._simplified(gene, np.any([on for _, on in conditions], axis=0))

    def _condition(self, name: str) -> Condition | None:
        """The gene that one choice hangs on, and for which of its options the choice exists (None: always)."""
        parent = self.choices[name].parent
        if parent is None:
            return None
        gene, child = self.driver[parent], name
        assert gene < len(self._links), f"{name}: a parent must come before its children"
        on = np.ones(len(self.genes[gene].options), dtype=bool)
        while parent is not None and self.driver[parent] == gene:  # up through the choices of that one gene
            on &= np.isin(self.option_values(parent), np.array(self.choices[child].active_for))
            child, parent = parent, self.choices[parent].parent
        assert _equal(self._condition(child), self._links[gene]), f"{name}: {child} must exist whenever its gene is on"
        return self._simplified(gene, on)

    def _simplified(self, gene: int, on: NDArray[np.bool_]) -> Condition | None:
        return None if on.all() and self._links[gene] is None else (gene, on)

    def _check_options_differ(self) -> None:
        for gene in self.genes:
            above = sorted({self.driver[name] for choice, _ in gene.drives for name in self._ancestors(choice)})
            outer = [self.genes[number] for number in above if self.genes[number] is not gene]
            for context in itertools.product(*(range(len(other.options)) for other in outer)):
                state: dict[str, Value] = {}
                for other, option in zip(outer, context, strict=True):
                    state |= self.driven(other, option, state)
                seen: dict[tuple[Value, ...], Value] = {}
                for option, label in enumerate(gene.options):
                    values = tuple(self.driven(gene, option, state).values())
                    if any(value is not None for value in values) and values in seen:
                        raise UserError(
                            f"options {seen[values]!r} and {label!r} of gene {gene.name!r} are the same network"
                        )
                    seen[values] = label

    def _ancestors(self, name: str) -> list[str]:
        parent = self.choices[name].parent
        return [] if parent is None else [parent, *self._ancestors(parent)]


def _equal(first: Condition | None, second: Condition | None) -> bool:
    if first is None or second is None:
        return first is second
    return first[0] == second[0] and bool(np.array_equal(first[1], second[1]))
