"""How far an accuracy can be from that on all images there could be."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(share: float, num: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a proportion found as `share` of `num` independent trials (E. B. Wilson, Probable inference, the
    law of succession, and statistical inference, JASA 22, 1927): it stays within 0..1, and holds for shares near 1.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * num)
    half = z * math.sqrt(share * (1 - share) / num + (z / (2 * num)) ** 2)
    scale = 1 + z * z / num
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
