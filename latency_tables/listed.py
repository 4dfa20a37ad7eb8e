"""`ListedTable`: one number per operator, given and not timed here: counted under emulation, taken from a power meter,
or handed over as a file by whoever has the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from latency_tables.identity import SCHEMA, SpaceIdentity
from latency_tables.published import NAME, Source, Text
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_json
from search_spaces.common.settings import Settings
from search_spaces.common.units import METRICS
from search_spaces.costs import CostTable
from search_spaces.operators import Operator

Amount = Annotated[float, Field(gt=0)]


#: of what a table may be; peak memory is the largest of a network's operators, everything else their sum
Metric = Literal["latency", "energy", "instructions", "cycles", "peak_memory", "flash"]


class CheckedNetwork(Settings):
    """A whole network: what the table says, and what came out when the network itself was run."""

    architecture: dict[str, Any]
    predicted: Amount
    observed: Amount


class WholeNetworks(Settings):
    """How far off the sums are on whole networks that had no part in making the table."""

    largest_error: Annotated[float, Field(ge=0)]
    """Largest relative error of all: 0.001 is 0.1 %."""
    networks: Annotated[list[CheckedNetwork], Field(min_length=1)]

    @staticmethod
    def of(networks: Sequence[CheckedNetwork]) -> WholeNetworks:
        return WholeNetworks(largest_error=_largest_error(networks), networks=list(networks))

    @model_validator(mode="after")
    def _follows_from_the_networks(self) -> WholeNetworks:
        found = _largest_error(self.networks)
        if not math.isclose(found, self.largest_error, rel_tol=1e-6, abs_tol=1e-12):
            raise UserError(f"largest_error is {self.largest_error}, but the networks give {found}")
        return self


class ListedTable(Settings):
    """A cost of all operators of a space, as given; a network costs their sum plus `per_network`, or, of peak memory,
    the largest of them.
    """

    kind: Literal["listed"] = "listed"
    metric: Metric
    unit: str
    """The metric's base unit: ms, mJ, instructions, cycles or B."""
    device: Annotated[str, Field(pattern=NAME)]
    note: Text
    """Where the numbers come from, in a few words: shown wherever a measured table shows its own error."""
    licence: Text
    source: Source
    provenance: dict[str, str]
    """What else decides the numbers: compiler, hash of the kernels, emulator, power meter ..."""
    space: SpaceIdentity
    per_network: Annotated[float, Field(ge=0)] = 0.0
    """What every network costs besides its operators."""
    entries: Annotated[dict[str, Amount], Field(min_length=1)]
    checked: WholeNetworks | None = None
    capacity: Amount | None = None
    """How much of it the device has: networks that need more do not run there."""
    _file: Path | None = PrivateAttr(default=None)
    """Where it was last saved or read from, for messages."""

    @model_validator(mode="after")
    def _in_the_metrics_unit(self) -> ListedTable:
        if self.unit != (unit := METRICS[self.metric][0]):
            raise UserError(f"{self.metric} is told in {unit}", key="unit", value=self.unit)
        return self

    @property
    def reduce(self) -> Literal["sum", "max"]:
        """How the costs of operators make that of a network."""
        return "max" if self.metric == "peak_memory" else "sum"

    @property
    def num_operators(self) -> int:
        return len(self.entries)

    @property
    def origin(self) -> dict[str, Any]:
        """What is told of it where a measured table's error is told, JSON-able."""
        told = self.model_dump(mode="json", include={"device", "note", "licence", "source", "provenance"})
        checked = self.checked
        known = checked and {"num": len(checked.networks), "largest_error": checked.largest_error}
        return told | {"metric": self.metric, "unit": self.unit, "checked": known}

    @property
    def graded(self) -> tuple[list[float], list[float]]:
        """Predicted and observed costs of the networks that it was checked on."""
        networks = [] if self.checked is None else self.checked.networks
        return [network.predicted for network in networks], [network.observed for network in networks]

    def cost(self, space: SearchSpace) -> CostTable:
        """Cost of every network of `space`. Raises `UserError`, naming some, if operators of it are missing."""
        operators = space.operators()
        if missing := [key for key in operators if key not in self.entries]:
            listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            what = f"{len(missing)} of {len(operators)} operators of {space.name!r} are missing: {listed}"
            hint = f"It is a table of the space {self.space.name!r} ({self.space.fingerprint})"
            raise UserError(what, file=self._file, key="entries", hint=hint)

        def value_of(operator: Operator) -> float:
            return self.entries[operator.key]

        return space.cost_of(value_of, reduce=self.reduce, metric=self.metric, constant=self.per_network)

    def measured_space(self, *, file: Path | str | None = None) -> SearchSpace:
        """The space this table holds all operators of."""
        return self.space.space(file=file)

    def save(self, path: Path) -> None:
        write_json(path, {"schema": SCHEMA, **self.model_dump(mode="json")})
        self._file = Path(path)


def _largest_error(networks: Sequence[CheckedNetwork]) -> float:
    return max(abs(network.predicted / network.observed - 1) for network in networks)
