"""`search.json` as later stages read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofa.search.facts import SCHEMA
from ofa.search.search_file import check_search
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json

FILE = "search.json"


def read_search(run: Path) -> dict[str, Any]:
    """Raises `UserError` for a file that is missing or of another schema, naming the command that makes it."""
    path = run / FILE
    if not path.exists():
        raise UserError("no search result", file=path, hint=f"Make it with: ofa search {run}")
    data = read_json(path, "search result")
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("budgets"), list):
        found = data.get("schema") if isinstance(data, dict) else None
        raise UserError(
            f"not a search result of schema {SCHEMA} (found {found!r})",
            file=path,
            hint=f"Make it again with: ofa search {run}",
        )
    return check_search(data, file=path)
