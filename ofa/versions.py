"""Which versions made a result."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

#: the packages that decide results
PACKAGES = ("ofa-nas", "torch", "timm", "numpy", "onnx", "onnxruntime", "scikit-learn", "safetensors")


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Python, system and the packages that decide results, with those of `more` that are installed."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in dict.fromkeys((*PACKAGES, *more)):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
