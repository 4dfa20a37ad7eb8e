"""An export form: the weights as a NumPy archive (no pickle), for whoever reads them without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ofa.export.architecture_file import FILE, read_architecture_file
from ofa.export.forms.base import Predict, Source
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network

_USAGE = """\
from pathlib import Path

import numpy as np
import torch
from ofa_example.npz import NpzForm

predict = NpzForm().load(Path("."))


def logits(image):
    return predict(torch.from_numpy(image))[0].numpy()
"""


class NpzForm:
    """`write` makes the file, `load` computes with it: that is compared with the network before anything is there."""

    name = "npz"
    file = "model.npz"
    exact = True
    requires = ("ofa-nas", "ofa-example")
    usage = _USAGE

    def write(self, source: Source, folder: Path) -> None:
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in source.network.state_dict().items()}
        with (folder / self.file).open("wb") as stream:
            np.savez_compressed(stream, **tensors)

    def load(self, folder: Path) -> Predict:
        described = read_architecture_file(folder / FILE)
        network = build_network(described.space, described.architecture)
        try:
            with np.load(folder / self.file, allow_pickle=False) as stored:
                network.load_state_dict({name: torch.from_numpy(stored[name]) for name in stored.files})
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"does not hold the weights of this network: {error}", file=folder / self.file) from error
        network.eval()

        def predict(images: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                found: torch.Tensor = network(images)
                return found

        return predict
