"""PyTorch in eager mode on a CUDA GPU. **Never run on a GPU in this project's own tests**, which replace `torch.cuda`:
`pytest -m gpu tests/latency_tables` runs it on a machine that has one. Please report what you find.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from latency_tables.folding import fold_batch_norm
from search_spaces.common.errors import UserError

#: bytes written to empty the L2 cache between inferences: more than any GPU of today has (an H100: 50 MiB, a B200: 126)
FLUSHED_BYTES = 256 * 2**20


class TorchCuda:
    """Channels-last, batch norms folded; the weights and the input stay on the GPU.

    A call writes a buffer larger than the L2 cache, so that the network finds neither its weights nor its input there,
    and waits until the GPU is idle. Both are outside of the time that `elapsed_ms` gives, which two CUDA events take
    around the inference, as in `do_bench` (https://triton-lang.org/main/python-api/generated/triton.testing.do_bench.html).
    The wall time of a call, which tables hold, is larger by the flush (0.1 to 1 ms, as the memory is) and two
    synchronisations. They are equal for all items, so that the empty call takes them away again, but the times of fast
    operators are the less precise for it. `threads` changes nothing.
    """

    name = "torch_cuda"
    precision = "float32"
    dtype = torch.float32

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise UserError(
                "no CUDA device: torch finds none, or is a build without CUDA",
                key="runtime",
                value=self.name,
                hint="pytorch.org lists the builds; runtimes of the CPU: torch, onnxruntime",
            )

    @property
    def version(self) -> str:
        """Of torch and CUDA, and the GPU: the fingerprint of a table knows of no other place for it."""
        return f"{torch.__version__} CUDA {torch.version.cuda} {torch.cuda.get_device_name()}"

    def prepare(self, module: fx.GraphModule, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        network = fold_batch_norm(module).to(memory_format=torch.channels_last).to("cuda", self.dtype)
        x = torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0)).to("cuda", self.dtype)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return CudaCall(network, x)


class TorchCudaFp16(TorchCuda):
    """As `TorchCuda`, weights and activations in half precision."""

    name = "torch_cuda_fp16"
    precision = "float16"
    dtype = torch.float16


class CudaCall:
    """One inference on an idle GPU with cold caches, finished when the call returns."""

    def __init__(self, network: fx.GraphModule, x: torch.Tensor) -> None:
        self._network, self._x = network, x
        self._cache = torch.empty(FLUSHED_BYTES // 4, dtype=torch.int32, device=x.device)
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def __call__(self) -> object:
        self._cache.zero_()
        torch.cuda.synchronize()
        self._start.record()
        with torch.inference_mode():
            result = self._network(self._x)
        self._end.record()
        torch.cuda.synchronize()
        return result

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds that the GPU took for the last call."""
        return float(self._start.elapsed_time(self._end))
