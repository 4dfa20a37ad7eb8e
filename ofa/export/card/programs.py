"""For every form one complete Python program: from a picture's file to its class, run inside the export folder."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from itertools import takewhile

from ofa.export.architecture_file import FILE, Preprocessing
from ofa.export.card import preprocessing
from ofa.export.card.facts import DataFacts


def program(usage: str, described: Preprocessing, data: DataFacts) -> str:
    """The program of a form with this `usage` (see `Form.usage`). Its arguments: the picture; it prints the class."""
    imports, loading = _split(usage)
    parts = [
        _sorted([*imports, *preprocessing.imports(data), "import json"]),
        loading,
        f"{preprocessing.code(described, data)}\n"
        f'names = json.load(open("{FILE}", encoding="utf-8"))["class_names"]\n'
        "print(names[int(logits(image).argmax())])",
    ]
    gaps = ("\n\n", "\n\n\n" if loading.rstrip().splitlines()[-1].startswith(" ") else "\n\n")
    return f"{parts[0]}{gaps[0]}{parts[1]}{gaps[1]}{parts[2]}\n"


def _split(usage: str) -> tuple[list[str], str]:
    """The imports that a text begins with, and the rest of it: later ones may need what stands before them."""
    nodes = list(takewhile(lambda node: isinstance(node, ast.Import | ast.ImportFrom), ast.parse(usage).body))
    lines = usage.splitlines()
    for node in reversed(nodes):
        del lines[node.lineno - 1 : node.end_lineno]
    return [ast.unparse(node) for node in nodes], "\n".join(lines).strip("\n")


def _sorted(imports: Iterable[str]) -> str:
    """The standard library, a gap, and the others; each by module, `import` before `from`."""
    groups: tuple[list[str], list[str]] = ([], [])
    for line in sorted(set(imports), key=lambda line: (line.startswith("from"), line.lower())):
        groups[line.split()[1].partition(".")[0] not in sys.stdlib_module_names].append(line)
    return "\n\n".join("\n".join(group) for group in groups if group)
