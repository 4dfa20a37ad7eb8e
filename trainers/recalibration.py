"""BN recalibration: the exact statistics of a network over a whole calibration split, whatever the batch size.

A subnet cut out of a supernet needs BN statistics of its own. Averages of running batch statistics depend on
the batch size and on the order of the images; here every BN layer gets the mean and variance of its input over
*all* calibration images, computed while every layer before it already normalises by its own exact statistics.
It is what one train-mode pass over the whole split as a single batch would use, without holding that batch.

The network (an fx graph) is cut before every BN layer. Segment after segment, each chunk of images is carried
from one cut to the next, so every operation runs once per image. What has to be carried (the input of the next
BN, open skip connections) stays in memory up to `memory_limit`; chunks beyond it are recomputed from the last
cut at which they still fitted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from search_spaces.common.errors import UserError

Batches = Callable[[], Iterable[Tensor]]
_BatchNorm = nn.modules.batchnorm._BatchNorm


def recalibrate(
    network: fx.GraphModule, batches: Batches | Sequence[Tensor], *, memory_limit: int = 2**30
) -> fx.GraphModule:
    """A copy of `network` in eval mode whose BN layers hold exact statistics over all images of `batches`.

    `batches` gives the same inputs (B, C, H, W) in the same order on every call. `running_var` is the biased
    variance (divided by the count, not by count - 1): it is the one BN normalises by in training, and the only
    one that does not depend on how the images are divided. `memory_limit` bounds the bytes of carried
    activations; below what one split needs, time is spent instead. Raises `UserError` if there is no image or
    an activation is not finite.
    """
    network = copy.deepcopy(network).eval()
    source: Batches = batches if callable(batches) else lambda: batches
    segments = _segments(network)
    states: list[_State] = []
    stored = 0
    with torch.no_grad():
        for number, (norm, norm_input) in enumerate(_norms(segments)):
            statistics = _Statistics()
            for state, env in _resume(states, source, segments):
                for segment in segments[state.segment : number + 1]:
                    env = segment.run(network, env)
                statistics.add(env[norm_input])
                size = sum(_num_bytes(value) for value in env.values())
                if stored - state.num_bytes + size <= memory_limit:
                    stored += size - state.num_bytes
                    state.segment, state.env, state.num_bytes = number + 1, env, size
            statistics.write_to(norm, network)
    return network


@dataclass
class _Segment:
    """The nodes up to, and not including, the next BN layer; `norm` names that layer (None after the last)."""

    nodes: list[fx.Node] = field(default_factory=list)
    norm: str | None = None
    norm_input: fx.Node | None = None
    live: frozenset[fx.Node] = frozenset()
    """Values that later segments read."""

    def run(self, network: fx.GraphModule, env: dict[fx.Node, Any]) -> dict[fx.Node, Any]:
        """Carry one chunk from the cut before this segment to the cut after it."""
        env = dict(env)
        for node in self.nodes:
            if node.op != "placeholder":
                env[node] = _run_node(network, node, env)
        return {node: value for node, value in env.items() if node in self.live}


@dataclass
class _State:
    """Where a chunk stands: the values alive at the cut before `segment`, or None: read it again and start over."""

    segment: int = 0
    env: dict[fx.Node, Any] | None = None
    num_bytes: int = 0


def _resume(
    states: list[_State], source: Batches, segments: list[_Segment]
) -> Iterator[tuple[_State, dict[fx.Node, Any]]]:
    """Every chunk with the values it can go on from. Images are read again only for chunks that hold none."""
    if states and all(state.env is not None for state in states):
        for state in states:
            assert state.env is not None
            yield state, state.env
        return
    first = not states
    placeholder = segments[0].nodes[0]
    for number, images in enumerate(source()):
        if first:
            states.append(_State())
        state = states[number]
        yield state, {placeholder: images} if state.env is None else state.env
    if not states:
        raise UserError("the calibration split has no image, so BN statistics cannot be computed")


def _norms(segments: list[_Segment]) -> list[tuple[str, fx.Node]]:
    """Every BN layer's name and the value it reads, in order."""
    return [(s.norm, s.norm_input) for s in segments if s.norm is not None and s.norm_input is not None]


def _segments(network: fx.GraphModule) -> list[_Segment]:
    nodes = list(network.graph.nodes)
    assert nodes and nodes[0].op == "placeholder" and all(node.op != "placeholder" for node in nodes[1:])
    order = {node: position for position, node in enumerate(nodes)}
    segments = [_Segment()]
    starts = [0]
    for node in nodes:
        if node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), _BatchNorm):
            (norm_input,) = node.all_input_nodes
            segments[-1].norm, segments[-1].norm_input = str(node.target), norm_input
            segments.append(_Segment())
            starts.append(order[node])
        segments[-1].nodes.append(node)
    for segment, end in zip(segments, starts[1:], strict=False):
        segment.live = frozenset(n for n in nodes[:end] if any(order[user] >= end for user in n.users))
    return segments


def _run_node(network: fx.GraphModule, node: fx.Node, env: dict[fx.Node, Any]) -> Any:
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: env[n])
    if node.op == "call_module":
        return network.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_function":
        assert callable(node.target)
        return node.target(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if node.op == "get_attr":
        value: Any = network
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return value
    assert node.op == "output"
    return args[0]


class _Statistics:
    """Count, mean and sum of squared deviations per channel in float64, merged chunk by chunk (Chan et al., 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squares: Tensor | None = None

    def add(self, x: Tensor) -> None:
        """Take in a chunk (B, C) or (B, C, H, W)."""
        spatial = tuple(range(2, x.ndim))
        count = x.numel() // x.shape[1]
        mean = _sum(x, spatial) / count
        deviation = x - mean.to(x.dtype).view(-1, *(1 for _ in spatial))
        squares = _sum(deviation.square_(), spatial)
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total = self.count + count
        delta = mean - self.mean
        self.squares += squares + delta.square() * (self.count * count / total)
        self.mean += delta * (count / total)
        self.count = total

    def write_to(self, name: str, network: fx.GraphModule) -> None:
        assert self.mean is not None and self.squares is not None
        if not bool(torch.isfinite(self.squares).all()):
            raise UserError(f"the input of BN layer {name!r} is not finite on the calibration images")
        norm = network.get_submodule(name)
        assert isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(self.mean)
        norm.running_var.copy_(self.squares / self.count)


def _sum(x: Tensor, spatial: tuple[int, ...]) -> Tensor:
    """Per channel in float64; over the pixels of one image float32 is exact enough and several times faster."""
    return (x.sum(spatial) if spatial else x).double().sum(0)


def _num_bytes(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
