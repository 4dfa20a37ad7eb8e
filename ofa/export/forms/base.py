"""What a form is: a file, how to write it, and how to compute with what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

#: images (N, C, R, R), normalised -> logits (N, num_classes)
Predict = Callable[["Tensor"], "Tensor"]
#: names of the input and of the output, in every form that names them
INPUT, OUTPUT = "image", "logits"


@runtime_checkable
class Form(Protocol):
    """One way to hand a network over. `write` gets the network in evaluation mode; `load` reads only files of
    `folder`.
    """

    name: str
    file: str

    def write(self, network: GraphModule, *, input_shape: tuple[int, int, int], folder: Path) -> None:
        """Write `folder / file` for inputs of (C, H, W), any batch size."""
        ...

    def load(self, folder: Path) -> Predict:
        """The function computed by the file in `folder`."""
        ...
