"""Which network a word of the command line means: a file, a key on record, a budget's winner, an end of the space."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import read_json, read_lines

#: files of a run that name architectures by their keys
RECORDS, SEARCH = "records.jsonl", "search.json"


def find_architecture(which: str, space: SearchSpace, run: Path, *, key: str = "ARCH") -> Architecture:
    """The architecture that `which` means: `largest` or `smallest` of `space`; a JSON file (an architecture alone, or
    under the key `architecture` of an export or record); a key in the run's records or search; a budget's name.

    Raises `UserError` if there is none such, or if it is no architecture of `space`.
    """
    if which in ("largest", "smallest"):
        return space.decode(space.largest() if which == "largest" else space.smallest())[0]
    path = Path(which)
    if path.suffix == ".json" or path.is_file():
        architecture = read_architecture(path)
        space.encode([architecture], file=path)
        return architecture
    known: dict[str, tuple[Any, Path]] = {}
    for file, entries in ((run / RECORDS, _recorded(run)), (run / SEARCH, _searched(run))):
        known |= {name: (found, file) for name, found in entries if name not in known}
    if which in known:
        found, file = known[which]
        architecture = Architecture.from_json(found, file=file)
        space.encode([architecture], file=file)
        return architecture
    names = [name for name in known if len(name) != 12] + ["largest", "smallest"]
    error = unknown_name("architecture", which, names, key=key)
    hint = f"{error.hint}, an architecture's JSON file, or a key of the {len(known)} in the run's records and search"
    raise UserError(error.message, file=run, key=key, hint=hint)


def read_architecture(path: Path) -> Architecture:
    """An architecture as JSON, alone or under the key `architecture` of an export, a record or a winner."""
    data = read_json(path, "architecture file")
    if isinstance(data, dict) and isinstance(data.get("architecture"), dict):
        data = data["architecture"]
    return Architecture.from_json(data, file=path)


def restriction_to(space: SearchSpace, architecture: Architecture) -> dict[str, list[Any]]:
    """What `SearchSpace.restrict` takes to leave this network alone: {choice: [its value]}."""
    restriction: dict[str, list[Any]] = {}
    for name, choice in space.genome.choices.items():
        value = architecture.values[choice.group]
        if isinstance(value, tuple):
            assert choice.index is not None
            value = value[choice.index]
        if value is not None:
            restriction[name] = [value]
    assert space.restrict(restriction).size == 1
    return restriction


def _recorded(run: Path) -> Iterator[tuple[str, Any]]:
    for line in read_lines(run / RECORDS, "records file"):
        if isinstance(line, dict) and "key" in line and "architecture" in line:
            yield line["key"], line["architecture"]


def _searched(run: Path) -> Iterator[tuple[str, Any]]:
    """Every architecture anywhere in the search file by its key, and every budget's winner by the budget's name."""
    if not (run / SEARCH).exists():
        return
    content = read_json(run / SEARCH, "search result")
    budgets = content.get("budgets", []) if isinstance(content, dict) else []
    for budget in budgets if isinstance(budgets, list) else []:
        if isinstance(budget, dict) and isinstance(budget.get("winner"), dict) and "name" in budget:
            yield str(budget["name"]), budget["winner"].get("architecture")
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("key"), str) and isinstance(value.get("architecture"), dict):
                yield value["key"], value["architecture"]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
