from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from latency_tables import timing
from latency_tables.once_for_all.operators import operator_texts
from latency_tables.remote.on_device import timing as on_device
from latency_tables.settings import DeviceSettings
from latency_tables.table import LatencyTable, load_table
from search_spaces import SearchSpace, get_space

TINY = {"name": "mobilenet_v3_digits", "resolution": [16, 20], "kernel": [3, 5], "expand": [3], "depth": [1, 2]}


def hasty(**changes: object) -> DeviceSettings:
    """Two hasty rounds: enough for everything but accuracy."""
    settings = {"name": "here", "runtime": "onnxruntime", "rounds": 2, "instances": 2, "warmup": 1, "sample_ms": 0.01}
    settings |= {"fit_networks": 4, "max_other_load": None, "pin": False}  # the tests run beside each other
    return DeviceSettings.model_validate({**settings, "min_calls": 1, "retries": 0, "holdout": 20, **changes})


@pytest.fixture
def nobody_disturbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests has no say in which samples count: `test_one_sample` tests what pulses tell."""
    for module in (timing, on_device):
        monkeypatch.setattr(module, "take_pulse", lambda: 0.1)
    monkeypatch.setattr(on_device, "CORE_SHARE", 0.0)


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


def write_lookup_files(folder: Path, space: SearchSpace) -> dict[int, Path]:
    """Once-for-all's YAML files of a space, one a resolution, with random values."""
    rng = np.random.default_rng(0)
    files = {}
    for side in space.genome.option_values("resolution").tolist():
        lines: dict[str, object] = {}
        for texts in operator_texts(space.restrict(resolution=[side])).values():
            for text in texts:
                mean = float(rng.uniform(0.1, 2.0))
                lines[text] = {"count": int(rng.integers(50, 100)), "mean": mean, "std": float(rng.uniform(0, mean))}
        files[side] = folder / f"{side}_table.yaml"
        files[side].write_text(yaml.dump(lines, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    return files


@pytest.fixture(scope="session")
def write_lookup() -> Callable[..., dict[int, Path]]:
    return write_lookup_files


@pytest.fixture
def table(table_file: Path) -> LatencyTable:
    return load_table(table_file)
