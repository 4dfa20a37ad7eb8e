"""How the values of a network are quantised: from what they are on some images.

Two passes over the images, a batch at a time, so that no activation is kept: the first finds the range of every value,
the second counts its histogram over that range. A value is then quantised over

- `minmax`: all that was seen;
- `percentile`: all but the rarest values on either side;
- `mse`: the range with the least squared error of the logits, to first order: errors of the value count by the
  squared derivatives of the logits. Where an activation function follows as a table, the error is that behind it.

Values that are others in another form (flattened, in heads, maxima of windows) are quantised as these are. Logits keep
all that was seen, since clipped ones would be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx, nn

from latency_tables.cortex_m.clipping import Ends, Histogram, least_error_range, percentile_range
from latency_tables.cortex_m.lowering import CLAMPS, TABLES
from latency_tables.cortex_m.quantization import Affine, Floats
from latency_tables.folding import fold_batch_norm
from search_spaces.common.errors import UserError

Method = Literal["minmax", "percentile", "mse"]

_UNIT = -1.0, 1.0
_BINS = 2048
_BATCH_SIZE = 32

#: what gives values of its input again
_MOVES = ("flatten", "transpose", "unflatten")
_SELECTING = (nn.Flatten, nn.MaxPool2d)


def calibrate(
    module: fx.GraphModule, images: Tensor, *, method: Method = "minmax", percentile: float = 99.99
) -> dict[str, Affine]:
    """How every value of the network as deployed is quantised, by the name of its fx node, for `lower`.

    `images` is (N, C, H, W) or (N, C); `percentile` of a value's numbers are at most the upper end of its range, and as
    many at least the lower. Raises `UserError` if there are no images, or naming a value that is not finite.
    """
    if not len(images):
        raise UserError("calibration needs at least one image", hint="Give the calibration split more images")
    network = fold_batch_norm(module)
    for leaf in network.modules():
        if hasattr(leaf, "inplace"):
            setattr(leaf, "inplace", False)  # noqa: B010  (values are looked at after others were made of them)
    ranges = _ranges(network, images)
    wide = {node: ends for node, ends in ranges.items() if has_own_range(node, network) and ends[0] < ends[1]}
    if method == "percentile":
        for node, counts in _histograms(network, images, wide, weighted=False).items():
            ranges[node] = percentile_range(Histogram(*ranges[node], counts), percentile)
    elif method == "mse":
        for node, counts in _histograms(network, images, wide, weighted=True).items():
            ranges[node] = least_error_range(Histogram(*ranges[node], counts), _function_after(node, network))
    found: dict[fx.Node, Affine] = {}
    for node, ends in ranges.items():
        source = given_again(node, network)
        always_zero = ends == (0.0, 0.0)  # any scale holds it, one that sums can be brought to is wanted
        found[node] = Affine.of_range(*(_UNIT if always_zero else ends)) if source is None else found[source]
    return {node.name: affine for node, affine in found.items()}


def has_own_range(node: fx.Node, network: fx.GraphModule) -> bool:
    """Whether a value has a range of its own to choose: not if it is clamped at once, given again, or a logit."""
    if given_again(node, network) is not None or is_clamped_at_once(node, network):
        return False
    output = next(iter(network.graph.find_nodes(op="output"))).args[0]
    while isinstance(output, fx.Node) and output is not node:
        output = given_again(output, network)
    return output is not node


def is_clamped_at_once(node: fx.Node, network: fx.GraphModule) -> bool:
    """Whether the kernel that makes `node` clamps it, so that it is never a value by itself."""
    return isinstance(_activation_after(node, network), tuple(CLAMPS))


def given_again(node: fx.Node, network: fx.GraphModule) -> fx.Node | None:
    """The value that `node` gives again, in part or in another form; None if its values are new."""
    selecting = node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), _SELECTING)
    if selecting or (node.op == "call_method" and node.target in _MOVES):
        assert isinstance(node.args[0], fx.Node)
        return node.args[0]
    return None


def _activation_after(node: fx.Node, network: fx.GraphModule) -> nn.Module | None:
    """The activation function that becomes a part of the kernel that makes `node`."""
    users = list(node.users)
    alone = len(users) == 1 and users[0].op == "call_module"
    leaf = network.get_submodule(str(users[0].target)) if alone else None
    return leaf if isinstance(leaf, (*CLAMPS, *TABLES)) else None


def _function_after(node: fx.Node, network: fx.GraphModule) -> Callable[[Floats], Floats] | None:
    leaf = _activation_after(node, network)
    return None if leaf is None else lambda values: leaf(torch.tensor(values)).numpy()


def _ranges(network: fx.GraphModule, images: Tensor) -> dict[fx.Node, Ends]:
    """Of every value. Raises `UserError` naming one that is not finite."""
    seen: dict[fx.Node, Ends] = {}

    def see(node: fx.Node, value: Tensor) -> None:
        low, high = (float(end) for end in value.aminmax())
        if not np.isfinite([low, high]).all():
            hint = "Look at the network's weights and at the statistics of its batch norms"
            raise UserError("this value is not finite on the calibration images", key=node.name, hint=hint)
        before = seen.get(node, (low, high))
        seen[node] = (min(low, before[0]), max(high, before[1]))

    _run(network, images, see)
    return seen


def _histograms(
    network: fx.GraphModule, images: Tensor, ranges: Mapping[fx.Node, Ends], *, weighted: bool
) -> dict[fx.Node, Floats]:
    """(bins,) of every value over its range: how often it is there, or `weighted` by what an error there does.

    The weight of a number is the squared derivative of the logits by it (by what its activation function makes of it),
    summed over the logits. That sum is estimated without bias by one backward pass from a sum of the logits with random
    signs (M. F. Hutchinson, 1989).
    """
    found = {node: np.zeros(_BINS) for node in ranges}
    signs = torch.Generator().manual_seed(0)

    def count(node: fx.Node, value: Tensor, weights: Tensor | None) -> None:
        low, high = ranges[node]
        places = ((value.detach().flatten() - low) * (_BINS / (high - low))).long().clamp(0, _BINS - 1)
        flat = None if weights is None else weights.flatten().double()
        found[node] += torch.bincount(places, flat, minlength=_BINS).double().cpu().numpy()

    if not weighted:
        _run(network, images, lambda node, value: count(node, value, None) if node in ranges else None)
        return found
    for batch in images.split(_BATCH_SIZE):
        values: dict[fx.Node, Tensor] = {}
        with torch.enable_grad():
            logits = _Watch(network, values.__setitem__).run(batch.detach().requires_grad_())
        signed = logits * (2 * torch.randint(2, logits.shape, generator=signs) - 1).to(logits)
        behind = {node: values[_behind(node, network)] for node in ranges}
        derivatives = torch.autograd.grad(signed.sum(), list(behind.values()), allow_unused=True)
        for node, derivative in zip(behind, derivatives, strict=True):
            if derivative is not None:
                count(node, values[node], derivative.square())
    return {node: weights for node, weights in found.items() if weights.any()}


def _behind(node: fx.Node, network: fx.GraphModule) -> fx.Node:
    """The value that errors of `node` are seen in."""
    return node if _activation_after(node, network) is None else next(iter(node.users))


def _run(network: fx.GraphModule, images: Tensor, see: Callable[[fx.Node, Tensor], None]) -> None:
    watch = _Watch(network, see)
    with torch.no_grad():
        for batch in images.split(_BATCH_SIZE):
            watch.run(batch)


class _Watch(fx.Interpreter):
    """Shows every value as it is made, constants apart."""

    def __init__(self, network: fx.GraphModule, see: Callable[[fx.Node, Tensor], None]) -> None:
        super().__init__(network)
        self.see = see

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.is_floating_point() and n.op not in ("get_attr", "output"):
            self.see(n, value)
        return value
