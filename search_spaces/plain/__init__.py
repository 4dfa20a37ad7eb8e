"""Operators as ordinary torch modules: what is measured, trained alone, extracted and exported.

Networks come as `torch.fx.GraphModule` whose leaves are all `torch.nn` modules, so they run, save and export with
nothing of this project. The submodules of a block have the same names here and in its elastic counterpart.
"""

from search_spaces.plain.blocks import PLAIN
from search_spaces.plain.bottleneck import PlainBottleneck
from search_spaces.plain.convolution import PlainConv, PlainResidualConv
from search_spaces.plain.heads import PlainClassifier, PlainPoolClassifier, PlainPoolConv
from search_spaces.plain.inverted_residual import PlainMBConv, PlainSqueezeExcite
from search_spaces.plain.layers import ACTIVATIONS, convolution
from search_spaces.plain.network import build_network, build_operator, clone_network, initialize, trace
from search_spaces.plain.pooling import PlainMaxPool

__all__ = [
    "ACTIVATIONS",
    "PLAIN",
    "PlainBottleneck",
    "PlainClassifier",
    "PlainConv",
    "PlainMBConv",
    "PlainMaxPool",
    "PlainPoolClassifier",
    "PlainPoolConv",
    "PlainResidualConv",
    "PlainSqueezeExcite",
    "build_network",
    "build_operator",
    "clone_network",
    "convolution",
    "initialize",
    "trace",
]
