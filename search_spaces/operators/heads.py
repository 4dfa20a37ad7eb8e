"""From the last feature map to logits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from search_spaces.operators.base import Number, Operator


@dataclass(frozen=True)
class PoolConv(Operator):
    """Global average pooling, then a 1x1 convolution with activation and neither bias nor norm (MobileNetV3's
    feature mix).
    """

    kind = "poolconv"

    activation: str

    @property
    def output_resolution(self) -> Number:
        return 1

    def macs(self) -> Number:
        return self.in_channels * self.out_channels

    def params(self) -> Number:
        return self.in_channels * self.out_channels

    def weights(self) -> tuple[Number, Number]:
        return self.in_channels * self.out_channels, 0

    def peak_elements(self) -> Number:
        return np.maximum(
            self.in_channels * self.resolution**2 + self.in_channels, self.in_channels + self.out_channels
        )


@dataclass(frozen=True)
class Classifier(Operator):
    """Flatten a 1x1 map, dropout (identity when deployed), linear layer."""

    kind = "classifier"

    #: costs nothing when deployed, so it is no part of the key
    dropout: float = field(default=0.0, metadata={"free": True})

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (int(self.in_channels), 1, 1)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (int(self.out_channels),)

    def macs(self) -> Number:
        return self.in_channels * self.out_channels

    def params(self) -> Number:
        return self.in_channels * self.out_channels + self.out_channels

    def weights(self) -> tuple[Number, Number]:
        return self.in_channels * self.out_channels, self.out_channels

    def peak_elements(self) -> Number:
        return self.in_channels + self.out_channels


@dataclass(frozen=True)
class PoolClassifier(Classifier):
    """Global average pooling, then what a `Classifier` does."""

    kind = "poolclassifier"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (int(self.in_channels), int(self.resolution), int(self.resolution))

    @property
    def output_resolution(self) -> Number:
        return 1

    def peak_elements(self) -> Number:
        return np.maximum(self.in_channels * self.resolution**2 + self.in_channels, super().peak_elements())
