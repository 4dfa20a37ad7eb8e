"""`BoardTable`: what every operator of a space costs on a board, in one file: instructions, SRAM and flash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from latency_tables.cortex_m.boards import Board
from latency_tables.identity import SCHEMA, SpaceIdentity
from latency_tables.listed import CheckedNetwork, ListedTable, Metric, WholeNetworks
from latency_tables.published import Source, Text
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_json
from search_spaces.common.settings import Settings
from search_spaces.common.units import METRICS

#: what a board's table tells, as columns of the file
COSTS: tuple[Metric, ...] = ("instructions", "peak_memory", "flash")

Whole = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0)]


class BoardCosts(Settings):
    """Of an operator or a network: instructions of one inference, bytes of SRAM for its maps, bytes of flash."""

    instructions: Whole
    peak_memory: Whole
    flash: Whole

    def of(self, metric: str) -> int:
        found: int = getattr(self, metric)
        return found


class PerNetwork(Settings):
    """What every network takes besides its operators: instructions around the calls; bytes of code, of vectors and of
    what turns pixels into an input.
    """

    instructions: Annotated[int, Field(ge=0)]
    flash: Annotated[int, Field(ge=0)]


class CheckedCosts(Settings):
    """A whole network: what the table says; and what it took when it was emulated, planned and laid out as one."""

    architecture: dict[str, Any]
    predicted: BoardCosts
    observed: BoardCosts

    def error(self, metric: str) -> float:
        """Relative to what was observed: 0.001 is 0.1 %."""
        return abs(self.predicted.of(metric) / self.observed.of(metric) - 1)


class LargestErrors(Settings):
    """Relative ones, over all networks. Those of flash are what the linker fills up, and kernels that only other
    networks of the space need.
    """

    instructions: Share
    peak_memory: Share
    flash: Share


class CheckedBoard(Settings):
    """How far off the table is on whole networks."""

    largest_errors: LargestErrors
    networks: Annotated[list[CheckedCosts], Field(min_length=1)]

    @staticmethod
    def of(networks: Sequence[CheckedCosts]) -> CheckedBoard:
        return CheckedBoard(largest_errors=_largest_errors(networks), networks=list(networks))

    @model_validator(mode="after")
    def _follows_from_the_networks(self) -> CheckedBoard:
        found = _largest_errors(self.networks)
        for metric in COSTS:
            stated, told = getattr(self.largest_errors, metric), getattr(found, metric)
            if not math.isclose(told, stated, rel_tol=1e-6, abs_tol=1e-12):
                raise UserError(f"the largest error of {metric} is {stated}, but the networks give {told}")
        return self


class BoardTable(Settings):
    """Three costs of all operators of a space on a board. Instructions and flash of a network are sums, its peak
    memory is the largest of its operators: the planner lays out one operator after the other (`arena.plan`).
    """

    kind: Literal["board"] = "board"
    board: Board
    memory_plan: Literal["naive", "overwriting"]
    note: Text
    licence: Text
    source: Source
    provenance: dict[str, str]
    space: SpaceIdentity
    per_network: PerNetwork
    entries: Annotated[dict[str, BoardCosts], Field(min_length=1)]
    checked: CheckedBoard | None = None
    _file: Path | None = PrivateAttr(default=None)
    """Where it was last saved or read from, for messages."""

    @property
    def device(self) -> str:
        return self.board.name

    @property
    def num_operators(self) -> int:
        return len(self.entries)

    def tables(self, *, device: str | None = None) -> tuple[ListedTable, ...]:
        """A table for every cost, in the order of `COSTS`; `device` is what a run calls the board."""
        return tuple(self._table(metric, device or self.device) for metric in COSTS)

    def of_core(self) -> ListedTable:
        """Its instructions as those of the board's core, which is what they depend on."""
        return self._table("instructions", self.board.core)

    def measured_space(self, *, file: Path | str | None = None) -> SearchSpace:
        """The space this table holds all operators of."""
        return self.space.space(file=file)

    def save(self, path: Path) -> None:
        write_json(path, {"schema": SCHEMA, **self.model_dump(mode="json")})
        self._file = Path(path)

    def _table(self, metric: Metric, device: str) -> ListedTable:
        capacities = {"peak_memory": self.board.sram.size - self.board.stack, "flash": self.board.flash.size}
        networks = [] if self.checked is None else self.checked.networks
        checked = [
            CheckedNetwork(
                architecture=network.architecture,
                predicted=network.predicted.of(metric),
                observed=network.observed.of(metric),
            )
            for network in networks
        ]
        table = ListedTable(
            metric=metric,
            unit=METRICS[metric][0],
            device=device,
            note=self.note,
            licence=self.licence,
            source=self.source,
            provenance=self.provenance,
            space=self.space,
            per_network=getattr(self.per_network, metric, 0),
            entries={key: costs.of(metric) for key, costs in self.entries.items()},
            checked=WholeNetworks.of(checked) if checked else None,
            capacity=capacities.get(metric),
        )
        table._file = self._file
        return table


def _largest_errors(networks: Sequence[CheckedCosts]) -> LargestErrors:
    return LargestErrors(**{metric: max(network.error(metric) for network in networks) for metric in COSTS})
