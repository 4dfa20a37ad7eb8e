"""Requantisation rounds exactly, and maps hold what they are said to hold."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.cortex_m.quantization import Affine, Finish, activation_table, quantize_weights
from search_spaces.common.errors import UserError


@given(
    st.lists(st.floats(1e-9, 0.9), min_size=1, max_size=5),
    st.integers(-128, 127),
    st.lists(st.integers(-(2**28), 2**28), min_size=5, max_size=5),
)
def test_sums_are_scaled_and_rounded_halves_up(ratios: list[float], zero: int, sums: list[int]) -> None:
    finish = Finish.of(np.array(ratios), zero, 2.0**28)
    for channel, (ratio, total) in enumerate(zip(ratios, sums, strict=False)):
        multiplier, shift = int(finish.multipliers[channel]), int(finish.shifts[channel]) + 33 - finish.left
        exact = Fraction(multiplier, 1) / Fraction(2) ** shift
        assert abs(exact - Fraction(ratio)) <= Fraction(ratio) * Fraction(1, 2**30) or multiplier == 0
        expected = floor(total * exact + Fraction(1, 2)) + zero
        only = Finish(finish.multipliers[[channel]], finish.shifts[[channel]], finish.left, zero)
        assert only(np.array([total])).tolist() == [min(max(expected, -128), 127)]


def test_outputs_that_32_bits_cannot_hold_are_refused() -> None:
    with pytest.raises(UserError, match="too fine for 32 bits"):
        Finish.of(np.array([3.0]), 0, 2.0**28)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 100))
def test_a_range_is_held_and_zero_is_exact(one: float, other: float, part: int) -> None:
    low, high = sorted((one, other))
    affine = Affine.of_range(low, high)
    assert affine.real(affine.quantize(np.array([0.0]))).tolist() == [0.0]
    value = np.array([low + (high - low) * part / 100])
    assert abs(affine.real(affine.quantize(value)) - value)[0] <= affine.scale * 1.01


def test_weights_keep_their_sign_and_biases_fit() -> None:
    weight, bias = np.array([[1.0, -0.5], [0.0, 0.0], [1e-9, 0.0]]), np.array([3.0, 0.0, 100.0])
    q, biases, scales = quantize_weights(weight, bias, in_scale=0.1)
    assert q[0].tolist() == [127, -64] and q[1].tolist() == [0, 0]
    assert np.allclose(biases * scales, bias, rtol=1e-2) and np.abs(biases).max() < 2**31


def test_a_table_is_the_activation() -> None:
    before, after = Affine(0.05, 3), Affine(0.02, -128)
    table = activation_table(lambda x: np.maximum(x, 0), before, after)
    assert table[:131].tolist() == [-128] * 131 + [] and table[255] == after.quantize(np.array([124 * 0.05]))[()]
