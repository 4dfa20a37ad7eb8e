"""What the site writes by itself: the reference pages of commands and of config keys, from the program they describe.

A page holds `<!-- generated: NAME -->` where the text goes. MkDocs calls `on_page_markdown` for every page.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pydantic
import typer
from pydantic_core import PydanticUndefined
from typer.models import ArgumentInfo, OptionInfo

#: [text](../file): out of a page's folder
_UP = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#\s]+)(?:#[^)]*)?\)")
_PLACE = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """MkDocs' hook: fill in what a page asks for, and name files of the repository instead of linking to them."""
    folder = Path(page.file.src_uri).parent

    def outside(link: re.Match[str]) -> str:
        target = os.path.normpath(Path("docs") / folder / link[2])
        return link[0] if target.startswith("docs/") else f"{link[1]} (`{target}` of the sources)"

    return _PLACE.sub(lambda found: GENERATORS[found[1]](), _UP.sub(outside, markdown))


# -- commands ----------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command of `ofa`: what it does, its arguments and options."""
    from ofa.cli import build_app

    return "\n\n".join(_command(name, callback) for name, callback in _leaves(build_app(), "ofa"))


def _leaves(app: typer.Typer, name: str) -> Iterator[tuple[str, Callable[..., None]]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield f"{name} {command.name}", command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from _leaves(group.typer_instance, f"{name} {group.name}")


def _command(name: str, callback: Callable[..., None]) -> str:
    usage, arguments, options = [name], [], []
    hints = get_type_hints(callback, include_extras=True)
    for parameter in inspect.signature(callback).parameters.values():
        kind, info = _annotated(hints[parameter.name])
        if isinstance(info, ArgumentInfo):
            word = (info.metavar or parameter.name.upper()).strip("[]{}.")
            needed = parameter.default is parameter.empty
            usage.append(word if needed else f"[{word}]")
            arguments.append((f"`{word}`", _escape(info.help or ""), "**required**" if needed else ""))
        else:
            options.append((_spelled(parameter, kind, info), _escape(info.help or ""), _left_out(parameter)))
    parts = [
        f"## {name}",
        inspect.cleandoc(callback.__doc__ or ""),
        f"```text\n{' '.join([*usage, '[OPTIONS]'])}\n```",
        _table(("argument or option", "", "left out"), [*arguments, *options]),
    ]
    return "\n\n".join(parts)


def _annotated(hint: Any) -> tuple[Any, ArgumentInfo | OptionInfo]:
    """What a parameter is, and what Typer was told of it."""
    if get_origin(hint) in (Union, UnionType):  # Optional was put around it
        (hint,) = (item for item in get_args(hint) if item is not NoneType)
    kind, *notes = get_args(hint)
    return kind, next(note for note in notes if isinstance(note, ArgumentInfo | OptionInfo))


def _spelled(parameter: inspect.Parameter, kind: Any, info: OptionInfo) -> str:
    given = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str) and name[:1] == "-"]
    names = given if any(name[:2] == "--" for name in given) else [f"--{parameter.name.replace('_', '-')}", *given]
    names = sorted(names, key=len, reverse=True)
    kinds = [item for item in (get_args(kind) or (kind,)) if item is not NoneType]
    repeated = any(get_origin(item) is list for item in kinds)
    value = info.metavar or _value(get_args(kinds[0])[0] if repeated and get_args(kinds[0]) else kinds[0])
    spelled = ", ".join(f"`{name}`" for name in names) + (f" {_escape(value)}" if value else "")
    return f"{spelled} (again for more)" if repeated else spelled


def _value(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(str(item.value) for item in kind)
    return {bool: "", int: "N", float: "X", str: "TEXT", Path: "PATH"}.get(kind, "VALUE")


def _left_out(parameter: inspect.Parameter) -> str:
    default = parameter.default
    if default is parameter.empty:
        return "**required**"
    return "" if default is None or default is False else f"`{getattr(default, 'value', default)}`"


# -- config keys -------------------------------------------------------------------------------------------------------


def settings() -> str:
    """Every section of a config, and every key of it: type, default, meaning."""
    from ofa.config import RunConfig

    seen: dict[type[pydantic.BaseModel], str] = {}
    return "\n\n".join(_section(RunConfig, "", seen))


def spaces() -> str:
    """The keys that the families of spaces take under `space:`."""
    from search_spaces.registry import FAMILIES

    parts = []
    for name in FAMILIES.names():
        model = FAMILIES.get(name).settings
        parts.append(f"### {name}\n\n{_prose(model)}\n\n{_keys(model)}")
    return "\n\n".join(parts)


def _section(model: type[pydantic.BaseModel], path: str, seen: dict[type[pydantic.BaseModel], str]) -> Iterator[str]:
    seen[model] = path
    title = f"## {path}" if path else "## The sections"
    yield f"{title}\n\n{_prose(model)}\n\n{_keys(model)}"
    for name, field in model.model_fields.items():
        for child in _models(field.annotation):
            if child not in seen:
                place = f"{path}.{name}".strip(".")
                kind = "" if len(list(_models(field.annotation))) == 1 else f" ({_words(child.__name__)})"
                yield from _section(child, place + kind, seen)


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().removesuffix(" settings")


def _prose(model: type) -> str:
    return inspect.cleandoc(model.__dict__.get("__doc__") or "")


def _keys(model: type[pydantic.BaseModel]) -> str:
    told = {name: text for base in reversed(model.__mro__) for name, text in _field_docs(base).items()}
    rows = []
    for name, field in model.model_fields.items():
        limits = ", ".join(filter(None, map(_limit, field.metadata)))
        kind = _type(field.annotation) + (f" ({limits})" if limits else "")
        rows.append((f"`{name}`", _escape(kind), _default(field), _escape(told.get(name, ""))))
    return _table(("key", "type", "default", ""), rows)


def _field_docs(model: type) -> dict[str, str]:
    """The string that stands below a field in the source, which is its documentation."""
    if model.__module__.split(".")[0] in ("pydantic", "builtins"):
        return {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    told = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            told[field.target.id] = " ".join(text.value.value.split())
    return told


def _models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _type(annotation: Any) -> str:
    """A type in the words of a YAML file."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(item) for item in arguments if item is not NoneType))
    if origin in (tuple, list):
        items = [_type(item) for item in arguments if item is not Ellipsis]
        return f"list of {items[0]}" if Ellipsis in arguments or origin is list else f"[{', '.join(items)}]"
    if isinstance(origin, type):
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return "section"
    named = {bool: "true or false", int: "integer", float: "number", str: "text", Any: "any"}
    return named.get(annotation, getattr(annotation, "__name__", "any").lower())


def _limit(rule: Any) -> str:
    for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"), ("multiple_of", "a multiple of")):
        if getattr(rule, name, None) is not None:
            return f"{sign} {getattr(rule, name)}"
    return ""


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "**required**"
    if value is None or isinstance(value, pydantic.BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{value}`" if not (isinstance(value, (list, dict, str)) and not value) else ""


# -- Markdown ----------------------------------------------------------------------------------------------------------


def _escape(text: str) -> str:
    """Text inside a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


GENERATORS = {"commands": commands, "settings": settings, "spaces": spaces}
