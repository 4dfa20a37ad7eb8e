"""How far an accuracy, counted on some images, can be from that on all images there could be.

E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 1927).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def wilson(share: Floats | float, num: int, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """The ends of the interval of proportions that were found as `share` of `num` independent trials: it stays within
    0..1, holds `share`, and is right for shares near 1.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    found = np.asarray(share, dtype=np.float64)
    centre = found + z * z / (2 * num)
    half = z * np.sqrt(found * (1 - found) / num + (z / (2 * num)) ** 2)
    scale = 1 + z * z / num
    return np.clip((centre - half) / scale, 0, found), np.clip((centre + half) / scale, found, 1)
