from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from predictors.statistics import conformal_scale, estimate, kendall_tau, root_mean_squared_error

values = st.lists(st.integers(0, 5), min_size=2, max_size=12)


@given(values, st.randoms(use_true_random=False))
def test_kendall_tau_is_scipys(first: list[int], random) -> None:
    second = [random.randint(0, 5) for _ in first]
    tau = kendall_tau(first, second)(np.ones((1, len(first))))[0]
    expected = scipy.stats.kendalltau(first, second).statistic
    assert tau == pytest.approx(0.0 if np.isnan(expected) else expected)


def test_a_weight_of_two_is_the_item_twice() -> None:
    rng = np.random.default_rng(0)
    predicted, true = rng.normal(size=(2, 20))
    picked = rng.integers(20, size=20)
    weights = np.bincount(picked, minlength=20)[None].astype(float)
    for statistic, repeated in (
        (kendall_tau(predicted, true), scipy.stats.kendalltau(predicted[picked], true[picked]).statistic),
        (root_mean_squared_error(predicted, true), np.sqrt(np.mean((predicted[picked] - true[picked]) ** 2))),
    ):
        assert statistic(weights)[0] == pytest.approx(repeated)


def test_bootstrap_interval_has_about_its_coverage_and_repeats() -> None:
    rng = np.random.default_rng(5)
    inside = 0
    for trial in range(200):
        errors = rng.normal(size=60)
        found = estimate(root_mean_squared_error(errors, np.zeros(60)), 60, level=0.9, resamples=300, seed=trial)
        inside += found.lower <= 1.0 <= found.upper
    assert 160 <= inside <= 195
    statistic = kendall_tau(rng.normal(size=30), rng.normal(size=30))
    first, again = (estimate(statistic, 30, level=0.9, resamples=300, seed=3) for _ in range(2))
    assert first == again
    assert first.lower < first.value < first.upper


def test_conformal_scale_covers_new_residuals() -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(300):
        half = rng.uniform(0.5, 2.0, size=80)
        scale = conformal_scale(half[:40] * rng.standard_t(3, size=40), half[:40], level=0.8)
        covered.append(np.mean(np.abs(half[40:] * rng.standard_t(3, size=40)) <= scale * half[40:]))
    assert 0.79 <= np.mean(covered) <= 0.84
    assert conformal_scale(np.array([1.0, -3.0]), np.ones(2), level=0.99) == 3.0
