from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

import predictors.gp as gp
from predictors.gp import GaussianProcess
from predictors.gp_kernel import BlockKernel

BLOCKS = {"genes": slice(0, 4), "size": slice(4, 5), "macs": slice(5, 6)}


def sample(num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    encodings = rng.random((num, 6))
    return encodings, np.sin(3 * encodings[:, 0]) + encodings[:, 4] + 0.1 * rng.normal(size=num)


def fit(encodings: np.ndarray, targets: np.ndarray) -> GaussianProcess:
    return GaussianProcess.fit(encodings, targets, np.arange(len(targets)), seed=0, blocks=BLOCKS)


def test_gradients_are_those_of_finite_differences() -> None:
    """Through the covariance: the sum of its products with fixed weights."""
    inputs = sample(12)[0]
    inputs -= inputs.mean(axis=0)
    kernel = BlockKernel.of(inputs, BLOCKS, np.zeros(6), constant=1.0)
    parts, weights = kernel.parts(inputs), np.random.default_rng(1).normal(size=(12, 12))
    error = check_grad(
        lambda logs: float(np.vdot(weights, kernel.covariance(logs, parts)[0])),
        lambda logs: np.array([np.vdot(weights, part) for part in kernel.covariance(logs, parts)[1]]),
        kernel.prior[0],
    )
    assert error < 1e-5


def test_the_posterior_is_the_textbooks() -> None:
    """Mean and variance by solving with the covariance of records, spelt out column by column."""
    encodings, targets = sample(25)
    model, new = fit(encodings, targets), sample(5, seed=9)[0]
    amplitude, constant, noise, mean, deviation = model.scalars

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = np.empty((len(a), len(b)))
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                root = np.sqrt(5 * np.sum(model.metric * (x - y) ** 2))
                out[i, j] = constant + np.sum(model.linear * x * y)
                out[i, j] += amplitude * (1 + root + root**2 / 3) * np.exp(-root)
        return out

    known, asked = encodings - encodings.mean(axis=0), new - encodings.mean(axis=0)
    own = covariance(known, known) + (noise + 1e-8) * np.eye(25)
    across = covariance(asked, known)
    residuals = (targets - mean) / deviation - known @ model.slopes
    expected = mean + deviation * (asked @ model.slopes + across @ np.linalg.solve(own, residuals))
    variance = np.diag(covariance(asked, asked) - across @ np.linalg.solve(own, across.T)) + noise
    prediction = model.predict(new)
    assert prediction.mean == pytest.approx(expected, abs=1e-7)
    assert prediction.upper - prediction.mean == pytest.approx(deviation * np.sqrt(variance), abs=1e-4)


def test_it_learns_the_noise_and_knows_less_far_away() -> None:
    model = fit(*sample(150))
    noise = np.sqrt(model.scalars[2]) * model.scalars[4]
    assert 0.07 <= noise <= 0.14
    near, far = model.predict(np.full((1, 6), 0.5)), model.predict(np.full((1, 6), 3.0))
    assert (far.upper - far.lower)[0] > 2 * (near.upper - near.lower)[0]


def test_with_few_records_larger_is_expected_to_be_better() -> None:
    """Records that say nothing of size: what they leave open is ranked by it."""
    rng = np.random.default_rng(0)
    encodings, luck = rng.random((10, 6)), rng.normal(size=10)
    size = np.stack([np.ones(10), *encodings[:, 4:].T], axis=1)
    model = fit(encodings, luck - size @ np.linalg.lstsq(size, luck, rcond=None)[0])
    ranked = np.full((5, 6), 0.5)
    ranked[:, 4] = ranked[:, 5] = np.linspace(0, 1, 5)
    assert model.predict(ranked).mean[4] > model.predict(ranked).mean[0]


def test_hyper_parameters_of_many_records_come_from_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gp, "_MOST_FOR_HYPER", 60)
    encodings, targets = sample(150)
    model = fit(encodings, targets)
    order = np.random.default_rng(4).permutation(150)
    again = fit(encodings[order], targets[order])
    new, truth = sample(300, seed=5)
    assert model.inputs.shape == (150, 6)
    assert np.allclose(model.predict(new).mean, again.predict(new).mean, atol=1e-3)
    assert np.sqrt(np.mean((model.predict(new).mean - truth) ** 2)) < 0.15


def test_variances_of_many_records_come_from_the_largest_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cheaper, and never narrower than the exact ones."""
    exact, new = fit(*sample(150)), sample(200, seed=5)[0]
    monkeypatch.setattr(gp, "_MOST_DIRECTIONS", 40)
    short = fit(*sample(150))
    assert short.solver.shape == (40, 150)
    first, second = exact.predict(new), short.predict(new)
    assert np.array_equal(first.mean, second.mean)
    ratio = (second.upper - second.lower) / (first.upper - first.lower)
    assert ratio.min() >= 1 - 1e-4
    assert ratio.max() < 1.2


def test_refitting_keeps_the_hyper_parameters() -> None:
    encodings, targets = sample(60)
    first = fit(encodings[:40], targets[:40])
    more = first.refit(encodings, targets, np.arange(60), blocks=BLOCKS)
    assert np.array_equal(first.hyper, more.hyper)
    assert len(more.inputs) == 60
    same = first.refit(encodings[:40], targets[:40], np.arange(40), blocks=BLOCKS)
    assert np.array_equal(first.predict(encodings).mean, same.predict(encodings).mean)
