"""Spaces by name. A family is code (one file in `families/`, one line here); a named space is data
(`presets/NAME.yaml`). Plug-ins add both, by the entry point groups `ofa.families` and `ofa.spaces`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, Protocol

from search_spaces.common.errors import UserError
from search_spaces.common.registry import Registry
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from search_spaces.common.settings import Settings
    from search_spaces.families.base import Blueprint


class Family(Protocol):
    """What makes spaces: a module or an object with a model of its settings, and what builds genome and slots."""

    @property
    def settings(self) -> type[Settings]: ...

    def build(self, settings: Any, num_classes: int, in_channels: int, /) -> Blueprint: ...


class Readable(Protocol):
    """A file of a package, or a `Path`."""

    def read_text(self) -> str: ...


#: a named space: `family` and those of its settings that differ from the defaults; or the YAML file that holds them
Preset = Mapping[str, Any] | Readable


@dataclass(frozen=True)
class _ShippedFamily:
    """A module of `families/` and its settings: imported when first used, because these bring pydantic with them."""

    module: str
    model: str

    @property
    def settings(self) -> type[Settings]:
        found: type[Settings] = getattr(import_module(f"search_spaces.families.{self.module}"), self.model)
        return found

    def build(self, settings: Any, num_classes: int, in_channels: int, /) -> Blueprint:
        module = import_module(f"search_spaces.families.{self.module}")
        built: Blueprint = module.build(settings, num_classes, in_channels)
        return built


FAMILIES: Registry[Family] = Registry(
    "family of search spaces", entry_points="ofa.families", needs=("settings", "build")
)
FAMILIES.register("mobilenet_v3")(_ShippedFamily("mobilenet_v3", "MobileNetV3Settings"))
FAMILIES.register("proxyless_nas")(_ShippedFamily("proxyless_nas", "ProxylessNASSettings"))
FAMILIES.register("resnet")(_ShippedFamily("resnet", "ResNetSettings"))
FAMILIES.register("hybrid")(_ShippedFamily("hybrid", "HybridSettings"))
FAMILIES.register("vision_transformer")(_ShippedFamily("vision_transformer", "VisionTransformerSettings"))

SPACES: Registry[Preset] = Registry("search space", entry_points="ofa.spaces")
for _path in (resources.files("search_spaces") / "presets").iterdir():
    if _path.name.endswith(".yaml"):
        SPACES.register(_path.name.removesuffix(".yaml"))(_path)


def list_spaces() -> list[str]:
    """The names of the spaces that are shipped, registered, or offered by plug-ins."""
    return sorted(SPACES.names())


def get_space(
    settings: Mapping[str, Any],
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    file: object = None,
    key: str = "space",
) -> SearchSpace:
    """The space `settings["name"]`, with the other keys of `settings` put over its preset.

    `get_space({"name": "ofa_mobilenet_v3", "width_mult": 0.5, "resolution": [160, 192]}, num_classes=10)`. The key
    `restrict` takes options away, as `SearchSpace.restrict` does. Raises `UserError` for an unknown name or key, and
    for values the family does not take.
    """
    if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
        raise UserError(
            "needs a name", file=_text(file), key=key, value=settings, hint=f"Known: {', '.join(list_spaces())}"
        )
    name = settings["name"]
    preset = _preset(name, _text(file), f"{key}.name")
    overrides = {k: v for k, v in settings.items() if k not in ("name", "restrict")}
    merged = {k: v for k, v in preset.items() if k != "family"} | overrides
    space = _build(name, preset["family"], merged, num_classes, in_channels, file=file, key=key)
    return space if "restrict" not in settings else _restricted(space, settings["restrict"], file, f"{key}.restrict")


def _restricted(space: SearchSpace, allowed: Any, file: object, key: str) -> SearchSpace:
    if not _is_restriction([allowed]):
        raise UserError(
            "is a mapping of options", file=_text(file), key=key, value=allowed, hint="Such as {kernel: [3, 5]}"
        )
    try:
        return space.restrict(allowed)
    except UserError as error:
        told = key if error.key is None else f"{key}.{error.key}"
        raise UserError(error.message, file=_text(file), key=told, value=error.value, hint=error.hint) from None


def space_from_description(description: Any, *, file: object = None) -> SearchSpace:
    """The space a checkpoint, table or record file says it belongs to (`SearchSpace.description`)."""
    expected = {"name": str, "family": str, "settings": dict, "num_classes": int, "in_channels": int}
    if (
        not isinstance(description, dict)
        or set(description) != {*expected, "restriction"}
        or not all(isinstance(description[key], kind) for key, kind in expected.items())
        or not _is_restriction(description["restriction"])
    ):
        raise UserError(
            "not the description of a search space",
            file=_text(file),
            hint=f"Expected keys: {', '.join([*expected, 'restriction'])}",
        )
    counts = description["num_classes"], description["in_channels"]
    if min(counts) < 1:
        raise UserError("num_classes and in_channels must be positive integers", file=_text(file), value=counts)
    space = _build(
        description["name"], description["family"], description["settings"], *counts, file=file, key="settings"
    )
    for part in description["restriction"]:
        space = space.restrict(part)
    return space


def _is_restriction(parts: object) -> bool:
    """Whether this is a list of {group: list of values}, as `SearchSpace.description` writes it."""
    return isinstance(parts, list) and all(
        isinstance(part, dict)
        and all(
            isinstance(values, list) and not any(isinstance(v, (list, dict)) for v in values)
            for values in part.values()
        )
        for part in parts
    )


def _build(
    name: str, family: str, settings: Mapping[str, Any], num_classes: int, in_channels: int, *, file: object, key: str
) -> SearchSpace:
    from search_spaces.common.settings import parse_settings

    known = FAMILIES.get(family, file=file, key="family")
    parsed = parse_settings(known.settings, dict(settings), file=_text(file), prefix=key)
    blueprint = known.build(parsed, num_classes, in_channels)
    return SearchSpace(
        name=name,
        family=family,
        settings=parsed.model_dump(mode="json", exclude_none=True),  # an option left out is no part of the identity
        num_classes=num_classes,
        in_channels=in_channels,
        genome=blueprint.genome,
        slots=blueprint.slots,
    )


def _preset(name: str, file: str | None, key: str) -> dict[str, Any]:
    known = SPACES.get(name, file=file, key=key)
    preset = known if isinstance(known, Mapping) else _read(name, known)
    if not isinstance(preset, Mapping) or not isinstance(preset.get("family"), str):
        raise UserError(f"the search space {name!r} is no mapping with a family", file=file, key=key, value=preset)
    return dict(preset)


#: content of files by their identity: each is read once
_READ: dict[int, tuple[Readable, Any]] = {}


def _read(name: str, file: Readable) -> Any:
    if id(file) not in _READ:
        import yaml

        if not hasattr(file, "read_text"):
            raise UserError(f"the search space {name!r} is neither a mapping nor a YAML file", value=file)
        try:
            _READ[id(file)] = file, yaml.safe_load(file.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"the file of the search space {name!r} cannot be read: {error}", file=str(file)) from None
    return _READ[id(file)][1]


def _text(file: object) -> str | None:
    return None if file is None else str(file)
