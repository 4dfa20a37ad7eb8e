"""Transformers: a block over its own input, patches to tokens over the image (MCUFormer's schedules).

`by_operators` is the other way: attention with all its weights in memory, as operators one after the other have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calls import (
    Add,
    AddConstant,
    Attention,
    AttentionByOperators,
    Convolution,
    LayerNorm,
    OverwritingAttention,
    OverwritingMLP,
    PatchEmbedding,
    Pointwise,
)
from latency_tables.cortex_m.calls.overwriting import MOST_LAYERS
from latency_tables.cortex_m.program import Call, Program


def by_operators(program: Program) -> Program:
    """Attention as a product, a softmax and a product."""
    fields = ("inputs", "output", "tokens", "heads", "features", "query", "key", "value", "after")
    calls = [
        AttentionByOperators(**{field: getattr(call, field) for field in fields}) if type(call) is Attention else call
        for call in program.calls
    ]
    return replace(program, calls=calls)


def overwrite(program: Program) -> Program:
    """Fused calls where they need less memory than the calls that they replace."""
    for match, num_segments in ((_attention, 1), (_mlp, 1), (_patches, 2)):
        program = _replaced(program, match, num_segments)
    return program


def _replaced(program: Program, match: Callable[[Program], Call | None], num_segments: int) -> Program:
    """Every run of so many segments of the plan that `match` has one call for which needs less memory."""
    segments, calls, at = plan(program).segments, [], 0
    while at < len(segments):
        few = segments[at : at + num_segments]
        found = [*program.calls[few[0].first : few[-1].last + 1]]
        part = _part(program, found)
        fused = match(part) if len(few) == num_segments else None
        if fused is not None and plan(replace(part, calls=[fused])).num_bytes < max(s.num_bytes for s in few):
            calls.append(fused)
            at += num_segments
        else:
            calls += program.calls[few[0].first : few[0].last + 1]
            at += 1
    return replace(program, calls=calls)


def _part(program: Program, calls: Sequence[Call]) -> Program:
    names = {name for call in calls for name in (*call.inputs, call.output)}
    shapes = {name: program.shapes[name] for name in names}
    affine = {name: program.affine[name] for name in names & {*program.affine}}
    return Program(calls, calls[0].inputs[0], calls[-1].output, shapes, affine)


@dataclass(frozen=True)
class _Block:
    """A layer norm of `x` as the first call of a part, and the sum of `x` and `mixed` as the last."""

    norm: LayerNorm
    add: Add
    makers: dict[str, Call]

    @staticmethod
    def of(part: Program) -> _Block | None:
        norm, add = part.calls[0], part.calls[-1]
        is_block = isinstance(norm, LayerNorm) and type(add) is Add and add.inputs[0] == part.input != add.inputs[1]
        makers = {call.output: call for call in part.calls}
        return _Block(norm, add, makers) if is_block and isinstance(norm, LayerNorm) and isinstance(add, Add) else None

    def layers_to(self, name: str) -> tuple[list[Pointwise], Call | None]:
        """The linear layers, one after the other, that lead to the map `name`, and the call before them."""
        layers: list[Pointwise] = []
        while type(call := self.makers.get(name)) is Pointwise:
            layers.insert(0, call)
            name = call.inputs[0]
        return layers, call


def _attention(part: Program) -> OverwritingAttention | None:
    if (block := _Block.of(part)) is None:
        return None
    project, attention = block.layers_to(block.add.inputs[1])
    is_kept = isinstance(attention, AttentionByOperators)  # all its weights are asked for
    if not isinstance(attention, Attention) or is_kept or len(project) not in (1, 2):
        return None
    sides = [block.layers_to(name) for name in attention.inputs]
    query, key, value = (layers for layers, _ in sides)
    used = {id(call) for layers in (query, key, value, project) for call in layers}
    from_norm = all(before is block.norm for _, before in sides)
    alike = len(query) == len(key) == len(value) in (1, 2)
    if not (from_norm and alike) or len(used) + 3 != len(part.calls):
        return None
    return OverwritingAttention(
        inputs=(part.input,),
        output=part.output,
        parts=part,
        norm=block.norm,
        query=query,
        key=key,
        value=value,
        attention=attention,
        project=project,
        add=block.add,
    )


def _mlp(part: Program) -> OverwritingMLP | None:
    if (block := _Block.of(part)) is None:
        return None
    layers, before = block.layers_to(block.add.inputs[1])
    if before is not block.norm or not 0 < len(layers) <= MOST_LAYERS or len(layers) + 2 != len(part.calls):
        return None
    ends = {"inputs": (part.input,), "output": part.output, "parts": part}
    return OverwritingMLP(**ends, norm=block.norm, layers=layers, add=block.add)  # type: ignore[arg-type]


def _patches(part: Program) -> PatchEmbedding | None:
    if len(part.calls) != 2:
        return None
    convolution, places = part.calls
    if not isinstance(convolution, Convolution) or not isinstance(places, AddConstant):
        return None
    if places.inputs != (convolution.output,) or not PatchEmbedding.fits(convolution):
        return None
    ends = {"inputs": (part.input,), "output": part.output, "parts": part}
    return PatchEmbedding(**ends, convolution=convolution, places=places)  # type: ignore[arg-type]
