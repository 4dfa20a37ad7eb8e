"""Architectures as the published code writes them: `{"ks": [...], "e": [...], "d": [...], "image_size": 224}`.

MobileNetV3 and ProxylessNAS: `ks` kernel sizes and `e` expand ratios of every block, `d` depths of the stages. ResNet:
`d` is the stem (the largest depth keeps its residual convolution, any other skips it) and then the blocks of every
stage beyond the base, `e` expand ratios, `w` numbers of the width options of the stem's two widths and the stages.
A single value stands for a list of it; entries of blocks beyond the depth are there and mean nothing; `r: [224]` is
another way to write `image_size`, and `wid: null` says that the width is not elastic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError, unknown_name

#: published key -> our group, in the families without and with elastic width
_MBCONV = {"ks": "kernel", "e": "expand", "d": "depth"}
_RESNET = {"d": "depth", "e": "expand", "w": "width"}
_RESOLUTION = ("image_size", "r")


def keys_of(family: str) -> dict[str, str]:
    """{published key: our group} of a family."""
    return _RESNET if family == "resnet" else _MBCONV


def is_published_form(data: object) -> bool:
    return isinstance(data, dict) and {"d", "e"} <= data.keys()


def published_resolution(data: Mapping[str, Any], *, file: Path) -> int | None:
    """The resolution in the file, if it says one."""
    found = None
    for key in _RESOLUTION:
        value = data.get(key)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError("must be a number of pixels", file=file, key=key, value=value)
        if found not in (None, value):
            raise UserError(f"the resolution is {found} in another key", file=file, key=key, value=value)
        found = value
    return found


def from_published(data: Mapping[str, Any], space: SearchSpace, *, resolution: int, file: Path) -> Architecture:
    """The architecture of `space` that a published one means. Raises `UserError` naming the key of a wrong value."""
    groups = keys_of(space.family)
    known = (*groups, *_RESOLUTION, "wid")
    for key in data:
        if key not in known:
            raise unknown_name(f"key of a {space.family} architecture", key, known, file=file)
    if data.get("wid") is not None:
        raise UserError("this space has no elastic width of that kind", file=file, key="wid", value=data["wid"])
    values: dict[str, Any] = {"resolution": resolution}
    for key, group in groups.items():
        options = _options(space, group)
        stem = 1 if space.family == "resnet" and key == "d" else 0
        entries = _entries(data, key, len(options) + stem, file=file)
        if stem:
            values["stem_depth"] = int(entries[0] == max(options[0]))
        entries = entries[stem:]
        pairs = list(zip(entries, options, strict=True))
        if key == "d":  # a stage of one block is that deep whatever is written
            entries = [offer[0] if len(offer) == 1 and entry else entry for entry, offer in pairs]
        if key == "w":
            entries = [_width(entry, offer, f"w[{number}]", file) for number, (entry, offer) in enumerate(pairs)]
        values[group] = entries
    try:
        return space.decode(space.encode([Architecture(values)]))[0]
    except UserError as error:
        raise UserError(
            error.message, file=file, key=_key(error.key, groups), value=error.value, hint=error.hint
        ) from None


def to_published(space: SearchSpace, architecture: Architecture) -> dict[str, Any]:
    """The published form of an architecture; entries beyond the depth are the smallest option."""
    (canonical,) = space.decode(space.encode([architecture]))
    result: dict[str, Any] = {}
    for key, group in keys_of(space.family).items():
        options = _options(space, group)
        found = canonical.values[group]
        assert isinstance(found, tuple)
        entries = [offer[0] if entry is None else entry for entry, offer in zip(found, options, strict=True)]
        if key == "w":
            entries = [offer.index(entry) for entry, offer in zip(entries, options, strict=True)]
        if space.family == "resnet" and key == "d":
            deepest, smallest = max(options[0]), min(options[0])
            entries = [deepest if canonical.values["stem_depth"] else smallest, *entries]
        result[key] = entries
    return {**result, "image_size": canonical.resolution}


def _options(space: SearchSpace, group: str) -> list[list[Any]]:
    """The options of every choice of a group, ascending."""
    choices = [name for name, choice in space.genome.choices.items() if choice.group == group]
    choices.sort(key=lambda name: space.genome.choices[name].index or 0)
    return [sorted(space.genome.option_values(name).tolist()) for name in choices]


def _entries(data: Mapping[str, Any], key: str, length: int, *, file: Path) -> list[Any]:
    if key not in data:
        raise UserError("this key is required", file=file, key=key)
    value = data[key]
    entries = value if isinstance(value, list) else [value] * length
    if len(entries) != length:
        raise UserError(f"needs {length} entries in this space, or one value", file=file, key=key, value=len(entries))
    for number, entry in enumerate(entries):
        if isinstance(entry, bool) or not isinstance(entry, int | float | None):
            raise UserError("not a number", file=file, key=f"{key}[{number}]", value=entry)
    return entries


def _width(entry: Any, options: Sequence[Any], key: str, file: Path) -> Any:
    if not isinstance(entry, int) or not 0 <= entry < len(options):
        listed = ", ".join(f"{number}: {option:g}" for number, option in enumerate(options))
        raise UserError("not the number of a width", file=file, key=key, value=entry, hint=f"Options: {listed}")
    return options[entry]


def _key(ours: str | None, groups: Mapping[str, str]) -> str | None:
    """`ks[3]` for `kernel.3`."""
    group, _, index = (ours or "").partition(".")
    key = next((key for key, value in groups.items() if value == group), None)
    if key is None:
        return ours
    return f"{key}[{int(index) + (key == 'd' and 'w' in groups)}]" if index else key
