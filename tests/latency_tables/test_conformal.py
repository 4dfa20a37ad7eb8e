"""Intervals hold as often as they say, whatever the errors look like."""

from __future__ import annotations

import numpy as np
import pytest

from latency_tables.conformal import Interval, coverage, interval, upper_factor
from search_spaces.common.errors import UserError


def errors(kind: str, shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(1)
    if kind == "normal":
        return 1 + 0.03 * rng.standard_normal(shape)
    if kind == "skewed":
        return 0.97 + rng.gamma(2.0, 0.03, shape)
    return np.where(rng.random(shape) < 0.1, 1.4, 1.0) + 0.01 * rng.standard_normal(shape)  # a few far off


@pytest.mark.parametrize("kind", ["normal", "skewed", "a few far off"])
@pytest.mark.parametrize(("num", "confidence"), [(19, 0.95), (100, 0.95), (40, 0.9)])
def test_coverage(kind: str, num: int, confidence: float) -> None:
    ratios = errors(kind, (3000, num + 1))
    known, new, ones = ratios[:, :num], ratios[:, num], np.ones(num)
    bounds = [interval(ones, row, confidence) for row in known]
    inside = np.mean([bound.low <= ratio <= bound.high for bound, ratio in zip(bounds, new, strict=True)])
    below = np.mean([ratio <= upper_factor(ones, row, confidence) for row, ratio in zip(known, new, strict=True)])
    most = confidence + 1 / (num + 1) + 0.012
    assert confidence - 0.012 < inside < most and confidence - 0.012 < below < most
    pooled = coverage(np.ones(ratios[:20].size), ratios[:20].ravel(), confidence)
    assert pooled == pytest.approx(confidence, abs=0.02)


def test_ratios_not_differences_count() -> None:
    predicted, measured = [1.0, 10.0] * 10, [1.1, 11.0] * 10
    assert upper_factor(predicted, measured, 0.9) == pytest.approx(1.1)
    bounds = interval(predicted, measured, 0.9)
    assert (bounds.low, bounds.high) == (pytest.approx(0.9), pytest.approx(1.1))
    assert interval([1.0] * 20, [9.0] * 20, 0.9) == Interval(0.0, 9.0)


@pytest.mark.parametrize(("confidence", "needed"), [(0.95, 19), (0.9, 9), (0.99, 99), (0.5, 1)])
def test_fewest_networks(confidence: float, needed: int) -> None:
    upper_factor([1.0] * needed, [1.0] * needed, confidence)
    with pytest.raises(UserError, match=f"needs {needed} networks.*there are {needed - 1}.*larger holdout"):
        upper_factor([1.0] * (needed - 1), [1.0] * (needed - 1), confidence)


@pytest.mark.parametrize("confidence", [0.0, 0.3, 1.0, 95.0, -1.0, float("nan")])
def test_no_confidence(confidence: float) -> None:
    with pytest.raises(UserError, match=r"at least 0\.5 and below 1"):
        interval([1.0] * 99, [1.0] * 99, confidence)
