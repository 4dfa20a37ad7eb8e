"""The items, a to e; one file a letter."""

from __future__ import annotations

from benchmarks.peer.item import Item, Options
from benchmarks.peer.items import a_training, b_subnets, c_search, d_recalibration, e_counting


def all_items(options: Options) -> list[Item]:
    """Every item, in order."""
    modules = (a_training, b_subnets, c_search, d_recalibration, e_counting)
    return [item for module in modules for item in module.items(options)]
