"""Many subnets evaluated together: what they have in common is computed once.

Two subnets whose first operators are equal share those layers' weights, hence their activations; and since BN
statistics are exact over the calibration split, and not averages over batches, they share these too. The architectures
form a tree of operators. It is walked twice: over the calibration images, setting the statistics of every node; then,
batch by batch, over the images to be scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from search_spaces import Architecture
from search_spaces.operators import Operator
from trainers.data import ImageData
from trainers.data.splits import Split
from trainers.evaluation.evaluate import Evaluation, Score
from trainers.evaluation.recalibration import Carried, Images, Memory, calibrate, pieces

if TYPE_CHECKING:
    from search_spaces.supernet import Supernet


def evaluate_together(
    supernet: Supernet,
    architectures: Sequence[Architecture],
    data: ImageData,
    *,
    split: Split = "selection",
    batch_size: int = 250,
    memory_limit: int | None = None,
) -> list[Evaluation]:
    """Accuracy and loss of every subnet, as `evaluate_architecture` gives them one by one.

    `memory_limit` bounds the bytes of activations held (default: half of the free memory).
    """
    scores = [Score() for _ in architectures]
    memory = Memory(memory_limit)
    by_resolution: dict[int, list[int]] = {}
    for number, architecture in enumerate(architectures):
        by_resolution.setdefault(architecture.resolution, []).append(number)
    device = next(supernet.parameters()).device
    for resolution, numbers in by_resolution.items():
        root = _Node(None)
        for number in numbers:
            root.add(supernet, supernet.space.network(architectures[number]), number)

        def batches(of: Split, resolution: int = resolution) -> Iterator[tuple[Tensor, Tensor]]:
            return data.batches(of, resolution=resolution, batch_size=batch_size, device=device)

        def images(batches: object = batches) -> Iterable[Tensor]:
            assert callable(batches)
            return (x.contiguous(memory_format=torch.channels_last) for x, _ in batches("calibration"))

        root.calibrate(Images(images), memory)
        with torch.inference_mode():
            for x, labels in batches(split):
                x = x.contiguous(memory_format=torch.channels_last)
                for part, part_labels in zip(pieces(x), labels.split(len(pieces(x)[0])), strict=True):
                    for number, logits in root.outputs(part):
                        scores[number].add(logits, part_labels)
    return [score.evaluation() for score in scores]


def cost_of_sharing(networks: Sequence[Sequence[tuple[str, Operator]]]) -> float:
    """MACs of evaluating these networks together, as a share of evaluating them one by one."""
    alone = sum(float(operator.macs()) for network in networks for _, operator in network)
    parts = {tuple(network[: end + 1]) for network in networks for end in range(len(network))}
    return sum(float(part[-1][1].macs()) for part in parts) / alone


@dataclass
class _Node:
    """One operator behind all those before it; `ends` are the architectures whose last operator this is."""

    block: fx.GraphModule | None
    children: dict[tuple[str, Operator], _Node] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)

    def add(self, supernet: Supernet, network: Sequence[tuple[str, Operator]], number: int) -> None:
        if not network:
            self.ends.append(number)
            return
        name, operator = network[0]
        if network[0] not in self.children:
            block = supernet.block(name, operator).eval()
            self.children[network[0]] = _Node(block.to(memory_format=torch.channels_last))
        self.children[network[0]].add(supernet, network[1:], number)

    def calibrate(self, inputs: Images | Carried, memory: Memory) -> None:
        """Depth first, so that no more activations are held than lie on one way from the images to the logits."""
        for child in self.children.values():
            assert child.block is not None
            outputs = calibrate(child.block, inputs, memory)
            child.calibrate(outputs, memory)
            outputs.release()

    def outputs(self, x: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(number, logits) of every architecture that goes on from here."""
        for number in self.ends:
            yield number, x
        for child in self.children.values():
            assert child.block is not None
            yield from child.outputs(child.block(x))
