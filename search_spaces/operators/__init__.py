"""Operators: descriptions of the blocks a network is made of, with their exact costs. One file per kind of block."""

from search_spaces.operators.attention import FORMS, GRID_FORMS, WINDOW, Attention
from search_spaces.operators.base import (
    BIAS_BYTES,
    MEMORY_PLANS,
    METRICS,
    NORM_EPS,
    WEIGHT_BYTES,
    Number,
    Operator,
    check_dtype,
    check_plan,
    make_divisible,
    output_side,
)
from search_spaces.operators.bottleneck import Bottleneck
from search_spaces.operators.convolution import Conv, ResidualConv
from search_spaces.operators.heads import Classifier, PoolClassifier, PoolConv
from search_spaces.operators.inverted_residual import MBConv
from search_spaces.operators.pooling import MaxPool
from search_spaces.operators.tokens import useful_rank
from search_spaces.operators.transformer import MLP, PatchEmbedding, TokenClassifier

__all__ = [
    "BIAS_BYTES",
    "FORMS",
    "GRID_FORMS",
    "MEMORY_PLANS",
    "METRICS",
    "MLP",
    "NORM_EPS",
    "WEIGHT_BYTES",
    "WINDOW",
    "Attention",
    "Bottleneck",
    "Classifier",
    "Conv",
    "MBConv",
    "MaxPool",
    "Number",
    "Operator",
    "PatchEmbedding",
    "PoolClassifier",
    "PoolConv",
    "ResidualConv",
    "TokenClassifier",
    "check_dtype",
    "check_plan",
    "make_divisible",
    "output_side",
    "useful_rank",
]
