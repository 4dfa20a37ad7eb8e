"""A Gaussian process on the encoding: a trend that grows with size, linear effects, and what is like its neighbours.

    target = trend . x  +  linear effects (prior variance by block of columns)  +  f(x)  +  noise

f has a Matern 5/2 covariance over a weighted distance between encodings: automatic relevance determination, by block of
the encoding (a one-hot block gives the weighted Hamming distance of the genes). Every weight and the noise maximise the
marginal likelihood times a log-normal prior (Rasmussen and Williams, "Gaussian processes for machine learning", 2006,
chapters 2.7 and 5.4), by L-BFGS from analytic gradients. With few records the prior speaks, and it knows one thing of
networks: larger ones tend to be better, whatever their accuracies are spread over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.arrays import take
from predictors.base import Floats, Prediction
from predictors.features import Blocks
from predictors.gp_kernel import BlockKernel, HyperParameters, matern, squared_distances

#: standardised accuracy per standard deviation: means of the prior on the slopes, and its standard deviation
_SLOPES: Mapping[str, float] = {"size": 0.35, "macs": 0.25}
_SLOPE_DEVIATION = 0.3
_CONSTANT_VARIANCE = 1.0
#: prior of the noise variance, in units of the variance of the targets: log-normal median and deviation
_NOISE, _NOISE_DEVIATION = 0.1, 1.0
#: no more records than this find the hyper-parameters (all of them make the predictions)
_MOST_FOR_HYPER = 300
_ITERATIONS = 60
#: variances are exact up to so many records; of more, they are those of the covariance's largest directions
_MOST_DIRECTIONS = 256


@dataclass(frozen=True)
class GaussianProcess:
    """Posterior of n records over F features. In units of the standardised targets:

    `mean = offset + x @ slopes + covariance(x, inputs) @ weights`, where x is centred and the covariance is
    `constant + x @ (linear * x') + amplitude * matern(distance)`.
    """

    inputs: Floats  # (n, F) centred
    weights: Floats  # (n,)
    solver: Floats  # (R, n): R^T R is the inverse of the records' covariance, or its part of the R largest directions
    centre: Floats  # (F,)
    slopes: Floats  # (F,) the trend
    linear: Floats  # (F,) prior variances of the linear effects
    metric: Floats  # (F,) weights of squared differences
    scalars: Floats  # (5,) amplitude, constant, noise variance, mean and deviation of the targets
    hyper: Floats  # the logarithms that maximise the posterior: a refit can keep them

    @classmethod
    def fit(
        cls,
        encodings: Floats,
        targets: Floats,
        groups: npt.NDArray[np.int64],
        *,
        seed: int,
        blocks: Blocks | None = None,
    ) -> GaussianProcess:
        """Deterministic: one start, at the prior's mode. O(n^3) for n records; hyper-parameters by at most 300."""
        problem = _Problem.of(encodings, targets, blocks)
        rows = _spread(targets, _MOST_FOR_HYPER)
        return problem.posterior(problem.maximised(rows))

    def refit(
        self, encodings: Floats, targets: Floats, groups: npt.NDArray[np.int64], *, blocks: Blocks | None = None
    ) -> GaussianProcess:
        """The posterior of these records under the hyper-parameters that are known: one Cholesky factorisation."""
        return _Problem.of(encodings, targets, blocks).posterior(self.hyper)

    def predict(self, encodings: Floats) -> Prediction:
        x = encodings - self.centre
        amplitude, constant, noise, mean, deviation = self.scalars
        covariance = matern(squared_distances(x, self.inputs, self.metric))
        covariance *= amplitude
        covariance += constant
        own = amplitude + constant + (x * x) @ self.linear
        covariance += x @ (self.inputs * self.linear).T
        found = x @ self.slopes + covariance @ self.weights
        explained = covariance.astype(np.float32) @ self.solver.T.astype(np.float32)  # a width needs no more digits
        variance = np.maximum(own - np.einsum("ij,ij->i", explained, explained), 0.0) + noise
        half = deviation * np.sqrt(variance)
        found = mean + deviation * found
        return Prediction(mean=found, lower=found - half, upper=found + half)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in _shapes(0, 0)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> GaussianProcess:
        num = len(arrays["weights"]) if "weights" in arrays and arrays["weights"].ndim == 1 else 0
        checked = take(arrays, _shapes(num, num_features))
        if len(checked["solver"]) > max(num, 1):
            raise ValueError(f"array 'solver' has shape {checked['solver'].shape}: more directions than records")
        for name in ("linear", "metric"):
            if (checked[name] < 0).any():
                raise ValueError(f"array {name!r} holds a negative number")
        if (checked["scalars"][[0, 1, 2, 4]] < 0).any():
            raise ValueError("array 'scalars' holds a negative variance")
        return cls(**checked)


def _shapes(num: int, features: int) -> dict[str, tuple[int | None, ...]]:
    return {
        "inputs": (num, features),
        "weights": (num,),
        "solver": (None, num),
        "centre": (features,),
        "slopes": (features,),
        "linear": (features,),
        "metric": (features,),
        "scalars": (5,),
        "hyper": (None,),
    }


@dataclass(frozen=True)
class _Problem:
    """Records, centred and standardised, with the trend that the prior expects taken off."""

    inputs: Floats  # (n, F)
    residuals: Floats  # (n,)
    kernel: BlockKernel
    centre: Floats
    slopes: Floats
    target: tuple[float, float]

    @classmethod
    def of(cls, encodings: Floats, targets: Floats, blocks: Blocks | None) -> _Problem:
        num_features = encodings.shape[1]
        blocks = {"all": slice(0, num_features)} if blocks is None else blocks
        centre = encodings.mean(axis=0)
        inputs = encodings - centre
        mean, deviation = float(targets.mean()), float(targets.std())
        deviation = deviation if deviation > 1e-9 else 1e-9
        slopes, uncertain = np.zeros(num_features), np.zeros(num_features)
        for name, slope in _SLOPES.items():
            spread = float(inputs[:, blocks[name]].std()) if name in blocks else 0.0
            if spread > 1e-9:
                slopes[blocks[name]] = slope / spread
                uncertain[blocks[name]] = (_SLOPE_DEVIATION / spread) ** 2
        return cls(
            inputs=inputs,
            residuals=(targets - mean) / deviation - inputs @ slopes,
            kernel=BlockKernel.of(inputs, blocks, uncertain, constant=_CONSTANT_VARIANCE),
            centre=centre,
            slopes=slopes,
            target=(mean, deviation),
        )

    def maximised(self, rows: npt.NDArray[np.int64]) -> Floats:
        """The logarithms of the hyper-parameters with the greatest posterior given these rows."""
        from scipy.linalg import solve_triangular
        from scipy.optimize import minimize

        middle, deviation = self.kernel.prior
        middle = np.append(middle, np.log(_NOISE))
        deviation = np.append(deviation, _NOISE_DEVIATION)
        residuals = self.residuals[rows]
        parts = self.kernel.parts(self.inputs[rows])
        identity = np.eye(len(rows))

        def loss(logs: Floats) -> tuple[float, Floats]:
            covariance, derivatives = self.kernel.covariance(logs[:-1], parts)
            try:
                factor = np.linalg.cholesky(covariance + (np.exp(logs[-1]) + 1e-8) * identity)
            except np.linalg.LinAlgError:
                return 1e10, np.zeros_like(logs)
            half = solve_triangular(factor, identity, lower=True, check_finite=False)
            inverse = half.T @ half
            weights = inverse @ residuals
            outer = np.outer(weights, weights) - inverse
            away = (logs - middle) / deviation
            gradient = [-0.5 * np.vdot(outer, derivative) for derivative in derivatives]
            gradient.append(-0.5 * np.trace(outer) * np.exp(logs[-1]))
            value = 0.5 * residuals @ weights + np.log(np.diag(factor)).sum() + 0.5 * away @ away
            return float(value), np.array(gradient) + away / deviation

        bounds = [(low, high) for low, high in zip(middle - 6 * deviation, middle + 6 * deviation, strict=True)]
        found = minimize(
            loss, middle, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS, "ftol": 1e-6}
        )
        return np.asarray(found.x)

    def posterior(self, hyper: Floats) -> GaussianProcess:
        from scipy.linalg import solve_triangular

        chosen: HyperParameters = self.kernel.spread(hyper[:-1])
        noise = float(np.exp(hyper[-1]))
        covariance, _ = self.kernel.covariance(hyper[:-1], self.kernel.parts(self.inputs), derivatives=False)
        factor = np.linalg.cholesky(covariance + (noise + 1e-8) * np.eye(len(self.inputs)))
        solver = solve_triangular(factor, np.eye(len(factor)), lower=True, check_finite=False)
        return GaussianProcess(
            inputs=self.inputs,
            weights=solver.T @ (solver @ self.residuals),
            solver=_largest(covariance, noise) if len(factor) > _MOST_DIRECTIONS else solver,
            centre=self.centre,
            slopes=self.slopes,
            linear=chosen.linear,
            metric=chosen.metric,
            scalars=np.array([chosen.amplitude, _CONSTANT_VARIANCE, noise, *self.target]),
            hyper=hyper,
        )


def _largest(covariance: Floats, noise: float) -> Floats:
    """(R, n): what the records' largest directions explain. What is left out can only widen the intervals."""
    from scipy.linalg import eigh

    num = len(covariance)
    values, vectors = eigh(covariance, subset_by_index=(num - _MOST_DIRECTIONS, num - 1), check_finite=False)
    return np.ascontiguousarray((vectors / np.sqrt(np.maximum(values, 0.0) + noise + 1e-8)).T)


def _spread(targets: Floats, most: int) -> npt.NDArray[np.int64]:
    """At most so many rows, evenly from the worst to the best (so that the order of the records is of no matter)."""
    order = np.argsort(targets, kind="stable")
    if len(order) <= most:
        return np.sort(order)
    return np.sort(order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)])
