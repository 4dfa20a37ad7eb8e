"""Instructions of the Cortex-M kernels, per multiply-accumulate or per output, by core and compiler (docs/cortex_m.md).

python -m benchmarks.cortex_m [--compiler gcc] [--core cortex-m3 --core cortex-m4]
"""

from __future__ import annotations

import argparse

import torch.nn.functional as F
from torch import Tensor, fx, nn

from latency_tables.cortex_m.compilers import build_firmware
from latency_tables.cortex_m.cores import get_core
from latency_tables.cortex_m.counting import Counter, call_key
from latency_tables.cortex_m.lowering import lower
from search_spaces.plain import trace


class Excite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.pool(x)


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x


class Attend(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (-1, 32)).transpose(1, 2)
        return F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)


def depthwise(kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(96, 96, kernel, stride, kernel // 2, groups=96)


#: what is counted: the layer, and its input (C, H, W) or (N, D)
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "1x1 convolution, 24 to 96 channels, 14 px": (nn.Conv2d(24, 96, 1), (24, 14, 14)),
    "1x1 convolution, 96 to 24 channels, 14 px": (nn.Conv2d(96, 24, 1), (96, 14, 14)),
    "1x1 convolution, 480 to 80 channels, 7 px": (nn.Conv2d(480, 80, 1), (480, 7, 7)),
    "linear, 512 to 1000": (nn.Conv2d(512, 1000, 1), (512, 1, 1)),
    "3x3 convolution, 3 to 16 channels, stride 2, 28 px": (nn.Conv2d(3, 16, 3, 2, 1), (3, 28, 28)),
    "3x3 convolution, 32 to 32 channels, 14 px": (nn.Conv2d(32, 32, 3, 1, 1), (32, 14, 14)),
    "3x3 depthwise, 96 channels, 14 px": (depthwise(3), (96, 14, 14)),
    "5x5 depthwise, 96 channels, 14 px": (depthwise(5), (96, 14, 14)),
    "7x7 depthwise, 96 channels, 14 px": (depthwise(7), (96, 14, 14)),
    "softmax attention, 64 tokens, 3 heads of 32": (Attend(), (64, 96)),
    "softmax attention, 225 tokens, 3 heads of 32": (Attend(), (225, 96)),
    "addition": (Twice(), (96, 14, 14)),
    "channels times gates": (Excite(), (96, 14, 14)),
    "mean of all pixels (per input)": (nn.AdaptiveAvgPool2d(1), (96, 14, 14)),
    "2x2 average pooling (per input)": (nn.AvgPool2d(2), (96, 14, 14)),
    "3x3 maximum pooling, stride 2 (per input)": (nn.MaxPool2d(3, 2, 1), (96, 14, 14)),
    "layer norm, 64 tokens of 192": (nn.LayerNorm(192), (64, 192)),
    "an activation by itself": (nn.Hardswish(), (96, 14, 14)),
}


def rate(counter: Counter, network: fx.GraphModule, shape: tuple[int, ...]) -> float:
    """Instructions of the last call per multiply-accumulate, or per byte of the input where it has none."""
    program = lower(network, shape)
    call = program.calls[-1]
    return counter.count(program)[call_key(call)] / (call.macs or program.size(call.inputs[0]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", default="zig")
    parser.add_argument("--core", action="append")
    arguments = parser.parse_args()
    cores = arguments.core or ["cortex-m3", "cortex-m4", "cortex-m7"]
    counters = [Counter(build_firmware(get_core(core), arguments.compiler)) for core in cores]
    print(f"| {counters[0].firmware.provenance['compiler']} | {' | '.join(cores)} |")
    print("|---" * (1 + len(cores)) + "|")
    for name, (layer, shape) in LAYERS.items():
        rates = [rate(counter, trace(nn.Sequential(layer)), shape) for counter in counters]
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in rates)} |")


if __name__ == "__main__":
    main()
