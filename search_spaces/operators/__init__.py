"""Operators: descriptions of the blocks a network is made of, with their exact costs. One file per kind of block."""

from search_spaces.operators.base import (
    BIAS_BYTES,
    METRICS,
    WEIGHT_BYTES,
    Number,
    Operator,
    check_dtype,
    make_divisible,
    output_side,
)
from search_spaces.operators.convolution import Conv
from search_spaces.operators.heads import Classifier, PoolConv
from search_spaces.operators.inverted_residual import MBConv

__all__ = [
    "BIAS_BYTES",
    "METRICS",
    "WEIGHT_BYTES",
    "Classifier",
    "Conv",
    "MBConv",
    "Number",
    "Operator",
    "PoolConv",
    "check_dtype",
    "make_divisible",
    "output_side",
]
