"""Evaluations on the way, at the end of every phase and every `eval_every` epochs: logged, and the best kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.common.errors import UserError
from trainers.checkpoints.best import BestWeights, mean_accuracy
from trainers.checkpoints.state import TrainingState
from trainers.data import ImageData
from trainers.evaluation.evaluate import Evaluation, evaluate_architecture
from trainers.loss_watch import Fault, TrainingFault, plain_number
from trainers.phases import Phase, Plan
from trainers.processes.distributed import World
from trainers.run_log import RunLog
from trainers.settings.train import TrainingConfig

if TYPE_CHECKING:
    from search_spaces.supernet import Supernet

#: role -> (architecture key, evaluation)
Results = Mapping[str, tuple[str, Evaluation]]


class Evaluations:
    """Evaluates on rank 0 while the others wait. What an earlier process has logged is taken from there."""

    def __init__(
        self,
        config: TrainingConfig,
        plan: Plan,
        data: ImageData,
        log: RunLog,
        world: World,
        *,
        checkpoints: Path,
        start: int,
        described: Mapping[str, Any],
    ) -> None:
        self.config, self.plan, self.data, self.log, self.world = config, plan, data, log, world
        self.described = described
        self.best: BestWeights | None = None
        if world.is_first and config.train.keep_best and config.train.eval_every is not None:
            self.best = BestWeights(checkpoints, start=start)

    def due(self, step: int) -> bool:
        return evaluation_due(self.config, self.plan, step)

    def run(self, step: int, phase: Phase, state: TrainingState) -> None:
        """Evaluate after `step` steps. A signal to rank 0 ends it early; the run that follows does it then.

        Raises `TrainingFault` if a loss is not finite.
        """
        self.log.flush()
        if self.world.is_first:
            known = self.log.evaluation_of(step)
            results = known or self.world.requests.attempt(
                lambda: evaluate_ends(state.result, phase, self.data, seed=self.config.seed)
            )
            if results is not None:
                self._enter(step, phase, state.result, results, known=known is not None)
        self.world.barrier()

    def _enter(self, step: int, phase: Phase, supernet: Supernet, results: Results, *, known: bool) -> None:
        self._check(step, results)
        scores = {role: result for role, (_, result) in results.items()}
        more: dict[str, float | bool] = {"mean_accuracy": mean_accuracy(scores)}
        if self.best is not None:  # before the log has it: an evaluation in the log is done with
            more["best"] = self.best.offer(step, phase, scores, supernet, self.described)
        if not known:
            self.log.evaluation(step, phase, results, **more)

    def _check(self, step: int, results: Results) -> None:
        for role, (key, result) in results.items():
            if math.isfinite(result.loss):
                continue
            what = f"the selection loss of the {role} subnet {key} became {result.loss} after {step} steps"
            if self.log.last is None:
                raise UserError(what, hint="Delete the newest checkpoint to go on from the one before")
            failing = {"role": role, "key": key, "loss": plain_number(result.loss)}
            raise TrainingFault(self.log.last, Fault(what, bad_from=step, failing=failing), known=False)


def evaluate_ends(supernet: Supernet, phase: Phase, data: ImageData, *, seed: int) -> dict[str, tuple[str, Evaluation]]:
    """The largest, the smallest and one random subnet of the phase (always the same one) on the selection split."""
    rng = np.random.default_rng((seed, phase.index))
    rows = {
        "largest": phase.space.largest(),
        "smallest": phase.space.smallest(),
        "random": phase.space.sample(1, rng)[0],
    }
    results = {}
    for role, row in rows.items():
        (architecture,) = phase.space.decode(row)
        results[role] = architecture.key, evaluate_architecture(supernet, architecture, data)
    return results


def evaluation_due(config: TrainingConfig, plan: Plan, step: int) -> bool:
    """At the end of every phase, every `eval_every` epochs, and at the very end where the best are to be used."""
    if step == 0:
        return False
    settings, phase = config.train, plan.phase_at(step - 1)
    if step == phase.first_step + phase.num_steps or (settings.use_best and step == plan.num_steps):
        return True
    return settings.eval_every is not None and step % max(1, round(settings.eval_every * plan.steps_per_epoch)) == 0
