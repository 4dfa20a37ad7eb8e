"""What each kernel is called with, and what it computes: one class a kernel, one file a source file in C."""

from latency_tables.cortex_m.calls.dense import Convolution, Pointwise
from latency_tables.cortex_m.calls.depthwise import Depthwise
from latency_tables.cortex_m.calls.elementwise import Add, Lookup, Scale
from latency_tables.cortex_m.calls.pooling import AveragePool, GlobalAverage, MaxPool

__all__ = [
    "Add",
    "AveragePool",
    "Convolution",
    "Depthwise",
    "GlobalAverage",
    "Lookup",
    "MaxPool",
    "Pointwise",
    "Scale",
]
