"""`PublishedTable`: operators of a device that others measured and published, by input resolution of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from latency_tables.identity import SCHEMA, SpaceIdentity
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_json
from search_spaces.common.settings import Settings
from search_spaces.costs import CostTable
from search_spaces.operators import Operator

#: what stands where a measured table shows its own error
NOTE: Final = "published, not measured here"

#: of a device
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PublishedEntry(Settings):
    """Mean and standard deviation over `count` calls of an operator."""

    mean_ms: Annotated[float, Field(strict=True, gt=0)]
    std_ms: Annotated[float, Field(strict=True, ge=0)]
    count: Annotated[int, Field(strict=True, ge=1)]


class Source(Settings):
    """Where the numbers are from: `files` are the originals by name, with their SHA-256."""

    title: Text
    where: Text
    files: dict[str, Sha256]


class PublishedTable(Settings):
    """Latencies of all operators of a space, as published. Nothing is known about its error on whole networks.

    `entries[resolution][operator key]` holds what was measured for networks of that input resolution: an operator that
    networks of two resolutions share has two entries, which need not agree.
    """

    kind: Literal["published"] = "published"
    metric: Literal["latency"] = "latency"
    unit: Literal["ms"] = "ms"
    note: Literal["published, not measured here"] = NOTE
    device: Annotated[str, Field(pattern=NAME)]
    licence: Text
    source: Source
    space: SpaceIdentity
    entries: Annotated[dict[int, dict[str, PublishedEntry]], Field(min_length=1)]
    _file: Path | None = PrivateAttr(default=None)
    """Where it was last saved or read from, for messages."""

    @property
    def resolutions(self) -> list[int]:
        return sorted(self.entries)

    @property
    def num_operators(self) -> int:
        """Measured operators, those of every resolution counted."""
        return sum(map(len, self.entries.values()))

    @property
    def origin(self) -> dict[str, Any]:
        """What is told of it where a measured table's error is told, JSON-able."""
        return self.model_dump(mode="json", include={"device", "note", "licence", "source"})

    @property
    def graded(self) -> tuple[list[float], list[float]]:
        """Nothing: whole networks were not published."""
        return [], []

    def cost(self, space: SearchSpace) -> CostTable:
        """Latency of every network of `space` in ms: the plain sum of the means of its operators.

        Raises `UserError`, saying what is missing, if the table lacks resolutions or operators of the space.
        """
        wanted = np.unique(space.genome.option_values("resolution")).tolist()
        parts = {r: space.restrict(resolution=[r]) for r in wanted if r in self.entries}
        self._check_holds(space, wanted, parts)
        return _joined(space, {r: part.cost_of(partial(_mean_ms, self.entries[r])) for r, part in parts.items()})

    def measured_space(self, *, file: Path | str | None = None) -> SearchSpace:
        """The space this table holds all operators of."""
        return self.space.space(file=file)

    def save(self, path: Path) -> None:
        write_json(path, {"schema": SCHEMA, **self.model_dump(mode="json")})
        self._file = Path(path)

    def _check_holds(self, space: SearchSpace, wanted: Sequence[int], parts: Mapping[int, SearchSpace]) -> None:
        problems: list[str] = []
        missing: list[str] = []
        if lacking := [r for r in wanted if r not in parts]:
            problems.append(f"{len(lacking)} of {len(wanted)} resolutions are missing: {_listed(lacking)}")
        for resolution, part in parts.items():
            operators = part.operators()
            if missing := [key for key in operators if key not in self.entries[resolution]]:
                what = f"{len(missing)} of {len(operators)} operators at resolution {resolution} are missing"
                problems.append(f"{what}: {_listed(missing, 3)}")
                break
        if not problems:
            return
        hint = f"It holds the resolutions {_listed(self.resolutions)}"
        if self.space.fingerprint != space.fingerprint and (not parts or missing):
            what = f"is of the space {self.space.name!r} ({self.space.fingerprint}), not of {space.name!r} "
            what += f"({space.fingerprint})"
            hint = ". ".join([hint, *self.space.differences(space)])
        else:
            what = f"does not hold all of {space.name!r}"
            hint += " and no others: restrict the space to them" if lacking else ""
        raise UserError(f"this published latency table {what}: {'; '.join(problems)}", file=self._file, hint=hint)


def _mean_ms(entries: Mapping[str, PublishedEntry], operator: Operator) -> float:
    return entries[operator.key].mean_ms


def _joined(space: SearchSpace, costs: Mapping[int, CostTable]) -> CostTable:
    """One table from those of the space's parts with a single resolution. Slots whose values differ between these read
    the gene of the resolution, even if their operators do not.
    """
    genome, first = space.genome, next(iter(costs.values()))
    gene, of_option = genome.driver["resolution"], genome.option_values("resolution")
    genes, tables = [], []
    for slot, reads in enumerate(first.genes):
        values = {r: cost.tables[slot] for r, cost in costs.items()}
        if gene not in reads and all(np.array_equal(value, first.tables[slot]) for value in values.values()):
            genes.append(reads)
            tables.append(first.tables[slot])
            continue
        scope = tuple(sorted({*reads, gene}))
        axis = scope.index(gene)
        table = np.empty([int(genome.num_options[g]) for g in scope])
        for r, value in values.items():
            part = np.moveaxis(value, axis, 0) if gene in reads else value[None]
            np.moveaxis(table, axis, 0)[of_option == r] = part
        genes.append(scope)
        tables.append(table)
    return CostTable(genome, first.metric, first.unit, "sum", first.slots, tuple(genes), tuple(tables))


def _listed(values: Sequence[object], most: int = 8) -> str:
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")
