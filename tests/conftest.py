"""One OpenMP thread per test process, set before torch is imported: tests run beside each other, and threads that
wait for a busy core make a small network up to sixty times slower."""

from __future__ import annotations

import gc
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# the programs that tests start would each translate the project anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was imported stays: looking through it for garbage again and again is a tenth of the tests' time."""
    import torch  # noqa: F401  (the largest of it)

    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 30)


@pytest.fixture(autouse=True)
def _same_random_weights() -> None:
    """Networks built without a seed are the same in every run, so that a tolerance holds always or never."""
    import torch

    torch.manual_seed(0)
