"""What each kernel is called with, and what it computes: one class a kernel, one file a source file in C."""

from latency_tables.cortex_m.calls.dense import Convolution, OverwritingConvolution, OverwritingPointwise, Pointwise
from latency_tables.cortex_m.calls.depthwise import Depthwise, InPlaceDepthwise, OverwritingDepthwise
from latency_tables.cortex_m.calls.elementwise import Add, AddConstant, Lookup, Scale
from latency_tables.cortex_m.calls.inverted_residual import InvertedBottleneck, InvertedResidual
from latency_tables.cortex_m.calls.linear_attention import LinearAttention
from latency_tables.cortex_m.calls.overwriting import OverwritingAttention, OverwritingMLP
from latency_tables.cortex_m.calls.patch_embedding import PatchEmbedding
from latency_tables.cortex_m.calls.pooling import AveragePool, GlobalAverage, MaxPool
from latency_tables.cortex_m.calls.tokens import Attention, AttentionByOperators, LayerNorm

__all__ = [
    "Add",
    "AddConstant",
    "Attention",
    "AttentionByOperators",
    "AveragePool",
    "Convolution",
    "Depthwise",
    "GlobalAverage",
    "InPlaceDepthwise",
    "InvertedBottleneck",
    "InvertedResidual",
    "LayerNorm",
    "LinearAttention",
    "Lookup",
    "MaxPool",
    "OverwritingAttention",
    "OverwritingConvolution",
    "OverwritingDepthwise",
    "OverwritingMLP",
    "OverwritingPointwise",
    "PatchEmbedding",
    "Pointwise",
    "Scale",
]
