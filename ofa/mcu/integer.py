"""A quantised network as a function of images: computed in integers, bit for bit as on the microcontroller."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.quantization import Bytes
from trainers.evaluation.evaluate import Evaluation, evaluate_network

#: bytes of images together, by the largest map of a network: what is in between is some ten times as large
_PIECE = 2**20


def integer_predict(program: Program) -> Callable[[Tensor], Tensor]:
    """The function from images (N, C, R, R), normalised as the network gets them, to logits (N, K) in real numbers."""
    step = max(1, _PIECE // max(map(program.size, program.shapes)))
    affine = program.affine[program.output]

    def predict(images: Tensor) -> Tensor:
        x = quantize_images(program, images)
        outputs = [program.reference(x[start : start + step]) for start in range(0, len(x), step)]
        return torch.from_numpy(affine.real(np.concatenate(outputs))).float().flatten(1)

    return predict


def quantize_images(program: Program, images: Tensor) -> Bytes:
    """Images (N, C, R, R) as the input of `program`: (N, R, R, C)."""
    return program.affine[program.input].quantize(images.detach().float().cpu().permute(0, 2, 3, 1).numpy())


def evaluate_program(program: Program, batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    """Accuracy and loss over batches of (images, labels), in integers."""
    return evaluate_network(IntegerNetwork(program), batches)


class IntegerNetwork(nn.Module):
    """`integer_predict` where a module is asked for."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.predict = integer_predict(program)

    def forward(self, images: Tensor) -> Tensor:
        return self.predict(images)
