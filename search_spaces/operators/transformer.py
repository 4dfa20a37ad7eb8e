"""The parts of a vision transformer (https://arxiv.org/abs/2010.11929) beside attention; conventions: `tokens`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from search_spaces.operators.base import Number
from search_spaces.operators.tokens import LAYER_NORM_EPS, RemainingTokens, Tokens, largest, linear_weights


@dataclass(frozen=True)
class PatchEmbedding(Tokens):
    """A convolution whose stride is its kernel, with bias; a learned vector per place is added, the class token (its
    place included) put before.
    """

    kind = "patchembedding"

    patch: Number

    @property
    def fits_any_resolution(self) -> bool:
        return False

    @property
    def output_resolution(self) -> Number:
        return self.resolution // self.patch

    @property
    def num_tokens(self) -> Number:
        return self.output_resolution**2 + int(self.class_token)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (int(self.in_channels), int(self.resolution), int(self.resolution))

    def macs(self) -> Number:
        return self.in_channels * self.patch**2 * self.out_channels * self.output_resolution**2

    def weights(self) -> tuple[Number, Number]:
        places = self.num_tokens * self.out_channels
        return self.in_channels * self.patch**2 * self.out_channels + places, self.out_channels

    def peak_elements(self) -> Number:
        return self.in_channels * self.resolution**2 + self.num_tokens * self.out_channels

    def overwriting_elements(self) -> Number:
        return self.num_tokens * self.out_channels + self.in_channels * self.patch**2


@dataclass(frozen=True)
class MLP(RemainingTokens):
    """x + contract(gelu(expand(norm(x)))): layer norm and two linear layers."""

    kind = "mlp"

    mid_channels: Number
    rank: Number
    norm_eps: float = field(default=LAYER_NORM_EPS, metadata={"free": True})

    def _layers(self) -> Number:
        return linear_weights(self.in_channels, self.mid_channels, self.rank) + linear_weights(
            self.mid_channels, self.out_channels, self.rank
        )

    def macs(self) -> Number:
        return self.num_tokens * self._layers()

    def weights(self) -> tuple[Number, Number]:
        return self._layers() + 2 * self.in_channels, self.mid_channels + self.out_channels

    def peak_elements(self) -> Number:
        x, hidden, factor = (self.num_tokens * size for size in (self.in_channels, self.mid_channels, self.rank))
        return largest(
            2 * x + np.where(self.rank > 0, factor, hidden),
            x + factor + hidden,
            x + 2 * hidden,
            x + hidden + np.where(self.rank > 0, factor, x),
            2 * x + factor,
        )

    def overwriting_elements(self) -> Number:
        return self.num_tokens * self.in_channels + 2 * self.in_channels + self.mid_channels + self.rank


@dataclass(frozen=True)
class TokenClassifier(RemainingTokens):
    """Layer norm, then the class token or the mean over all others, dropout (identity when deployed), linear layer."""

    kind = "tokenclassifier"

    norm_eps: float = field(default=LAYER_NORM_EPS, metadata={"free": True})
    dropout: float = field(default=0.0, metadata={"free": True})

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (int(self.out_channels),)

    def macs(self) -> Number:
        return self.in_channels * self.out_channels

    def weights(self) -> tuple[Number, Number]:
        return self.in_channels * self.out_channels + 2 * self.in_channels, self.out_channels

    def peak_elements(self) -> Number:
        return largest(2 * self.num_tokens * self.in_channels, self.in_channels + self.out_channels)

    def overwriting_elements(self) -> Number:
        return (self.num_tokens + 2) * self.in_channels + self.out_channels
