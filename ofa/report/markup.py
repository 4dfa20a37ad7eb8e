"""HTML and SVG as nested function calls. Text and attribute values are always escaped; only markup made here is not."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is already HTML."""


#: what may stand inside an element: markup, text to be escaped, or nothing
Child = Markup | str | None

_VOID = {"meta", "br", "hr", "input", "link", "col", "circle", "line", "path", "rect", "polygon", "polyline"}


def tag(name: str, /, *children: Child | Iterable[Child], **attributes: Attribute) -> Markup:
    """`tag("p", "a < b", class_="note")` -> `<p class="note">a &lt; b</p>`.

    A trailing underscore is dropped from attribute names and others become hyphens; None and False leave an attribute
    out.
    """
    text = "".join(_attribute(key, value) for key, value in attributes.items())
    inner = join(*children)
    if name in _VOID and not inner:
        return Markup(f"<{name}{text}/>")
    return Markup(f"<{name}{text}>{inner}</{name}>")


def join(*children: Child | Iterable[Child]) -> Markup:
    """Children side by side."""
    return Markup("".join(_child(child) for child in children))


def raw_json(value: object) -> Markup:
    """JSON for a `<script type="application/json">`: nothing in it can end the script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _child(child: Child | Iterable[Child]) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return html.escape(child)
    return "".join(_child(item) for item in child)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-") if key != "viewBox" else key
    if value is True:
        return f" {name}"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(text)}"'
