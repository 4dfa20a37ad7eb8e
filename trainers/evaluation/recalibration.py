"""BN recalibration: the exact statistics of a network over a whole calibration split, whatever the batch size.

A subnet cut out of a supernet needs BN statistics of its own. Averages of running batch statistics depend on
the batch size and on the order of the images; here every BN layer gets the mean and variance of its input over
*all* calibration images, computed while every layer before it already normalises by its own exact statistics.
It is what one train-mode pass over the whole split as a single batch would use, without holding that batch.

The network (an fx graph) is cut before every BN layer. Segment after segment, each piece of the images is carried
from one cut to the next, so every operation runs once per image. A 1x1 convolution with more outputs than inputs is
not even run for its statistics (see `PointwiseMoments`), and then runs with its BN folded in. What has to be carried
(the input of the next BN, open skip connections) stays in memory while there is some; pieces beyond that are
recomputed from the last cut at which they still fitted.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from search_spaces.common.errors import UserError
from trainers.evaluation.norm_statistics import ChannelMoments, Moments, PointwiseMoments, blocks

Batches = Callable[[], Iterable[Tensor]]
_BatchNorm = nn.modules.batchnorm._BatchNorm
_Call = Callable[[Tensor, bool], Tensor]
"""What is run in place of a layer: its input, and whether the input may be written over."""
_Calls = dict[fx.Node, _Call]

#: Pixels of the images carried together: few enough to bound memory, enough to keep all threads busy.
_PIECE = 2**21


def recalibrate(
    network: fx.GraphModule, batches: Batches | Sequence[Tensor], *, memory_limit: int | None = None
) -> fx.GraphModule:
    """A copy of `network` in eval mode whose BN layers hold exact statistics over all images of `batches`.

    `batches` gives the same inputs (B, C, H, W) in the same order on every call. `running_var` is the biased
    variance (divided by the count, not by count - 1): it is the one BN normalises by in training, and the only
    one that does not depend on how the images are divided. `memory_limit` bounds the bytes of carried
    activations (default: half of the free memory); below what one split needs, time is spent instead. Raises
    `UserError` if there is no image or an activation is not finite.
    """
    network = copy.deepcopy(network).eval()
    calibrate(network, Images(batches), Memory(memory_limit))
    return network


class Images:
    """The batches cut into pieces; every iteration reads them again."""

    def __init__(self, batches: Batches | Sequence[Tensor]) -> None:
        self._batches: Batches = batches if callable(batches) else lambda: batches

    def __iter__(self) -> Iterator[Tensor]:
        for images in self._batches():
            yield from pieces(images)

    def release(self) -> None:
        pass


def pieces(images: Tensor) -> tuple[Tensor, ...]:
    """A batch in pieces whose activations are of a size that is fast to work with."""
    if images.ndim != 4 or images.device.type != "cpu":
        return (images,)
    pixels = len(images) * images.shape[2] * images.shape[3]
    return images.chunk(max(1, -(-pixels // _PIECE)))


class Memory:
    """How many bytes of activations may be held."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = _free_memory() // 2 if limit is None else limit
        self.used = 0

    def replaces(self, old: int, new: int) -> bool:
        """Count `new` bytes instead of `old` ones, if they fit."""
        if self.used - old + new > self.limit:
            return False
        self.used += new - old
        return True


def calibrate(network: fx.GraphModule, inputs: Images | Carried, memory: Memory) -> Carried:
    """Set the statistics of `network` (or one block of it) from these inputs; returns its outputs, piece by piece.

    With `torch.no_grad` inside. `inputs` that are the outputs of another block can be shared by several.
    """
    segments = _segments(network)
    carried = Carried(network, segments, inputs, memory)
    with torch.no_grad():
        for number, segment in enumerate(segments[:-1]):
            moments = segment.moments(network)
            empty = True
            for values in carried.at(number):
                assert segment.source is not None
                moments.add(values[segment.source])
                empty = False
            if empty:
                raise UserError("the calibration split has no image, so BN statistics cannot be computed")
            segment.settle(network, moments)
    return carried


@dataclass
class _Segment:
    """The nodes up to the next BN layer `norm` (None after the last), or up to the convolution folded into it."""

    nodes: list[fx.Node] = field(default_factory=list)
    norm: fx.Node | None = None
    convolution: fx.Node | None = None
    source: fx.Node | None = None
    """What the statistics are computed from: the input of the BN layer, or of the convolution before it."""
    live: frozenset[fx.Node] = frozenset()
    """Values that later segments read."""

    def run(
        self, network: fx.GraphModule, values: Mapping[fx.Node, Any], instead: _Calls, kept: Mapping[fx.Node, Any]
    ) -> dict[fx.Node, Any]:
        """Carry one piece from the cut before this segment to the cut after it; `kept` values stay as they are."""
        values = dict(values)
        for node in self.nodes:
            if node in instead:
                (source,) = node.all_input_nodes
                values[node] = instead[node](values[source], source not in kept)
            elif node.op not in ("placeholder", "output"):
                values[node] = _run_node(network, node, values)
        return {node: value for node, value in values.items() if node in self.live}

    def moments(self, network: fx.GraphModule) -> Moments:
        if self.convolution is None:
            return ChannelMoments()
        return PointwiseMoments(_convolution(network, self.convolution))

    def settle(self, network: fx.GraphModule, moments: Moments) -> None:
        """Write the statistics into the BN layer."""
        assert self.norm is not None
        mean, variance = moments.mean_and_variance()
        if not bool(torch.isfinite(variance).all()):
            raise UserError(f"the input of BN layer {str(self.norm.target)!r} is not finite on the calibration images")
        norm = _norm(network, self.norm)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


@dataclass
class _State:
    """Where a piece stands: the values alive at the cut before `segment`, or None: read it again and start over."""

    segment: int = 0
    values: dict[fx.Node, Any] | None = None
    num_bytes: int = 0


class Carried:
    """The pieces of the images on their way through a network; iterating gives its outputs, as often as one likes."""

    def __init__(
        self, network: fx.GraphModule, segments: list[_Segment], inputs: Images | Carried, memory: Memory
    ) -> None:
        self._network, self._segments, self._inputs, self._memory = network, segments, inputs, memory
        self._states: list[_State] = []
        self._instead: _Calls = {}
        self._sizes: dict[int, int] = {}
        (self._placeholder,) = (node for node in network.graph.nodes if node.op == "placeholder")
        (self._output,) = (node.args[0] for node in network.graph.nodes if node.op == "output")

    def __iter__(self) -> Iterator[Tensor]:
        with torch.no_grad():
            for values in self.at(len(self._segments) - 1):
                yield values[self._output]

    def at(self, number: int) -> Iterator[dict[fx.Node, Any]]:
        """Every piece at the cut after segment `number`, kept there if memory allows."""
        self._settle(number)
        for state, values in self._resume():
            count = len(next(iter(values.values())))
            # a value that is about to be given up can be written over; whether it is must be known beforehand
            moves = number in self._sizes and self._memory.replaces(state.num_bytes, count * self._sizes[number])
            kept = {} if moves else values
            for segment in self._segments[state.segment : number + 1]:
                values = segment.run(self._network, values, self._instead, kept)
            size = sum(_num_bytes(value) for value in values.values())
            if number not in self._sizes:
                self._sizes[number] = -(-size // count)
                moves = self._memory.replaces(state.num_bytes, count * self._sizes[number])
            if moves:
                state.segment, state.values, state.num_bytes = number + 1, values, count * self._sizes[number]
            yield values

    def release(self) -> None:
        """Give the memory back; what is asked for later is computed again."""
        for state in self._states:
            self._memory.replaces(state.num_bytes, 0)
            state.segment, state.values, state.num_bytes = 0, None, 0

    def _resume(self) -> Iterator[tuple[_State, dict[fx.Node, Any]]]:
        """Every piece with the values it can go on from. Inputs are asked for only where a piece holds none."""
        if self._states and all(state.values is not None for state in self._states):
            for state in self._states:
                assert state.values is not None
                yield state, state.values
            return
        first = not self._states
        for number, images in enumerate(self._inputs):
            if first:
                self._states.append(_State())
            state = self._states[number]
            yield state, {self._placeholder: images} if state.values is None else state.values

    def _settle(self, number: int) -> None:
        """Layers whose statistics are known run in fewer passes over memory."""
        for segment in self._segments[:number]:
            norm = segment.norm
            assert norm is not None
            if norm in self._instead:
                continue
            layer, (source,) = _norm(self._network, norm), norm.all_input_nodes
            if segment.convolution is not None:
                self._instead[segment.convolution] = _folded(_convolution(self._network, segment.convolution), layer)
                self._instead[norm] = _as_it_is
            elif isinstance(_module(self._network, source), nn.Conv2d) and len(source.users) == 1:
                follower = _activation(self._network, norm)
                self._instead[norm] = _Normalise(layer, None if follower is None else follower[1])
                if follower is not None:
                    self._instead[follower[0]] = _as_it_is


def _segments(network: fx.GraphModule) -> list[_Segment]:
    nodes = list(network.graph.nodes)
    assert nodes and nodes[0].op == "placeholder" and all(node.op != "placeholder" for node in nodes[1:])
    order = {node: position for position, node in enumerate(nodes)}
    segments, starts = [_Segment()], [0]
    for node in nodes:
        if isinstance(_module(network, node), _BatchNorm):
            (source,) = node.all_input_nodes
            segment, cut = segments[-1], order[node]
            segment.norm, segment.source = node, source
            following = _Segment()
            if segment.nodes and segment.nodes[-1] is source and _is_widening(network, source):
                segment.convolution = source
                (segment.source,) = source.all_input_nodes
                following.nodes.append(segment.nodes.pop())
                cut = order[source]
            segments.append(following)
            starts.append(cut)
        segments[-1].nodes.append(node)
    for segment, end in zip(segments, [*starts[1:], order[nodes[-1]]], strict=True):
        segment.live = frozenset(n for n in nodes[:end] if any(order[user] >= end for user in n.users))
    return segments


def _is_widening(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether this is a 1x1 convolution, read by its BN layer alone, with more outputs than inputs."""
    module = _module(network, node)
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == module.stride == (1, 1)
        and module.groups == 1
        and module.padding in ((0, 0), 0)
        and module.in_channels < module.out_channels
        and len(node.users) == 1
    )


def _folded(convolution: nn.Conv2d, norm: _BatchNorm) -> _Call:
    fused = fuse_conv_bn_eval(convolution, norm)
    return lambda x, fresh: fused(x)


class _Normalise:
    """A BN layer of known statistics and the activation after it, over the memory of their input if it is not kept.

    Block by block, so that the activation finds the block in the cache.
    """

    def __init__(self, norm: _BatchNorm, activation: nn.Module | None) -> None:
        self._scale, self._shift = _scale_and_shift(norm)
        self._activation = activation

    def __call__(self, x: Tensor, fresh: bool) -> Tensor:
        y = x if fresh else torch.empty_like(x)
        if not x.is_contiguous(memory_format=torch.channels_last):
            shape = (-1, 1, 1)
            torch.addcmul(self._shift.view(shape), x, self._scale.view(shape), out=y)
            return y if self._activation is None else self._activation(y)
        for block, out in zip(blocks(x), blocks(y), strict=True):
            torch.addcmul(self._shift, block, self._scale, out=out)
            if self._activation is not None:
                self._activation(out)
        return y


def _scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    return scale, -norm.running_mean * scale if norm.bias is None else norm.bias - norm.running_mean * scale


def _activation(network: fx.GraphModule, norm: fx.Node) -> tuple[fx.Node, nn.Module] | None:
    """The activation that alone reads a BN layer's output."""
    if len(norm.users) > 1:
        return None
    (node,) = norm.users
    module = _module(network, node)
    if not isinstance(module, (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)):
        return None
    module = copy.copy(module)
    module.inplace = True
    return node, module


def _as_it_is(x: Tensor, fresh: bool) -> Tensor:
    return x


def _module(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _convolution(network: fx.GraphModule, node: fx.Node) -> nn.Conv2d:
    module = _module(network, node)
    assert isinstance(module, nn.Conv2d)
    return module


def _norm(network: fx.GraphModule, node: fx.Node) -> _BatchNorm:
    module = _module(network, node)
    assert isinstance(module, _BatchNorm)
    return module


def _run_node(network: fx.GraphModule, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
    if node.op == "call_module":
        return network.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_function":
        assert callable(node.target)
        return node.target(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    assert node.op == "get_attr"
    value: Any = network
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value


def _num_bytes(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0


def _free_memory() -> int:
    """Bytes that can be taken without pushing anything out; where the system does not say, 2 GiB."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return 4 * 2**30
