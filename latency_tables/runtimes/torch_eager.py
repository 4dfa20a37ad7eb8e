"""PyTorch in eager mode on the CPU: inference mode, channels-last, batch normalisation folded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from latency_tables.folding import fold_batch_norm


class TorchEager:
    """Calls the module as Python does. The number of threads is torch's global one: see `timing.quiet_process`."""

    name = "torch"
    precision = "float32"

    @property
    def version(self) -> str:
        return str(torch.__version__)

    def prepare(self, module: fx.GraphModule, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        folded = fold_batch_norm(module).to(memory_format=torch.channels_last)
        x = torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0))
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)

        def call() -> object:
            with torch.inference_mode():
                return folded(x)

        return call
