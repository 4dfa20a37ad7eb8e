"""What transformers add: layer norm and softmax attention, of maps (1, tokens, features)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.exact import holding
from latency_tables.cortex_m.program import Call, Word
from latency_tables.cortex_m.quantization import HIGH, LOW, Affine, Bytes, Finish, Floats, Ints
from search_spaces.common.errors import UserError

#: more features, or tokens, outgrow 32 bits
MOST = 512
_EXPONENTS = 512
_STEPS_PER_UNIT = 32
"""Weights are exp(-i / 32), 2^14 at most."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerNorm(Call):
    """`scale` and `shift` (D,) are the layer's weight and bias."""

    kernel = "layer_norm"
    in_place = True

    tokens: int
    scale: Floats
    shift: Floats
    eps: float
    before: Affine
    after: Affine

    @property
    def geometry(self) -> tuple[int, ...]:
        return (self.tokens, len(self.scale))

    @property
    def _bits(self) -> int:
        """Behind the point of what is clamped in the end."""
        return int(min(16, 21 - np.frexp(max(np.abs(self.scale).max() / self.after.scale, 1e-9))[1]))

    @property
    def _epsilon(self) -> int:
        count = len(self.scale)
        return int(np.clip(round(self.eps * (count / self.before.scale) ** 2), 1, 2**32 - 1 - count**2 * 16257))

    def _numbers(self) -> tuple[Ints, Ints]:
        scales = np.rint(self.scale / self.after.scale * 2.0 ** (9 + self._bits)).astype(np.int64)
        shifts = np.rint((self.shift / self.after.scale + self.after.zero + 0.5) * 2.0**self._bits).astype(np.int64)
        return scales, shifts.clip(-(2**30), 2**30)

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        scales, biases = self._numbers()
        return {"scales": scales.astype(np.int32), "biases": biases.astype(np.int32)}

    def arguments(self) -> list[Word]:
        return ["x", "y", "scales", "biases", self.tokens, len(self.scale), self._bits, self._epsilon]

    def reference(self, *inputs: Bytes) -> Bytes:
        q, count = inputs[0].astype(np.int64), len(self.scale)
        sums = q.sum(axis=-1, keepdims=True)
        variance = count * (q * q).sum(axis=-1, keepdims=True) - sums**2 + self._epsilon
        half = (32 - np.frexp(variance.astype(np.float64))[1]) // 2
        factor = reciprocal(_root(variance << (2 * half)))
        norm = (((q * count - sums) << (half + 9)) * factor) >> 32
        scales, biases = self._numbers()
        return ((((norm * scales) >> 32) + biases) >> self._bits).clip(LOW, HIGH).astype(np.int8)


@dataclass(frozen=True, eq=False, kw_only=True)
class Attention(Call):
    """Reads queries, keys and values (1, tokens, heads * features); may write over the queries."""

    kernel = "attention"
    in_place = True

    tokens: int
    heads: int
    features: int
    query: Affine
    key: Affine
    value: Affine
    after: Affine

    @property
    def geometry(self) -> tuple[int, ...]:
        return (self.tokens, self.heads, self.features)

    @property
    def macs(self) -> int:
        return 2 * self.tokens**2 * self.heads * self.features

    @property
    def scratch_bytes(self) -> int:
        return 4 * self.tokens + 2 * self.features

    @property
    def _steps(self) -> tuple[int, int]:
        """Multiplier and shift from scores to places in the table."""
        ratio = self.query.scale * self.key.scale * self.features**-0.5 * _STEPS_PER_UNIT
        mantissa, exponent = np.frexp(ratio)
        if exponent > -1:
            raise UserError("scores are too coarse for the table of exponents", hint="Calibrate on images of the task")
        return min(round(float(mantissa) * 2**31), 2**31 - 1), min(-1 - int(exponent), 31)

    @property
    def _finish(self) -> Finish:
        return Finish.of(np.array([self.value.scale / self.after.scale * 2.0**-22]), self.after.zero, 2.0**30)

    @property
    def _bias(self) -> int:
        return -(self.value.zero << 22)

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {}

    def arguments(self) -> list[Word]:
        finish = self._finish
        channel = finish.channels(np.array([self._bias])).ravel().tolist()
        numbers = [*self.geometry, self.query.zero, self.key.zero, self.value.zero, *self._steps, *channel]
        return ["x", "second", "third", "y", "scratch", *numbers, *finish.words]

    def reference(self, *inputs: Bytes) -> Bytes:
        query, key, value = (self._heads(x) for x in inputs)
        kind = holding(255.0 * 128 * self.features)
        scores = np.matmul(query.astype(kind) - self.query.zero, key.astype(kind).swapaxes(-1, -2))
        multiplier, shift = self._steps
        below = (scores.max(axis=-1, keepdims=True) - scores).astype(np.int64)
        weights = exponents()[(below * multiplier >> 32 >> shift).clip(max=_EXPONENTS - 1)]
        total = weights.sum(axis=-1, keepdims=True)
        zeros = 32 - np.frexp(total.astype(np.float64))[1]
        factor = reciprocal((total << zeros) >> 16)
        sums = np.matmul(weights.astype(np.float64), value.astype(np.float64)).astype(np.int64) << (zeros - 8)
        means = ((sums * factor) >> 32).swapaxes(-3, -2)
        return self._finish(means + self._bias).reshape(inputs[0].shape)

    def _heads(self, x: Bytes) -> Bytes:
        """(..., heads, tokens, features)"""
        return x.reshape(*x.shape[:-3], self.tokens, self.heads, self.features).swapaxes(-3, -2)


@dataclass(frozen=True, eq=False, kw_only=True)
class AttentionByOperators(Attention):
    """The same as a product, a softmax and a product, one after the other: the weights of all tokens in all heads are
    there at a time.
    """

    kernel = "attention_by_operators"

    @property
    def scratch_bytes(self) -> int:
        return super().scratch_bytes + 2 * self.heads * self.tokens**2


def exponents() -> Ints:
    """(512,): `ofa_exponents` of the kernels"""
    return np.rint(2.0**14 * np.exp(-np.arange(_EXPONENTS) / _STEPS_PER_UNIT)).astype(np.int64)


def reciprocal(d: Ints) -> Ints:
    return ((2**32 - 1) // d) << 14


def _root(m: Ints) -> Ints:
    """Exact for numbers below 2^52."""
    return np.floor(np.sqrt(m.astype(np.float64))).astype(np.int64)
