"""The example package of docs/plugins, installed as its reader would: by pip, from its folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "docs" / "plugins" / "ofa_example"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the example alone: no virtual environment, no network."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PACKAGE, folder / "source")  # setuptools leaves its build beside the sources
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def run_python(site: Path) -> Run:
    """A Python of its own that has the example installed beside everything else."""

    def run(*words: object, cwd: Path, installed: bool = True) -> subprocess.CompletedProcess[str]:
        places = [str(ROOT), *([str(site)] if installed else [])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "COLUMNS": "200"}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)

    return run


@pytest.fixture(scope="session")
def ofa(run_python: Run) -> Callable[..., dict[str, Any]]:
    """`ofa ... --json` that ends well; what it says."""

    def ofa(*words: object, cwd: Path) -> dict[str, Any]:
        done = run_python("-m", "ofa", *words, "--json", cwd=cwd)
        assert done.returncode == 0, done.stderr + done.stdout
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return ofa
