"""Networks as one-hot vectors in an order given as data: `kernel.0=3`, `kernel.0=5`, ..., `resolution=224`.

This is how published predictors see a network. Each has its own order of the columns; a choice that is switched off
(a block beyond the depth) is zero in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population


def column_name(choice: str, value: float) -> str:
    return f"{choice}={value:g}"


class ColumnEncoder:
    """Encodes populations of `space` into `columns`; each is a choice of the space and a value it can take.

    A column may be of a value that the space does not have (it stays zero), but a choice has columns for all of its
    values or for none. Raises `UserError` for anything else, and for spaces where a choice hangs on two genes.
    """

    def __init__(self, space: SearchSpace, columns: Sequence[str]) -> None:
        self.num_features = len(columns)
        places = _places(space, columns)
        genome = space.genome
        own, parents, offsets, strides = [], [], [], []
        tables: list[npt.NDArray[np.int64]] = []
        for name, by_value in places.items():
            values = genome.option_values(name).tolist()
            if missing := [value for value in values if value not in by_value]:
                raise UserError(f"no column for {name}={missing[0]}", key="columns")
            gene, parent, on = genome.driver[name], *_switch(space, name)
            table = np.array([by_value[value] for value in values])[:, None]
            own.append(gene)
            parents.append(parent)
            offsets.append(sum(earlier.size for earlier in tables))
            strides.append(len(on))
            tables.append(np.where(on, table, self.num_features))
        self._own, self._parents = np.array(own), np.array(parents)
        self._offsets, self._strides = np.array(offsets), np.array(strides)
        self._flat = np.concatenate([table.ravel() for table in tables])

    def __call__(self, population: Population) -> npt.NDArray[np.float32]:
        """(num, num_genes) -> float32 (num, num_columns) of zeros and ones."""
        num, width = len(population), self.num_features + 1  # what is switched off goes to a column that is cut off
        index = population[:, self._own] * self._strides
        index += population[:, self._parents]
        index += self._offsets
        target = self._flat[index]
        target += np.arange(0, num * width, width)[:, None]
        encodings = np.zeros(num * width, dtype=np.float32)
        encodings[target] = 1.0
        return encodings.reshape(num, width)[:, :-1]


def _places(space: SearchSpace, columns: Sequence[str]) -> dict[str, dict[float, int]]:
    """For every choice that has columns: the column of each value."""
    places: dict[str, dict[float, int]] = {}
    for number, column in enumerate(columns):
        name, _, text = column.partition("=")
        try:
            value = float(text)
        except ValueError:
            raise UserError("is not of the form choice=value", key=f"columns.{number}", value=column) from None
        if name not in space.genome.choices:
            raise UserError(f"{space.name} has no choice {name!r}", key=f"columns.{number}", value=column)
        if value in places.setdefault(name, {}):
            raise UserError("two columns are of the same value", key=f"columns.{number}", value=column)
        places[name][value] = number
    if not places:
        raise UserError("there is no column", key="columns")
    return places


def _switch(space: SearchSpace, name: str) -> tuple[int, npt.NDArray[np.bool_]]:
    """A gene, and for which of its options the choice exists; one that always does is given its own gene."""
    genome = space.genome
    choice = genome.choices[name]
    if choice.parent is None:
        gene = genome.driver[name]
        return gene, np.ones(int(genome.num_options[gene]), dtype=bool)
    if genome.choices[choice.parent].parent is not None:
        raise UserError(f"{name} hangs on more than one choice of {space.name}", key="columns")
    values = genome.option_values(choice.parent)
    return genome.driver[choice.parent], np.isin(values, np.array(choice.active_for))
