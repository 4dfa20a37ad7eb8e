"""Activations of elastic blocks."""

from __future__ import annotations

from torch import nn

from search_spaces.plain import ACTIVATIONS


def elastic_activation(name: str) -> nn.Module:
    """As in the plain modules, but a hard swish writes elsewhere: in place, training would first copy its input."""
    return nn.Hardswish() if name == "hard_swish" else ACTIVATIONS[name]()
