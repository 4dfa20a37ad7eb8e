"""Operators as once-for-all's latency tables write them.

Conv-input:160x160x3-output:80x80x24                first convolution
expanded_conv-input:80x80x24-output:40x40x32-expand:96-kernel:5-stride:2-idskip:0-se:0-hs:0
                                                    MobileNetV3 block; `expand` is its number of middle channels
expanded_conv-input:80x80x24-output:40x40x32-expand:3-kernel:5-stride:2-idskip:0
                                                    ProxylessNAS block; `expand` is its ratio
Conv_1, AvgPool2D, Conv_2, Logits                   the head, part by part
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from search_spaces import SearchSpace
from search_spaces.operators import MBConv, Operator

#: family -> the space that its published tables are of, at some width multiplier
SPACES = {"mobilenet_v3": "ofa_mobilenet_v3", "proxyless_nas": "ofa_proxyless_nas"}

BLOCK = "expanded_conv"
FIRST = "Conv"
LAST = "Logits"

#: family -> operators that occur once in every network: their channel numbers tell the width
FRAMES = {"mobilenet_v3": (FIRST, "Conv_1", "Conv_2", LAST), "proxyless_nas": (FIRST, "Conv_1", LAST)}

_FORM = re.compile(
    rf"(?P<kind>{FIRST}|Conv_1|Conv_2|AvgPool2D|{LAST}|{BLOCK})"
    r"-input:(?P<side>\d+)x(?P=side)x(?P<inputs>\d+)-output:(?:(?P<out_side>\d+)x(?P=out_side)x)?(?P<outputs>\d+)"
    r"(?P<block>-expand:\d+-kernel:\d+-stride:\d+-idskip:[01](?P<v3>-se:[01]-hs:[01])?)?"
)


@dataclass(frozen=True)
class OperatorText:
    """What an operator string says: sides of the square input map, channels, and for a block the family."""

    kind: str
    side: int
    in_channels: int
    out_channels: int
    family: str | None


def parse_operator(text: str) -> OperatorText | None:
    """None for anything else than an operator string."""
    match = _FORM.fullmatch(text)
    if match is None or (match["kind"] == BLOCK) != (match["block"] is not None):
        return None
    family = None
    if match["kind"] == BLOCK:
        family = "mobilenet_v3" if match["v3"] else "proxyless_nas"
    elif match["kind"] in ("AvgPool2D", "Conv_2"):
        family = "mobilenet_v3"
    return OperatorText(match["kind"], int(match["side"]), int(match["inputs"]), int(match["outputs"]), family)


def operator_texts(space: SearchSpace) -> dict[str, tuple[str, ...]]:
    """For every operator of `space` by its key, the strings that together are it. The family is one of `SPACES`."""
    write = _WRITERS[space.family]
    return {op.key: write(slot.name, op) for slot in space.slots for op in space.slot_operators(slot)}


def _mobilenet_v3(slot: str, operator: Operator) -> tuple[str, ...]:
    channels = f"1x1x{operator.in_channels}"
    if slot == "feature_mix":
        pool = f"AvgPool2D-input:{_input(operator)}-output:{channels}"
        return pool, f"Conv_2-input:{channels}-output:1x1x{operator.out_channels}"
    if slot == "classifier":
        return (f"{LAST}-input:{channels}-output:{operator.out_channels}",)
    if not isinstance(operator, MBConv):
        return (_plain(FIRST if slot == "stem" else "Conv_1", operator),)
    hard_swish, squeeze_excite = operator.activation == "hard_swish", operator.se_channels > 0
    return (f"{_block(operator, operator.mid_channels)}-se:{squeeze_excite:d}-hs:{hard_swish:d}",)


def _proxyless_nas(slot: str, operator: Operator) -> tuple[str, ...]:
    if slot == "classifier":  # with the pooling before it
        return (f"{LAST}-input:{_input(operator)}-output:{operator.out_channels}",)
    if not isinstance(operator, MBConv):
        return (_plain(FIRST if slot == "stem" else "Conv_1", operator),)
    return (_block(operator, round(operator.mid_channels / operator.in_channels)),)


def _block(operator: MBConv, expand: int) -> str:
    details = f"expand:{expand}-kernel:{operator.kernel_size}-stride:{operator.stride}-idskip:{operator.residual:d}"
    return f"{_plain(BLOCK, operator)}-{details}"


def _plain(kind: str, operator: Operator) -> str:
    side = operator.output_resolution
    return f"{kind}-input:{_input(operator)}-output:{side}x{side}x{operator.out_channels}"


def _input(operator: Operator) -> str:
    return f"{operator.resolution}x{operator.resolution}x{operator.in_channels}"


#: family -> the strings of an operator, by the slot it stands in
_WRITERS: Mapping[str, Callable[[str, Operator], tuple[str, ...]]] = {
    "mobilenet_v3": _mobilenet_v3,
    "proxyless_nas": _proxyless_nas,
}
