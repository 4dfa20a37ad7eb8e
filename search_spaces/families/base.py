"""What a family of networks provides: settings, and a function from settings to genome and slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.genome import Genome
from search_spaces.operators import output_side
from search_spaces.space import Choices, Slot


@dataclass(frozen=True)
class Blueprint:
    """A family under given settings: the genome to search and the slots, in the order of the network."""

    genome: Genome
    slots: tuple[Slot, ...]


def side_after(choices: Choices, strides: Sequence[int]) -> Any:
    """Side of the map after layers of these strides, in pixels."""
    side = choices["resolution"]
    for stride in strides:
        side = output_side(side, stride)
    return side
