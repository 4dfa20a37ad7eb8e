"""Intervals of accuracies."""

from __future__ import annotations

import numpy as np
import pytest

from ofa.proportions import wilson


@pytest.mark.parametrize(
    ("right", "num", "low", "high"),
    # scipy 1.17: binomtest(right, num).proportion_ci(0.95, method="wilson")
    [(180, 200, 0.850594, 0.934330), (10, 10, 0.722467, 1.0), (0, 10, 0.0, 0.277533), (50, 100, 0.403832, 0.596168)],
)
def test_intervals_are_wilsons(right: int, num: int, low: float, high: float) -> None:
    assert wilson(right / num, num) == pytest.approx((low, high), abs=1e-6)


def test_intervals_of_accuracies_are_wilsons() -> None:
    accuracy, num = np.array([0.975, 0.5, 0.01, 1.0, 0.0]), 400
    lower, upper = wilson(accuracy, num)
    assert (lower <= accuracy).all() and (accuracy <= upper).all() and lower[4] == 0 and upper[3] == 1
    for end, inside in ((lower, slice(0, 4)), (upper, [0, 1, 2, 4])):
        # what defines the ends: the share found lies 1.96 standard errors from a true share there
        away = np.abs(accuracy - end)[inside] / np.sqrt(end * (1 - end) / num)[inside]
        assert away == pytest.approx(np.full(4, 1.96), abs=1e-4)
