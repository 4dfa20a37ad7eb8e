"""The ways in which the tokens of a block see one another; see `tokens` for conventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search_spaces.operators.base import Number
from search_spaces.operators.tokens import LAYER_NORM_EPS, RemainingTokens, largest, linear_weights

#: how tokens are mixed, the dearest first; see `Attention`
FORMS = ("softmax", "linear", "hilo", "convolution")
#: those that need the whole grid
GRID_FORMS = ("hilo", "convolution")
#: side of the windows of `hilo`
WINDOW = 2


@dataclass(frozen=True)
class Attention(RemainingTokens):
    """x + mix(norm(x)), where `form` says how tokens are mixed after the layer norm:

    softmax: queries, keys and values with biases in `heads` heads of `head_dim` features each, softmax attention,
    linear layer. linear: the same with ReLU of queries and keys for a kernel, so that the work grows with the number of
    tokens and not with its square (https://arxiv.org/abs/2006.16236; the ReLU as in https://arxiv.org/abs/2205.14756).
    hilo: softmax attention whose first, third, ... head looks at the averages of windows of `WINDOW` tokens squared,
    whose other heads look at their own window only (as HiLo, https://arxiv.org/abs/2205.13213, shares out its heads).
    convolution: no attention, but a depthwise 3x3 convolution with bias over the grid. The last two take a whole grid
    without a class token.

    `drops` tokens are left out of what the block gives: those that got the least softmax (or linear) attention, summed
    over heads, from the class token where there is one, else from all tokens (as in EViT, https://arxiv.org/abs/2202.07800).
    """

    kind = "attention"

    form: Any
    heads: Number
    head_dim: Number
    rank: Number
    drops: Number
    norm_eps: float = field(default=LAYER_NORM_EPS, metadata={"free": True})

    @property
    def fits_any_resolution(self) -> bool:
        return self.form not in GRID_FORMS and not self.drops

    @property
    def has_ties(self) -> bool:
        return bool(self.drops)

    @property
    def features(self) -> Number:
        """Those of all heads together."""
        return self.heads * self.head_dim

    @property
    def num_kept(self) -> Number:
        """Tokens that it gives."""
        return self.num_tokens - self.drops

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (int(self.num_kept), int(self.out_channels))

    # -- hilo ----------------------------------------------------------------------------------------------------------

    @property
    def global_heads(self) -> Number:
        """Of `hilo`: how many heads look at the averages of windows."""
        return (self.heads + 1) // 2

    @property
    def num_windows(self) -> Number:
        return self.resolution**2 // WINDOW**2

    def _local_and_global(self) -> tuple[Number, Number]:
        """Features of the heads of both kinds."""
        return (self.heads - self.global_heads) * self.head_dim, self.global_heads * self.head_dim

    # -- costs ---------------------------------------------------------------------------------------------------------

    def _mixing(self, by_form: Mapping[str, Number]) -> Number:
        """That of the form."""
        return np.select([np.asarray(self.form) == form for form in by_form], [*np.broadcast_arrays(*by_form.values())])

    def _linear_layer(self) -> Number:
        """Weights of queries, keys, values or projection."""
        return linear_weights(self.in_channels, self.features, self.rank)

    def macs(self) -> Number:
        tokens, features = self.num_tokens, self.features
        layers = (3 * tokens + self.num_kept) * self._linear_layer()
        ranks = np.asarray(self.drops) > 0
        return self._mixing(
            {
                "softmax": layers + 2 * features * tokens**2,
                "linear": layers + tokens * features * (2 * self.head_dim + 1 + ranks),
                "hilo": self._hilo_macs(),
                "convolution": 9 * tokens * self.in_channels,
            }
        )

    def _hilo_macs(self) -> Number:
        tokens, windows, (local, global_) = self.num_tokens, self.num_windows, self._local_and_global()
        seen = tokens * local + windows * global_  # outputs of keys, and of values
        dense = self.in_channels * seen
        factors = self.rank * (self.in_channels * (tokens + windows) + seen)
        keys = np.where(self.rank == 0, dense, factors)
        products = 2 * tokens * (WINDOW**2 * local + windows * global_)
        return 2 * tokens * self._linear_layer() + 2 * keys + products

    def weights(self) -> tuple[Number, Number]:
        layers, norm = 4 * self._linear_layer(), 2 * self.in_channels
        biases = 3 * self.features + self.out_channels
        weights = dict.fromkeys(FORMS, layers) | {"convolution": 9 * self.in_channels}
        return (
            norm + self._mixing(weights),
            self._mixing(dict.fromkeys(FORMS, biases) | {"convolution": self.in_channels}),
        )

    # -- memory, naive plan --------------------------------------------------------------------------------------------

    def peak_elements(self) -> Number:
        x = self.num_tokens * self.in_channels
        softmax, linear = self._softmax_elements(), self._linear_elements()
        return self._mixing({"softmax": softmax, "linear": linear, "hilo": self._hilo_elements(), "convolution": 3 * x})

    def _layer_elements(self) -> Number:
        """While queries, keys and values are made, and while their mixture is projected."""
        x, inner, factor = (self.num_tokens * size for size in (self.in_channels, self.features, self.rank))
        dense = 2 * x + 3 * inner
        # the values' first factor is the last to read the normed input, and their second needs it no more
        low_rank = largest(2 * x + 2 * inner + factor, x + 3 * inner + factor)
        return largest(np.where(self.rank > 0, low_rank, dense), self._projection_elements())

    def _projection_elements(self) -> Number:
        x, inner, factor = (self.num_kept * size for size in (self.in_channels, self.features, self.rank))
        return largest(x + inner + np.where(self.rank > 0, factor, x), 2 * x + factor)

    def _softmax_elements(self) -> Number:
        x, inner = (self.num_tokens * size for size in (self.in_channels, self.features))
        scores = self.heads * self.num_tokens**2
        mixing = largest(x + 3 * inner + scores, x + inner + 2 * scores)  # the latter: with values only
        row = self.heads * self.num_tokens if self.class_token else 0
        choosing = x + inner + scores + self._choosing_elements(row)
        return largest(self._layer_elements(), mixing, self._when_dropping(choosing, inner + scores))

    def _linear_elements(self) -> Number:
        x, inner = (self.num_tokens * size for size in (self.in_channels, self.features))
        context, sums = self.features * self.head_dim, self.heads * self.num_tokens
        keys = np.where(np.asarray(self.drops) > 0, inner, 0)  # they are needed to choose tokens
        mixing = largest(
            x + 3 * inner + context,
            x + 2 * inner + context + self.features,  # sums of keys
            x + inner + keys + context + self.features + sums,
            x + 2 * inner + context,
        )
        weights = x + 2 * inner + context + self.features
        choosing = largest(weights + sums, x + inner + context + self._choosing_elements(sums))
        return largest(self._layer_elements(), mixing, self._when_dropping(choosing, context + inner))

    def _choosing_elements(self, by_head: Number) -> Number:
        """Attention by heads (where it stands alone), summed over heads; then the numbers of the tokens that stay."""
        tokens = self.num_tokens
        without_class = largest(by_head + tokens, tokens + self.num_kept)
        return largest(without_class, 2 * tokens) if self.class_token else without_class

    def _when_dropping(self, choosing: Number, mixing: Number) -> Number:
        """`choosing`, then mixing beside what mixing needs, then taking tokens of the input and of the mixture."""
        tokens, kept = self.num_tokens, self.num_kept
        x, inner = tokens * self.in_channels, tokens * self.features
        most = largest(
            choosing,
            x + mixing + kept + inner,
            x + inner + kept + kept * self.in_channels,
            kept * self.in_channels + inner + kept + kept * self.features,
        )
        return np.where(np.asarray(self.drops) > 0, most, 0)

    def _hilo_elements(self) -> Number:
        tokens, windows, (local, global_) = self.num_tokens, self.num_windows, self._local_and_global()
        x, inner, factor = (tokens * size for size in (self.in_channels, self.features, self.rank))
        averages, few, averaged = windows * self.in_channels, windows * self.rank, windows * global_
        queries, near = inner, tokens * local
        before = queries + near + averaged  # queries and keys
        low_rank = largest(
            2 * x + averages + before + factor,
            x + averages + before + factor + near,
            x + averages + before + near + few,
            x + before + near + few + averaged,
        )
        dense = largest(2 * x + averages + before + near, x + averages + before + near + averaged)
        far = tokens * global_
        window_scores, scores = near // self.head_dim * WINDOW**2, far // self.head_dim * windows
        looking_near = x + far + 2 * averaged + largest(3 * near + window_scores, near + 2 * window_scores)
        looking_far = x + near + averaged + largest(far + averaged + scores, 2 * scores, far + scores)
        return largest(
            np.where(self.rank > 0, low_rank, dense),
            looking_near,
            looking_far,
            x + 2 * inner,
            self._projection_elements(),
        )

    # -- memory, overwriting plan --------------------------------------------------------------------------------------

    def overwriting_elements(self) -> Number:
        x, inner, head = (self.num_tokens * size for size in (self.in_channels, self.features, self.head_dim))
        token = 2 * self.in_channels + self.rank
        chosen = np.where(np.asarray(self.drops) > 0, self.num_tokens, 0)  # the attention that every token got
        window = WINDOW**2 * (2 * self.head_dim + 2)
        return self._mixing(
            {
                "softmax": x + inner + 2 * head + 2 * self.num_tokens + token + chosen,
                "linear": x + inner + 2 * head + self.head_dim**2 + 2 * self.head_dim + token + chosen,
                "hilo": x + inner + largest(2 * self.num_windows * (self.head_dim + 1), window) + token,
                "convolution": x + 3 * self.resolution * self.in_channels,
            }
        )
