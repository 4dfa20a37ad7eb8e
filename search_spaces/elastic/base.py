"""What every elastic block provides, and what their code shares."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.operators import Operator


class ElasticBlock(nn.Module):
    """Base of the elastic blocks: one module for every operator that can stand in a slot.

    Blocks with a residual branch send it through `drop_path`: the identity, unless training puts another layer there.
    Plain modules have no such layer.
    """

    drop_path: nn.Module

    def forward(self, x: Tensor, operator: Any) -> Tensor:
        raise NotImplementedError

    def slices(self, operator: Any) -> Iterator[tuple[str, Tensor]]:
        """(name in the plain module, tensor) for every weight and buffer of `operator`."""
        raise NotImplementedError

    def sort_channels(self, trained: Sequence[Any]) -> None:
        """Reorder inner channels by importance; the order of the channels within each width in `trained` is the only
        freedom.

        Blocks without elastic inner channels have nothing to do.
        """

    def copy_into(self, plain: nn.Module, operator: Operator) -> None:
        """Copy the slice of the weights that `operator` uses into its plain module."""
        target = plain.state_dict()
        names = set()
        with torch.no_grad():
            for name, tensor in self.slices(operator):
                target[name].copy_(tensor)
                names.add(name)
        missing = {name for name in target if not name.endswith("num_batches_tracked")} - names
        assert not missing, f"{type(self).__name__} leaves {missing} unset"


def norm_slices(name: str, norm: nn.BatchNorm2d, channels: int) -> Iterator[tuple[str, Tensor]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", getattr(norm, part)[:channels]


def norm_vectors(norm: nn.BatchNorm2d) -> tuple[Tensor, ...]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.weight, norm.bias, norm.running_mean, norm.running_var


def channel_order(importance: Tensor, trained_widths: Sequence[int]) -> Tensor:
    """Channel order by falling importance. A width already trained must keep its set of channels, so channels only
    move between two neighbouring trained widths."""
    edges = [0, *sorted({width for width in trained_widths if width < len(importance)}), len(importance)]
    parts = [
        start + torch.argsort(importance[start:end], descending=True, stable=True)
        for start, end in itertools.pairwise(edges)
    ]
    return torch.cat(parts)
