"""The house style that a program can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("search_spaces", "latency_tables", "trainers", "predictors", "ofa")
CODE = [path for folder in (*ROOMS, "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
SHIPPED = [path for path in CODE if path.relative_to(ROOT).parts[0] in ROOMS]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_longer_than_600_lines():
    assert [name(path) for path in CODE if len(path.read_text().splitlines()) > 600] == []


def test_every_module_says_what_it_is_for():
    trees = {name(path): ast.parse(path.read_text()) for path in SHIPPED}
    assert [path for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_annotations_are_lazy_everywhere():
    defining = [
        path
        for path in SHIPPED
        if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.parse(path.read_text()).body)
    ]
    assert [name(path) for path in defining if "from __future__ import annotations" not in path.read_text()] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_with_code_is_a_package(room):
    folders = {path.parent for path in (ROOT / room).rglob("*.py")}
    assert [name(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_the_papers_are_there():
    for file in ("README.md", "CHANGELOG.md", "setup.cfg"):
        assert (ROOT / file).stat().st_size > 0
