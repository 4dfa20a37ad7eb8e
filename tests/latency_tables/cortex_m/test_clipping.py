"""Ranges chosen from histograms hold what they are asked to, and lose the least."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.cortex_m.clipping import Ends, Histogram, least_error_range, percentile_range
from latency_tables.cortex_m.quantization import Affine, Floats


def histogram(values: Floats, weights: Floats | None = None) -> Histogram:
    counts, _ = np.histogram(values, 2048, (values.min(), values.max()), weights=weights)
    return Histogram(float(values.min()), float(values.max()), counts.astype(float))


def error(values: Floats, ends: Ends, function=lambda x: x) -> float:  # type: ignore[no-untyped-def]
    affine = Affine.of_range(*ends)
    return float(((function(affine.real(affine.quantize(values))) - function(values)) ** 2).mean())


def hard_swish(x: Floats) -> Floats:
    return x * np.clip(x + 3, 0, 6) / 6


@given(st.floats(50.1, 100), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_percentile_leaves_out_the_rarest_of_either_side(percentile: float, seed: int) -> None:
    values = np.random.default_rng(seed).standard_t(2, 5000)
    low, high = percentile_range(histogram(values), percentile)
    within_a_bin = np.ptp(values) / 2048
    for share in ((values > high + within_a_bin).mean(), (values < low - within_a_bin).mean()):
        assert share <= 1 - percentile / 100 + 1e-9
    if percentile == 100:
        assert (low, high) == pytest.approx((values.min(), values.max()))


@given(st.floats(1.5, 30), st.floats(-3, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_least_error_is_not_above_that_of_the_whole_range(freedom: float, shift: float, seed: int) -> None:
    values = np.random.default_rng(seed).standard_t(freedom, 5000) + shift
    chosen = least_error_range(histogram(values))
    assert values.min() - 1e-9 <= chosen[0] <= 0 <= chosen[1] <= max(values.max(), 0) + 1e-9 or values.min() > 0
    assert error(values, chosen) <= error(values, (values.min(), values.max())) * 1.05  # of a histogram of the values


def test_an_outlier_is_clipped_if_it_costs_all_others() -> None:
    values = np.append(np.random.default_rng(0).normal(size=10_000), 40.0)
    low, high = least_error_range(histogram(values, np.append(np.full(10_000, 1000.0), 1.0)))
    assert 3 < high < 6 and -6 < low < -3
    assert error(values[:-1], (low, high)) < 0.1 * error(values[:-1], (values.min(), values.max()))


def test_an_outlier_that_matters_is_kept() -> None:
    values = np.append(np.random.default_rng(0).normal(size=1000), 40.0)
    weights = np.append(np.full(1000, 1e-6), 1.0)
    assert least_error_range(histogram(values, weights))[1] > 39


def test_what_an_activation_function_flattens_is_not_paid_for() -> None:
    values = np.random.default_rng(0).normal(size=20_000) * 8 - 6
    ends = least_error_range(histogram(values), hard_swish)
    assert ends[0] > -5 and ends[1] == pytest.approx(values.max(), rel=0.2)
    plain = least_error_range(histogram(values))
    assert error(values, ends, hard_swish) < 0.5 * error(values, plain, hard_swish)
