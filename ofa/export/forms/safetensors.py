"""`model.safetensors`: the weights alone. Together with `architecture.json` they rebuild the network through this
project.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save
from torch.fx import GraphModule

from ofa.export.architecture_file import read_architecture_file
from ofa.export.forms.base import Predict, Source
from ofa.export.forms.torch_call import torch_call
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_bytes
from search_spaces.plain import build_network

_USAGE = """\
from pathlib import Path

import numpy as np
import torch
from ofa.export.forms.safetensors import load_network

network = load_network(Path("."))


@torch.inference_mode()
def logits(image):
    return network(torch.from_numpy(image))[0].numpy()
"""


class SafetensorsForm:
    name = "safetensors"
    file = "model.safetensors"
    exact = True
    requires = ("ofa-nas",)
    usage = _USAGE

    def write(self, source: Source, folder: Path) -> None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in source.network.state_dict().items()}
        write_bytes(folder / self.file, save(tensors))

    def load(self, folder: Path) -> Predict:
        return load_network(folder)

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        """Torch as it is, op by op; its threads are the process's (`threads` while a latency is measured)."""
        return torch_call(self.load(folder), input_shape)


def load_network(folder: Path) -> GraphModule:
    """The network of an export folder as plain torch modules in evaluation mode.

    Raises `UserError` when `model.safetensors` is missing, cut short, or does not fit `architecture.json`.
    """
    path = folder / SafetensorsForm.file
    described = read_architecture_file(folder / "architecture.json")
    network = build_network(described.space, described.architecture)
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError("no such file of weights", file=path, hint="Export again with the form 'safetensors'") from None
    except Exception as error:  # safetensors and torch raise several kinds; all mean the same to the user
        reason = str(error).splitlines()[0]
        raise UserError(
            f"these weights cannot be loaded into the network of architecture.json: {reason}", file=path
        ) from error
    return network.eval()
