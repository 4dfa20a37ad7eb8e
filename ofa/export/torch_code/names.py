"""Names for classes and their parameters: what a reader of such networks expects, by the layers of a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ofa.export.torch_code.blocks import Block, Ref

#: layers that a block of this kind has, most telling first, and what it is
_KINDS = (
    ({"query.near"}, "HiLoAttention", "High and low frequencies: attention within windows, and to their averages."),
    ({"query", "query_act"}, "LinearAttention", "Linear attention."),
    ({"query"}, "Attention", "Multi-head self-attention."),
    ({"mix", "norm"}, "ConvolutionMixer", "A depthwise convolution over the grid of tokens."),
    ({"contract"}, "MLP", "Two linear layers around an activation."),
    ({"places"}, "PatchEmbedding", "Patches of the image as tokens, with their places."),
    ({"factor_in", "factor_out"}, "LowRankLinear", "A linear layer as a product of two."),
    ({"reduce", "expand", "gate"}, "SqueezeExcite", "The gates of squeeze-and-excitation, one a channel."),
    ({"depth_conv", "expand_conv"}, "MBConv", "Expansion, depthwise convolution, projection."),
    ({"depth_conv"}, "DepthwiseSeparableConv", "Depthwise convolution, projection."),
    ({"middle_conv"}, "Bottleneck", "Bottleneck block of residual networks."),
    ({"pool", "conv"}, "PoolConv", "The average of each channel, mixed."),
    ({"linear"}, "Classifier", "The logits."),
    ({"conv", "norm"}, "ConvNormAct", "Convolution, batch norm, activation."),
    ({"pool"}, "Pool", "Pooling."),
)
_RESIDUAL = {"MBConv": "InvertedResidual", "ConvNormAct": "ResidualConv", "DepthwiseSeparableConv": "ResidualSeparable"}


def class_name(block: Block, taken: set[str]) -> str:
    """A name that is not `taken`."""
    name = next((kind for parts, kind, _ in _KINDS if parts <= _parts(block)), "Block")
    last = block.steps[-1]
    if last.kind == "function" and Ref(-1) in last.arguments:
        name = _RESIDUAL.get(name, name)
    if "se" in block.parts:
        name += "SE"
    if any(step.target == "topk" for step in block.steps):
        name += "Selecting"
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}{count}"
    return unique


def sentence(name: str, block: Block) -> str:
    """What a class is, for its docstring."""
    found = next((said for parts, _, said in _KINDS if parts <= _parts(block)), None)
    if found is None:
        layers = [type(part).__name__ for part in block.parts.values() if not isinstance(part, Block)]
        return f"{', '.join(layers)}."
    last = block.steps[-1]
    notes = []
    if last.kind == "function" and {ref.step for ref in last.refs()} & ({-1} | _selected(block)):
        notes.append("a residual")
    if "se" in block.parts:
        notes.append("with squeeze-and-excitation")
    if any(step.target == "topk" for step in block.steps):
        notes.append("only the tokens that got most attention go on")
    return found if not notes else f"{found[:-1]}; {', '.join(notes)}."


def _selected(block: Block) -> set[int]:
    """The steps that give some of the tokens of the input."""
    gathers = {at: step for at, step in enumerate(block.steps) if step.target == "gather"}
    return {at for at, step in gathers.items() if step.arguments[0] == Ref(-1)}


def rank(name: str, is_width: bool) -> tuple[int, int]:
    """Where a parameter stands among those of its class: what goes in, what comes out, and what is between, first."""
    first = ("in_", "channels", "dim", "mid_")
    at = next((number for number, start in enumerate(first) if name.startswith(start)), len(first))
    return (0 if is_width else 1, len(first) + 1 if name.startswith(("out_", "num_classes")) else at)


def parameter_names(
    block: Block, groups: Sequence[Sequence[tuple[Any, ...]]], fixed: Mapping[tuple[Any, ...], str]
) -> list[str]:
    """A name for each group of places that hold the same number, none twice."""
    ends = _ends(block)
    names: list[str] = []
    for keys in groups:
        wanted = _wanted(block, keys, fixed, ends)
        name, count = wanted[0], 1
        for name in wanted:
            if name not in names:
                break
        while name in names:
            count += 1
            name = f"{wanted[-1]}{count}"
        names.append(name)
    return names


def _wanted(
    block: Block,
    keys: Sequence[tuple[Any, ...]],
    fixed: Mapping[tuple[Any, ...], str],
    ends: tuple[tuple[Any, ...] | None, tuple[Any, ...] | None],
) -> list[str]:
    """Names that fit, best first."""
    first = keys[0]
    if first in fixed:
        return [fixed[first]]
    unit = "dim" if any(isinstance(part, nn.LayerNorm) for part in block.parts.values()) else "channels"
    if first[0] == "class":
        return ["act", f"{_flat(first[1])}_act"]
    if first[0] == "step":
        return [_constant_name(block, first)]
    if first[0] == "inner" and not set(ends) & set(keys):
        own = first[2].removeprefix("mid_")
        return [own if own not in ("channels", "dim") else f"{first[1]}_{own}", f"{first[1]}_{first[2]}"]
    if ends[0] in keys and ends[1] in keys:
        return ["dim" if unit == "dim" else "channels"]
    if ends[0] in keys:
        return [f"in_{unit}"]
    if ends[1] in keys:
        return [f"out_{unit}"]
    if first[0] == "tensor" and first[2] == 0:
        return ["num_tokens", f"{_flat(first[1])}_0"]
    if first[-1] in ("kernel_size", "stride", "padding", "eps", "p", "dilation"):
        return [first[-1], f"{_flat(first[1])}_{first[-1]}"]
    if "factor_in" in block.parts:
        return ["rank", f"{_flat(first[1])}_{first[-1]}"]
    return [f"mid_{unit}", f"{_flat(first[1])}_{first[-1]}"]


def _ends(block: Block) -> tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]:
    """Where the number of channels that a block takes stands, and that of those it gives."""
    widths: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = []
    for path, part in block.parts.items():
        if isinstance(part, nn.Conv2d):
            widths.append((("part", path, "in_channels"), ("part", path, "out_channels")))
        elif isinstance(part, nn.Linear):
            widths.append((("part", path, "in_features"), ("part", path, "out_features")))
        elif isinstance(part, nn.LayerNorm):
            widths.append((("part", path, "normalized_shape"), ("part", path, "normalized_shape")))
    return (widths[0][0], widths[-1][1]) if widths else (None, None)


def _constant_name(block: Block, key: tuple[Any, ...]) -> str:
    step = block.steps[key[1]]
    if step.target == "unflatten":
        return "head_dim" if step.arguments[1] == -1 else "side"
    if step.target == "topk":
        return "num_kept"
    return "scale" if step.kind == "function" else f"{step.target}_{key[-1]}"


def _parts(block: Block) -> set[str]:
    return {path for path, part in block.parts.items()} | {path.split(".")[0] for path in block.parts}


def _flat(path: str) -> str:
    return path.replace(".", "_")
