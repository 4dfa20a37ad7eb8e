"""Data sets by name. A new one: a file here that registers a function `(settings, path) -> SourceData`, and a line."""

from __future__ import annotations

from trainers.data.sources import cifar10, elpv, fashion_mnist, image_folder, mnist_5k, npz, synthetic
from trainers.data.sources.registry import SOURCES

__all__ = ["SOURCES", "cifar10", "elpv", "fashion_mnist", "image_folder", "mnist_5k", "npz", "synthetic"]
