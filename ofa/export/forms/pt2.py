"""`model.pt2`: a torch.export archive. `torch.export.load("model.pt2").module()(images)` needs torch and nothing
else.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import torch

from ofa.export.forms.base import Predict, Source
from ofa.export.forms.torch_call import torch_call
from search_spaces.common.files import write_bytes

_USAGE = """\
import numpy as np
import torch

network = torch.export.load("model.pt2").module()


@torch.inference_mode()
def logits(image):
    return network(torch.from_numpy(image))[0].numpy()
"""


class Pt2Form:
    name = "pt2"
    file = "model.pt2"
    exact = True
    requires = ("torch",)
    usage = _USAGE

    def write(self, source: Source, folder: Path) -> None:
        archive = io.BytesIO()  # torch's own file writer ends the whole process when the disk is full
        torch.export.save(source.program, archive)
        write_bytes(folder / self.file, archive.getvalue())

    def load(self, folder: Path) -> Predict:
        network: Predict = torch.export.load(folder / self.file).module()
        return network

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        """Torch as it is, op by op; its threads are the process's (`threads` while a latency is measured)."""
        return torch_call(self.load(folder), input_shape)
