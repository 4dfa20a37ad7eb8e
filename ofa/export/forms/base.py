"""What a form is: a file, how to write it, and how to compute with what was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

    from ofa.mcu.settings import QuantizationSettings

#: images (N, C, R, R), normalised -> logits (N, num_classes)
Predict = Callable[["Tensor"], "Tensor"]

#: names of the input, of the output and of the open leading side of both, in every form that names them
INPUT, OUTPUT, BATCH = "image", "logits", "batch"


@dataclass(frozen=True)
class Deployment:
    """What a form for a microcontroller takes besides the network.

    `golden` (N, C, H, W): images of the selection split, as the network gets them, whose outputs come with the form.
    `mean`, `std`: per channel, of pixels scaled to 0..1. `facts` are said of the network, JSON-able.
    """

    board: str | None
    golden: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    quantization: QuantizationSettings
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """The network to write, in evaluation mode, for inputs of (C, H, W) in batches of any size.

    `calibration` (N, C, H, W): images of the calibration split, as the network gets them; for forms in integers.
    `npu`: the accelerator of the form `ethos-u`.
    """

    network: GraphModule
    input_shape: tuple[int, int, int]
    calibration: Tensor | None = None
    deployment: Deployment | None = None
    npu: str = "ethos-u55-128"

    @cached_property
    def program(self) -> ExportedProgram:
        """The network traced, once for all forms that need it so."""
        from ofa.export.forms.tracing import trace

        return trace(self.network, self.input_shape)


@runtime_checkable
class Form(Protocol):
    """One way to hand a network over."""

    name: str
    file: str
    exact: bool
    """Whether it computes what the network does, but for the rounding of floats. One in 8-bit integers does not: it is
    calibrated on `Source.calibration`, and its accuracy is reported beside the network's.
    """

    @property
    def requires(self) -> tuple[str, ...]:
        """What a fresh environment installs to run the file, as pip has it, besides numpy and pillow."""
        ...

    @property
    def usage(self) -> str | None:
        """Python, a few lines, run inside the export folder, that loads the file and defines `logits(image)`: float32
        (1, C, R, R), as the network gets it -> numpy float32 (num_classes,). It imports `requires` and numpy (as `np`),
        and nothing of this project unless that is required. None: the form has instructions of its own.
        """
        ...

    def write(self, source: Source, folder: Path) -> None:
        """Write `folder / file`. Raises `UserError` naming the operator where one cannot be converted."""
        ...

    def load(self, folder: Path) -> Predict:
        """The function computed by the file in `folder`; reads nothing but files of that folder."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A form whose file runs on this machine as it will run for its users, so that its latency can be measured."""

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        """Each call of the result is one inference of one image (1, *input_shape), by the file's own runtime alone."""
        ...


@runtime_checkable
class Folder(Protocol):
    """A form that is a folder: `file` is that."""

    def digest(self, folder: Path) -> str:
        """SHA-256 of all its files together. Raises `UserError` where one is not what was written."""
        ...

    def num_bytes(self, folder: Path) -> int:
        """Of all its files."""
        ...


@runtime_checkable
class Examined(Protocol):
    """A form with more to be found out about its file than its outputs."""

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """JSON-able facts for the report. Raises `UserError` where the file does not do what it should."""
        ...
