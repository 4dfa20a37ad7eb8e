"""Attention whose work grows with the number of tokens and not with its square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latency_tables.cortex_m.calls.tokens import Attention, reciprocal
from latency_tables.cortex_m.quantization import Affine, Bytes, Finish, Floats

#: more features of a head outgrow 32 bits
MOST_FEATURES = 128


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearAttention(Attention):
    """The products of ReLU(query) and ReLU(key) are the weights (A. Katharopoulos et al., Transformers are RNNs, ICML
    2020, https://arxiv.org/abs/2006.16236; the ReLU as in https://arxiv.org/abs/2205.14756). A query without any key
    gives 0.
    """

    kernel = "linear_attention"

    @property
    def macs(self) -> int:
        return self.tokens * self.heads * self.features * (2 * self.features + 1)

    @property
    def scratch_bytes(self) -> int:
        return 4 * self.features * (self.features + 2)

    @property
    def _steps(self) -> tuple[int, int]:
        """There is no table."""
        return 0, 0

    @property
    def _finish(self) -> Finish:
        return Finish.of(np.array([self.value.scale / self.after.scale * 2.0**-21]), self.after.zero, 2.0**29)

    @property
    def _bias(self) -> int:
        """Zeros are taken off before."""
        return 0

    def reference(self, *inputs: Bytes) -> Bytes:
        query, key, value = (self._less(x, zero.zero) for x, zero in zip(inputs, self._ends, strict=True))
        query, key = query.clip(0), key.clip(0)
        sums = (query @ (key.swapaxes(-1, -2) @ value)).astype(np.int64)  # floats below 2^53: exact
        totals = (query @ key.sum(axis=-2)[..., None]).astype(np.int64)
        totals += totals == 0
        zeros = 32 - np.frexp(totals.astype(np.float64))[1]
        means = (((sums << zeros) >> 9) * reciprocal((totals << zeros) >> 16)) >> 32
        return self._finish(means.swapaxes(-3, -2)).reshape(inputs[0].shape)

    @property
    def _ends(self) -> tuple[Affine, ...]:
        return self.query, self.key, self.value

    def _less(self, x: Bytes, zero: int) -> Floats:
        """(..., heads, tokens, features), `zero` taken off"""
        parts = x.reshape(*x.shape[:-3], self.tokens, self.heads, self.features)
        return parts.swapaxes(-3, -2).astype(np.float64) - zero
