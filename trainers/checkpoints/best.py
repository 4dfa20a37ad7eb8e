"""The best evaluation so far and its weights: checkpoints/best.safetensors, in the form of a finished supernet."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.common.errors import UserError
from trainers.checkpoints.store import load_supernet, save_supernet
from trainers.evaluation.evaluate import Evaluation
from trainers.phases import Phase

if TYPE_CHECKING:
    from search_spaces.supernet import Supernet

NAME = "best"


class BestWeights:
    """Keeps the supernet whose evaluation has the highest mean accuracy of its phase; the earlier of equals.

    Phases are not compared: they evaluate different subnets. What is best is a function of the evaluations alone, and
    those come again in the same order when a run is taken up: `start` is the step it goes on from, and files of a
    later step are found again on the way.
    """

    def __init__(self, folder: Path, *, start: int) -> None:
        self.folder = folder
        self._phase, self._accuracy = -1, -1.0
        if start > 0 and (folder / f"{NAME}.json").exists():
            try:
                info = load_supernet(folder, name=NAME).info
            except UserError as error:  # if it was half written, the evaluation it was of is yet to come
                print(f"warning: {error}. The best weights are chosen anew from step {start} on", file=sys.stderr)
                return
            if info["step"] <= start:
                self._phase, self._accuracy = info["phase_index"], info["mean_accuracy"]

    def offer(
        self, step: int, phase: Phase, results: Mapping[str, Evaluation], supernet: Supernet, info: Mapping[str, Any]
    ) -> bool:
        """Keep `supernet`, evaluated after `step` steps, if it is the best; says whether."""
        accuracy = mean_accuracy(results)
        if phase.index == self._phase and accuracy <= self._accuracy:
            return False
        self._phase, self._accuracy = phase.index, accuracy
        described = {**info, "step": step, "phase": phase.settings.name, "phase_index": phase.index}
        save_supernet(self.folder, supernet, supernet.space, {**described, "mean_accuracy": accuracy}, name=NAME)
        return True


def mean_accuracy(results: Mapping[str, Evaluation]) -> float:
    """The mean over largest, smallest and random subnet."""
    return sum(result.accuracy for result in results.values()) / len(results)


def take_best(folder: Path, supernet: Supernet) -> dict[str, Any]:
    """Put the best weights into `supernet`; what supernet.json says of it. Raises `UserError` if damaged."""
    loaded = load_supernet(folder, name=NAME)
    supernet.load_state_dict(loaded.supernet.state_dict())
    return {key: loaded.info[key] for key in ("step", "mean_accuracy")}
