from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors.rankings import (
    Bootstrap,
    between_seeds,
    binomial_noise,
    image_noise,
    mean_of,
    noise_ceiling,
    seed_noise,
    spearman,
    top_k_regret,
)
from predictors.statistics import kendall_tau

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=6)
BOOTSTRAP = Bootstrap(level=0.9, resamples=200, seed=0)


def once(statistic, num: int) -> float:
    return float(statistic(np.ones((1, num)))[0])


@given(pairs)
def test_spearman_is_scipys(items: list[tuple[int, int]]) -> None:
    first, second = zip(*items, strict=True)
    constant = len(set(first)) == 1 or len(set(second)) == 1
    expected = 0.0 if constant else scipy.stats.spearmanr(first, second).statistic
    assert once(spearman(first, second), len(items)) == pytest.approx(expected, abs=1e-9)


@given(pairs, st.integers(1, 7))
@settings(max_examples=60)
def test_regret_is_the_mean_over_all_orders_of_tied_predictions(items: list[tuple[int, int]], k: int) -> None:
    predicted, true = (np.array(side, dtype=float) for side in zip(*items, strict=True))
    regrets = []
    for order in itertools.permutations(range(len(items))):
        ranked = sorted(order, key=lambda i: -predicted[i])  # stable: the permutation decides among ties
        regrets.append(true.max() - true[ranked[:k]].max())
    assert once(top_k_regret(predicted, true, k), len(items)) == pytest.approx(np.mean(regrets), abs=1e-9)


def test_a_weight_of_two_is_the_item_twice() -> None:
    rng = np.random.default_rng(0)
    predicted, true = rng.normal(size=(2, 20)).round(1)
    picked = rng.integers(20, size=(5, 20))
    weights = np.stack([np.bincount(row, minlength=20) for row in picked]).astype(float)
    for make in (spearman, lambda p, t: top_k_regret(p, t, 1), lambda p, t: top_k_regret(p, t, 5)):
        repeated = [once(make(predicted[row], true[row]), 20) for row in picked]
        assert make(predicted, true)(weights) == pytest.approx(repeated)


def test_agreement_of_known_rankings() -> None:
    true = np.arange(12) / 100
    perfect, reversed_ = (BOOTSTRAP.agreement(order, true) for order in (true, -true))
    assert perfect.tau.value == perfect.spearman.value == perfect.tau.lower == pytest.approx(1)
    assert reversed_.tau.value == reversed_.spearman.upper == pytest.approx(-1)
    assert set(perfect.regret) == {"1", "5", "10"}
    assert [perfect.regret[k].upper for k in ("1", "5", "10")] == pytest.approx([0, 0, 0])
    assert [reversed_.regret[k].value for k in ("1", "5", "10")] == pytest.approx([0.11, 0.07, 0.02])
    assert set(BOOTSTRAP.agreement(true[:8], true[:8]).regret) == {"1", "5"}  # ten of eight is no choice


def test_intervals_hold_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    correlation = 0.7
    expected = 6 / np.pi * np.arcsin(correlation / 2)
    inside = 0
    for _ in range(150):
        first, other = rng.normal(size=(2, 50))
        second = correlation * first + np.sqrt(1 - correlation**2) * other
        found = BOOTSTRAP.estimate(spearman(first, second), 50)
        assert found.lower < found.value < found.upper
        inside += found.lower <= expected <= found.upper
    assert 0.8 <= inside / 150 <= 0.96


def test_two_seeds() -> None:
    rows = np.random.default_rng(2).normal(size=(3, 10))
    taus = [once(kendall_tau(rows[i], rows[j]), 10) for i, j in ((0, 1), (0, 2), (1, 2))]
    found = between_seeds(rows, BOOTSTRAP)
    assert found is not None and found.value == pytest.approx(np.mean(taus))
    assert once(mean_of([kendall_tau(rows[0], rows[1])]), 10) == pytest.approx(taus[0])
    assert between_seeds(rows[:1], BOOTSTRAP) is None
    same = between_seeds(np.stack([rows[0], rows[0]]), BOOTSTRAP)
    assert same is not None and same.value == same.lower == pytest.approx(1)


@pytest.mark.parametrize("spread", [0.005, 0.01, 0.03])
def test_the_ceiling_is_what_the_truth_scores(spread: float) -> None:
    """Measured from noisy accuracies alone, it is the tau that the truth behind them reaches, on average."""
    rng = np.random.default_rng(3)
    ceilings, reached, naive = [], [], []
    for trial in range(20):
        truth = np.clip(0.9 + spread * rng.normal(size=60), 0, 1)
        measured = rng.binomial(400, truth) / 400
        noise = binomial_noise(measured, 400, num_draws=40, seed=trial)
        ceilings.append(noise_ceiling(measured, noise, level=0.9, grid=400).tau.value)
        reached.append(once(kendall_tau(truth, measured), 60))
        naive.append(np.mean([once(kendall_tau(measured, measured + row), 60) for row in noise]))
    assert np.mean(ceilings) == pytest.approx(np.mean(reached), abs=0.07)
    assert np.mean(naive) > np.mean(reached) + (0.1 if spread < 0.03 else 0.02)  # as if what was measured were true


def test_ceilings_at_both_ends() -> None:
    accuracies = np.linspace(0.8, 0.9, 20)
    silent = noise_ceiling(accuracies, np.zeros((10, 20)), level=0.9)
    assert silent.tau.value == silent.spearman.value == pytest.approx(1)
    assert [one.value for one in silent.regret.values()] == pytest.approx([0, 0, 0])
    loud = noise_ceiling(accuracies, np.random.default_rng(0).normal(size=(50, 20)), level=0.9)
    assert loud.tau.value == loud.spearman.value == 0  # nothing but noise: the truth is that all are equal
    assert loud.regret["1"].value > loud.regret["10"].value > 0
    assert noise_ceiling(np.full(9, 0.5), np.zeros((3, 9)), level=0.9).tau.value == 0


def test_images_that_are_hard_for_all_cost_rankings_little() -> None:
    """Networks that differ on few images are told apart far better than independent noise would have it."""
    rng = np.random.default_rng(4)
    difficulty, skill = rng.random(2000), np.linspace(0.90, 0.93, 16)
    correct = difficulty < skill[:, None]
    accuracies = correct.mean(axis=1)
    same = image_noise(correct, num_draws=100, seed=0)
    own = binomial_noise(accuracies, 2000, num_draws=100, seed=0)
    assert same.std(axis=0).mean() == pytest.approx(own.std(axis=0).mean(), rel=0.15)  # each alone is as noisy
    assert np.corrcoef(same.T).min() > 0.7 and abs(np.corrcoef(own.T)[np.triu_indices(16, 1)].mean()) < 0.05
    ceilings = [noise_ceiling(accuracies, noise, level=0.9, grid=2000).tau.value for noise in (same, own)]
    assert ceilings[0] > 0.9 > ceilings[1]


def test_the_ceiling_of_shared_images_is_what_the_truth_scores() -> None:
    """The truth being the accuracy over all images: those that are drawn are the same for all networks."""
    rng = np.random.default_rng(7)
    ceilings, independent, reached = [], [], []
    for trial in range(12):
        skill, difficulty = 3 + 0.3 * rng.normal(size=40), 2.5 * rng.normal(size=(2, 4000))
        right = [rng.random((40, 4000)) < 1 / (1 + np.exp(-3 * (skill[:, None] - hard))) for hard in difficulty]
        truth, correct = np.concatenate(right, axis=1)[:, 500:].mean(axis=1), right[0][:, :500]
        measured = correct.mean(axis=1)
        reached.append(once(kendall_tau(truth, measured), 40))
        for noise, found in (
            (image_noise(correct, num_draws=40, seed=trial), ceilings),
            (binomial_noise(measured, 500, num_draws=40, seed=trial), independent),
        ):
            found.append(noise_ceiling(measured, noise, level=0.9, grid=500).tau.value)
    assert np.mean(ceilings) == pytest.approx(np.mean(reached), abs=0.07)
    assert np.mean(independent) < np.mean(reached) - 0.1


def test_noise_of_other_images_is_that_of_resampled_ones() -> None:
    correct = np.random.default_rng(5).random((3, 50)) < 0.8
    noise = image_noise(correct, num_draws=4000, seed=0)
    assert np.cov(noise.T) == pytest.approx(np.cov(correct, ddof=0) / 50, abs=3e-4)
    assert noise.mean(axis=0) == pytest.approx(np.zeros(3), abs=3e-3)


def test_noise_of_the_mean_of_seeds() -> None:
    rng = np.random.default_rng(6)
    accuracies = np.linspace(0.8, 0.9, 200) + 0.02 * rng.normal(size=(4, 200))
    assert seed_noise(accuracies, num_draws=50, seed=0).std() == pytest.approx(0.02 / 2, rel=0.1)
