"""`model_aoti.pt2`: the network compiled ahead of time (AOTInductor), machine code of its own with the weights inside.

`torch._inductor.aoti_load_package` runs it, and so does a C++ program with libtorch; neither unpickles anything nor
needs a compiler. Any batch size, batch norms folded. It is compiled for the processor that exports: another one needs
the same instruction set, which the report tells, and the torch it was compiled with. The generated C++ and the lines
that compiled it are in the file, with paths of the exporting machine; no two compilations give the same bytes.

PyTorch's documentation of it: https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch._inductor import aoti_compile_and_package, aoti_load_package
from torch.fx.passes.shape_prop import ShapeProp

from latency_tables.folding import fold_batch_norm
from latency_tables.runtimes.torch_inductor import require_compiler
from ofa.export.forms.base import Predict, Source
from ofa.export.forms.torch_call import torch_call
from ofa.export.forms.tracing import trace_with_examples
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import write_bytes

_USAGE = """\
import numpy as np
import torch
from torch._inductor import aoti_load_package

network = aoti_load_package("model_aoti.pt2")


@torch.inference_mode()
def logits(image):
    return network(torch.from_numpy(np.ascontiguousarray(image)))[0].numpy()
"""


class AotiForm:
    name = "aoti"
    file = "model_aoti.pt2"
    exact = True
    usage = _USAGE

    @property
    def requires(self) -> tuple[str, ...]:
        """The release that compiled it: torch promises its code no other."""
        return (f"torch=={torch.__version__.split('+')[0]}",)

    def write(self, source: Source, folder: Path) -> None:
        with in_file(self.file):
            require_compiler(key="forms", value=self.name)
            archive = io.BytesIO()
            with torch.no_grad():
                network = _attending_by_products(fold_batch_norm(source.network), source.input_shape)
                program = trace_with_examples(network, source.input_shape)
                aoti_compile_and_package(program, package_path=archive)
        write_bytes(folder / self.file, archive.getvalue())

    def load(self, folder: Path) -> Predict:
        network: Any = _load(folder / self.file)

        def predict(images: Tensor) -> Tensor:
            with torch.inference_mode():
                result: Tensor = network(images.float().cpu().contiguous())
            return result

        return predict

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        """The threads are torch's, which are set around all calls: see `latency_tables.timing.quiet_process`."""
        return torch_call(self.load(folder), input_shape)

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """{"machine", "isa", "torch"}: what the machine code is for."""
        with in_file(self.file):
            return {**compiled_for(folder / self.file), "torch": torch.__version__}


def _attending_by_products(network: fx.GraphModule, input_shape: tuple[int, int, int]) -> fx.GraphModule:
    """`network`, changed, with attention within windows as its two products: AOTInductor of torch 2.14 computes
    something else of `scaled_dot_product_attention` where there are more sides than (batch, heads, tokens, features).
    """
    ShapeProp(network).propagate(torch.zeros(2, *input_shape))
    for node in network.graph.find_nodes(op="call_function", target=F.scaled_dot_product_attention):
        if len(node.meta["tensor_meta"].shape) > 4 and len(node.args) == 3 and not node.kwargs:
            node.target = _attention
    network.recompile()
    return network


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return ((query * query.size(-1) ** -0.5) @ key.transpose(-2, -1)).softmax(dim=-1) @ value


def compiled_for(path: Path) -> dict[str, str]:
    """{"machine", "isa"} of an AOTInductor package: x86_64 and AVX2, for instance."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("wrapper_metadata.json"):
                said = json.loads(archive.read(name))
                return {"machine": str(said["AOTI_MACHINE"]), "isa": str(said["AOTI_CPU_ISA"])}
    raise UserError("does not say what processor it was compiled for", file=path)


def _load(path: Path) -> Any:
    try:
        return aoti_load_package(str(path))
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"is no AOTInductor package that runs here: {reason}", file=path) from error
