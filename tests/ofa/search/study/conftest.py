from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ofa.search.budgets import resolve
from ofa.search.costs import all_costs
from ofa.search.study.terms import Terms
from search_spaces import SearchSpace

TABULAR = Path(__file__).with_name("tabular.py")


@pytest.fixture(scope="session")
def tabular() -> ModuleType:
    """The cheap run of `tabular.py`, which is also a script that tests start and kill."""
    spec = importlib.util.spec_from_file_location("tabular", TABULAR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tabular"] = module  # dataclasses and type hints of a module look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tabular: ModuleType, space: SearchSpace, tmp_path: Path) -> Path:
    """A run whose supernet is a formula."""
    return tabular.make_run(tmp_path / "run", space)


@pytest.fixture(scope="session")
def terms(tabular: ModuleType, space: SearchSpace) -> Terms:
    """A study of the accuracy alone, within half of the MACs."""
    return terms_of(tabular, space, ("accuracy",))


def terms_of(tabular: ModuleType, space: SearchSpace, objectives: tuple[str, ...]) -> Terms:
    costs = all_costs(space, {})
    limits = resolve(tabular.BUDGET, costs).limits
    return Terms(space, tabular.IDENTITY["weights_sha256"], costs, limits, objectives)
