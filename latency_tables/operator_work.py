"""What an operator makes a device do, counted and not timed: calls of layers, numbers written, multiply-accumulates.

A GPU that runs one image waits for calls (kernels to launch), one that runs sixty-four for arithmetic and memory. These
counts are what a latency is made of on either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from search_spaces import SearchSpace
from search_spaces.operators import Operator
from search_spaces.plain.templates import at_any_resolution, operator_template

#: the columns of `OperatorWork.amounts`
AMOUNTS = ("elements", "dense_macs", "grouped_macs", "params")


@dataclass(frozen=True)
class OperatorWork:
    """The work of every operator of a space, in the order of `space.operators()`.

    `structure` (num_operators,) numbers the sequences of layers that operators are made of: operators of one structure
    make the same calls, whatever their sizes. `calls` (num_structures,) is how many. `amounts` (num_operators, 4) are
    the numbers that all layers write together (activation traffic), the multiply-accumulates in grouped convolutions
    and those elsewhere, which reach quite another speed, and the parameters.
    """

    keys: tuple[str, ...]
    structure: NDArray[np.int64]
    calls: NDArray[np.float64]
    amounts: NDArray[np.float64]


#: the side of what is no map but a sequence, whose length says nothing of the operator's resolution
_TOKENS = -1


@dataclass(frozen=True)
class _Layer:
    name: str
    elements: float
    side: int
    """Of the map it writes; 0 for vectors."""
    grouped_macs: float


def operator_work(space: SearchSpace) -> OperatorWork:
    """Count the layers of the plain module of every operator. Exact: it is run without data, once for all
    sizes of its map."""
    operators = space.operators()
    layers = _template_layers(operators.values())
    structures: dict[tuple[str, ...], int] = {}
    numbers, amounts = [], []
    for operator in operators.values():
        representative, calls = layers[at_any_resolution(operator)]
        if operator != representative and any(call.side == _TOKENS for call in calls):
            representative, calls = operator, _layers(operator)
        numbers.append(structures.setdefault(tuple(call.name for call in calls), len(structures)))
        scales = [_scale(operator, representative, call) for call in calls]
        elements = sum(scale * call.elements for scale, call in zip(scales, calls, strict=True))
        grouped = sum(scale * call.grouped_macs for scale, call in zip(scales, calls, strict=True))
        amounts.append((elements, float(operator.macs()) - grouped, grouped, float(operator.params())))
    return OperatorWork(
        keys=tuple(operators),
        structure=np.array(numbers, dtype=np.int64),
        calls=np.array([float(len(names)) for names in structures]),
        amounts=np.array(amounts, dtype=np.float64),
    )


def _template_layers(operators: Iterable[Operator]) -> dict[Operator, tuple[Operator, list[_Layer]]]:
    """By template: the operator of it on the largest map, and its layers there."""
    largest: dict[Operator, Operator] = {}
    for operator in operators:
        known = largest.setdefault(at_any_resolution(operator), operator)
        if operator.resolution > known.resolution:
            largest[at_any_resolution(operator)] = operator
    return {template: (operator, _layers(operator)) for template, operator in largest.items()}


def _layers(operator: Operator) -> list[_Layer]:
    recorder = _Recorder(operator_template(operator))
    with torch.no_grad():
        recorder.run(torch.empty(1, *operator.input_shape, device="meta"))
    return recorder.layers


def _scale(operator: Operator, representative: Operator, layer: _Layer) -> float:
    """How much more the layer writes in `operator` than in `representative`, the same layers on a larger map."""
    for side, now in (
        (representative.resolution, operator.resolution),
        (representative.output_resolution, operator.output_resolution),
    ):
        if layer.side == side:
            return float(now / side) ** 2
    return 1.0


def _side(out: Any) -> int:
    if not isinstance(out, torch.Tensor) or out.dim() < 3:
        return 0
    return int(out.shape[-1]) if out.dim() == 4 and out.shape[-1] == out.shape[-2] else _TOKENS


class _Recorder(fx.Interpreter):
    """Runs a module of torch.nn layers and keeps what every call of one writes."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.layers: list[_Layer] = []

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        if n.op in ("call_module", "call_function", "call_method"):
            layer = self.module.get_submodule(str(n.target)) if n.op == "call_module" else None
            name = getattr(n.target, "__name__", str(n.target)) if layer is None else type(layer).__name__
            elements = float(out.numel()) if isinstance(out, torch.Tensor) else 0.0
            side = _side(out)
            grouped = 0.0
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                name = f"grouped {name}"
                grouped = elements * layer.in_channels / layer.groups * math.prod(layer.kernel_size)
            self.layers.append(_Layer(name, elements, side, grouped))
        return out
