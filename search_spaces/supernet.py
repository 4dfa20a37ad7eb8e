"""The supernet: one network that holds the weights of every subnet of a space."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, fx, nn

from search_spaces.architecture import Architecture
from search_spaces.elastic.blocks import ELASTIC, ElasticBlock
from search_spaces.operators import Operator
from search_spaces.plain import initialize
from search_spaces.plain.templates import assemble, at_any_resolution, clone_block, container, with_own_graph
from search_spaces.space import SearchSpace


class Supernet(nn.Module):
    """A function of (images, architecture), without a hidden active state.

    One elastic block per slot of `space` that any of its networks has, each as wide as its widest operator. Only
    architectures of `space` run: of a restricted one, the supernet holds no more than its networks need.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        self.slots = nn.ModuleDict()
        for slot in space.slots:
            operators = space.slot_operators(slot)
            if not operators:
                continue  # beyond the depths that are left
            self.slots[slot.name] = ELASTIC[type(operators[0])](operators)
        initialize(self)
        self._layers: dict[tuple[str, Operator], tuple[Any, nn.Module]] = {}
        self._tensors: dict[str, list[dict[str, Any]]] = {}

    def forward(self, x_BCHW: Tensor, architecture: Architecture, *, first: int = 0, last: int | None = None) -> Tensor:
        """Logits (B, num_classes) of the subnet `architecture`; the images must have its resolution.

        `first` and `last` run a part of the network, its operators first:last, on what the operator before gave.
        """
        side = architecture.resolution
        assert first or x_BCHW.shape[2] == x_BCHW.shape[3] == side, (
            f"{tuple(x_BCHW.shape)} images for an architecture of {side} px"
        )
        for name, operator in self.space.network(architecture)[first:last]:
            x_BCHW = self.slots[name](x_BCHW, operator)
        return x_BCHW

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave alone besides biases and norms (timm asks for them)."""
        return {name for name, _ in self.named_parameters() if name.endswith(".places")}

    def group_matcher(self, coarse: bool = False) -> dict[str, list[tuple[str, tuple[int]]]]:
        """Which parameters are how early, one number a block (timm asks for it where the learning rate falls off)."""
        blocks = dict.fromkeys(name.removesuffix("_attention").removesuffix("_mlp") for name in self.slots)
        ending = r"(?:_attention|_mlp)?\."
        return {"blocks": [(rf"^slots\.{re.escape(name)}{ending}", (number,)) for number, name in enumerate(blocks)]}

    @torch.no_grad()
    def extract(self, architecture: Architecture, *, share: bool = False) -> fx.GraphModule:
        """The subnet alone, as a GraphModule of torch.nn layers, in the mode of the supernet.

        With its own copy of the weights and of its graph; or, with `share`, twenty times faster with those of the
        supernet wherever a slice will do: to look at or to evaluate, not to change.
        """
        network = self.space.network(architecture)
        if share:
            return assemble(network, {name: self._shared(name, operator) for name, operator in network})
        blocks = {name: container(self.block(name, operator)) for name, operator in network}
        return with_own_graph(assemble(network, blocks))

    @torch.no_grad()
    def block(self, name: str, operator: Operator, *, share: bool = False) -> fx.GraphModule:
        """The operator in slot `name` alone, with its own copy of the weights (or, with `share`, slices of these)."""
        block = self.slots[name]
        assert isinstance(block, ElasticBlock)
        tensors = {key: tensor if share else _copied(tensor) for key, tensor in block.slices(operator)}
        return clone_block(operator, tensors, training=self.training)

    def _shared(self, name: str, operator: Operator) -> nn.Module:
        """The layers of a slot over the supernet's own weights, made once for as long as these do not change."""
        if name not in self._tensors:
            modules = list(self.slots[name].modules())
            self._tensors[name] = [held for module in modules for held in (module._parameters, module._buffers) if held]
        tensors = [t for held in self._tensors[name] for t in held.values() if t is not None]
        state = self.training, [t._version for t in tensors], [t.data_ptr() for t in tensors]
        operator = at_any_resolution(operator)
        known = self._layers.get((name, operator))
        if known is None or known[0] != state:
            known = state, container(self.block(name, operator, share=True))
            self._layers[name, operator] = known
        return known[1]

    def sort_channels(self, trained: SearchSpace | None = None) -> None:
        """Put the most important inner channels of every block first; the largest network's output does not change.

        `trained` is the sub-space trained so far (default: only the largest network): its widths keep their sets of
        channels, so its networks do not change either (section 3.3 of https://arxiv.org/abs/1908.09791; once per
        width phase).
        """
        for slot in self.space.slots:
            if slot.name not in self.slots:
                continue
            block = self.slots[slot.name]
            assert isinstance(block, ElasticBlock)
            block.sort_channels(
                trained.slot_operators(slot) if trained is not None else self.space.slot_operators(slot)[:0]
            )


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def build_supernet(space: SearchSpace, *, seed: int | None = None) -> Supernet:
    """A supernet with fresh weights; with a `seed`, the same weights every time, whatever torch's global state."""
    if seed is None:
        return Supernet(space)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Supernet(space)
