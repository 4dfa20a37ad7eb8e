"""Spaces by name. A family is code (one file in `families/`, one line here); a named space is data
(`presets/NAME.yaml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module, resources
from typing import Any

from search_spaces.common.errors import UserError, unknown_name
from search_spaces.space import SearchSpace

#: family -> (module, settings model): imported when first used, because the settings bring pydantic with them
FAMILIES = {
    "mobilenet_v3": ("search_spaces.families.mobilenet_v3", "MobileNetV3Settings"),
    "proxyless_nas": ("search_spaces.families.proxyless_nas", "ProxylessNASSettings"),
    "resnet": ("search_spaces.families.resnet", "ResNetSettings"),
    "hybrid": ("search_spaces.families.hybrid", "HybridSettings"),
    "vision_transformer": ("search_spaces.families.vision_transformer", "VisionTransformerSettings"),
}


def list_spaces() -> list[str]:
    """The names of the shipped spaces."""
    folder = resources.files("search_spaces") / "presets"
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


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

    if family not in FAMILIES:
        raise unknown_name("family of search spaces", family, FAMILIES, file=file, key="family")
    module_name, model_name = FAMILIES[family]
    module = import_module(module_name)
    parsed = parse_settings(getattr(module, model_name), dict(settings), file=_text(file), prefix=key)
    blueprint = module.build(parsed, num_classes, in_channels)
    return SearchSpace(
        name=name,
        family=family,
        settings=parsed.model_dump(mode="json", exclude_none=True),  # an option left out is no part of the identity
        num_classes=num_classes,
        in_channels=in_channels,
        genome=blueprint.genome,
        slots=blueprint.slots,
    )


@cache
def _read_preset(name: str) -> dict[str, Any]:
    import yaml

    text = (resources.files("search_spaces") / "presets" / f"{name}.yaml").read_text()
    preset = yaml.safe_load(text)
    assert isinstance(preset, dict) and preset["family"] in FAMILIES, name
    return preset


def _preset(name: str, file: str | None, key: str) -> dict[str, Any]:
    if name not in list_spaces():
        raise unknown_name("search space", name, list_spaces(), file=file, key=key)
    return _read_preset(name)


def _text(file: object) -> str | None:
    return None if file is None else str(file)
