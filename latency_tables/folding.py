"""A network as it is deployed: evaluation mode, batch normalisation folded into convolutions, dropout gone."""

from __future__ import annotations

import copy

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(module: fx.GraphModule) -> fx.GraphModule:
    """An equivalent copy of `module` in evaluation mode without foldable batch norms, `Dropout` and `Identity`.

    A batch norm stays if its input is not a convolution, or a convolution whose output (or weights) others use too.
    Differs from the original by float rounding only.
    """
    folded = copy.deepcopy(module).eval()
    leaves = dict(folded.named_modules())
    uses = [str(node.target) for node in folded.graph.nodes if node.op == "call_module"]
    for node in list(folded.graph.nodes):
        if node.op != "call_module":
            continue
        leaf, source = leaves[str(node.target)], node.args[0]
        if isinstance(leaf, nn.Identity | nn.Dropout):
            _bypass(folded, node)
        elif isinstance(leaf, nn.BatchNorm2d) and leaf.track_running_stats and source.op == "call_module":
            conv = leaves[str(source.target)]
            if isinstance(conv, nn.Conv2d) and len(source.users) == 1 and uses.count(str(source.target)) == 1:
                with torch.no_grad():
                    fused = fuse_conv_bn_eval(conv, leaf)
                folded.set_submodule(str(source.target), fused)
                leaves[str(source.target)] = fused
                _bypass(folded, node)
    folded.delete_all_unused_submodules()
    folded.graph.lint()
    folded.recompile()
    return folded


def _bypass(module: fx.GraphModule, node: fx.Node) -> None:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    node.replace_all_uses_with(source)
    module.graph.erase_node(node)
