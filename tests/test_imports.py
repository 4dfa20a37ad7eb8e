"""Who may import whom, what stays light, and that nothing is ever unpickled; read from the source of every file."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: room -> the rooms it may import
ALLOWED = {
    "search_spaces": set(),
    "latency_tables": {"search_spaces"},
    "trainers": {"search_spaces"},
    "predictors": {"search_spaces", "latency_tables", "trainers"},
    "ofa": {"search_spaces", "latency_tables", "trainers", "predictors"},
}
#: runs on devices as a package of another name, and imports its own modules alone
ON_DEVICE = Path("latency_tables/remote/on_device")
HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "sklearn", "scipy", "timm", "optuna")
FILES = [path for room in ALLOWED for path in sorted((ROOT / room).rglob("*.py"))]

#: pickle itself, what is built on it, and what runs code it reads
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec"}

#: written for users of the published networks, whose code reads nothing else; holds plain tensors
MAY_SAVE = {"ofa/imports/pth.py": ["torch.save"]}


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that any statement imports, also inside functions, or by a literal name to importlib."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 1:  # a sibling, in the same room
                continue
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
            yield from (leading_text(argument) for argument in node.args[:1])


def leading_text(node: ast.expr) -> str:
    """The text of a literal, or what an f-string begins with."""
    first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def wrong_arrows(tree: ast.AST, room: str) -> list[str]:
    allowed = {room} | ALLOWED[room]
    return [name for name in imported(tree) if name.split(".")[0] in set(ALLOWED) - allowed]


def unpickling(tree: ast.AST) -> list[str]:
    """Every way in this file to run what a file says."""
    found = [name for name in imported(tree) if name.split(".")[0] in FORBIDDEN_MODULES]
    found += [name for name in imported(tree) if name in ("torch.load", "torch.save", "numpy.load")]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        values = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if name == "torch.load" and values.get("weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if name in (
            "torch.save",
            "torch.jit.load",
            "torch.package.PackageImporter",
            "yaml.unsafe_load",
            "yaml.full_load",
        ):
            found.append(name)
        if any(k.arg == "allow_pickle" for k in node.keywords) and values.get("allow_pickle") is not False:
            found.append("allow_pickle")
        if name in FORBIDDEN_CALLS:
            found.append(name)
    return found


def test_arrows_between_rooms_go_one_way():
    assert len(FILES) > 50
    wrong = {str(path): wrong_arrows(ast.parse(path.read_text()), path.relative_to(ROOT).parts[0]) for path in FILES}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_only_what_runs_on_devices_has_relative_imports():
    nodes = {
        path: [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        for path in FILES
    }
    relative = {path.relative_to(ROOT).parent for path, imports in nodes.items() if any(node.level for node in imports)}
    assert relative == {ON_DEVICE}


def test_nothing_is_unpickled():
    found = {str(path.relative_to(ROOT)): unpickling(ast.parse(path.read_text())) for path in FILES}
    assert {path: ways for path, ways in found.items() if ways} == MAY_SAVE


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "import joblib.externals",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import torch\ntorch.save(1, 'x')",
        "from torch import load",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=flag)",
        "eval('1')",
    ],
)
def test_the_check_for_unpickling_can_tell(code):
    assert unpickling(ast.parse(code))
    assert not unpickling(
        ast.parse("import torch\ntorch.load('x', weights_only=True, map_location='cpu')\nmodel.eval()")
    )


def test_the_check_for_arrows_can_tell():
    inside = "def f():\n    from importlib import import_module\n    import_module('trainers.training')"
    for code in ("import trainers", "from trainers.data import load_data", "def f():\n    import trainers.x", inside):
        assert wrong_arrows(ast.parse(code), "latency_tables")
        assert not wrong_arrows(ast.parse(code), "ofa")


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_are_there(room):
    assert (ROOT / room / "__init__.py").exists()


def loaded_by(module: str) -> set[str]:
    """Top-level names of everything that importing `module` imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize(
    "module", ["search_spaces", "search_spaces.genome", "search_spaces.operators", "search_spaces.space"]
)
def test_search_spaces_answer_without_torch(module):
    loaded = loaded_by(module)
    assert "numpy" in loaded  # the list is read right
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_are_light_at_the_door(room):
    assert not loaded_by(room) & set(HEAVY)


def test_the_command_line_starts_light():
    assert not loaded_by("ofa.cli") & set(HEAVY)
    commands = ROOT / "ofa" / "commands"
    tree = ast.parse((ROOT / "ofa" / "cli.py").read_text())
    for path in commands.glob("*.py"):  # the commands too: cli imports them to build its help
        tree.body += ast.parse(path.read_text()).body
    at_top = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
    assert not {name.split(".")[0] for name in imported(at_top)} & set(HEAVY)
    help_text = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ofa.cli", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert help_text.returncode == 0, help_text.stderr[-2000:]
    names = {line.rpartition("|")[2].strip().split(".")[0] for line in help_text.stderr.splitlines()}
    assert "typer" in names
    assert not names & set(HEAVY)


def test_packages_are_listed():
    """setup.cfg lists exactly the packages on disk."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    holds = {path.parent for room in ALLOWED for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".yaml")}
    on_disk = {".".join(folder.relative_to(ROOT).parts) for folder in holds if "__pycache__" not in folder.parts}
    assert sorted(listed) == sorted(on_disk)
    for line in config["options.package_data"]:
        assert line in listed
