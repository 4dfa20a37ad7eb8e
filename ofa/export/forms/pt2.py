"""`model.pt2`: a torch.export archive. `torch.export.load("model.pt2").module()(images)` needs torch and nothing
else.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch.fx import GraphModule

from ofa.export.forms.base import Predict
from ofa.export.forms.tracing import trace


class Pt2Form:
    name = "pt2"
    file = "model.pt2"

    def write(self, network: GraphModule, *, input_shape: tuple[int, int, int], folder: Path) -> None:
        program = trace(network, input_shape)
        program.example_inputs = None  # would be stored as a pickle; without them the archive is graph and raw weights
        torch.export.save(program, folder / self.file)

    def load(self, folder: Path) -> Predict:
        network: Predict = torch.export.load(folder / self.file).module()
        return network
