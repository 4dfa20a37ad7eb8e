"""The page's style and script: Plotly's own file, and the project's few files in one closure."""

from __future__ import annotations

from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from ofa.report.markup import Markup
from search_spaces.common.errors import UserError

#: later files use what earlier ones define; those of `PURE` touch neither page nor Plotly
PURE = ("text", "networks", "pick")
PARTS = (*PURE, "theme", "plots", "charts", "front", "layers", "budgets", "page")


def style() -> Markup:
    return Markup(asset("page.css"))


def script() -> Markup:
    """The files of `assets/` in order: what they define is seen by each other and by nothing else."""
    body = "\n".join(asset(f"{part}.js") for part in PARTS)
    return Markup(f'(() => {{\n"use strict";\n{body}\n}})();')


@cache
def plotly() -> Markup:
    """Plotly's script from its package, whose Python (a second of imports) is not needed for it.

    Nothing in it may end the script element. Raises `UserError` if the package is not installed.
    """
    spec = find_spec("plotly")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.exists():
            return Markup(path.read_text(encoding="utf-8").replace("</script", "<\\/script"))
    raise UserError("the report page needs the package plotly", hint="Install it with: pip install plotly")


def asset(name: str) -> str:
    return (resources.files("ofa.report") / "assets" / name).read_text(encoding="utf-8")
