"""The small protocols behind which every runtime hides: prepare a module once, then call it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import fx


class Runtime(Protocol):
    """Executes networks of plain torch modules, one image at a time."""

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> str:
        """`float32`, `float16` or `int8`: part of the device fingerprint."""

    @property
    def version(self) -> str: ...

    def prepare(self, module: fx.GraphModule, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        """Compile `module` for one input of `(1, *input_shape)`; each call of the result is one inference.

        The module is run as deployed: evaluation mode, batch norms folded into convolutions. It is not changed.
        """


@runtime_checkable
class FileRuntime(Protocol):
    """A runtime that also executes exported files."""

    def prepare_file(
        self, path: Path, *, threads: int, input_shapes: Sequence[tuple[int, ...]] | None = None
    ) -> Callable[[], object]:
        """As `Runtime.prepare`, for an exported file. Raises `UserError` if it is not such a file."""


@runtime_checkable
class Portable(Runtime, Protocol):
    """A runtime whose compiled networks are files, which another machine with the same runtime executes too."""

    @property
    def suffix(self) -> str:
        """Of such files: `.onnx`, `.tflite`, `.pte`."""

    def compile(self, module: fx.GraphModule, input_shape: tuple[int, ...]) -> bytes:
        """The content of the file, for one input of `(1, *input_shape)`; equal bytes for equal modules."""

    def load(self, artifact: bytes, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        """What `compile` made, ready to be called; each call is one inference."""
