"""The `search` section of a config."""

from __future__ import annotations

from typing import Literal

import pydantic

from ofa.search.algorithms.registry import ALGORITHMS, AUTO
from ofa.search.budgets import Budget, parse_budget
from search_spaces.common.settings import Settings


class SearchSettings(Settings):
    """Budgets, and how thoroughly the networks that keep them are searched and tried."""

    budgets: dict[str, dict[str, str | int | float]] = pydantic.Field(min_length=1)
    """Name -> limits: `{small: {latency: 5ms, peak_memory: 256KiB}}`. The name becomes a folder."""
    device: str | None = None
    """The device that a plain `latency` means, where the run has several."""
    dtype: Literal["float32", "float16", "int8"] = "float32"
    """Of activations and weights, for `peak_memory` and `flash`."""
    memory_plan: Literal["naive", "overwriting"] = "naive"
    """How a device uses memory, for `peak_memory`: a buffer for every tensor, or transformer blocks that write over
    their input token by token.
    """
    algorithm: str = "auto"
    """`auto` lists the whole space if it has at most `exhaustive_limit` networks, and is `evolution` otherwise."""
    exhaustive_limit: int = pydantic.Field(default=100_000, ge=0)
    population: int = pydantic.Field(default=128, ge=8)
    generations: int = pydantic.Field(default=200, ge=1)
    """What does not go by generations scores `population` times `generations` networks."""
    patience: int = pydantic.Field(default=60, ge=1)
    """Evolutions end early after so many generations without a better network."""
    candidates: int = pydantic.Field(default=8, ge=1)
    """Networks per budget that are measured, and evaluated for real, before a winner is named."""
    evaluate: int = pydantic.Field(default=0, ge=0)
    """Networks that the predictor loop evaluates for real before winners are named; 0: only the candidates."""
    recorded: int = pydantic.Field(default=2, ge=0)
    """Networks per budget that join them because they scored best among the records."""
    max_rounds: int = pydantic.Field(default=6, ge=1)
    """How often a budget is searched again, more tightly, when the device rejects all of its candidates."""

    @pydantic.field_validator("algorithm")
    @classmethod
    def _known(cls, algorithm: str) -> str:
        if algorithm != AUTO and algorithm not in ALGORITHMS:
            raise ALGORITHMS.unknown(algorithm, also=(AUTO,))
        return algorithm

    @pydantic.field_validator("budgets")
    @classmethod
    def _parsed(cls, budgets: dict[str, dict[str, str | int | float]]) -> dict[str, dict[str, str | int | float]]:
        for name, limits in budgets.items():
            parse_budget(name, limits)
        return budgets

    def parsed_budgets(self) -> tuple[Budget, ...]:
        return tuple(parse_budget(name, limits) for name, limits in self.budgets.items())
