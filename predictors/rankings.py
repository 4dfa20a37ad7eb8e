"""How far a ranking agrees with the truth, with intervals; and how far a perfect one would, as the truth is noisy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from predictors.statistics import Estimate, Floats, Statistic, estimate, kendall_tau

#: The k of top-k regret.
TOP = (1, 5, 10)


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b, Spearman's rho, and the regret (in accuracy, 0..1) of trying the k networks predicted best."""

    tau: Estimate
    spearman: Estimate
    regret: dict[str, Estimate]
    """By k as text; only those that are smaller than the number of networks."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: resampling networks with replacement."""

    level: float
    resamples: int
    seed: int

    def estimate(self, statistic: Statistic, num: int) -> Estimate:
        return estimate(statistic, num, level=self.level, resamples=self.resamples, seed=self.seed)

    def agreement(self, predicted: npt.ArrayLike, true: npt.ArrayLike) -> Agreement:
        """Of predicted and true accuracies (num,); equal networks are resampled whoever predicts."""
        num = np.size(true)
        return _agreement(
            {name: self.estimate(statistic, num) for name, statistic in _statistics(predicted, true).items()}
        )


def spearman(predicted: npt.ArrayLike, true: npt.ArrayLike) -> Statistic:
    """Spearman's rank correlation of the weighted items, ties at their mean rank; 0 where it is undefined."""
    below_predicted, below_true = _below(predicted), _below(true)

    def statistic(weights: Floats) -> Floats:
        ranks_predicted, ranks_true = (_centred(weights @ below.T, weights) for below in (below_predicted, below_true))
        products, squares_predicted, squares_true = (
            np.sum(weights * first * second, axis=1)
            for first, second in (
                (ranks_predicted, ranks_true),
                (ranks_predicted, ranks_predicted),
                (ranks_true, ranks_true),
            )
        )
        scale = np.sqrt(squares_predicted * squares_true)
        return np.divide(products, scale, out=np.zeros_like(scale), where=scale > 1e-9)

    return statistic


def top_k_regret(predicted: npt.ArrayLike, true: npt.ArrayLike, k: int) -> Statistic:
    """Accuracy of the truly best item minus the best true accuracy among the k predicted best; an item of weight 2
    takes two of the k places.

    Where predictions tie for the last places, it is the expectation over which of them get these.
    """
    accuracies = np.asarray(true, dtype=np.float64)
    order = np.argsort(accuracies, kind="stable")
    accuracies, ranked = accuracies[order], np.asarray(predicted, dtype=np.float64)[order]
    above = (ranked[:, None] > ranked[None, :]).astype(np.float64)  # [j, i]: j is predicted better than i
    tied = (ranked[:, None] == ranked[None, :]).astype(np.float64)
    steps = np.diff(accuracies)

    def statistic(weights: Floats) -> Floats:
        weights = weights[:, order]
        drawn = weights > 0
        num_above, num_tied = weights @ above, weights @ tied
        chosen = drawn & (num_above + num_tied <= k)
        maybe = drawn & (num_above < k) & ~chosen  # one group of equal predictions, more than there are places for
        places = k - np.max(np.where(maybe, num_above, 0), axis=1, keepdims=True)
        num_maybe = np.max(np.where(maybe, num_tied, 0), axis=1, keepdims=True)
        # from every accuracy up: is an item chosen there, and how many are there that may be
        chosen_up = np.flip(np.logical_or.accumulate(np.flip(chosen, axis=1), axis=1), axis=1)
        maybe_up = np.flip(np.cumsum(np.flip(np.where(maybe, weights, 0), axis=1), axis=1), axis=1)
        missed = np.where(maybe_up > 0, _none_of(maybe_up, num_maybe, places), 1.0)
        reached = np.where(chosen_up, 1.0, 1.0 - missed)
        best = accuracies[drawn.shape[1] - 1 - np.argmax(np.flip(drawn, axis=1), axis=1)]
        return np.asarray(np.maximum(best - accuracies[0] - reached[:, 1:] @ steps, 0.0))

    return statistic


def mean_of(statistics: Iterable[Statistic]) -> Statistic:
    """The mean of several statistics of the same items, resampled together."""
    kept = list(statistics)
    return lambda weights: np.mean([statistic(weights) for statistic in kept], axis=0)


def between_seeds(accuracies: npt.ArrayLike, bootstrap: Bootstrap) -> Estimate | None:
    """Kendall's tau between two trainings of the same networks, mean over the pairs of seeds; None for one seed.

    `accuracies` are (num_seeds, num).
    """
    rows = np.asarray(accuracies, dtype=np.float64)
    pairs = [kendall_tau(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
    return bootstrap.estimate(mean_of(pairs), rows.shape[1]) if pairs else None


def noise_ceiling(accuracies: npt.ArrayLike, noise: Floats, *, level: float, grid: int | None = None) -> Agreement:
    """What the ranking by the very truth would score, held against accuracies measured as noisily as these.

    Simulated: the truth is the measured accuracies (num,) drawn together until their variance is what is left without
    that of the noise (method of moments); a measurement is the truth plus a row of `noise` (num_draws, num), rounded to
    multiples of 1/`grid`. Values are means over the rows, ends their quantiles: a ranking that scores between the ends
    cannot be told from a perfect one.
    """
    measured = np.asarray(accuracies, dtype=np.float64)
    observed = measured.var(ddof=1)
    left = max(0.0, 1.0 - float(noise.var(axis=1, ddof=1).mean()) / observed) if observed > 0 else 0.0
    truth = measured.mean() + np.sqrt(left) * (measured - measured.mean())
    if left == 0:
        truth = np.full(len(measured), measured.mean())  # exactly equal, so that they tie
    again = truth + noise
    if grid is not None:
        again = np.round(again * grid) / grid
    ones = np.ones((1, len(measured)))
    draws = [{name: float(statistic(ones)[0]) for name, statistic in _statistics(truth, row).items()} for row in again]

    def over_draws(name: str) -> Estimate:
        values = [draw[name] for draw in draws]
        lower, upper = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        return Estimate(value=float(np.mean(values)), lower=float(lower), upper=float(upper))

    return _agreement({name: over_draws(name) for name in draws[0]})


def image_noise(correct: npt.NDArray[np.bool_], *, num_draws: int, seed: int) -> Floats:
    """(num_draws, num): how accuracies change when the images are drawn again, with replacement, the same for all.

    `correct` (num, num_images) says which images each network gets right. Hard images are hard for all networks, so
    their accuracies rise and fall together, and rankings suffer less than from independent noise.
    """
    num_images = correct.shape[1]
    weights = np.random.default_rng([seed, num_images]).multinomial(
        num_images, np.full(num_images, 1.0 / num_images), size=num_draws
    )
    return np.asarray(weights @ correct.T.astype(np.float64) / num_images - correct.mean(axis=1))


def binomial_noise(accuracies: npt.ArrayLike, num_images: int, *, num_draws: int, seed: int) -> Floats:
    """(num_draws, num): how accuracies change when every network is tried on `num_images` images of its own."""
    share = np.asarray(accuracies, dtype=np.float64)
    rng = np.random.default_rng([seed, num_images])
    return np.asarray(rng.binomial(num_images, share, size=(num_draws, len(share))) / num_images - share)


def seed_noise(accuracies: npt.ArrayLike, *, num_draws: int, seed: int) -> Floats:
    """(num_draws, num): how the mean over seeds of each network changes with other seeds. Normal, with the variance
    that the seeds show, pooled over networks; `accuracies` are (num_seeds, num) of at least two seeds.
    """
    rows = np.asarray(accuracies, dtype=np.float64)
    deviation = np.sqrt(rows.var(axis=0, ddof=1).mean() / len(rows))
    return np.asarray(deviation * np.random.default_rng([seed, len(rows)]).normal(size=(num_draws, rows.shape[1])))


def _statistics(predicted: npt.ArrayLike, true: npt.ArrayLike) -> dict[str, Statistic]:
    """Those of an agreement, by their names; regrets by their k."""
    regrets = {str(k): top_k_regret(predicted, true, k) for k in TOP if k < np.size(true)}
    return {"tau": kendall_tau(predicted, true), "spearman": spearman(predicted, true), **regrets}


def _agreement(found: Mapping[str, Estimate]) -> Agreement:
    regret = {name: value for name, value in found.items() if name.isdigit()}
    return Agreement(tau=found["tau"], spearman=found["spearman"], regret=regret)


def _below(values: npt.ArrayLike) -> Floats:
    """(num, num): 1 where the second item is below the first, one half where they tie; rows times weights are ranks."""
    array = np.asarray(values, dtype=np.float64)
    return (array[None, :] < array[:, None]) + 0.5 * (array[None, :] == array[:, None])


def _centred(ranks: Floats, weights: Floats) -> Floats:
    mean = np.sum(weights * ranks, axis=1) / np.sum(weights, axis=1)
    return np.asarray(ranks - mean[:, None])


def _none_of(wanted: Floats, num: Floats, places: Floats) -> Floats:
    """Probability that `places` of `num` items, drawn without replacement, are none of the `wanted` ones."""
    others = num - wanted
    enough = others >= places
    others, places = np.where(enough, others, 1.0), np.where(enough, places, 0.0)
    ways, all_ways = (
        gammaln(items + 1) - gammaln(items - places + 1) for items in (others, np.where(enough, num, 1.0))
    )
    return np.where(enough, np.exp(ways - all_ways), 0.0)
