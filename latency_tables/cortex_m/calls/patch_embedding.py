"""Patches to tokens over the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from latency_tables.cortex_m.calls.dense import Convolution
from latency_tables.cortex_m.calls.elementwise import AddConstant
from latency_tables.cortex_m.calls.fused import Fused
from latency_tables.cortex_m.program import Call, Word


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchEmbedding(Fused):
    """A convolution whose stride is its kernel, without padding, then the sum with the tokens' places.

    Patches become tokens row by row (the decomposition of MCUFormer, https://arxiv.org/abs/2310.16898), which are
    written over the pixels they are made of: see `fits`.
    """

    kernel = "patch_embedding"
    at_either_end = True

    convolution: Convolution
    places: AddConstant

    @staticmethod
    def fits(convolution: Convolution) -> bool:
        """Whether a row of tokens takes less than the rows of the image that it is made of: by 16 bytes, since maps
        begin at multiples of 16.
        """
        window, channels = convolution.window, convolution.weights.shape[3]
        apart = window.kernel == window.stride and window.pad == 0
        pixels = window.stride * window.width * channels
        return apart and pixels >= window.out_width * len(convolution.weights) + 16

    @property
    def roles(self) -> Mapping[str, Call]:
        return {"convolution": self.convolution, "add": self.places}

    @property
    def scratch_bytes(self) -> int:
        weights = self.convolution.weights
        two_windows = 2 * -(-weights[0].size // 4) * 4
        return two_windows + self.convolution.window.out_width * len(weights)

    def arguments(self) -> list[Word]:
        return ["x", "y", "scratch", *self.nested("convolution"), *self.nested("add")]
