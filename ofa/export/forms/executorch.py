"""`model.pte`: float32 for ExecuTorch with XNNPACK, PyTorch's runtime for phones.

Input (1, C, H, W), one image as in PyTorch, and output (1, num_classes). The image lies channel by channel, as apps
have it: a program checks no layout, and would compute nonsense from another one without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.extension.pybindings import portable_lib
from torch import Tensor

from latency_tables.executorch.graph import for_xnnpack
from latency_tables.executorch.program import export, to_pte
from latency_tables.runtimes.executorch import ExecuTorch, load_function
from ofa.export.forms.base import Predict, Source
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import write_bytes


def usage(file: str) -> str:
    return f"""\
import numpy as np
import torch
from executorch.runtime import Runtime

program = Runtime.get().load_program("{file}")
forward = program.load_method("forward")


def logits(image):
    (output,) = forward.execute([torch.from_numpy(np.ascontiguousarray(image))])
    return output[0].numpy().copy()
"""


class ExecuTorchForm:
    name = "executorch"
    file = "model.pte"
    exact = True
    requires = ("executorch", "torch")
    usage = usage(file)

    def write(self, source: Source, folder: Path) -> None:
        with in_file(self.file):
            x = torch.zeros(1, *source.input_shape)
            content = to_pte(export(for_xnnpack(source.network, source.input_shape), x), x)
            check_kernels(content)
        write_bytes(folder / self.file, content)

    def load(self, folder: Path) -> Predict:
        return load_images(folder / self.file)

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        return ExecuTorch().prepare_file(folder / self.file, threads=threads, input_shapes=[(1, *input_shape)])

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """In how many parts XNNPACK runs the program, and which operators run on ExecuTorch's portable kernels."""
        return describe(folder / self.file)


def load_images(path: Path) -> Predict:
    """What the program computes for images (N, C, H, W), one after another.

    Raises `UserError` if ExecuTorch cannot load the file.
    """
    with in_file(path):
        compute = load_function(path.read_bytes())

    def predict(images: Tensor) -> Tensor:
        return torch.cat([compute(image) for image in images.float().cpu().split(1)])

    return predict


def check_kernels(content: bytes) -> None:
    """Raises `UserError` naming an operator of the program that ExecuTorch has no kernel for."""
    known = set(portable_lib._get_operator_names())
    for name in _operators(content):
        if name not in known:
            raise UserError("ExecuTorch has no kernel for this operator", key=name)


def describe(path: Path) -> dict[str, Any]:
    """For the report: parts of the program that XNNPACK runs, and the other operators, which an app links too."""
    content = path.read_bytes()
    return {"xnnpack_parts": len(_plan(content).delegates), "portable_operators": _operators(content)}


def _operators(content: bytes) -> list[str]:
    found = _plan(content).operators
    return sorted({f"{operator.name}.{operator.overload}".removesuffix(".") for operator in found})


def _plan(content: bytes) -> Any:
    return deserialize_pte_binary(content).program.execution_plan[0]
