from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from latency_tables.settings import DeviceSettings
from latency_tables.table import LatencyTable, load_table
from search_spaces import SearchSpace, get_space

TINY = {"name": "mobilenet_v3_digits", "resolution": [16, 20], "kernel": [3, 5], "expand": [3], "depth": [1, 2]}


def hasty(**changes: object) -> DeviceSettings:
    """Two hasty rounds: enough for everything but accuracy."""
    settings = {"name": "here", "runtime": "onnxruntime", "rounds": 2, "instances": 2, "warmup": 1, "sample_ms": 0.01}
    return DeviceSettings.model_validate({**settings, "min_calls": 1, "retries": 0, "holdout": 20, **changes})


@pytest.fixture(scope="session")
def device() -> Callable[..., DeviceSettings]:
    return hasty


@pytest.fixture(scope="session")
def tiny() -> SearchSpace:
    return get_space(TINY, num_classes=10, in_channels=1)


@pytest.fixture(scope="session")
def table_file(tiny: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished table of the tiny space, measured once for all tests."""
    from latency_tables.measure import measure_table

    path = tmp_path_factory.mktemp("tables") / "here.json"
    measure_table(tiny, hasty(), path=path)
    return path


@pytest.fixture
def table(table_file: Path) -> LatencyTable:
    return load_table(table_file)
