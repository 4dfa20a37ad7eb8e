"""Architectures to rows of a genome, and back: names, lengths and values are checked on the way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.architecture import Architecture, Value
from search_spaces.common.errors import UserError, unknown_name

if TYPE_CHECKING:
    from search_spaces.genome import Choice, Genome, Population


class ArchitectureCodec:
    """Reads and writes the architectures of one genome."""

    def __init__(self, genome: Genome) -> None:
        self.genome = genome
        self.columns = _columns(genome)

    def decode(self, population: Population) -> list[Architecture]:
        """Rows to architectures."""
        _, exists = self.genome.values(population)
        groups: dict[str, list[str]] = {}
        for name, choice in self.genome.choices.items():
            groups.setdefault(choice.group, []).append(name)
        scalars = {name for name, choice in self.genome.choices.items() if choice.index is None}
        columns = {}
        for name in self.genome.choices:  # Python values, so that 3 stays 3 beside a 4.5
            options, chosen = self.genome.options(name), population[:, self.genome.driver[name]].tolist()
            columns[name] = [options[o] if e else None for o, e in zip(chosen, exists[name], strict=True)]
        values = [
            columns[names[0]] if names[0] in scalars else list(zip(*(columns[name] for name in names), strict=True))
            for names in groups.values()
        ]
        return [Architecture.of_plain(dict(zip(groups, row, strict=True))) for row in zip(*values, strict=True)]

    def encode(self, architectures: Sequence[Architecture], *, file: object = None) -> Population:
        """Architectures to canonical rows. Entries of switched-off choices are ignored; a value outside the space is
        a `UserError`.
        """
        rows = self._encode_columns(architectures)
        if rows is None:  # one by one, which tells what is wrong with the first that has no row
            rows = np.array([self._encode(architecture, file) for architecture in architectures], dtype=np.int64)
        return rows.reshape(len(architectures), len(self.genome.genes))

    def _encode_columns(self, architectures: Sequence[Architecture]) -> Population | None:
        """The rows choice by choice, tens of times faster; None if a gene is coupled or something does not fit."""
        if self.columns is None:
            return None
        groups, lengths, columns = self.columns
        flat = []
        for architecture in architectures:
            values = architecture.values
            if len(values) != len(groups) or not all(group in values for group in groups):
                return None
            parts = [values[group] for group in groups]
            if [len(part) if isinstance(part, tuple) else 0 for part in parts] != lengths:
                return None
            flat.append([v for part in parts for v in (part if isinstance(part, tuple) else (part,))])
        rows = np.zeros((len(architectures), len(self.genome.genes)), dtype=np.int64)
        for (gene, options), wanted in zip(columns, zip(*flat, strict=True), strict=bool(flat)):
            rows[:, gene] = [options.get(value, -1) for value in wanted]
        active = self.genome.active(rows)  # -1 stands for the last option here, but then the row is given up below
        return None if (active & (rows < 0)).any() else np.where(active, rows, 0)

    def _encode(self, architecture: Architecture, file: object) -> list[int]:
        wanted = self._entries(architecture, file)
        row: list[int] = []
        state: dict[str, Value] = {}
        for gene in self.genome.genes:
            offers = [self.genome.driven(gene, option, state) for option in range(len(gene.options))]
            fits = (all(value in (None, wanted[choice]) for choice, value in offer.items()) for offer in offers)
            option = next((option for option, fit in enumerate(fits) if fit), None)
            if option is None:
                raise _no_such_option(offers, wanted, file)
            row.append(option)
            state |= offers[option]
        return row

    def _entries(self, architecture: Architecture, file: object) -> dict[str, Value]:
        """The architecture as {choice name: value}; checks names and lengths."""
        where = None if file is None else str(file)
        lengths: dict[str, int] = {}
        for choice in self.genome.choices.values():
            lengths[choice.group] = 0 if choice.index is None else max(lengths.get(choice.group, 0), choice.index + 1)
        for group in architecture.values:
            if group not in lengths:
                raise unknown_name("part of an architecture", group, lengths, file=where)
        entries: dict[str, Value] = {}
        for group, length in lengths.items():
            if group not in architecture.values:
                raise UserError("missing from this architecture", file=where, key=group)
            value = architecture.values[group]
            if isinstance(value, tuple) != bool(length) or (isinstance(value, tuple) and len(value) != length):
                shape = f"a list of {length} values" if length else "one value"
                raise UserError(f"must be {shape}", file=where, key=group, value=value)
            parts = value if isinstance(value, tuple) else (value,)
            entries |= {f"{group}.{i}" if length else group: part for i, part in enumerate(parts)}
        return entries


def _columns(genome: Genome) -> tuple[list[str], list[int], list[tuple[int, dict[Value, int]]]] | None:
    """Groups, their lengths (0: one value), and for each entry its gene and option numbers. None if coupled."""
    groups: dict[str, list[Choice]] = {}
    for choice in genome.choices.values():
        groups.setdefault(choice.group, []).append(choice)
    ordered = {group: sorted(members, key=lambda c: c.index or 0) for group, members in groups.items()}
    dense = all([c.index or 0 for c in members] == list(range(len(members))) for members in ordered.values())
    if not dense or any(len(gene.drives) != 1 for gene in genome.genes):
        return None
    lengths = [0 if members[0].index is None else len(members) for members in ordered.values()]
    columns = [
        (genome.driver[choice.name], {value: number for number, value in enumerate(genome.options(choice.name))})
        for members in ordered.values()
        for choice in members
    ]
    return list(ordered), lengths, columns


def _no_such_option(offers: Sequence[Mapping[str, Value]], wanted: Mapping[str, Value], file: object) -> UserError:
    """The error for values that no option of a gene offers: one value that does not occur, or a mix that does not."""
    for name in offers[0]:
        offered = list(dict.fromkeys(offer[name] for offer in offers))
        if None not in offered and wanted[name] not in offered:
            return _not_an_option(wanted[name], name, offered, file)
    names = [name for name in offers[0] if any(offer[name] is not None for offer in offers)]
    mixes = [[offer[name] for name in names] for offer in offers]
    return _not_an_option([wanted[name] for name in names], ", ".join(names), mixes, file)


def _not_an_option(value: object, key: str, options: Sequence[object], file: object) -> UserError:
    return UserError(
        f"{value!r} is not an option of this space",
        file=None if file is None else str(file),
        key=key,
        hint=f"Options: {', '.join(map(str, options))}",
    )
