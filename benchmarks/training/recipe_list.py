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
_COMBINED: dict[str, dict[str, dict[str, Any]]] = {}

RECIPES: Recipes = {
    **{name: {"train": {"recipe": name}, "space": _SPACES.get(name, {})} for name in REGISTERED.names()},
    **_COMBINED,
}
