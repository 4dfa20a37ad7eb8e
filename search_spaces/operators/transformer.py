"""The parts of a vision transformer (https://arxiv.org/abs/2010.11929), on tokens (N, D): a square grid, row by row,
behind the class token where there is one.

`resolution` is the side of the grid (of the images, for the patch embedding). A `rank` above 0 says that a linear
layer is two factors through so many features; 0 that it is
dense. MACs count linear layers, the patch convolution and
the products of attention; `flash` holds norms as they are, since they fold into nothing.

Under the naive memory plan there is one buffer per tensor, scores and their softmax in two, so are the hidden features
of the MLP and their activation; a residual is added in place. Under the plan `overwriting`, a block works token by
token where it can: images are embedded patch by patch; attention keeps its input and all queries, and of one head at
a time keys and values and the scores of one query; what it mixes overwrites the queries; projection, MLP and residual
need buffers of one token; a convolution keeps three rows of its input. (So MCUFormer, https://arxiv.org/abs/2310.16898,
saves memory; the formulas are this project's.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search_spaces.operators.base import Number, Operator

#: what timm's vision transformers add to the variance
LAYER_NORM_EPS = 1e-6


def linear_weights(in_features: Number, out_features: Number, rank: Number) -> Number:
    """Weights of a linear layer without its bias; MACs per token, too."""
    return np.where(rank == 0, in_features * out_features, rank * (in_features + out_features))


def useful_rank(share: Number, in_features: Number, out_features: Number) -> Number:
    """The rank whose two factors have about `share` of the weights of the dense layer, a multiple of 4; 0, which means
    dense, where `share` is 1 or two factors would save nothing.
    """
    dense = np.asarray(in_features) * out_features
    both = np.asarray(in_features) + out_features
    rank = np.maximum(4, (np.asarray(share) * dense / both).astype(np.int64) // 4 * 4)
    rank = np.where((np.asarray(share) >= 1) | (rank * both >= dense), 0, rank)
    return int(rank) if np.ndim(rank) == 0 else rank


@dataclass(frozen=True)
class _Tokens(Operator):
    """An operator from tokens to tokens. `class_token` says whether one stands before those of the grid."""

    class_token: bool

    @property
    def num_tokens(self) -> Number:
        return self.resolution**2 + int(self.class_token)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, D) of one input."""
        return (int(self.num_tokens), int(self.in_channels))

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (int(self.num_tokens), int(self.out_channels))


@dataclass(frozen=True)
class PatchEmbedding(_Tokens):
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

    def params(self) -> Number:
        weights, biases = self.weights()
        return weights + biases

    def peak_elements(self) -> Number:
        return self.in_channels * self.resolution**2 + self.num_tokens * self.out_channels

    def overwriting_elements(self) -> Number:
        return self.num_tokens * self.out_channels + self.in_channels * self.patch**2


#: how tokens are mixed, the dearest first; see `Attention`
FORMS = ("softmax", "linear", "convolution")


@dataclass(frozen=True)
class Attention(_Tokens):
    """x + mix(norm(x)), where `form` says how tokens are mixed after the layer norm:

    softmax: queries, keys and values with biases in `heads` heads of `head_dim` features each, softmax attention,
    linear layer. linear: the same with ReLU of queries and keys for a kernel, so that the work grows with the number of
    tokens and not with its square (https://arxiv.org/abs/2006.16236; the ReLU as in https://arxiv.org/abs/2205.14756).
    convolution: no attention, but a depthwise 3x3 convolution with bias over the grid, which must have no class token.
    """

    kind = "attention"

    form: Any
    heads: Number
    head_dim: Number
    rank: Number
    norm_eps: float = field(default=LAYER_NORM_EPS, metadata={"free": True})

    @property
    def fits_any_resolution(self) -> bool:
        return bool(self.form != "convolution")

    @property
    def features(self) -> Number:
        """Those of all heads together."""
        return self.heads * self.head_dim

    def _mixing(self, softmax: Number, linear: Number, convolution: Number) -> Number:
        """That of the form."""
        return np.where(self.form == "softmax", softmax, np.where(self.form == "linear", linear, convolution))

    def _linear_layers(self) -> Number:
        """Weights of queries, keys, values and projection."""
        return 4 * linear_weights(self.in_channels, self.features, self.rank)

    def macs(self) -> Number:
        layers, inner = self.num_tokens * self._linear_layers(), self.num_tokens * self.features
        return self._mixing(
            layers + 2 * inner * self.num_tokens,
            layers + inner * (2 * self.head_dim + 1),
            9 * self.num_tokens * self.in_channels,
        )

    def weights(self) -> tuple[Number, Number]:
        layers, norm = self._linear_layers(), 2 * self.in_channels
        biases = 3 * self.features + self.out_channels
        return (
            norm + self._mixing(layers, layers, 9 * self.in_channels),
            self._mixing(biases, biases, self.in_channels),
        )

    def params(self) -> Number:
        weights, biases = self.weights()
        return weights + biases

    def peak_elements(self) -> Number:
        x, inner, factor = (self.num_tokens * size for size in (self.in_channels, self.features, self.rank))
        scores = self.heads * self.num_tokens**2
        context, sums = self.features * self.head_dim, self.heads * self.num_tokens
        softmax = _largest(x + 3 * inner + scores, x + inner + 2 * scores)  # the latter: with values only
        linear = _largest(
            x + 3 * inner + context,
            x + 2 * inner + context + self.features,  # sums of keys; queries times context
            x + 2 * inner + self.features + sums,
        )
        linear_layers = _largest(
            2 * x + 3 * inner + factor, x + inner + np.where(self.rank > 0, factor, x), 2 * x + factor
        )
        return self._mixing(_largest(linear_layers, softmax), _largest(linear_layers, linear), 3 * x)

    def overwriting_elements(self) -> Number:
        x, inner, head = (self.num_tokens * size for size in (self.in_channels, self.features, self.head_dim))
        token = 2 * self.in_channels + self.rank
        return self._mixing(
            x + inner + 2 * head + 2 * self.num_tokens + token,
            x + inner + 2 * head + self.head_dim**2 + 2 * self.head_dim + token,
            x + 3 * self.resolution * self.in_channels,
        )


@dataclass(frozen=True)
class MLP(_Tokens):
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

    def params(self) -> Number:
        weights, biases = self.weights()
        return weights + biases

    def peak_elements(self) -> Number:
        x, hidden, factor = (self.num_tokens * size for size in (self.in_channels, self.mid_channels, self.rank))
        return _largest(
            2 * x + np.where(self.rank > 0, factor, hidden),
            x + factor + hidden,
            x + 2 * hidden,
            x + hidden + np.where(self.rank > 0, factor, x),
            2 * x + factor,
        )

    def overwriting_elements(self) -> Number:
        return self.num_tokens * self.in_channels + 2 * self.in_channels + self.mid_channels + self.rank


@dataclass(frozen=True)
class TokenClassifier(_Tokens):
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

    def params(self) -> Number:
        weights, biases = self.weights()
        return weights + biases

    def peak_elements(self) -> Number:
        return _largest(2 * self.num_tokens * self.in_channels, self.in_channels + self.out_channels)

    def overwriting_elements(self) -> Number:
        return (self.num_tokens + 2) * self.in_channels + self.out_channels


def _largest(*sums: Number) -> Number:
    return np.maximum.reduce(np.broadcast_arrays(*sums))
