"""Elastic blocks: one module per slot that holds every operator the slot can be.

`block(x, operator)` computes that operator; `block.copy_into(plain, operator)` fills the plain module of the same
operator; `block.sort_channels(trained)` puts the most important channels first. The registry at the end maps
operators to blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.elastic.layers import ElasticBatchNorm2d, ElasticConv2d, ElasticDepthwiseConv2d
from search_spaces.operators import Classifier, Conv, MBConv, Operator, PoolConv
from search_spaces.plain import ACTIVATIONS


class ElasticBlock(nn.Module):
    """Base of the blocks below."""

    def forward(self, x: Tensor, operator: Any) -> Tensor:
        raise NotImplementedError

    def slices(self, operator: Any) -> Iterator[tuple[str, Tensor]]:
        """(name in the plain module, tensor) for every weight and buffer of `operator`."""
        raise NotImplementedError

    def sort_channels(self, trained: Sequence[Any]) -> None:
        """Reorder inner channels by importance; the order of the channels within each width in `trained` is the only
        freedom.

        Blocks without elastic inner channels have nothing to do.
        """

    def copy_into(self, plain: nn.Module, operator: Operator) -> None:
        """Copy the slice of the weights that `operator` uses into its plain module."""
        target = plain.state_dict()
        names = set()
        with torch.no_grad():
            for name, tensor in self.slices(operator):
                target[name].copy_(tensor)
                names.add(name)
        missing = {name for name in target if not name.endswith("num_batches_tracked")} - names
        assert not missing, f"{type(self).__name__} leaves {missing} unset"


class ElasticConvBlock(ElasticBlock):
    """Convolution, batch norm, activation."""

    def __init__(self, operators: Sequence[Conv]) -> None:
        super().__init__()
        first = operators[0]
        widest = max(op.out_channels for op in operators)
        assert all(
            (op.kernel_size, op.stride, op.activation) == (first.kernel_size, first.stride, first.activation)
            for op in operators
        )
        in_channels = max(op.in_channels for op in operators)
        self.conv = ElasticConv2d(
            in_channels, widest, first.kernel_size, first.stride, first.kernel_size // 2, bias=False
        )
        self.norm = ElasticBatchNorm2d(widest)
        self.act = ACTIVATIONS[first.activation]()

    def forward(self, x: Tensor, operator: Conv) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x, operator.out_channels)))
        return out

    def slices(self, operator: Conv) -> Iterator[tuple[str, Tensor]]:
        yield "conv.weight", self.conv.weight_for(operator.in_channels, operator.out_channels)
        yield from _norm("norm", self.norm, operator.out_channels)


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-excite with elastic channels."""

    def __init__(self, channels: int, se_channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = ElasticConv2d(channels, se_channels, 1)
        self.act = nn.ReLU(inplace=True)
        self.expand = ElasticConv2d(se_channels, channels, 1)
        self.gate = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor, se_channels: int) -> Tensor:
        scale: Tensor = self.gate(self.expand(self.act(self.reduce(self.pool(x), se_channels)), x.shape[1]))
        return x * scale


class ElasticMBConv(ElasticBlock):
    """Inverted residual with elastic kernel size and width of the middle."""

    def __init__(self, operators: Sequence[MBConv]) -> None:
        super().__init__()
        first = operators[0]
        in_channels, out_channels = (
            max(getattr(op, name) for op in operators) for name in ("in_channels", "out_channels")
        )
        mid_channels, se_channels = (
            max(getattr(op, name) for op in operators) for name in ("mid_channels", "se_channels")
        )
        fixed = {(op.stride, op.activation, op.se_channels > 0, op.expansion) for op in operators}
        assert len(fixed) == 1, "these may not change within a slot"
        self.expands, self.excites = bool(first.expansion), se_channels > 0
        if self.expands:
            self.expand_conv = ElasticConv2d(in_channels, mid_channels, 1, bias=False)
            self.expand_norm = ElasticBatchNorm2d(mid_channels)
            self.expand_act = ACTIVATIONS[first.activation]()
        self.depth_conv = ElasticDepthwiseConv2d(mid_channels, list({op.kernel_size for op in operators}), first.stride)
        self.depth_norm = ElasticBatchNorm2d(mid_channels)
        self.depth_act = ACTIVATIONS[first.activation]()
        if self.excites:
            self.se = ElasticSqueezeExcite(mid_channels, se_channels)
        self.project_conv = ElasticConv2d(mid_channels, out_channels, 1, bias=False)
        self.project_norm = ElasticBatchNorm2d(out_channels)

    def forward(self, x: Tensor, operator: MBConv) -> Tensor:
        out = x
        if self.expands:
            out = self.expand_act(self.expand_norm(self.expand_conv(out, operator.mid_channels)))
        out = self.depth_act(self.depth_norm(self.depth_conv(out, operator.kernel_size)))
        if self.excites:
            out = self.se(out, operator.se_channels)
        out = self.project_norm(self.project_conv(out, operator.out_channels))
        return x + out if operator.residual else out

    def slices(self, operator: MBConv) -> Iterator[tuple[str, Tensor]]:
        mid = operator.mid_channels
        if self.expands:
            yield "expand_conv.weight", self.expand_conv.weight_for(operator.in_channels, mid)
            yield from _norm("expand_norm", self.expand_norm, mid)
        yield "depth_conv.weight", self.depth_conv.weight_for(mid, operator.kernel_size)
        yield from _norm("depth_norm", self.depth_norm, mid)
        if self.excites:
            squeezed = operator.se_channels
            assert self.se.reduce.bias is not None and self.se.expand.bias is not None
            yield "se.reduce.weight", self.se.reduce.weight_for(mid, squeezed)
            yield "se.reduce.bias", self.se.reduce.bias[:squeezed]
            yield "se.expand.weight", self.se.expand.weight_for(squeezed, mid)
            yield "se.expand.bias", self.se.expand.bias[:mid]
        yield "project_conv.weight", self.project_conv.weight_for(mid, operator.out_channels)
        yield from _norm("project_norm", self.project_norm, operator.out_channels)

    @torch.no_grad()
    def sort_channels(self, trained: Sequence[MBConv]) -> None:
        """Importance of a middle channel: L1 norm of the projection weights that read it (squeezed channels: of the
        excitation's).
        """
        if not self.expands:
            return  # the middle is the input: its order belongs to the block before
        order = _order(self.project_conv.weight.abs().sum((0, 2, 3)), [op.mid_channels for op in trained])
        for tensor in (
            self.expand_conv.weight,
            *_vectors(self.expand_norm),
            self.depth_conv.weight,
            *_vectors(self.depth_norm),
        ):
            tensor.copy_(tensor[order])
        self.project_conv.weight.copy_(self.project_conv.weight[:, order])
        if self.excites:
            reduce, expand = self.se.reduce, self.se.expand
            assert reduce.bias is not None and expand.bias is not None
            reduce.weight.copy_(reduce.weight[:, order])
            expand.weight.copy_(expand.weight[order])
            expand.bias.copy_(expand.bias[order])
            squeezed = _order(expand.weight.abs().sum((0, 2, 3)), [op.se_channels for op in trained])
            reduce.weight.copy_(reduce.weight[squeezed])
            reduce.bias.copy_(reduce.bias[squeezed])
            expand.weight.copy_(expand.weight[:, squeezed])


class ElasticPoolConv(ElasticBlock):
    """Global average pooling, 1x1 convolution, activation."""

    def __init__(self, operators: Sequence[PoolConv]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        in_channels, out_channels = (
            max(getattr(op, name) for op in operators) for name in ("in_channels", "out_channels")
        )
        self.conv = ElasticConv2d(in_channels, out_channels, 1, bias=False)
        self.act = ACTIVATIONS[operators[0].activation]()

    def forward(self, x: Tensor, operator: PoolConv) -> Tensor:
        out: Tensor = self.act(self.conv(self.pool(x), operator.out_channels))
        return out

    def slices(self, operator: PoolConv) -> Iterator[tuple[str, Tensor]]:
        yield "conv.weight", self.conv.weight_for(operator.in_channels, operator.out_channels)


class ElasticClassifier(ElasticBlock):
    """Dropout and linear layer over the features that arrive."""

    def __init__(self, operators: Sequence[Classifier]) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(operators[0].dropout)
        self.linear = nn.Linear(max(op.in_channels for op in operators), operators[0].out_channels)

    def forward(self, x: Tensor, operator: Classifier) -> Tensor:
        x = self.dropout(self.flatten(x))
        return nn.functional.linear(x, self.linear.weight[:, : x.shape[1]], self.linear.bias)

    def slices(self, operator: Classifier) -> Iterator[tuple[str, Tensor]]:
        yield "linear.weight", self.linear.weight[:, : operator.in_channels]
        yield "linear.bias", self.linear.bias


ELASTIC: dict[type[Operator], Callable[[Any], ElasticBlock]] = {
    Conv: ElasticConvBlock,
    MBConv: ElasticMBConv,
    PoolConv: ElasticPoolConv,
    Classifier: ElasticClassifier,
}


def _norm(name: str, norm: nn.BatchNorm2d, channels: int) -> Iterator[tuple[str, Tensor]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", getattr(norm, part)[:channels]


def _vectors(norm: nn.BatchNorm2d) -> tuple[Tensor, ...]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.weight, norm.bias, norm.running_mean, norm.running_var


def _order(importance: Tensor, trained_widths: Sequence[int]) -> Tensor:
    """Channel order by falling importance. A width already trained must keep its set of channels, so channels only
    move between two neighbouring trained widths."""
    edges = [0, *sorted({width for width in trained_widths if width < len(importance)}), len(importance)]
    parts = [
        start + torch.argsort(importance[start:end], descending=True, stable=True)
        for start, end in itertools.pairwise(edges)
    ]
    return torch.cat(parts)
