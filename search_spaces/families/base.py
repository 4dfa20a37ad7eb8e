"""What a family of networks provides: settings, and a function from settings to genome and slots."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.genome import Genome
from search_spaces.space import Slot


@dataclass(frozen=True)
class Blueprint:
    """A family under given settings: the genome to search and the slots, in the order of the network."""

    genome: Genome
    slots: tuple[Slot, ...]
