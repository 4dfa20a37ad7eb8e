"""`LatencyTable`: measured operators of one device as a versioned JSON file that says how wrong it is; and reading
tables, measured or published.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, PrivateAttr, model_validator

from latency_tables.correction import LEAST_SHARE, Errors, prediction_errors
from latency_tables.cortex_m.board_table import BoardTable
from latency_tables.fingerprint import DeviceFingerprint
from latency_tables.identity import SCHEMA, SpaceIdentity
from latency_tables.listed import ListedTable
from latency_tables.published import PublishedTable
from latency_tables.settings import DeviceSettings
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import read_json, write_json
from search_spaces.common.settings import Settings, parse_settings
from search_spaces.costs import CostTable
from search_spaces.operators import Operator

Ms = Annotated[float, Field(strict=True, gt=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=1)]


class Entry(Settings):
    """One call of an operator, overhead of the call included."""

    median_ms: Ms
    p10_ms: Ms
    p90_ms: Ms
    count: Count

    @model_validator(mode="after")
    def _in_order(self) -> Entry:
        if not self.p10_ms <= self.median_ms <= self.p90_ms:
            raise UserError(f"p10, median and p90 are not in order: {self.p10_ms}, {self.median_ms}, {self.p90_ms}")
        return self


class Correction(Settings):
    """Network latency = `slope` x (sum of operators less the overhead of their calls) + `intercept_ms`.

    With `operators_ms`, those take the place of the operators as they were timed: see `network_model`.
    """

    slope: Annotated[float, Field(strict=True, gt=0)]
    intercept_ms: Annotated[float, Field(strict=True)]
    num: Annotated[int, Field(strict=True, ge=0)]
    """Networks it was fitted on."""
    model: Literal["line", "calls", "work"] = "line"
    cross_validated: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Mean error of every model that was tried, on networks it was not fitted on."""
    operators_ms: dict[str, Ms] | None = None


class Pair(Settings):
    """A whole network: what the table says and what was measured."""

    architecture: dict[str, Any]
    predicted_ms: Ms
    measured_ms: Ms


class HeldOut(Settings):
    """The table's own error on random networks that the correction was not fitted on."""

    mape: Annotated[float, Field(strict=True, ge=0)]
    share_within_10: Share
    kendall_tau: Annotated[float, Field(strict=True, ge=-1, le=1)] | None
    num: Count
    pairs: list[Pair]

    @property
    def within_10(self) -> float:
        return self.share_within_10

    @model_validator(mode="after")
    def _follows_from_the_pairs(self) -> HeldOut:
        if self.num != len(self.pairs):
            raise UserError(f"num is {self.num}, but there are {len(self.pairs)} pairs")
        errors = _errors(self.pairs)
        for name, stated, found in (
            ("mape", self.mape, errors.mape),
            ("share_within_10", self.share_within_10, errors.share_within_10),
            ("kendall_tau", self.kendall_tau, errors.kendall_tau),
        ):
            if (stated is None) != (found is None) or not math.isclose(stated or 0, found or 0, abs_tol=1e-6):
                raise UserError(f"{name} is {stated}, but the pairs give {found}")
        return self


class Later(Settings):
    """The held-out networks measured again at another time, ms, in the order of `HeldOut.pairs`."""

    created: str
    measured_ms: Annotated[list[Ms], Field(min_length=1)]


class Conditions(Settings):
    """How busy the machine was: load averages (None where the system has none), the share of the samples that were
    disturbed and taken again, and how far its speed was from the usual one at most while samples that count were taken.
    """

    load_start: Annotated[float, Field(ge=0)] | None
    load_end: Annotated[float, Field(ge=0)] | None
    disturbed: Share
    drift: Annotated[float, Field(ge=0)] = 0.0


class LatencyTable(Settings):
    """Latencies of all operators of a space on a device. See `measure.measure_table` for how they are taken."""

    metric: Literal["latency"] = "latency"
    unit: Literal["ms"]
    created: str
    space: SpaceIdentity
    device: DeviceFingerprint
    settings: DeviceSettings
    seed: int
    overhead_ms: Ms
    entries: Annotated[dict[str, Entry], Field(min_length=1)]
    correction: Correction
    heldout: HeldOut
    conditions: Conditions
    later: list[Later] = Field(default_factory=list)
    """What validations that were kept found: intervals then allow for how the device changes from time to time."""
    contended: list[LatencyTable] = Field(default_factory=list)
    """The same space on the same device beside busy processes, one table for each number of them: further columns."""
    _file: Path | None = PrivateAttr(default=None)
    """Where it was last saved or read from, for messages."""

    @model_validator(mode="after")
    def _later_of_the_same_networks(self) -> LatencyTable:
        for number, later in enumerate(self.later):
            if len(later.measured_ms) != self.heldout.num:
                what = f"has {len(later.measured_ms)} times, for {self.heldout.num} held-out networks"
                raise UserError(what, key=f"later.{number}.measured_ms")
        return self

    @model_validator(mode="after")
    def _columns_of_the_same_device(self) -> LatencyTable:
        seen = {self.device.contention}
        for number, column in enumerate(self.contended):
            key = f"contended.{number}"
            if column.contended or column.device.contention in seen:
                raise UserError("columns are of different numbers of busy processes", key=f"{key}.device.contention")
            seen.add(column.device.contention)
            alone = column.device.model_copy(update={"contention": self.device.contention})
            if alone != self.device or column.space.fingerprint != self.space.fingerprint:
                raise UserError("a column is of the device and the space of its table", key=f"{key}.device")
        return self

    def column(self, contention: int, *, key: str | None = None) -> LatencyTable:
        """The table beside so many busy processes. Raises `UserError` if that was not measured."""
        for column in (self, *self.contended):
            if column.device.contention == contention:
                found = column.model_copy()
                found._file = self._file
                return found
        known = ", ".join(str(column.device.contention) for column in (self, *self.contended))
        hint = f"Known: {known}. Measure it with `ofa measure ... --contention {contention}`"
        raise UserError(
            "was not measured beside so many processes", file=self._file, key=key, value=contention, hint=hint
        )

    def with_column(self, column: LatencyTable) -> LatencyTable:
        """This table with another column, which takes the place of one beside as many processes."""
        if column.device.contention == self.device.contention:
            return column.model_copy(update={"contended": self.contended})
        others = [other for other in self.contended if other.device.contention != column.device.contention]
        columns = sorted([*others, column], key=lambda table: table.device.contention)
        return LatencyTable.model_validate(self.model_copy(update={"contended": columns}).model_dump())

    def cost(self, space: SearchSpace) -> CostTable:
        """Predicted latency of every network of `space`, in ms; per slot, with the intercept as a constant.

        Raises `UserError` if the table lacks operators of the space. A sub-space of the measured one has them all.
        """
        operators = space.operators()
        missing = [key for key in operators if key not in self.entries]
        if missing:
            what = (
                f"{len(missing)} of {len(operators)} operators of {space.name!r} are missing: {', '.join(missing[:3])}"
            )
            what += ", ..." if len(missing) > 3 else ""
            if self.space.fingerprint != space.fingerprint:
                raise UserError(
                    f"this latency table is of the space {self.space.name!r} ({self.space.fingerprint}), "
                    f"not of {space.name!r} ({space.fingerprint}); {what}",
                    file=self._file,
                    hint="Measure a table for this space with `ofa measure`",
                )
            raise UserError(
                f"{what} in this latency table",
                file=self._file,
                key="entries",
                hint="Delete it, and measure it again with `ofa measure`",
            )

        cost = self._sums(space)
        if cost.minimum()[0] <= 0:
            raise UserError(
                "the correction predicts a latency of zero or less for the smallest network of the space",
                file=self._file,
                key="correction.intercept_ms",
                value=self.correction.intercept_ms,
            )
        return cost

    def _sums(self, space: SearchSpace) -> CostTable:
        correction = self.correction
        operators_ms = correction.operators_ms or own_latencies(self.entries, self.overhead_ms)
        if lacking := [key for key in space.operators() if key not in operators_ms]:
            raise UserError(
                f"the correction lacks {len(lacking)} operators: {', '.join(lacking[:3])}",
                file=self._file,
                key="correction.operators_ms",
                hint="Delete the table, and measure it again with `ofa measure`",
            )

        def value_of(operator: Operator) -> float:
            return correction.slope * operators_ms[operator.key]

        return space.cost_of(value_of, metric="latency", constant=correction.intercept_ms)

    @property
    def graded(self) -> tuple[list[float], list[float]]:
        """Predicted and measured ms of the networks it was graded on, once for every time they were measured."""
        predicted = [pair.predicted_ms for pair in self.heldout.pairs] * (1 + len(self.later))
        measured = [pair.measured_ms for pair in self.heldout.pairs]
        return predicted, measured + [ms for later in self.later for ms in later.measured_ms]

    def with_later(self, measured_ms: Sequence[float]) -> LatencyTable:
        """This table, knowing what the held-out networks (in its order) take now."""
        later = Later(created=datetime.now(UTC).isoformat(timespec="seconds"), measured_ms=list(measured_ms))
        return LatencyTable.model_validate(self.model_copy(update={"later": [*self.later, later]}).model_dump())

    def measured_space(self, *, file: Path | str | None = None) -> SearchSpace:
        """The space this table was measured for."""
        return self.space.space(file=file)

    def save(self, path: Path) -> None:
        write_json(path, {"schema": SCHEMA, **self.model_dump(mode="json")})
        self._file = Path(path)


#: a table of one cost; all have `metric`, `space`, `cost(space)` and `measured_space()`
Table = LatencyTable | PublishedTable | ListedTable

_KINDS: dict[str, type[PublishedTable] | type[ListedTable] | type[BoardTable]] = {
    "published": PublishedTable,
    "listed": ListedTable,
    "board": BoardTable,
}


def load_table(path: Path | str) -> Table:
    """Read and check a table of one cost. Raises as `load_any_table`, and for the table of a board."""
    table = load_any_table(path)
    if isinstance(table, BoardTable):
        raise UserError(f"is the table of a board, {table.device}, and this needs one of a single cost", file=path)
    return table


def load_any_table(path: Path | str) -> Table | BoardTable:
    """Read and check a table. Raises `UserError` with file, key and value for anything that is not a sound one."""
    data = read_json(path, "latency table")
    if not isinstance(data, dict) or "schema" not in data:
        raise UserError("not a latency table: no schema number", file=path, key="schema")
    if isinstance(data["schema"], bool) or data["schema"] != SCHEMA:
        raise UserError(f"unknown version {data['schema']!r}", file=path, key="schema", hint=f"Known: {SCHEMA}")
    content = {key: value for key, value in data.items() if key != "schema"}
    table: Table | BoardTable
    if "kind" in content:
        if content["kind"] not in _KINDS:
            raise unknown_name("kind", str(content["kind"]), _KINDS, file=path, key="kind")
        table = parse_settings(_KINDS[content["kind"]], content, file=path)
    else:
        table = parse_settings(LatencyTable, content, file=path)
    table._file = Path(path)
    return table


def own_latencies(entries: Mapping[str, Entry], overhead_ms: float) -> dict[str, float]:
    """The medians in ms, each less the overhead of its call."""
    return {key: max(e.median_ms - overhead_ms, LEAST_SHARE * e.median_ms) for key, e in entries.items()}


def grade(architectures: Sequence[Architecture], predicted_ms: ArrayLike, measured_ms: ArrayLike) -> HeldOut:
    """Compare predictions with measurements of networks that had no part in making them."""
    pairs = [
        Pair(architecture=architecture.to_json(), predicted_ms=float(predicted), measured_ms=float(measured))
        for architecture, predicted, measured in zip(
            architectures, np.asarray(predicted_ms), np.asarray(measured_ms), strict=True
        )
    ]
    return HeldOut(**vars(_errors(pairs)), num=len(pairs), pairs=pairs)


def _errors(pairs: Sequence[Pair]) -> Errors:
    return prediction_errors([pair.predicted_ms for pair in pairs], [pair.measured_ms for pair in pairs])
