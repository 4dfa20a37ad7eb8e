"""The recipes that are compared: what each sets in the sections `train` and, where it needs to, `space`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers.recipes import RECIPES as REGISTERED

#: {label: {"train": overrides, "space": overrides}}
Recipes = Mapping[str, Mapping[str, Mapping[str, Any]]]

#: Spaces of recipes that are made for one.
_SPACES: dict[str, dict[str, Any]] = {"compound": {"coupling": "compound"}}

#: Recipes put together, or with other numbers.
_COMBINED: dict[str, dict[str, dict[str, Any]]] = {
    # what if the sandwich learned from labels, and not from a largest network that knows little yet?
    "sandwich_of_labels": {"train": {"recipe": "sandwich", "each_phase": {"distillation": "none"}}},
    # bounded jumps with an average of the weights, and with rates by complexity
    "averaged_jumps": {"train": {"recipe": "bounded_jumps", "ema_decay": 0.995}},
    "jumps_with_decay": {"train": {"recipe": "bounded_jumps", "each_phase": {"decay": {"largest": 0.5}}}},
}

RECIPES: Recipes = {
    **{name: {"train": {"recipe": name}, "space": _SPACES.get(name, {})} for name in REGISTERED.names()},
    **_COMBINED,
}
