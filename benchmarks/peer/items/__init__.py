"""The items, a to e; one file a letter."""

from __future__ import annotations

from benchmarks.peer.item import Item, Options
from benchmarks.peer.items import a_training, b_subnets, d_recalibration, e_counting


def all_items(options: Options) -> list[Item]:
    """Every item, in order."""
    return [item for module in (a_training, b_subnets, d_recalibration, e_counting) for item in module.items(options)]
