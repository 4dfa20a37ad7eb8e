"""A network of plain torch modules as a TensorFlow Lite model, written operator by operator.

As `onnx.graph` does it for ONNX: converting through litert-torch takes seconds for the smallest operator. Images lie
channels-last, as phones and microcontrollers want them. Transpositions are followed and not written: each value knows
how its axes lie, and only an operator that needs them in another order makes a TRANSPOSE.
Operators: https://ai.google.dev/edge/litert/models/ops_compatibility
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from latency_tables.folding import fold_batch_norm
from latency_tables.tflite.file import TFLiteModel, TFLiteOperator, TFLiteTensor
from latency_tables.tflite.layers import LAYERS
from latency_tables.tflite.tokens import CALLS, JOINS, TOKEN_LEAVES
from latency_tables.tflite.values import IMAGE, Shape, Value, of_plain
from search_spaces.common.errors import UserError

#: the numbers of the schema's ActivationFunctionType
FUSED = {"NONE": 0, "RELU": 1, "RELU6": 3}

_FUNCTIONS: dict[Any, str] = {
    operator.add: "ADD",
    torch.add: "ADD",
    operator.mul: "MUL",
    torch.mul: "MUL",
    operator.truediv: "DIV",
}


def to_tflite(module: fx.GraphModule, input_shape: tuple[int, ...]) -> TFLiteModel:
    """The model of `module` for one float32 input of `(1, *input_shape)`, batch norms folded into convolutions.

    An input or output of four axes, (1, C, H, W) in torch, is (1, H, W, C) in the model; others are as in torch. Raises
    `UserError` naming a leaf or function it does not know.
    """
    folded = fold_batch_norm(module)
    graph = Graph(folded)
    for node in folded.graph.nodes:
        graph.translate(node, (1, *input_shape))
    assert graph.input is not None and graph.output is not None
    return TFLiteModel(graph.input, graph.output, graph.operators)


class Graph:
    """The operators and constants written so far, and the value that each fx node became."""

    def __init__(self, network: fx.GraphModule) -> None:
        self.leaves = dict(network.named_modules())
        self.input: TFLiteTensor | None = None
        self.output: TFLiteTensor | None = None
        self.operators: list[TFLiteOperator] = []
        self.values: dict[fx.Node, Value] = {}
        self._constants: dict[str, TFLiteTensor] = {}
        self._producers: dict[int, TFLiteOperator] = {}

    def add(self, kind: str, inputs: Sequence[TFLiteTensor], name: str, shape: Shape, **options: Any) -> TFLiteTensor:
        """Write an operator of one output, of `shape` as it lies."""
        output = TFLiteTensor(name, shape)
        self.add_operator(TFLiteOperator(kind, list(inputs), [output], options))
        return output

    def add_operator(self, operator: TFLiteOperator) -> None:
        self.operators.append(operator)
        for output in operator.outputs:
            self._producers[id(output)] = operator

    def constant(self, name: str, data: NDArray[Any]) -> TFLiteTensor:
        """A constant; the first of a name is that of all, since a leaf may stand in several places."""
        if name not in self._constants:
            self._constants[name] = TFLiteTensor(name, data.shape, np.ascontiguousarray(data), str(data.dtype))
        return self._constants[name]

    def weight(self, name: str, tensor: Tensor) -> TFLiteTensor:
        return self.constant(name, tensor.detach().numpy())

    def numbers(self, values: object) -> TFLiteTensor:
        """A constant of whole numbers."""
        data = np.array(values, np.int32)
        return self.constant(f"int32 {data.tolist()}", data)

    def number(self, value: float) -> TFLiteTensor:
        data = np.array(value, np.float32)
        return self.constant(f"float32 {data}", data)

    # -- how values lie ------------------------------------------------------------------------------------------------

    def reshape(self, tensor: TFLiteTensor, name: str, shape: Shape) -> TFLiteTensor:
        if tensor.shape == shape:
            return tensor
        sides = self.numbers(shape)
        return self.add("RESHAPE", [tensor, sides], name, shape, newShape=np.array(shape, np.int32))

    def transpose(self, tensor: TFLiteTensor, name: str, axes: Sequence[int]) -> TFLiteTensor:
        """Axis i of the result is axis `axes[i]` of `tensor`. Not all runtimes take more than four axes: of more, those
        of 1 are left out, and neighbours move as one.
        """
        shape = tuple(tensor.shape[axis] for axis in axes)
        if tensor.data is not None:
            return self.constant(name, tensor.data.transpose(axes))
        long = [axis for axis in axes if tensor.shape[axis] > 1]
        if long == sorted(long):
            return self.reshape(tensor, name, shape)
        if len(axes) <= 4:
            return self.add("TRANSPOSE", [tensor, self.numbers(list(axes))], name, shape)
        groups: list[list[int]] = []
        for axis in long:
            if groups and axis > groups[-1][-1] and not any(groups[-1][-1] < other < axis for other in long):
                groups[-1].append(axis)
            else:
                groups.append([axis])
        before = sorted(groups)
        sides = tuple(math.prod(tensor.shape[axis] for axis in group) for group in before)
        order = [before.index(group) for group in groups]
        x = self.reshape(tensor, f"{name}.joined", sides)
        moved = tuple(sides[i] for i in order)
        return self.reshape(self.add("TRANSPOSE", [x, self.numbers(order)], f"{name}.moved", moved), name, shape)

    def in_order(self, value: Value, order: tuple[int, ...], name: str) -> TFLiteTensor:
        """The tensor with its axes in this order."""
        if value.order == order:
            return value.tensor
        return self.transpose(value.tensor, f"{name}.{value.tensor.name}", [value.order.index(axis) for axis in order])

    def plain(self, value: Value, name: str) -> TFLiteTensor:
        """In torch's order."""
        return self.in_order(value, tuple(range(len(value.order))), name)

    def image(self, value: Value, name: str) -> TFLiteTensor:
        """Channels-last."""
        if len(value.order) != 4:
            raise self.unknown(f"a layer of images on {value.shape}", name)
        return self.in_order(value, IMAGE, name)

    def last_is_last(self, value: Value, name: str) -> Value:
        """The same value, its last axis lying last."""
        return value if value.order[-1] == len(value.order) - 1 else of_plain(self.plain(value, name))

    def split(self, value: Value, name: str, axis: int, sizes: Sequence[int]) -> Value:
        """`value.unflatten(axis, sizes)`"""
        place, more = value.order.index(axis), len(sizes) - 1
        shape = (*value.tensor.shape[:place], *sizes, *value.tensor.shape[place + 1 :])
        order: list[int] = []
        for old in value.order:
            order += range(axis, axis + more + 1) if old == axis else [old + more if old > axis else old]
        return Value(self.reshape(value.tensor, name, shape), tuple(order))

    def flatten(self, value: Value, name: str, first: int, last: int) -> Value:
        """`value.flatten(first, last)`"""
        place, shape = value.order.index(first), value.shape
        long = [axis for axis in value.order if shape[axis] > 1]
        if long == sorted(long):  # as in torch but for sides of 1
            flat = (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
            return of_plain(self.reshape(value.tensor, name, flat))
        if value.order[place : place + last - first + 1] != tuple(range(first, last + 1)):
            value, place = of_plain(self.plain(value, name)), first
        end, lies = place + last - first + 1, value.tensor.shape
        flat = (*lies[:place], math.prod(lies[place:end]), *lies[end:])
        order = [old - (last - first) if old > last else old for old in value.order if not first < old <= last]
        return Value(self.reshape(value.tensor, name, flat), tuple(order))

    # -- activations ---------------------------------------------------------------------------------------------------

    def fuse(self, node: fx.Node, activation: str) -> bool:
        """Let the operator that gives the input of `node` apply this activation, if it can and nobody else needs that
        input.
        """
        source = node.args[0]
        if not isinstance(source, fx.Node) or len(source.users) != 1:
            return False
        tensor = self.values[source].tensor
        producer = self._producers.get(id(tensor))
        if producer is None or tensor.name != source.name or producer.options.get("fusedActivationFunction") != 0:
            return False
        producer.options["fusedActivationFunction"] = FUSED[activation]
        return True

    def is_positive(self, tensor: TFLiteTensor) -> bool:
        """Whether an activation keeps it from being negative."""
        producer = self._producers.get(id(tensor))
        if producer is None:
            return False
        return producer.kind in FUSED or producer.options.get("fusedActivationFunction", 0) in (1, 3)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def translate(self, node: fx.Node, input_shape: Shape) -> None:
        if node.op == "placeholder":
            if self.input is not None:
                raise UserError("a network with more than one input cannot be converted to TFLite", key=node.name)
            order = IMAGE if len(input_shape) == 4 else tuple(range(len(input_shape)))
            self.input = TFLiteTensor("input", tuple(input_shape[axis] for axis in order))
            self.values[node] = Value(self.input, order)
        elif node.op == "output":
            result = node.args[0]
            if not isinstance(result, fx.Node):
                raise UserError("a network with more than one output cannot be converted to TFLite", key=node.name)
            self._end(self.values[result])
        elif node.op == "call_module":
            leaf, known = self.leaves[str(node.target)], LEAVES
            if type(leaf) not in known:
                raise self.unknown(f"torch.nn.{type(leaf).__name__}", str(node.target))
            self.values[node] = known[type(leaf)](self, leaf, node, self.operand(node, 0))
        elif node.op == "get_attr":
            module, _, name = str(node.target).rpartition(".")
            self.values[node] = of_plain(self.weight(str(node.target), getattr(self.leaves[module], name)))
        elif node.op in ("call_function", "call_method") and (name := _name(node)) in CALLS:
            self.values[node] = CALLS[name](self, node, self.operand(node, 0))
        elif node.op == "call_function" and (name := _name(node)) in JOINS and isinstance(node.args[0], list):
            parts = [self.values[part] for part in node.args[0] if isinstance(part, fx.Node)]
            self.values[node] = JOINS[name](self, node, parts)
        elif node.op == "call_function" and node.target in _FUNCTIONS and len(node.args) == 2 and not node.kwargs:
            self.values[node] = self._binary(_FUNCTIONS[node.target], node)
        else:
            raise self.unknown(f"{node.op} {_name(node)}", node.name)

    def _binary(self, kind: str, node: fx.Node) -> Value:
        left, other = self.operand(node, 0), node.args[1]
        if isinstance(other, (int, float)):
            number = self.number(float(other))
            y = self.add(kind, [left.tensor, number], node.name, left.tensor.shape, fusedActivationFunction=0)
            return Value(y, left.order)
        right = self.operand(node, 1)
        rank = max(len(left.order), len(right.order))
        left, right = self._of_rank(left, rank, node.name), self._of_rank(right, rank, node.name)
        pair = [left.tensor, self.in_order(right, left.order, node.name)]
        shape = tuple(np.broadcast_shapes(*(tensor.shape for tensor in pair)))
        return Value(self.add(kind, pair, node.name, shape, fusedActivationFunction=0), left.order)

    def _of_rank(self, value: Value, rank: int, name: str) -> Value:
        """With axes of 1 before the first, as broadcasting has it."""
        more = rank - len(value.order)
        if not more:
            return value
        shape = (*[1] * more, *value.tensor.shape)
        name = f"{name}.{value.tensor.name}.raised"
        if value.tensor.data is not None:
            tensor = self.constant(name, value.tensor.data.reshape(shape))
        else:
            tensor = self.reshape(value.tensor, name, shape)
        return Value(tensor, (*range(more), *(axis + more for axis in value.order)))

    def _end(self, value: Value) -> None:
        """Name the result `output`, channels-last if it has four axes."""
        result = self.image(value, "output") if len(value.order) == 4 else self.plain(value, "output")
        if result is self.input or result.data is not None or result.name == "output":
            result = self.add("RESHAPE", [result, self.numbers(result.shape)], "output", result.shape)
        result.name = "output"
        self.output = result

    def operand(self, node: fx.Node, index: int) -> Value:
        value = node.args[index] if index < len(node.args) else None
        if not isinstance(value, fx.Node):
            raise self.unknown(f"{node.target} with the constant {value!r}", node.name)
        return self.values[value]

    def unknown(self, what: str, where: str) -> UserError:
        known = ", ".join(leaf.__name__ for leaf in LEAVES)
        hint = f"Known: {known}, {', '.join([*CALLS, *JOINS])}, +, * and / of tensors and numbers"
        return UserError(f"{what} cannot be converted to TFLite", key=where, hint=hint)


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


LEAVES: Mapping[type[nn.Module], Callable[[Graph, Any, fx.Node, Value], Value]] = {**LAYERS, **TOKEN_LEAVES}
