"""The model card: `README.md` of an export folder, for whoever gets the folder and has nothing else."""

from __future__ import annotations

from ofa.export.card.facts import CardFacts, DataFacts, DeviceFacts, RunFacts, SplitFacts
from ofa.export.card.write import FILE, write_card

__all__ = ["FILE", "CardFacts", "DataFacts", "DeviceFacts", "RunFacts", "SplitFacts", "write_card"]
