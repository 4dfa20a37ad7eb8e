"""What a network costs on a device, layer by layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables.conformal import check_confidence, interval
from latency_tables.table import Table
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json


@dataclass(frozen=True)
class Layer:
    """A slot of the network: the key of its operator, and its cost in the metric's base unit."""

    slot: str
    operator: str
    value: float


@dataclass(frozen=True)
class Explanation:
    """`total` is the sum of the layers and of `constant`, what a network costs besides; of peak memory it is the
    largest layer's. All in base units.

    `interval` holds the true cost with the confidence asked for; None where the table was graded on too few networks.
    """

    key: str
    architecture: dict[str, Any]
    metric: str
    unit: str
    layers: list[Layer]
    constant: float
    total: float
    interval: tuple[float, float] | None

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def explain(table: Table, text: str, *, confidence: float, file: Path | None = None) -> Explanation:
    """The network that `text` means (a file of its architecture, `smallest` or `largest`) on the device of `table`.

    Raises `UserError` for a file that is no architecture of the table's space.
    """
    check_confidence(confidence, key="--confidence")
    space = table.measured_space(file=file)
    architecture = _architecture(space, text)
    row = space.encode([architecture], file=None if text in _ENDS else text)[0]
    cost = table.cost(space)
    parts = dict(cost.explain(row))
    layers = [Layer(slot, operator.key, parts.get(slot, 0.0)) for slot, operator in space.network(architecture)]
    total = float(cost.evaluate(row[None])[0])
    try:
        bounds = interval(*table.graded, confidence)
    except UserError:
        bounds = None
    return Explanation(
        key=architecture.key,
        architecture=architecture.to_json(),
        metric=table.metric,
        unit=cost.unit,
        layers=layers,
        constant=total - sum(layer.value for layer in layers) if cost.reduce == "sum" else 0.0,
        total=total,
        interval=None if bounds is None else (bounds.low * total, bounds.high * total),
    )


_ENDS = ("smallest", "largest")


def _architecture(space: SearchSpace, text: str) -> Architecture:
    if text in _ENDS:
        row = space.smallest() if text == "smallest" else space.largest()
        return space.decode(np.asarray(row))[0]
    data = read_json(text, "architecture")
    if isinstance(data, dict) and isinstance(data.get("architecture"), dict):
        data = data["architecture"]  # the description of an exported network
    return Architecture.from_json(data, file=text)
