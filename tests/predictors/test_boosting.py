from __future__ import annotations

import numpy as np
import pytest

from predictors.boosting import Boosting, _fitted


@pytest.mark.parametrize("num", [12, 80])
def test_the_arrays_predict_what_scikit_learn_predicts(num: int) -> None:
    """Shares and one-hot columns put many values right on the thresholds."""
    rng = np.random.default_rng(0)
    encodings = np.concatenate([rng.integers(0, 4, size=(num, 6)) / 3, rng.random((num, 2))], axis=1)
    targets = encodings @ rng.normal(size=8) + encodings[:, 0] * encodings[:, 1]
    new = np.concatenate([rng.integers(0, 7, size=(500, 6)) / 6, rng.random((500, 2))], axis=1)
    model = Boosting.fit(encodings, targets, np.arange(num), seed=3)
    for rows in (encodings, new):
        expected = _fitted(encodings, targets, 3).predict(rows)
        assert model.predict(rows).mean == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_arrays_that_lead_out_of_a_tree_are_refused() -> None:
    rng = np.random.default_rng(0)
    arrays = Boosting.fit(rng.random((12, 3)), rng.random(12), np.arange(12), seed=0).arrays()
    for name, bad in (("left", 10**6), ("right", -1), ("feature", 3), ("left", 0.5)):
        with pytest.raises(ValueError, match=f"'{name}' does not hold whole numbers"):
            Boosting.from_arrays({**arrays, name: np.full_like(arrays[name], bad)}, num_features=3)
