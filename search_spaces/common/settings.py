"""Config files: `yaml.safe_load` into frozen pydantic models; every mistake names file, key, value and the nearest
key.
"""

from __future__ import annotations

import difflib
import re
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


def load_yaml(path: Path | str, *, what: str = "config file", holds: str = "sections") -> dict[str, Any]:
    """The mapping in a YAML file; `what` names it in errors, and `holds` its parts. Duplicate keys are an error: the
    loser would vanish without a word.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UserError(f"no such {what}", file=path) from None
    except UnicodeDecodeError:
        raise UserError("cannot be read: not a text file", file=path) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", file=path) from error
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark, told = error.problem_mark, error.problem or str(error)
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise UserError(f"not valid YAML: {where}{' '.join(told.split())}", file=path) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2024-13-45
        raise UserError(f"not valid YAML: {' '.join(str(error).split())}", file=path) from None
    if data is None:
        raise UserError("is empty", file=path)
    if not isinstance(data, dict):
        raise UserError(f"holds a {type(data).__name__}, not a mapping of {holds}", file=path)
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
        raise _first_mistake(model, data, error, file=file, prefix=prefix) from None


def _first_mistake(
    model: type[M], data: Any, error: pydantic.ValidationError, *, file: Path | str | None, prefix: str
) -> UserError:
    problems = error.errors(include_url=False)
    first = problems[0]
    places = [_place(data, problem["loc"], missing=problem["type"] == "missing") for problem in problems]
    place = places[0]
    others = len(set(places)) - 1  # the members of a union complain about one and the same place
    more = f"{others} more problem{'s' if others > 1 else ''} in this file" if others else None
    parts = [prefix] if prefix else []
    key = ".".join([*parts, *map(str, place)]) or None
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), sorted(known), n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        hint += f"Known keys here: {', '.join(sorted(known))}" if known else ""
        return UserError("unknown key", file=file, key=key, value=first["input"], hint=hint or more)
    if first["type"] == "missing":
        return UserError("this key is required", file=file, key=key, hint=more)
    cause, value = first.get("ctx", {}).get("error"), first["input"]
    if isinstance(cause, UserError):
        key = ".".join(part for part in (key, cause.key) if part) or None
        if cause.value is not None or cause.key is not None or isinstance(value, (dict, list, tuple)):
            value = cause.value  # not the whole section that the mistake was found in
        hints = ". ".join(text for text in (cause.hint, more) if text)
        return UserError(cause.message, file=file, key=key, value=value, hint=hints or None)
    told = dict.fromkeys(_plain(problem["msg"]) for problem, at in zip(problems, places, strict=True) if at == place)
    message = " or ".join(text.removeprefix("must be ") if number else text for number, text in enumerate(told))
    return UserError(message + (" (got nothing)" if value is None else ""), file=file, key=key, value=value, hint=more)


#: pydantic's words -> words of a YAML file
_WORDS = (
    (r"^Value error, ", ""),
    (r"^Input should be ", "must be "),
    (
        r"^(Tuple|List|Dictionary|Set) should have at (least|most) (\d+ items?) after validation, not \d+",
        r"must have at \2 \3",
    ),
    (r"^String should ", "must "),
    (r"a valid (tuple|list|array)", "a list"),
    (r"a valid dictionary( or instance of \w+| or object to extract fields from)?", "a mapping"),
    (r", (unable to parse string as an? \w+|got a number with a fractional part)", ""),
    (r"\.$", ""),
)


def _plain(message: str) -> str:
    for pattern, words in _WORDS:
        message = re.sub(pattern, words, message)
    return message[0].lower() + message[1:]


def _place(data: Any, location: tuple[Any, ...], *, missing: bool) -> tuple[Any, ...]:
    """Where in `data` a problem is. pydantic also reports which member of a union it tried: that is left out."""
    place: list[Any] = []
    for number, part in enumerate(location):
        keys: Any = data if isinstance(data, Mapping) else range(len(data)) if isinstance(data, (list, tuple)) else ()
        if part in keys:
            data = data[part]
        elif not (missing and number == len(location) - 1):
            continue
        place.append(part)
    return tuple(place)


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
        members = [member for member in members if location and _tag(member) == location[0]] or members
        return set().union(*(_known_keys(member, rest) for member in members))
    items = arguments[1:] if isinstance(origin, type) and issubclass(origin, Mapping) else arguments
    return set().union(*(_known_keys(item, location[1:]) for item in items)) if location else set()


def _tag(annotation: Any) -> str | None:
    """What a member of a union with a discriminator is called there."""
    marks = annotation.__metadata__ if get_origin(annotation) is Annotated else ()
    return next((mark.tag for mark in marks if isinstance(mark, pydantic.Tag)), None)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _step(target: Any, name: str, path: str, *, create: bool = False) -> Any:
    """One step down a dotted path, into a mapping or (by number) a list."""
    if isinstance(target, list):
        if not name.isdecimal() or int(name) >= len(target):
            raise UserError(
                f"{path!r}: the list has {len(target)} entr{'y' if len(target) == 1 else 'ies'}, numbered from 0",
                key="--set",
                value=name,
            )
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
