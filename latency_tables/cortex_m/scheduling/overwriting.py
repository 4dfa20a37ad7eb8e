"""Convolutions that overwrite their input, where their segment needs less memory for it."""

from __future__ import annotations

from dataclasses import fields, replace

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calls import (
    Convolution,
    Depthwise,
    OverwritingConvolution,
    OverwritingDepthwise,
    OverwritingPointwise,
    Pointwise,
)
from latency_tables.cortex_m.program import Call, Program


def overwrite_depthwise(program: Program) -> Program:
    """Depthwise convolutions, row by row: rows that are still read are kept in scratch memory."""
    return _overwrite(program, {Depthwise: OverwritingDepthwise})


def overwrite_convolutions(program: Program) -> Program:
    """Dense ones and those of 1x1, if their output can follow the reading of the input at a distance."""
    return _overwrite(program, {Pointwise: OverwritingPointwise, Convolution: OverwritingConvolution})


def _overwrite(program: Program, kinds: dict[type[Call], type[Call]]) -> Program:
    calls = list(program.calls)
    for segment in plan(program).segments:
        needed = segment.num_bytes
        for step in range(segment.first, segment.last + 1):
            call = calls[step]
            if type(call) not in kinds or isinstance(call, Depthwise) and not call.window.shrinks:
                continue
            calls[step] = kinds[type(call)](**{field.name: getattr(call, field.name) for field in fields(call)})
            part = calls[segment.first : segment.last + 1]
            begin = part[0].inputs[0] if segment.first else program.input
            now = plan(replace(program, calls=part, input=begin, output=part[-1].output)).num_bytes
            if now < needed:
                needed = now
            else:
                calls[step] = call
    return replace(program, calls=calls)
