"""`model.pte`: float32 for ExecuTorch with XNNPACK, PyTorch's runtime for phones.

Input (1, C, H, W), one image as in PyTorch, and output (1, num_classes). The image lies channel by channel, as apps
have it: a program checks no layout, and would compute nonsense from another one without a word.
"""

from __future__ import annotations

import re
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

#: how ExecuTorch says that it has no kernel of the only form that programs call
_NO_OUT_VARIANT = re.compile(r"Missing out variants: \{'([^']+)'")


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
        content = lowered(source, lambda: _float_pte(source), file=self.file)
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


def _float_pte(source: Source) -> bytes:
    x = torch.zeros(1, *source.input_shape)
    return to_pte(export(for_xnnpack(source.network, source.input_shape), x), x)


def lowered(source: Source, lower: Callable[[], bytes], *, file: str) -> bytes:
    """The program that `lower` makes of the network of `source`.

    Raises `UserError` naming the layer and the operator where ExecuTorch has none of that kind.
    """
    known = set(portable_lib._get_operator_names())
    try:
        content = lower()
        lacking = [name for name in _operators(content) if name not in known]
    except RuntimeError as error:
        found = _NO_OUT_VARIANT.search(str(error))
        if found is None:
            raise
        lacking = [found[1]]
    if lacking:
        message = f"ExecuTorch has no kernel for the operator {lacking[0]}"
        raise UserError(message, file=file, key=_layer(source, lacking[0]))
    return content


def _layer(source: Source, operator: str) -> str | None:
    """The first layer of the network that computes `operator`, as far as it is known under the same name."""
    name = operator.split("::")[-1].split(".")[0]
    graph = export(for_xnnpack(source.network, source.input_shape), torch.zeros(1, *source.input_shape)).graph
    for node in graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if stack and str(node.target).split(".")[1:2] == [name]:
            return str(list(stack.values())[-1][0])
    return None


def describe(path: Path) -> dict[str, Any]:
    """For the report: parts of the program that XNNPACK runs, and the other operators, which an app links too."""
    content = path.read_bytes()
    return {"xnnpack_parts": len(_plan(content).delegates), "portable_operators": _operators(content)}


def _operators(content: bytes) -> list[str]:
    found = _plan(content).operators
    return sorted({f"{operator.name}.{operator.overload}".removesuffix(".") for operator in found})


def _plan(content: bytes) -> Any:
    return deserialize_pte_binary(content).program.execution_plan[0]
