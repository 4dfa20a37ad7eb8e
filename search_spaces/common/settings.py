"""Config files: `yaml.safe_load` into frozen pydantic models; every mistake names file, key, value and the nearest
key.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from search_spaces.common.errors import UserError


class Settings(pydantic.BaseModel):
    """Base of all config sections: frozen, no unknown keys, no NaN or infinity, no silent conversion of types."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=False)


M = TypeVar("M", bound=pydantic.BaseModel)


def load_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file. Duplicate keys are an error: the loser would vanish without a word."""
    path = Path(path)
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UserError("no such config file", file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", file=path) from error
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"not valid YAML: {' '.join(str(error).split())}", file=path) from None
    if not isinstance(data, dict):
        raise UserError(f"holds a {type(data).__name__}, not a mapping of sections", file=path)
    return data


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `data` with every `a.b=value` put in; the value is YAML (`--set train.epochs=2`)."""
    result = _copy(data)
    for text in overrides:
        path, separator, raw = text.partition("=")
        if not separator or not path.strip():
            raise UserError(f"{text!r} is not of the form section.key=value", key="--set")
        try:
            value = yaml.safe_load(raw)
        except yaml.YAMLError:
            raise UserError(f"the value of {text!r} is not YAML", key="--set") from None
        *parents, last = path.strip().split(".")
        target: Any = result
        for depth, name in enumerate(parents):
            target = _step(target, name, ".".join(parents[: depth + 1]), create=True)
        if isinstance(target, list):
            _step(target, last, path)
            target[int(last)] = value
        elif isinstance(target, dict):
            target[last] = value
        else:
            raise UserError(f"{'.'.join(parents)!r} is a value, so it has no key {last!r}", key="--set")
    return result


def parse_settings(model: type[M], data: Any, *, file: Path | str | None = None, prefix: str = "") -> M:
    """Validate `data` into `model`; the first mistake becomes a `UserError` (all others are counted in its text)."""
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False)
        first = problems[0]
        key = ".".join(str(part) for part in ((prefix,) if prefix else ()) + _location(first["loc"]))
        more = (
            f"{len(problems) - 1} more problem{'s' if len(problems) > 2 else ''} in this file"
            if len(problems) > 1
            else None
        )
        if first["type"] == "extra_forbidden":
            known = _known_keys(model, first["loc"][:-1])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            hint += f"Known keys here: {', '.join(sorted(known))}" if known else ""
            raise UserError("unknown key", file=file, key=key, value=first["input"], hint=hint or more) from None
        message = first["msg"].removeprefix("Value error, ").removesuffix(".")
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, UserError):
            message = str(cause)
        missing = first["type"] == "missing"
        message = "this key is required" if missing else message[0].lower() + message[1:]
        raise UserError(
            message, file=file, key=key or None, value=None if missing else first["input"], hint=more
        ) from None


def _location(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """pydantic puts the tags of unions into the path: keep what the user wrote."""
    return tuple(
        part for part in location if not (isinstance(part, str) and (part.startswith("function-") or "[" in part))
    )


def _known_keys(model: Any, location: tuple[Any, ...]) -> list[str]:
    """The field names of the model found at `location` inside `model`."""
    for part in location:
        if not (isinstance(model, type) and issubclass(model, pydantic.BaseModel)):
            return []
        field = model.model_fields.get(str(part))
        if field is None:
            return _known_keys_of_nested(model, location)
        model = _model_in(field.annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, pydantic.BaseModel) else []


def _known_keys_of_nested(model: Any, location: tuple[Any, ...]) -> list[str]:
    """Behind a list index or a mapping key the annotation was already unwrapped: go on with what follows it."""
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    """The pydantic model inside `Model | None`, `tuple[Model, ...]`, `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _step(target: Any, name: str, path: str, *, create: bool = False) -> Any:
    """One step down a dotted path, into a mapping or (by number) a list."""
    if isinstance(target, list):
        if not name.isdigit() or int(name) >= len(target):
            raise UserError(f"{path!r}: the list has {len(target)} entries, numbered from 0", key="--set", value=name)
        return target[int(name)]
    if isinstance(target, dict):
        if name not in target or target[name] is None:
            if create:
                target[name] = {}
            else:
                raise UserError(f"no such key {path!r}", key="--set")
        return target[name]
    raise UserError(f"{path!r} goes below a plain value", key="--set")


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice."""


def _construct_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is written twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
