"""How the value of an fx node lies in a TFLite model."""

from __future__ import annotations

from dataclasses import dataclass

from latency_tables.tflite.file import TFLiteTensor

Shape = tuple[int, ...]

#: how images lie: batch, height, width, channels
IMAGE = (0, 2, 3, 1)


@dataclass(frozen=True)
class Value:
    """What became of an fx node: axis i of `tensor` is axis `order[i]` of the node's value in torch."""

    tensor: TFLiteTensor
    order: tuple[int, ...]

    @property
    def shape(self) -> Shape:
        """In torch's order."""
        return tuple(self.tensor.shape[self.order.index(axis)] for axis in range(len(self.order)))

    def like(self, tensor: TFLiteTensor) -> Value:
        """`tensor`, lying as this value does."""
        return Value(tensor, self.order)


def of_plain(tensor: TFLiteTensor) -> Value:
    """A tensor whose axes lie as in torch."""
    return Value(tensor, tuple(range(len(tensor.shape))))


def of_image(tensor: TFLiteTensor) -> Value:
    """A channels-last tensor."""
    return Value(tensor, IMAGE)
