"""Config files: `yaml.safe_load` into frozen pydantic models; every mistake names file, key, value and the nearest
key.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import pydantic
import yaml

from search_spaces.common.errors import UserError


class Settings(pydantic.BaseModel):
    """Base of all config sections: frozen, no unknown keys, no NaN or infinity.

    Types convert by pydantic's lax rules, because YAML reads the number `1e-3` as text and has no tuples.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2024-13-45
        raise UserError(f"not valid YAML: {' '.join(str(error).split())}", file=path) from None
    if data is None:
        raise UserError("is empty", file=path)
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
        except (yaml.YAMLError, ValueError, RecursionError):
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
            near = difflib.get_close_matches(str(first["loc"][-1]), sorted(known), n=1, cutoff=0.5)
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


def _known_keys(annotation: Any, location: tuple[Any, ...]) -> set[str]:
    """The field names of the models found at `location` (as pydantic reports it) inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        if not location:
            return set(annotation.model_fields)
        field = annotation.model_fields.get(str(location[0]))
        return set() if field is None else _known_keys(field.annotation, location[1:])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _known_keys(arguments[0], location)
    if origin in (Union, UnionType):
        members = [member for member in arguments if member is not type(None)]
        rest = location[1:] if len(members) > 1 else location  # the location names the member that was tried
        return set().union(*(_known_keys(member, rest) for member in members))
    items = arguments[1:] if isinstance(origin, type) and issubclass(origin, Mapping) else arguments
    return set().union(*(_known_keys(item, location[1:]) for item in items)) if location else set()


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _step(target: Any, name: str, path: str, *, create: bool = False) -> Any:
    """One step down a dotted path, into a mapping or (by number) a list."""
    if isinstance(target, list):
        if not name.isdecimal() or int(name) >= len(target):
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
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue  # `<<: *base`: its keys may be written again, to put others in their place
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key must be one value", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is written twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
