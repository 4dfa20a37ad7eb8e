"""Floating-point products of integers are exact, where they are said to be, whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.cortex_m.exact import holding, products, sum_of_products


@pytest.mark.parametrize("inputs", [1, 7, 1032, 1041, 5000])
def test_products_of_the_largest_numbers_are_exact(inputs: int) -> None:
    """On both sides of what float32 holds, and odd sums, which it would round first."""
    weights = np.full((2, inputs), 127, np.int8)
    weights[1] = -127
    x = np.full((3, inputs), -128, np.int8)
    x[1, 0], x[2, : inputs // 2] = 127, 127
    expected = x.astype(np.int64) @ weights.astype(np.int64).T
    np.testing.assert_array_equal(products(x, weights), expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_products_of_any_numbers_are_exact(inputs: int, outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, x = (rng.integers(-128, 128, (n, inputs)).astype(np.int8) for n in (outputs, 4))
    np.testing.assert_array_equal(products(x, weights), x.astype(np.int64) @ weights.astype(np.int64).T)


def test_sums_of_products_are_exact() -> None:
    rng = np.random.default_rng(0)
    terms, factors = rng.integers(-255, 256, (49, 4, 3)), rng.integers(-127, 128, (49, 3))
    found = sum_of_products(list(terms.astype(np.float32)), factors.astype(np.float32))
    np.testing.assert_array_equal(found, (terms * factors[:, None]).sum(axis=0))


def test_the_smaller_type_is_taken_as_long_as_it_holds_all_sums() -> None:
    assert holding(2.0**24) is np.float32 and holding(2.0**24 + 1) is np.float64
