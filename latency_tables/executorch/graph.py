"""A network in the form that ExecuTorch's XNNPACK backend runs without leaving its own kernels.

XNNPACK has no hard sigmoid (ExecuTorch takes it apart into four operators with constants that are converted in every
call) and no average over windows that reach past the edge (a slow portable kernel instead), and a pooling to one pixel
loses the channels-last layout (a copy between two delegated parts). All three are said differently here: the result
differs from the network by float rounding only.
"""

from __future__ import annotations

import torch
from torch import fx, nn
from torch._subclasses import FakeTensorMode
from torch.fx.passes.shape_prop import ShapeProp

from latency_tables.folding import fold_batch_norm


def for_xnnpack(module: fx.GraphModule, input_shape: tuple[int, ...]) -> fx.GraphModule:
    """An equivalent copy of `module` in evaluation mode for an input of `(1, *input_shape)`, batch norms folded."""
    network = fold_batch_norm(module)
    if any(isinstance(leaf, nn.AvgPool2d) and leaf.ceil_mode for leaf in network.modules()):
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            ShapeProp(network, fake_mode=mode).propagate(torch.empty(1, *input_shape))
    leaves = dict(network.named_modules())
    uses = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    for node in list(network.graph.nodes):
        if node.op != "call_module":
            continue
        leaf = leaves[str(node.target)]
        if isinstance(leaf, nn.Hardsigmoid):
            source = node.args[0]
            conv = leaves.get(str(source.target)) if source.op == "call_module" else None
            alone = len(source.users) == 1 and uses.count(str(source.target)) == 1
            _bound(network, node, conv if isinstance(conv, nn.Conv2d) and alone else None)
        elif isinstance(leaf, nn.AvgPool2d) and leaf.ceil_mode:
            _pool_inside(network, node, leaf)
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    return network


def pools_as_means(network: fx.GraphModule) -> None:
    """Write the poolings to one pixel of an ATen graph as means, which keep the layout; the graph is changed."""
    for node in list(network.graph.nodes):
        if node.target is torch.ops.aten.adaptive_avg_pool2d.default and tuple(node.args[1]) == (1, 1):
            with network.graph.inserting_before(node):
                mean = network.graph.call_function(torch.ops.aten.mean.dim, (node.args[0], [2, 3], True))
            node.replace_all_uses_with(mean)
            network.graph.erase_node(node)
    network.recompile()


def _bound(network: fx.GraphModule, node: fx.Node, conv: nn.Conv2d | None) -> None:
    """x / 6 + 1/2 between 0 and 1: the line goes into the convolution before it, the bounds are an activation."""
    name = f"{node.name}_bounds"
    network.add_submodule(name, nn.Hardtanh(0.0, 1.0))
    x = node.args[0]
    with network.graph.inserting_before(node):
        if conv is None:
            x = network.graph.call_function(torch.add, (network.graph.call_function(torch.mul, (x, 1 / 6)), 0.5))
        else:
            with torch.no_grad():
                conv.weight.div_(6)
                bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
                conv.bias = nn.Parameter(bias / 6 + 0.5)
        bounded = network.graph.call_module(name, (x,))
    node.replace_all_uses_with(bounded)
    network.graph.erase_node(node)


def _pool_inside(network: fx.GraphModule, node: fx.Node, leaf: nn.AvgPool2d) -> None:
    """Zeros where the windows reach past the edge, and the sums there divided by what they are sums of."""
    x, name = node.args[0], node.name
    assert isinstance(x, fx.Node)
    (height, width), (rows, columns) = (here.meta["tensor_meta"].shape[2:] for here in (x, node))
    kernel, stride = _pair(leaf.kernel_size), _pair(leaf.stride)
    beyond = [
        max(0, (count - 1) * step + side - size)
        for count, step, side, size in zip((rows, columns), stride, kernel, (height, width), strict=True)
    ]
    pool = nn.AvgPool2d(kernel, stride)
    ones = nn.functional.pad(torch.ones(1, 1, height, width), (0, beyond[1], 0, beyond[0]))
    network.add_submodule(f"{name}_pad", nn.ConstantPad2d((0, beyond[1], 0, beyond[0]), 0.0))
    network.add_submodule(f"{name}_pool", pool)
    network.register_buffer(f"{name}_scale", 1 / pool(ones))
    with network.graph.inserting_before(node):
        y = network.graph.call_module(f"{name}_pad", (x,)) if any(beyond) else x
        y = network.graph.call_module(f"{name}_pool", (y,))
        if any(beyond):
            y = network.graph.call_function(torch.mul, (y, network.graph.get_attr(f"{name}_scale")))
    node.replace_all_uses_with(y)
    network.graph.erase_node(node)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
