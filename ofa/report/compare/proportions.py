"""How sure accuracies are that were counted on so many images.

R. G. Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven methods"
(Statistics in Medicine 1998), method 10, of Wilson's intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ofa.proportions import wilson

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its 95 % interval."""

    value: float
    lower: float
    upper: float

    @property
    def distinct(self) -> bool:
        """Of a difference: whether it is more than chance."""
        return self.lower > 0 or self.upper < 0


def accuracy_interval(accuracy: float, num_images: int) -> Estimate:
    """Wilson's score interval of a share in 0..1."""
    lower, upper = wilson(accuracy, num_images, LEVEL)
    return Estimate(accuracy, float(lower), float(upper))


def difference(first: float, num_first: int, second: float, num_second: int) -> Estimate:
    """`first` minus `second`, as if each had been counted on images of its own.

    Networks tested on the same images err on the same ones; which, a run does not store, so that no paired test can be
    made. Such errors cancel, and this interval is then wider than it need be: it claims too little, not too much.
    """
    one, two = accuracy_interval(first, num_first), accuracy_interval(second, num_second)
    value = first - second
    below = math.hypot(first - one.lower, two.upper - second)
    above = math.hypot(one.upper - first, second - two.lower)
    return Estimate(value, value - below, value + above)
