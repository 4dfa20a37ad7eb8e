"""Inverted residuals row by row.

A block is [1x1 convolution ->] depthwise convolution -> 1x1 convolution [-> sum with the block's input], its maps read
by nobody else. The first 1x1 convolution belongs to it only if it has more outputs than inputs: else it is the end of
what is before. All that is looked at are sizes, so that a block is scheduled in a network as it is alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calls import (
    Add,
    Depthwise,
    InvertedBottleneck,
    InvertedResidual,
    Pointwise,
)
from latency_tables.cortex_m.program import Call, Program
from latency_tables.cortex_m.scheduling.overwriting import overwrite_inputs


def fuse_inverted_residuals(program: Program) -> Program:
    """Blocks become one call each where that needs less memory than convolutions that overwrite their input."""
    readers = Counter(name for call in program.calls for name in call.inputs) + Counter([program.output])
    calls: list[Call] = []
    rest = list(program.calls)
    while rest:
        block = _block_at_begin(rest, readers)
        number = len(block) or 1
        if block and readers[x := block[0].inputs[0]] == sum(x in call.inputs for call in block):
            part = replace(program, calls=block, input=x, output=block[-1].output)
            fused = replace(part, calls=[_fused(block)])
            if plan(fused).num_bytes < plan(overwrite_inputs(part)).num_bytes:
                calls += fused.calls
            else:
                calls += block
        else:
            calls += rest[:number]
        del rest[:number]
    return replace(program, calls=calls)


def _block_at_begin(calls: Sequence[Call], readers: Counter[str]) -> list[Call]:
    """The calls of the block that `calls` begin with; none if they begin with another."""
    found: list[Call] = []
    first = calls[0]
    if isinstance(first, Pointwise) and first.weights.shape[0] > first.weights.shape[1]:
        found.append(first)
    for kind in (Depthwise, Pointwise):
        call = calls[len(found)] if len(found) < len(calls) else None
        if not isinstance(call, kind) or (found and not _feeds(found[-1], call, readers)):
            return []
        found.append(call)
    last = calls[len(found)] if len(found) < len(calls) else None
    terms = {found[0].inputs[0], found[-1].output}
    if type(last) is Add and len(terms) == 2 and {*last.inputs} == terms and readers[found[-1].output] == 1:
        found.append(last)
    return found


def _feeds(call: Call, reader: Call, readers: Counter[str]) -> bool:
    return reader.inputs == (call.output,) and readers[call.output] == 1


def _fused(block: Sequence[Call]) -> Call:
    x, last = block[0].inputs[0], block[-1]
    expand, depthwise, project, *_ = block if isinstance(block[0], Pointwise) else (None, *block)
    assert expand is None or isinstance(expand, Pointwise)
    assert isinstance(depthwise, Depthwise) and isinstance(project, Pointwise)
    ends: dict[str, Any] = {"inputs": (x,), "output": last.output}
    if not isinstance(last, Add):
        return InvertedBottleneck(**ends, expand=expand, depthwise=depthwise, project=project)
    if last.inputs[0] != x:  # the order of terms is no matter
        last = replace(last, inputs=last.inputs[::-1], first=last.second, second=last.first)
    return InvertedResidual(**ends, expand=expand, depthwise=depthwise, project=project, add=last)
