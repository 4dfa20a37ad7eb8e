"""Which versions made a result."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterable

#: the packages that decide results
PACKAGES = ("ofa-nas", "torch", "timm", "numpy", "onnx", "onnxruntime", "scikit-learn", "safetensors")


def installed_version(requirement: str) -> str | None:
    """Of the package that a requirement as pip has it (`torch`, `torch==2.1`) names; None where it is not installed."""
    try:
        return importlib.metadata.version(re.split(r"[^\w.-]", requirement)[0])
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Python, system and the packages that decide results, with those of `more` (requirements) that are installed."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for requirement in (*PACKAGES, *more):
        if (version := installed_version(requirement)) is not None:
            found[re.split(r"[^\w.-]", requirement)[0]] = version
    return found
