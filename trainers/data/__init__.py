"""Images for training: data sets by name, four honest splits, batched augmentation, streaming.

`load_data(settings, seed=...)` gives an `ImageData`. Importing this package imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.data.image_data import ImageData as ImageData
    from trainers.data.load import keep_loaded as keep_loaded
    from trainers.data.load import load_data as load_data
    from trainers.data.resize import resize_batch as resize_batch

__all__ = ["ImageData", "keep_loaded", "load_data", "resize_batch"]


def __getattr__(name: str) -> Any:
    import importlib

    modules = {"ImageData": "image_data", "keep_loaded": "load", "load_data": "load", "resize_batch": "resize"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"trainers.data.{modules[name]}"), name)
