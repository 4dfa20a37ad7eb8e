"""Evaluating subnets of this project, one after the other or together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.peer.architectures import space_of
from benchmarks.peer.clock import timed
from search_spaces import Architecture
from search_spaces.supernet import build_supernet
from trainers.data import load_data
from trainers.evaluation.evaluate import Evaluation as Scored
from trainers.evaluation.evaluate import evaluate_architecture
from trainers.evaluation.together import evaluate_together
from trainers.processes.allocator import keep_freed_memory
from trainers.settings.data import DataSettings

Described = Sequence[Mapping[str, Any]]

#: Random images have no classes; a few keep the splits small.
NUM_CLASSES = 10


class Evaluation:
    """Images by formula in memory, as uint8: unlike the peer's, they are normalised in the time measured."""

    def __init__(self, *, resolutions: list[int], num_calibration: int, num_images: int) -> None:
        keep_freed_memory()  # as evaluating records does
        split = {"calibration": num_calibration, "selection": num_images, "test": NUM_CLASSES}
        settings = DataSettings.model_validate(
            {
                "name": "synthetic",
                "num_classes": NUM_CLASSES,
                "num_images": sum(split.values()) + 10 * NUM_CLASSES,
                "image_size": max(resolutions),
                "memory": "memory",
                "split": split,
            }
        )
        self.data = load_data(settings, seed=0)
        self.supernet = build_supernet(space_of(resolutions, num_classes=NUM_CLASSES), seed=0)

    def separately(self, groups: Sequence[Described], batch: int) -> dict[str, Any]:
        """Extract, recalibrate and evaluate one subnet after the other."""
        return _evaluated(
            groups,
            lambda chosen: [evaluate_architecture(self.supernet, one, self.data, batch_size=batch) for one in chosen],
        )

    def together(self, groups: Sequence[Described], batch: int) -> dict[str, Any]:
        """The same, computing once what the subnets of a group have in common."""
        return _evaluated(groups, lambda chosen: evaluate_together(self.supernet, chosen, self.data, batch_size=batch))


def _evaluated(groups: Sequence[Described], evaluate: Callable[[list[Architecture]], list[Scored]]) -> dict[str, Any]:
    chosen = [[Architecture(subnet) for subnet in group] for group in groups]
    seconds, scores = timed(lambda: [score for group in chosen for score in evaluate(group)])
    return {"seconds": seconds, "count": len(scores), "scores": [[score.accuracy, score.loss] for score in scores]}


load = Evaluation
