"""TensorFlow Lite Micro: networks in operators that it has, and its interpreter on this computer.

https://github.com/tensorflow/tflite-micro. The package tflite-micro (wheels for Linux on x86-64) is its interpreter
with its reference kernels. They compute what those of LiteRT do, but for single steps in transformers.
"""

from __future__ import annotations

import copy
import importlib.util
import operator
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from latency_tables.tflite.file import TFLiteModel
from latency_tables.tflite.layers import windows
from search_spaces.common.errors import UserError

#: operators that `tflite_graph` writes and TFLM has no kernel for
LACKING = ("GELU", "TOPK_V2")

#: of GELU: x sigmoid(1.702 x) (Hendrycks and Gimpel, https://arxiv.org/abs/1606.08415, section 2)
_GELU_SLOPE = 1.702
_ARENA_BYTES = 64 * 2**20
_ALLOCATED = re.compile(r"Arena allocation (head|tail) (\d+) bytes")


@dataclass(frozen=True)
class MicroRun:
    """`outputs` (num, *output shape) int8. `head_bytes` of the arena hold tensors and scratch memory, on any device so
    many; `tail_bytes` what the interpreter keeps besides, with pointers of 8 bytes where a microcontroller has 4.
    """

    outputs: NDArray[np.int8]
    head_bytes: int
    tail_bytes: int
    version: str


def for_micro(module: fx.GraphModule, input_shape: tuple[int, ...]) -> fx.GraphModule:
    """An equal network for inputs of (1, *input_shape), but for every GELU, which is its approximation by a sigmoid:
    TFLM has none. Strided convolutions need no padding of their own in it (see `_with_same_padding`).
    """
    network = copy.deepcopy(module).eval()
    with torch.no_grad():
        ShapeProp(network).propagate(torch.zeros(1, *input_shape))
    leaves = dict(network.named_modules())
    calls = [node for node in network.graph.nodes if node.op == "call_module"]
    uses = Counter(str(node.target) for node in calls)
    for node in calls:
        leaf = leaves[str(node.target)]
        if isinstance(leaf, nn.Conv2d) and uses[str(node.target)] == 1:
            _, _, height, width = node.args[0].meta["tensor_meta"].shape
            network.set_submodule(str(node.target), _with_same_padding(leaf, (height, width)))
    for node in calls:
        if isinstance(leaves[str(node.target)], nn.GELU):
            _approximate_gelu(network, node)
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    return network


def _approximate_gelu(network: fx.GraphModule, node: fx.Node) -> None:
    gate = f"{node.target}_gate"
    network.add_submodule(gate, nn.Sigmoid())
    with network.graph.inserting_before(node):
        steeper = network.graph.call_function(operator.mul, (node.args[0], _GELU_SLOPE))
        share = network.graph.call_module(gate, (steeper,))
        product = network.graph.call_function(operator.mul, (node.args[0], share))
    node.replace_all_uses_with(product)
    network.graph.erase_node(node)


def _with_same_padding(leaf: nn.Conv2d, sides: tuple[int, int]) -> nn.Conv2d:
    """The same convolution of maps of `sides`, its kernel continued by zeros where its padding is SAME's so.

    With a stride of 2 and even sides, SAME pads behind the map and torch before it, and TFLM would copy the map into a
    padded one: mostly the largest of the network. A kernel larger by one is padded before it as well.
    """
    if isinstance(leaf.padding, str) or max(leaf.stride) == 1 or leaf.dilation != (1, 1):
        return leaf
    pads = ((leaf.padding[0],) * 2, (leaf.padding[1],) * 2)
    before = windows(sides, leaf.kernel_size, leaf.stride, pads)
    if before.is_same or not before.is_padded:
        return leaf
    for more in range(1, max(leaf.stride)):
        kernel = (leaf.kernel_size[0] + more, leaf.kernel_size[1] + more)
        slid = windows(sides, kernel, leaf.stride, pads)
        if slid.is_same and slid.sides == before.sides:
            return _continued(leaf, kernel)
    return leaf


def _continued(leaf: nn.Conv2d, kernel: tuple[int, int]) -> nn.Conv2d:
    """With zeros behind the kernel, on to the sides `kernel`."""
    stride, padding = (leaf.stride[0], leaf.stride[1]), (int(leaf.padding[0]), int(leaf.padding[1]))
    channels, bias = (leaf.in_channels, leaf.out_channels), leaf.bias is not None
    larger = nn.Conv2d(*channels, kernel, stride, padding, groups=leaf.groups, bias=bias)
    with torch.no_grad():
        rows, columns = kernel[0] - leaf.kernel_size[0], kernel[1] - leaf.kernel_size[1]
        larger.weight.copy_(nn.functional.pad(leaf.weight, (0, columns, 0, rows)))
        if larger.bias is not None and leaf.bias is not None:
            larger.bias.copy_(leaf.bias)
    return larger.eval()


def check_operators(model: TFLiteModel) -> None:
    """Raises `UserError` naming the first operator that TFLM lacks, and where it is."""
    for found in model.operators:
        if found.kind in LACKING:
            hint = "Networks that drop tokens need it" if found.kind == "TOPK_V2" else None
            where = found.outputs[-1].name
            raise UserError(f"TensorFlow Lite Micro has no operator {found.kind}", key=where, hint=hint)


def micro_installs_here() -> bool:
    """Whether there are wheels of the interpreter for this computer."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def check_installed() -> None:
    """Raises `UserError`, saying what brings it, where the interpreter is not installed."""
    if importlib.util.find_spec("tflite_micro") is None:
        raise UserError(
            "needs TensorFlow Lite Micro's interpreter, the package 'tflite-micro', which is not installed",
            hint="pip install 'ofa-nas[tflm]'",
        )


def run_micro(model: bytes, inputs: NDArray[np.int8]) -> MicroRun:
    """The outputs for `inputs` (num, *input shape), one after another.

    Raises `UserError` with the interpreter's reason if it cannot load or run the model, or is not installed.
    """
    check_installed()
    with tempfile.TemporaryDirectory(prefix="ofa-tflm-") as name:
        folder = Path(name)
        files = [str(folder / file) for file in ("model.tflite", "inputs.npy", "outputs.npy")]
        Path(files[0]).write_bytes(model)
        np.save(files[1], inputs)
        runner = Path(__file__).with_name("micro_runner.py")
        command = [sys.executable, "-P", str(runner), *files, str(_ARENA_BYTES)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
            raise UserError(f"TensorFlow Lite Micro does not run this model: {reason}")
        outputs = np.load(files[2])
    arena = {part: int(size) for part, size in _ALLOCATED.findall(done.stderr)}
    return MicroRun(outputs, arena["head"], arena["tail"], version("tflite-micro"))
