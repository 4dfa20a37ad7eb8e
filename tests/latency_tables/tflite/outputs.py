"""What TensorFlow Lite models give."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from latency_tables.tflite.file import TFLiteModel
from latency_tables.tflite.interpreter import LoadedModel


def outputs(model: TFLiteModel, inputs: Iterable[np.ndarray]) -> np.ndarray:
    """In float32, an input after the other."""
    loaded, found = LoadedModel(model.to_bytes()), []
    for x in inputs:
        loaded.set_inputs(x)
        found.append(loaded.call().output())
    return np.stack(found)
