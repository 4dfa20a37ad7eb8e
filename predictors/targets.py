"""What the models regress. Error rates of 2 % and 1 % are as far apart as 20 % and 10 %: hence the logarithm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Error rate below which the logarithm is flat: a perfect score on a finite split is not infinitely good.
_ERROR_FLOOR = 1e-3


@dataclass(frozen=True)
class Target:
    """A strictly increasing map of accuracies (0..1) to what is regressed, and back (clipped to 0..1)."""

    from_accuracy: Callable[[Floats], Floats]
    to_accuracy: Callable[[Floats], Floats]


TARGETS: dict[str, Target] = {
    "accuracy": Target(
        from_accuracy=lambda accuracies: np.asarray(accuracies, dtype=np.float64),
        to_accuracy=lambda targets: np.clip(targets, 0.0, 1.0),
    ),
    "log_error": Target(
        from_accuracy=lambda accuracies: -np.log(1.0 - np.asarray(accuracies, dtype=np.float64) + _ERROR_FLOOR),
        to_accuracy=lambda targets: np.clip(1.0 + _ERROR_FLOOR - np.exp(-targets), 0.0, 1.0),
    ),
}
