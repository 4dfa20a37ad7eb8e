"""`model.pt2`: a torch.export archive. `torch.export.load("model.pt2").module()(images)` needs torch and nothing
else.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ofa.export.forms.base import Predict, Source


class Pt2Form:
    name = "pt2"
    file = "model.pt2"

    def write(self, source: Source, folder: Path) -> None:
        torch.export.save(source.program, folder / self.file)

    def load(self, folder: Path) -> Predict:
        network: Predict = torch.export.load(folder / self.file).module()
        return network
