"""Operators on tokens (N, D): a square grid, row by row, behind the class token where there is one.

`resolution` is the side of the grid (of the images, for the patch embedding), of whose tokens so many may have been
dropped before. A `rank` above 0 says that a linear layer is two factors through so many features; 0 that it is dense.
MACs count linear layers, convolutions and the products of attention; `flash` holds norms as they are, since they fold
into nothing.

Under the naive memory plan there is one buffer per tensor, scores and their softmax in two, so are the hidden features
of the MLP and their activation; a residual is added in place. Under the plan `overwriting`, a block works token by
token where it can: images are embedded patch by patch; attention keeps its input and all queries, and of one head at
a time keys and values and the scores of one query; what it mixes overwrites the queries; projection, MLP and residual
need buffers of one token; a convolution keeps three rows of its input. (So MCUFormer, https://arxiv.org/abs/2310.16898,
saves memory; the formulas are this project's.)
"""

from __future__ import annotations

from dataclasses import dataclass

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
class Tokens(Operator):
    """An operator that gives tokens. `class_token` says whether one stands before those of the grid."""

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

    def params(self) -> Number:
        weights, biases = self.weights()
        return weights + biases


@dataclass(frozen=True)
class RemainingTokens(Tokens):
    """An operator on the tokens that remain when `dropped` of the grid are gone."""

    dropped: Number

    @property
    def num_tokens(self) -> Number:
        return self.resolution**2 + int(self.class_token) - self.dropped


def largest(*sums: Number) -> Number:
    """The largest of these, array by array."""
    return np.maximum.reduce(np.broadcast_arrays(*sums))
