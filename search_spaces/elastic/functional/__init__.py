"""What elastic layers compute: torch's own results, with less work in training."""

from search_spaces.elastic.functional.batch_norm import prefix_batch_norm
from search_spaces.elastic.functional.convolution import prefix_conv2d
from search_spaces.elastic.functional.depthwise import depthwise_conv2d
from search_spaces.elastic.functional.gradients import gradients_in_place
from search_spaces.elastic.functional.linear import prefix_linear
from search_spaces.elastic.functional.pointwise_norm import prefix_conv_norm
from search_spaces.elastic.functional.squeeze_excite import prefix_squeeze_excite

__all__ = [
    "depthwise_conv2d",
    "gradients_in_place",
    "prefix_batch_norm",
    "prefix_conv2d",
    "prefix_conv_norm",
    "prefix_linear",
    "prefix_squeeze_excite",
]
