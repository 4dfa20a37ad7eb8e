from __future__ import annotations

import numpy as np
import pytest

from predictors.interactions import InteractionRidge
from predictors.ridge import Ridge

BLOCKS = {"sizes": slice(0, 8), "costs": slice(8, 10)}


def data(num: int, seed: int, *, interaction: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    encodings = rng.random((num, 10))
    targets = encodings @ np.linspace(-1, 1, 10) + interaction * (encodings[:, 2] - 0.5) * (encodings[:, 5] - 0.5)
    return encodings, targets + 0.1 * rng.normal(size=num)


def test_an_interaction_that_pays_is_found() -> None:
    encodings, targets = data(120, 0, interaction=4.0)
    model = InteractionRidge.fit(encodings, targets, np.arange(120), seed=0, blocks=BLOCKS)
    assert {(2, 5), (5, 2)} & set(zip(model.first.astype(int), model.second.astype(int), strict=True))
    assert len(model.first) <= 30  # of n records at most n / 4
    new, truth = data(400, 1, interaction=4.0)
    main = Ridge.fit(encodings, targets, np.arange(120), seed=0)
    errors = [np.mean((predictor.predict(new).mean - truth) ** 2) for predictor in (model, main)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_does_not_pay_is_left_out(seed: int) -> None:
    encodings, targets = data(120, seed, interaction=0.0)
    model = InteractionRidge.fit(encodings, targets, np.arange(120), seed=0, blocks=BLOCKS)
    assert len(model.first) == 0
    main = Ridge.fit(encodings, targets, np.arange(120), seed=0)
    assert np.array_equal(model.predict(encodings).mean, main.predict(encodings).mean)
