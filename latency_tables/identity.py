"""Which space a table is of, and the version of its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_spaces import SearchSpace
from search_spaces.common.settings import Settings

#: of table files, measured and published
SCHEMA = 1


class SpaceIdentity(Settings):
    name: str
    fingerprint: str
    description: dict[str, Any]
    """`SearchSpace.description`, restriction included."""

    @classmethod
    def of(cls, space: SearchSpace) -> SpaceIdentity:
        return cls(name=space.name, fingerprint=space.fingerprint, description=space.description)

    def space(self, *, file: Path | str | None = None) -> SearchSpace:
        return SearchSpace.from_description(self.description, file=file)

    def differences(self, space: SearchSpace) -> list[str]:
        """What tells `space` from this one: `["width_mult: 1.2 here, 1.0 there"]`, as far as it is in the settings."""
        settings = self.description.get("settings", {}) if self.description.get("family") == space.family else {}
        here = {**settings, **{key: self.description.get(key) for key in ("num_classes", "in_channels")}}
        there = {**space.settings, "num_classes": space.num_classes, "in_channels": space.in_channels}
        return [
            f"{key}: {here[key]} here, {there[key]} there" for key in here if here[key] != there.get(key, here[key])
        ]
