from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from latency_tables.correction import Line, fit_line, kendall_tau, prediction_errors

SUMS = np.linspace(0.3, 1.2, 12)


@pytest.mark.parametrize(("slope", "constant"), [(1.0, 0.0), (0.8, 0.05), (1.4, -0.1)])
def test_exact_line_is_found(slope: float, constant: float) -> None:
    line = fit_line(SUMS, slope * SUMS + constant, least_ms=0.25)
    assert line.slope == pytest.approx(slope, rel=1e-4) and line.constant_ms == pytest.approx(constant, abs=1e-4)


def test_one_disturbed_network_does_not_bend_the_line() -> None:
    measured = 0.9 * SUMS + 0.02
    measured[3] *= 3
    assert fit_line(SUMS, measured, least_ms=0.3)(SUMS) == pytest.approx(0.9 * SUMS + 0.02, rel=0.03)


@settings(deadline=None)  # scipy is imported by the first example
@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), max_size=8))
def test_no_network_is_predicted_at_zero_or_less(points: list[tuple[float, float]]) -> None:
    sums, measured = [s for s, _ in points], [m for _, m in points]
    line = fit_line(sums, measured, least_ms=0.01)
    assert line.slope > 0 and line(0.01) > 0


def test_one_network_or_none() -> None:
    assert fit_line([], [], least_ms=1.0) == Line()
    assert fit_line([2.0], [3.0], least_ms=1.0) == Line(slope=1.5)


def test_errors_of_known_numbers() -> None:
    errors = prediction_errors([1.0, 2.1, 2.4, 4.0], [1.0, 2.0, 3.0, 4.4])
    assert errors.mape == pytest.approx((0 + 0.05 + 0.2 + 0.4 / 4.4) / 4)
    assert errors.share_within_10 == 0.75
    assert errors.kendall_tau == pytest.approx(1.0)
    swapped = prediction_errors([1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    assert swapped.kendall_tau == pytest.approx(2 / 3)  # one of six pairs in the wrong order
    assert prediction_errors([1.0, 1.0], [1.0, 2.0]).kendall_tau is None


@pytest.mark.parametrize("seed", range(5))
def test_kendall_tau_is_scipys_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 8, 40).astype(float), rng.integers(0, 8, 40).astype(float)
    assert kendall_tau(first, second) == pytest.approx(kendalltau(first, second).statistic)
    assert kendall_tau(np.ones(5), first[:5]) is None
