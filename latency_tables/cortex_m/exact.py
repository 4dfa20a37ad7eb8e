"""Sums of integers by floating-point matrix products, which are many times faster than integer ones, and exact.

A float holds every integer up to 2^24 (float32) or 2^53 (float64). So where the magnitudes of all terms add up to no
more than that, every partial sum is exact, in whatever order and with whatever instructions a library adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.quantization import Bytes

#: any operand of integer values
Numbers = NDArray[Any]


def holding(largest: float) -> type[np.float32] | type[np.float64]:
    """The type for sums whose terms' magnitudes add up to at most `largest`."""
    assert largest <= 2**53
    return np.float32 if largest <= 2**24 else np.float64


def products(x: Numbers, weights: Bytes) -> Numbers:
    """(..., O) of int8 inputs (..., I) and weights (O, I)."""
    kind = holding(128.0 * float(np.abs(weights.astype(np.int32)).sum(axis=1).max(initial=0)))
    rows = x.reshape(-1, x.shape[-1]).astype(kind)
    return (rows @ weights.T.astype(kind)).reshape(*x.shape[:-1], len(weights))


def sum_of_products(terms: Sequence[Numbers], factors: Numbers) -> Numbers:
    """(..., C): every term (..., C) times its row of factors (T, C)."""
    total = terms[0] * factors[0]
    product = np.empty_like(total)
    for term, factor in zip(terms[1:], factors[1:], strict=True):
        total += np.multiply(term, factor, out=product)
    return total
