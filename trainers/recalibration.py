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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from search_spaces.common.errors import UserError
from trainers.norm_statistics import ChannelMoments, Moments, PointwiseMoments

Batches = Callable[[], Iterable[Tensor]]
_BatchNorm = nn.modules.batchnorm._BatchNorm

#: Pixels of the images carried together: few enough to bound memory, enough to keep all threads busy.
_PIECE = 2**20


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
    return images.split(max(1, _PIECE // (images.shape[2] * images.shape[3])))


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
    norm: str | None = None
    convolution: str | None = None
    source: fx.Node | None = None
    """What the statistics are computed from: the input of the BN layer, or of the convolution before it."""
    live: frozenset[fx.Node] = frozenset()
    """Values that later segments read."""

    def run(self, network: fx.GraphModule, values: dict[fx.Node, Any], folded: dict[str, Any]) -> dict[fx.Node, Any]:
        """Carry one piece from the cut before this segment to the cut after it."""
        values = dict(values)
        for node in self.nodes:
            if node.op not in ("placeholder", "output"):
                values[node] = _run_node(network, node, values, folded)
        return {node: value for node, value in values.items() if node in self.live}

    def moments(self, network: fx.GraphModule) -> Moments:
        if self.convolution is None:
            return ChannelMoments()
        convolution = network.get_submodule(self.convolution)
        assert isinstance(convolution, nn.Conv2d)
        return PointwiseMoments(convolution)

    def settle(self, network: fx.GraphModule, moments: Moments) -> None:
        """Write the statistics into the BN layer."""
        assert self.norm is not None
        mean, variance = moments.mean_and_variance()
        if not bool(torch.isfinite(variance).all()):
            raise UserError(f"the input of BN layer {self.norm!r} is not finite on the calibration images")
        norm = network.get_submodule(self.norm)
        assert isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None
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
        self._folded: dict[str, Any] = {}
        (self._placeholder,) = (node for node in network.graph.nodes if node.op == "placeholder")
        (self._output,) = (node.args[0] for node in network.graph.nodes if node.op == "output")

    def __iter__(self) -> Iterator[Tensor]:
        with torch.no_grad():
            for values in self.at(len(self._segments) - 1):
                yield values[self._output]

    def at(self, number: int) -> Iterator[dict[fx.Node, Any]]:
        """Every piece at the cut after segment `number`, kept there if memory allows."""
        self._fold(number)
        for state, values in self._resume():
            for segment in self._segments[state.segment : number + 1]:
                values = segment.run(self._network, values, self._folded)
            size = sum(_num_bytes(value) for value in values.values())
            if self._memory.replaces(state.num_bytes, size):
                state.segment, state.values, state.num_bytes = number + 1, values, size
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

    def _fold(self, number: int) -> None:
        """Convolutions whose statistics are known run with their BN layer folded in."""
        for segment in self._segments[:number]:
            if segment.convolution is not None and segment.convolution not in self._folded:
                assert segment.norm is not None
                convolution = self._network.get_submodule(segment.convolution)
                norm = self._network.get_submodule(segment.norm)
                self._folded[segment.convolution] = _folded(convolution, norm)
                self._folded[segment.norm] = _identity


def _segments(network: fx.GraphModule) -> list[_Segment]:
    nodes = list(network.graph.nodes)
    assert nodes and nodes[0].op == "placeholder" and all(node.op != "placeholder" for node in nodes[1:])
    order = {node: position for position, node in enumerate(nodes)}
    segments, starts = [_Segment()], [0]
    for node in nodes:
        if node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), _BatchNorm):
            (source,) = node.all_input_nodes
            segment, cut = segments[-1], order[node]
            segment.norm, segment.source = str(node.target), source
            following = _Segment()
            if segment.nodes and segment.nodes[-1] is source and _is_widening(network, source):
                segment.convolution = str(source.target)
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
    module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == module.stride == (1, 1)
        and module.groups == 1
        and module.padding in ((0, 0), 0)
        and module.in_channels < module.out_channels
        and len(node.users) == 1
    )


def _folded(convolution: nn.Module, norm: nn.Module) -> Callable[[Tensor], Tensor]:
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
    bias = shift * scale if norm.bias is None else shift * scale + norm.bias
    matrix = (convolution.weight[:, :, 0, 0] * scale[:, None]).t()

    def run(x: Tensor) -> Tensor:
        shape = x.shape[0], matrix.shape[1], *x.shape[2:]
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        torch.addmm(bias, _as_rows(x), matrix, out=_as_rows(y))
        return y

    return run


def _as_rows(x: Tensor) -> Tensor:
    """(B H W, C), without a copy if the images are channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _identity(x: Tensor) -> Tensor:
    return x


def _run_node(network: fx.GraphModule, node: fx.Node, values: dict[fx.Node, Any], folded: dict[str, Any]) -> Any:
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
    if node.op == "call_module":
        target = str(node.target)
        return (folded.get(target) or network.get_submodule(target))(*args, **kwargs)
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
