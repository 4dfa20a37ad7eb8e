"""Running the `usage` of a form as its users do: in a process of its own, in the export folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_EACH = """
np.save("found.npy", np.stack([logits(image[None]) for image in np.load("images.npy")]))
"""


def run_usage(usage: str | None, images: NDArray[np.float32], folder: Path) -> NDArray[np.float32]:
    """What its `logits` gives for every image of (N, C, R, R)."""
    assert usage is not None
    np.save(folder / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", usage + _EACH], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.asarray(np.load(folder / "found.npy"))
