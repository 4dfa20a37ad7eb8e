"""Forms that fail in the ways that converters and runtimes do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ofa.export.architecture_file import FILE, read_architecture_file
from ofa.export.forms.base import Form, Predict, Source
from ofa.export.forms.registry import FORMS
from search_spaces.plain import build_network


class Honest:
    """A form that does all it should: weights in a file of its own."""

    name = "honest"
    exact = True
    requires = ()
    usage = None

    @property
    def file(self) -> str:
        return f"{self.name}.bin"

    def write(self, source: Source, folder: Path) -> None:
        save_file(source.network.state_dict(), folder / self.file)

    def load(self, folder: Path) -> Predict:
        described = read_architecture_file(folder / FILE)
        network = build_network(described.space, described.architecture)
        network.load_state_dict(load_file(folder / self.file))
        network.eval()
        return lambda images: network(images)


class Refusing(Honest):
    """Does not take squeeze-and-excite, and does not say where it found it."""

    name = "refusing"

    def write(self, source: Source, folder: Path) -> None:
        (folder / self.file).write_bytes(b"half")
        if any(isinstance(layer, nn.Hardsigmoid) for layer in source.network.modules()):
            raise RuntimeError("no kernel for a gate\nand a long trace of C++")
        super().write(source, folder)


class Lying(Honest):
    name = "lying"

    def load(self, folder: Path) -> Predict:
        predict = super().load(folder)
        return lambda images: predict(images) + 0.1


class HalfWritten(Honest):
    """Leaves a folder and a cut file behind."""

    name = "half"

    def write(self, source: Source, folder: Path) -> None:
        super().write(source, folder)
        (folder / self.file).write_bytes((folder / self.file).read_bytes()[:100])
        (folder / "scratch").mkdir()
        (folder / "scratch" / "graph.txt").write_text("...")
        raise ValueError


class NotLoading(Honest):
    """Its runtime has no kernel for squeeze-and-excite, which shows when it is loaded."""

    name = "notloading"

    def load(self, folder: Path) -> Predict:
        if any("se.reduce" in name for name in load_file(folder / self.file)):
            raise RuntimeError("unknown opcode 77")
        return lambda images: torch.zeros(len(images), 4)


class LatePackage(Honest):
    """Finds out while converting that a package is missing."""

    name = "latepackage"

    def write(self, source: Source, folder: Path) -> None:
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")


class Stopping(Honest):
    """Ends with whatever is raised."""

    name = "stopping"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def write(self, source: Source, folder: Path) -> None:
        super().write(source, folder)
        raise self.error


class InInt8(Honest):
    """Not exact: logits rounded to steps of a quarter of their spread."""

    name = "in-int8"
    exact = False

    def load(self, folder: Path) -> Predict:
        predict = super().load(folder)

        def rounded(images: Tensor) -> Tensor:
            logits = predict(images)
            step = logits.std() / 16
            return (logits / step).round() * step

        return rounded


def not_installed() -> Form:
    raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")


def register(monkeypatch: pytest.MonkeyPatch, *forms: Any, only: bool = False, **makers: Callable[[], Form]) -> None:
    """Enter `forms` for the time of a test; with `only` the others are gone."""
    entries = {} if only else dict(FORMS._entries)
    for form in forms:
        entries[form.name] = lambda form=form: form
    monkeypatch.setattr(FORMS, "_entries", {**entries, **makers})
