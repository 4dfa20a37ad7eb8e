"""The covariance of the Gaussian process: linear effects and a Matern 5/2 term, each weighted by block of columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.features import Blocks

Floats = npt.NDArray[np.float64]

#: medians of the prior, for standardised targets: variance of the linear effects of a block, of the Matern term, and
#: the squared distance over a block between two random records
_LINEAR, _AMPLITUDE, _DISTANCE = 0.1, 0.5, 0.3
#: standard deviation of the logarithms
_DEVIATION = 2.0


@dataclass(frozen=True)
class HyperParameters:
    """Weights of single columns, (F,) each, and the variance of the Matern term."""

    linear: Floats
    metric: Floats
    amplitude: float


@dataclass(frozen=True)
class BlockKernel:
    """`constant + x (linear) x' + amplitude matern(|x - x'|_metric)`; logs: linear (B,), amplitude, metric (B,)."""

    linear_units: Floats  # (B, F): weights of the columns of each block, by which its linear effects have variance 1
    metric_units: Floats  # (B, F): by which two random records are at distance 1
    uncertain: Floats  # (F,) prior variances of the slopes of the trend, not learnt
    constant: float

    @classmethod
    def of(cls, inputs: Floats, blocks: Blocks, uncertain: Floats, *, constant: float) -> BlockKernel:
        """`inputs` (n, F) are centred. A block of constants has no weight, whatever its hyper-parameters."""
        linear = np.zeros((len(blocks), inputs.shape[1]))
        for row, columns in zip(linear, blocks.values(), strict=True):
            variance = float((inputs[:, columns] ** 2).mean(axis=0).sum())
            row[columns] = 1.0 / variance if variance > 1e-12 else 0.0
        return cls(linear, linear / 2.0, uncertain, constant)

    @property
    def prior(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the logarithms."""
        blocks = len(self.linear_units)
        middle = np.log([_LINEAR] * blocks + [_AMPLITUDE] + [_DISTANCE] * blocks)
        return middle, np.full(len(middle), _DEVIATION)

    def spread(self, logs: Floats) -> HyperParameters:
        """Hyper-parameters of columns instead of blocks."""
        blocks = len(self.linear_units)
        values = np.exp(logs)
        return HyperParameters(
            linear=values[:blocks] @ self.linear_units + self.uncertain,
            metric=values[blocks + 1 :] @ self.metric_units,
            amplitude=float(values[blocks]),
        )

    def parts(self, inputs: Floats) -> tuple[Floats, Floats, Floats]:
        """What does not depend on hyper-parameters: (B, n, n) products, (B, n, n) distances, (n, n) of the trend."""
        products = np.stack([(inputs * units) @ inputs.T for units in self.linear_units])
        distances = np.stack([squared_distances(inputs, inputs, units) for units in self.metric_units])
        return products, distances, (inputs * self.uncertain) @ inputs.T + self.constant

    def covariance(
        self, logs: Floats, parts: tuple[Floats, Floats, Floats], *, derivatives: bool = True
    ) -> tuple[Floats, list[Floats]]:
        """(n, n), and its derivatives by the logarithms."""
        products, distances, trend = parts
        blocks = len(products)
        values = np.exp(logs)
        linear, amplitude, metric = values[:blocks], values[blocks], values[blocks + 1 :]
        squared = np.tensordot(metric, distances, axes=1)
        near = amplitude * matern(squared)
        covariance = np.tensordot(linear, products, axes=1) + near + trend
        if not derivatives:
            return covariance, []
        root = np.sqrt(5.0 * squared)
        slope = (-5.0 / 6.0) * amplitude * (1.0 + root) * np.exp(-root)  # of the Matern term by the squared distance
        return covariance, [
            *(weight * product for weight, product in zip(linear, products, strict=True)),
            near,
            *(weight * distance * slope for weight, distance in zip(metric, distances, strict=True)),
        ]


def squared_distances(first: Floats, second: Floats, weights: Floats) -> Floats:
    """(n, m) weighted squared distances between the rows of (n, F) and (m, F)."""
    weighted = second * weights
    squared = first @ (-2.0 * weighted).T
    squared += ((first * first) @ weights)[:, None]
    squared += np.einsum("ij,ij->i", second, weighted)[None]
    return np.maximum(squared, 0.0, out=squared)


def matern(squared: Floats) -> Floats:
    """Matern covariance of smoothness 5/2 and unit variance at these squared distances."""
    root = np.sqrt(5.0 * squared)
    falling = np.exp(-root)
    root += (5.0 / 3.0) * squared
    root += 1.0
    root *= falling
    return root
