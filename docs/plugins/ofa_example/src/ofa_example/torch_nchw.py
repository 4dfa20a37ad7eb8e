"""A runtime: PyTorch in eager mode with images laid out channel by channel (the built-in `torch` is channels-last)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import torch
from torch import fx

from latency_tables.folding import fold_batch_norm


class TorchNCHW:
    """`name`, `precision` and `version` are the device's identity: a table of other ones is not used."""

    name = "torch_nchw"
    precision = "float32"

    @property
    def version(self) -> str:
        return f"{torch.__version__} (ofa-example {version('ofa-example')})"

    def prepare(self, module: fx.GraphModule, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        """Each call is one inference of one image, by the module as deployed: batch norms folded, nothing changed."""
        folded = fold_batch_norm(module).to(memory_format=torch.contiguous_format)
        x = torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0))

        def call() -> object:
            with torch.inference_mode():
                return folded(x)

        return call
