"""A finished run for the tests of the report, and pages opened in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import chromium, visits  # noqa: F401
from tests.ofa.report.invented import Run, write_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture
def run(finished_run: Run, tmp_path: Path) -> Run:
    """A copy that a test may spoil."""
    return finished_run.copy(tmp_path / "run")
