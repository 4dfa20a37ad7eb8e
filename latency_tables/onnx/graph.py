"""A network of plain torch modules as an ONNX model, written node by node.

What is measured and what is exported both come from here, so that a file takes as long as its candidate did.
`torch.onnx.export` makes slower graphs of transformers, and needs about a second for the smallest operator, of which a
latency table has hundreds. Our networks use a dozen kinds of leaf, so each is translated here directly, in
milliseconds. Operators of the ONNX standard: https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from latency_tables.folding import fold_batch_norm
from latency_tables.onnx.tokens import CALLS, JOINS, TOKEN_LEAVES, linear_of_tokens
from search_spaces.common.errors import UserError

OPSET = 18
IR_VERSION = 10  # the oldest that goes with the opset's contemporaries: read by every runtime of the last years

Shape = tuple[int, ...]

_FUNCTIONS: dict[Any, str] = {
    operator.add: "Add",
    torch.add: "Add",
    operator.mul: "Mul",
    torch.mul: "Mul",
    operator.truediv: "Div",
}


def to_onnx(
    module: fx.GraphModule,
    input_shape: tuple[int, ...],
    *,
    batch: str | None = None,
    names: tuple[str, str] = ("input", "output"),
    opset: int = OPSET,
) -> onnx.ModelProto:
    """The ONNX model of `module` for one float32 input of `(1, *input_shape)`, batch norms folded into convolutions.

    With `batch`, the name of the leading side of input and output, that side is open: the same nodes take batches of
    any size. `names` are those of the input and of the output. Raises `UserError` naming a leaf or function it does
    not know.
    """
    folded = fold_batch_norm(module)
    graph = Graph(folded, (1, *input_shape), names=names, open_batch=batch is not None)
    for node in folded.graph.nodes:
        graph.translate(node)
    ends = []
    for name in names:
        shape = graph.shapes[name]
        sides = shape if batch is None else (batch, *shape[1:])
        ends.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sides))
    body = helper.make_graph(graph.nodes, "network", ends[:1], ends[1:], graph.weights)
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="ofa-nas"
    )


class Graph:
    """The nodes and weights written so far, the ONNX value that each fx node became, and the shape of each value.

    Shapes are followed by rule: running the convolutions to learn them would take longer than everything else here.
    They are those of one image, which stands in them for an open batch: a translation keeps the batch first and writes
    no shape of its own but through `sides`.
    """

    def __init__(
        self, network: fx.GraphModule, input_shape: Shape, *, names: tuple[str, str], open_batch: bool
    ) -> None:
        self.leaves = dict(network.named_modules())
        self.input, self.output = names
        self.open_batch = open_batch
        self.shapes: dict[str, Shape] = {self.input: input_shape}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.weight_names: set[str] = set()
        self.values: dict[fx.Node, str] = {}

    def add(
        self, kind: str, inputs: list[str], output: str, shape: Shape, *, first: str | None = None, **attributes: object
    ) -> str:
        """Write a node; `first` names what it gives before `output`, which nobody reads."""
        outputs = [output] if first is None else [f"{output}.{first}", output]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=f"{kind}_{output}", **attributes))
        self.shapes[output] = shape
        return output

    def weight(self, name: str, tensor: Tensor) -> str:
        if name not in self.weight_names:  # a leaf may stand in several places
            self.weight_names.add(name)
            self.shapes[name] = tuple(tensor.shape)
            self.weights.append(numpy_helper.from_array(tensor.detach().contiguous().numpy(), name))
        return name

    def numbers(self, name: str, *values: int) -> str:
        """A constant of whole numbers."""
        return self.weight(name, torch.tensor(values, dtype=torch.int64))

    def sides(self, x: str, shape: Shape) -> Shape:
        """How a Reshape of `x` writes `shape`, batch first: an open batch as 0 (the side stays) or -1 (the rest)."""
        if not self.open_batch:
            return shape
        return (0 if shape[0] == self.shapes[x][0] else -1, *shape[1:])

    def tensor(self, target: str) -> Tensor:
        """The parameter or buffer of this name."""
        module, _, name = target.rpartition(".")
        found = getattr(self.leaves[module], name)
        assert isinstance(found, Tensor)
        return found

    def translate(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if self.values:
                raise UserError("a network with more than one input cannot be converted to ONNX", key=node.name)
            self.values[node] = self.input
        elif node.op == "output":
            result = node.args[0]
            if not isinstance(result, fx.Node):
                raise UserError("a network with more than one output cannot be converted to ONNX", key=node.name)
            self.add("Identity", [self.values[result]], self.output, self.shapes[self.values[result]])
        elif node.op == "call_module":
            leaf = self.leaves[str(node.target)]
            if type(leaf) not in _LEAVES:
                raise _unknown(f"torch.nn.{type(leaf).__name__}", str(node.target))
            self.values[node] = _LEAVES[type(leaf)](self, leaf, node, self.operand(node, 0))
        elif node.op == "get_attr":
            self.values[node] = self.weight(str(node.target), self.tensor(str(node.target)))
        elif node.op in ("call_function", "call_method") and (name := _name(node)) in CALLS:
            self.values[node] = CALLS[name](self, node, self.operand(node, 0))
        elif node.op == "call_function" and (name := _name(node)) in JOINS and isinstance(node.args[0], list):
            parts = [self.values[part] for part in node.args[0] if isinstance(part, fx.Node)]
            self.values[node] = JOINS[name](self, node, parts)
        elif node.op == "call_function" and node.target in _FUNCTIONS and len(node.args) == 2 and not node.kwargs:
            pair = [self.operand(node, 0), self.operand_or_number(node, 1)]
            shape = torch.broadcast_shapes(*(self.shapes[value] for value in pair))
            self.values[node] = self.add(_FUNCTIONS[node.target], pair, node.name, shape)
        else:
            raise _unknown(f"{node.op} {_name(node)}", node.name)

    def unknown(self, what: str, where: str) -> UserError:
        return _unknown(what, where)

    def operand_or_number(self, node: fx.Node, index: int) -> str:
        value, name = node.args[index], f"{node.name}.number"
        if not isinstance(value, (int, float)):
            return self.operand(node, index)
        return self.weight(name, torch.tensor(float(value)))

    def operand(self, node: fx.Node, index: int) -> str:
        value = node.args[index] if index < len(node.args) else None
        if not isinstance(value, fx.Node):
            raise _unknown(f"{node.target} with the constant {value!r}", node.name)
        return self.values[value]


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


_Translate = Callable[[Graph, Any, fx.Node, str], str]


def _conv(graph: Graph, leaf: nn.Conv2d, node: fx.Node, x: str) -> str:
    if leaf.padding_mode != "zeros":
        raise _unknown(f"Conv2d with padding_mode={leaf.padding_mode!r}", str(node.target))
    left, right, top, bottom = leaf._reversed_padding_repeated_twice  # the one form that "same" and numbers share
    inputs = [x, graph.weight(f"{node.target}.weight", leaf.weight)]
    if leaf.bias is not None:
        inputs.append(graph.weight(f"{node.target}.bias", leaf.bias))
    pads = ((top, bottom), (left, right))
    sides = _windows(graph.shapes[x], leaf.kernel_size, leaf.stride, pads, leaf.dilation)
    return graph.add(
        "Conv",
        inputs,
        node.name,
        (1, leaf.out_channels, *sides),
        kernel_shape=list(leaf.kernel_size),
        strides=list(leaf.stride),
        dilations=list(leaf.dilation),
        pads=[top, left, bottom, right],
        group=leaf.groups,
    )


def _windows(
    shape: Shape,
    kernel: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int] = (1, 1),
) -> list[int]:
    """Height and width of what a window slid over images of `shape` gives; `pads` before and after each side."""
    parts = zip(shape[2:], kernel, stride, pads, dilation, strict=True)
    return [(side + sum(pad) - d * (k - 1) - 1) // step + 1 for side, k, step, pad, d in parts]


def _batch_norm(graph: Graph, leaf: nn.BatchNorm2d, node: fx.Node, x: str) -> str:
    if leaf.running_mean is None or leaf.running_var is None:
        raise _unknown("BatchNorm2d without running statistics", str(node.target))
    one, zero = torch.ones(leaf.num_features), torch.zeros(leaf.num_features)
    tensors = {
        "weight": one if leaf.weight is None else leaf.weight,
        "bias": zero if leaf.bias is None else leaf.bias,
        "mean": leaf.running_mean,
        "var": leaf.running_var,
    }
    names = [graph.weight(f"{node.target}.{key}", tensor) for key, tensor in tensors.items()]
    return graph.add("BatchNormalization", [x, *names], node.name, graph.shapes[x], epsilon=leaf.eps)


def _linear(graph: Graph, leaf: nn.Linear, node: fx.Node, x: str) -> str:
    if len(graph.shapes[x]) > 2:
        return linear_of_tokens(graph, leaf, node, x)
    inputs = [x, graph.weight(f"{node.target}.weight", leaf.weight)]
    if leaf.bias is not None:
        inputs.append(graph.weight(f"{node.target}.bias", leaf.bias))
    return graph.add("Gemm", inputs, node.name, (1, leaf.out_features), transB=1)


def _max_pool(graph: Graph, leaf: nn.MaxPool2d, node: fx.Node, x: str) -> str:
    if leaf.ceil_mode or leaf.return_indices:
        raise _unknown("MaxPool2d with ceil_mode or return_indices", str(node.target))
    kernel, padding, dilation = _pair(leaf.kernel_size), _pair(leaf.padding), _pair(leaf.dilation)
    stride = _pair(leaf.stride)
    sides = _windows(graph.shapes[x], kernel, stride, [(pad, pad) for pad in padding], dilation)
    shape = (*graph.shapes[x][:2], *sides)
    return graph.add(
        "MaxPool",
        [x],
        node.name,
        shape,
        kernel_shape=kernel,
        strides=stride,
        pads=[*padding, *padding],
        dilations=dilation,
    )


def _average_pool(graph: Graph, leaf: nn.AvgPool2d, node: fx.Node, x: str) -> str:
    """With `ceil_mode`, windows over the far edge average what is there: written out as padding that does not count,
    which leaves a runtime nothing to interpret.
    """
    if any(_pair(leaf.padding)) or leaf.divisor_override is not None:
        raise _unknown("AvgPool2d with padding or divisor_override", str(node.target))
    kernel, stride = _pair(leaf.kernel_size), _pair(leaf.stride)
    sides = _windows(graph.shapes[x], kernel, stride, [(0, 0), (0, 0)])
    ends = [0, 0]
    if leaf.ceil_mode:
        for axis, side in enumerate(graph.shapes[x][2:]):
            if sides[axis] * stride[axis] < side and (sides[axis] - 1) * stride[axis] + kernel[axis] < side:
                sides[axis] += 1  # one more window begins inside, and the last one did not reach the edge
                ends[axis] = (sides[axis] - 1) * stride[axis] + kernel[axis] - side
    shape = (*graph.shapes[x][:2], *sides)
    return graph.add(
        "AveragePool",
        [x],
        node.name,
        shape,
        kernel_shape=kernel,
        strides=stride,
        pads=[0, 0, *ends],
        count_include_pad=0,
    )


def _pool(graph: Graph, leaf: nn.AdaptiveAvgPool2d, node: fx.Node, x: str) -> str:
    if leaf.output_size not in (1, (1, 1)):
        raise _unknown(f"AdaptiveAvgPool2d({leaf.output_size})", str(node.target))
    return graph.add("GlobalAveragePool", [x], node.name, (*graph.shapes[x][:2], 1, 1))


def _flatten(graph: Graph, leaf: nn.Flatten, node: fx.Node, x: str) -> str:
    if (leaf.start_dim, leaf.end_dim) != (1, -1):
        raise _unknown(f"Flatten({leaf.start_dim}, {leaf.end_dim})", str(node.target))
    return graph.add("Flatten", [x], node.name, (1, math.prod(graph.shapes[x][1:])), axis=1)


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _same(graph: Graph, leaf: nn.Module, node: fx.Node, x: str) -> str:
    return x


def _relu6(graph: Graph, leaf: nn.ReLU6, node: fx.Node, x: str) -> str:
    bounds = [graph.weight(f"{node.name}.{name}", torch.tensor(value)) for name, value in (("min", 0.0), ("max", 6.0))]
    return graph.add("Clip", [x, *bounds], node.name, graph.shapes[x])


def _elementwise(kind: str, **attributes: Any) -> _Translate:
    def translate(graph: Graph, leaf: nn.Module, node: fx.Node, x: str) -> str:
        return graph.add(kind, [x], node.name, graph.shapes[x], **attributes)

    return translate


_LEAVES: dict[type[nn.Module], _Translate] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _linear,
    **TOKEN_LEAVES,
    nn.AdaptiveAvgPool2d: _pool,
    nn.AvgPool2d: _average_pool,
    nn.MaxPool2d: _max_pool,
    nn.Flatten: _flatten,
    nn.Dropout: _same,
    nn.Identity: _same,
    nn.ReLU: _elementwise("Relu"),
    nn.ReLU6: _relu6,
    nn.Sigmoid: _elementwise("Sigmoid"),
    nn.Hardswish: _elementwise("HardSwish"),
    nn.Hardsigmoid: _elementwise("HardSigmoid", alpha=1 / 6, beta=0.5),
}


def _unknown(what: str, where: str) -> UserError:
    known = ", ".join(leaf.__name__ for leaf in _LEAVES)
    hint = f"Known: {known}, {', '.join([*CALLS, *JOINS])}, +, * and / of tensors and numbers"
    return UserError(f"{what} cannot be converted to ONNX", key=where, hint=hint)
