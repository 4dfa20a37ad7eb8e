"""The training loop: from a config to a trained supernet in a run folder, over any number of interruptions."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest, read_json, remove_leftovers
from search_spaces.common.progress import progress_bar
from search_spaces.supernet import build_supernet
from trainers.accounting import Ledger, StepCosts
from trainers.allocator import keep_freed_memory
from trainers.checkpoints import newest_checkpoint, save_supernet, write_checkpoint
from trainers.data import ImageData, load_data
from trainers.distributed import World, autocast_dtype, join_world
from trainers.evaluation import Evaluation, evaluate_architecture
from trainers.optim import has_random_layers, set_learning_rate, set_regularisation
from trainers.phases import Phase, Plan, make_plan
from trainers.run_log import RunLog
from trainers.settings import TrainingConfig, TrainSettings, training_inputs
from trainers.state import TrainingState
from trainers.step import StepSettings, accumulate_gradients, choose_subnets, shareable_operators


def train(config: TrainingConfig, run: Path) -> None:
    """Train the supernet of `config` into `run` (supernet.safetensors and .json), with the others under torchrun.

    A finished run returns at once, an interrupted one goes on from its last checkpoint and ends, on one
    process, with the very same weights. Raises `UserError` if `run` holds a training with other settings, or
    when a loss is no longer a number.
    """
    run = Path(run)
    if is_finished(config, run):
        return
    with join_world(config.train.device) as world:
        _train(config, run, world)
        world.barrier()


def is_finished(config: TrainingConfig, run: Path) -> bool:
    """Whether `run` holds the supernet that `config` trains. Raises `UserError` if it holds one of other settings."""
    described = Path(run) / "supernet.json"
    if not described.exists():
        return False
    info = read_json(described, "supernet description")
    _check_inputs(info.get("inputs") if isinstance(info, dict) else None, config, described)
    return (Path(run) / "supernet.safetensors").exists()


def check_same_training(config: TrainingConfig, run: Path) -> None:
    """Raise `UserError` naming what differs if `run` holds a training, finished or begun, with other settings."""
    if is_finished(config, run):
        return
    for path in sorted((Path(run) / "checkpoints").glob("step-*.json"), reverse=True):
        try:
            info = read_json(path, "checkpoint description")
        except UserError:
            continue  # damaged: another one will be taken, or training says so
        if isinstance(info, dict) and "inputs" in info:
            _check_inputs(info["inputs"], config, path)
            return


def _train(config: TrainingConfig, run: Path, world: World) -> None:
    keep_freed_memory()
    settings = config.train
    rows = world.share(settings.batch_size, settings.group_size)
    data = load_data(config.data, seed=config.seed)
    space = get_space(config.space, num_classes=data.num_classes, in_channels=data.in_channels)
    steps_per_epoch = data.steps_per_epoch(settings.batch_size)
    plan = make_plan(space, settings, seed=config.seed, steps_per_epoch=steps_per_epoch)
    checkpoints = run / "checkpoints"
    if world.is_first:
        remove_leftovers(run)
        remove_leftovers(checkpoints)
    state = _fresh_state(config, space, plan, checkpoints, world)
    start, ledger = _resume(state, config, data, checkpoints, world)
    limit = shareable_operators(state.supernet) if has_random_layers(state.supernet) else None
    costs = StepCosts(space, plan, settings.batch_size, settings.group_size, limit)
    log = RunLog(run, start=start, every=settings.log_every, batch_size=settings.batch_size, writes=world.is_first)
    due = _CheckpointClock(settings, start)
    stream = data.training_stream(
        start_step=start,
        num_steps=plan.num_steps - start,
        seed=config.seed,
        batch_size=settings.batch_size,
        rows=rows,
        device=world.device,
    )
    try:
        with progress_bar("training", plan.num_steps, done=start, quiet=not world.is_first) as advance:
            for step, (x_BCHW, labels_B) in enumerate(stream, start=start):
                phase = plan.phase_at(step)
                if step == phase.first_step:
                    state.begin_phase(phase, writes=world.is_first)
                    world.barrier()
                    state.load_teacher(phase)
                    step_settings = _step_settings(config, phase, state, world)
                elif step == start:
                    step_settings = _step_settings(config, phase, state, world)

                lr = set_learning_rate(state.scheduler, phase, step)
                drawn = phase.sampler.subnets(step)
                subnets = choose_subnets(state.supernet, drawn, x_BCHW, labels_B, settings=step_settings, world=world)
                losses = accumulate_gradients(
                    state.supernet,
                    state.teacher,
                    subnets,
                    x_BCHW,
                    labels_B,
                    step=step,
                    settings=step_settings,
                    world=world,
                    weights=phase.gradient_weights(subnets, step, lr),
                )
                state.update(phase, step)
                ledger.add(costs.of(phase, subnets), settings.batch_size)
                log.step(step, phase, lr, subnets, losses, macs=ledger.macs.total)

                if world.is_first and due.now(step + 1):
                    log.flush()
                    _save(state, config, data, step + 1, checkpoints, ledger)
                if world.is_first and _evaluation_due(settings, plan, step + 1) and not log.is_evaluated(step + 1):
                    log.flush()
                    log.evaluation(step + 1, phase, evaluate_ends(state.result, phase, data, seed=config.seed))
                advance(note=phase.settings.name)
        log.flush()
    finally:
        log.close()
    _check_finite(state, plan.num_steps)
    if world.is_first:
        info = {
            "data": data.description(),
            "seed": config.seed,
            "step": plan.num_steps,
            "inputs": training_inputs(config),
            "cost": ledger.to_json(),
        }
        save_supernet(run, state.result, space, info)


def _fresh_state(
    config: TrainingConfig, space: SearchSpace, plan: Plan, checkpoints: Path, world: World
) -> TrainingState:
    supernet = build_supernet(space, seed=config.seed)
    set_regularisation(supernet, config.train)
    supernet.to(world.device)
    if config.train.channels_last:
        supernet.to(memory_format=torch.channels_last)
    return TrainingState(supernet, plan, config.train, teacher_file=checkpoints / "teacher.safetensors")


def _resume(
    state: TrainingState, config: TrainingConfig, data: ImageData, checkpoints: Path, world: World
) -> tuple[int, Ledger]:
    """Restore the newest whole checkpoint, if any (rank 0 chooses); the step to go on with, and what was spent."""
    checkpoint, problems = newest_checkpoint(checkpoints) if world.is_first else (None, [])
    for problem in problems:
        print(f"warning: {problem}. Going on from the checkpoint before", file=sys.stderr)
    step = world.agree(0 if checkpoint is None else checkpoint.step)
    if step == 0:
        return 0, Ledger()
    if checkpoint is None:
        checkpoint, _ = newest_checkpoint(checkpoints)
        if checkpoint is None or checkpoint.step != step:
            raise UserError(f"rank {world.rank} does not see the checkpoint of step {step}", file=checkpoints)
    _check_inputs(checkpoint.info.get("inputs"), config, checkpoint.path.with_suffix(".json"))
    found, wanted = checkpoint.info.get("train_split"), data.split_sha256["train"]
    if found != wanted:
        raise UserError(
            "was trained on other images: the train split of this data set has changed",
            file=checkpoint.path,
            hint="Choose another name for this run, or restore the data",
        )
    phase = state.plan.phase_at(step - 1)
    state.restore(checkpoint, phase)
    if state.plan.phase_at(min(step, state.plan.num_steps - 1)) is phase:
        expected = checkpoint.info.get("teacher_sha256")
        if expected is not None and (not state.teacher_file.exists() or file_digest(state.teacher_file) != expected):
            raise UserError("this teacher is gone or damaged", file=state.teacher_file, hint="Restore it or start anew")
        state.load_teacher(phase)
    world.barrier()  # nobody goes on, and perhaps deletes this checkpoint, before all have read it
    return step, Ledger.from_json(checkpoint.info.get("cost"))


def _save(
    state: TrainingState, config: TrainingConfig, data: ImageData, step: int, checkpoints: Path, ledger: Ledger
) -> None:
    _check_finite(state, step)
    info = {
        "inputs": training_inputs(config),
        "train_split": data.split_sha256["train"],
        "cost": ledger.to_json(),
        **state.info(),
    }
    write_checkpoint(checkpoints, step, state.tensors(), info, keep=config.train.keep_checkpoints)


def _check_finite(state: TrainingState, step: int) -> None:
    if not state.is_finite():
        raise UserError(
            f"weights are not finite after step {step}",
            hint="Lower train.optimizer.lr or set train.clip_grad_norm. Checkpoints before this step are kept",
        )


def _step_settings(config: TrainingConfig, phase: Phase, state: TrainingState, world: World) -> StepSettings:
    settings = config.train
    return StepSettings(
        phase=phase,
        batch_size=settings.batch_size,
        micro_batch=settings.group_size,
        label_smoothing=settings.label_smoothing,
        channels_last=settings.channels_last,
        autocast=autocast_dtype(settings.amp, world.device),
        random_layers=has_random_layers(state.supernet),
        seed=config.seed,
    )


def evaluate_ends(supernet: Any, phase: Phase, data: ImageData, *, seed: int) -> dict[str, tuple[str, Evaluation]]:
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


def _evaluation_due(settings: TrainSettings, plan: Plan, step: int) -> bool:
    """At the end of every phase, and every `eval_every` epochs."""
    phase = plan.phase_at(step - 1)
    if step == phase.first_step + phase.num_steps:
        return True
    return settings.eval_every is not None and step % max(1, round(settings.eval_every * plan.steps_per_epoch)) == 0


class _CheckpointClock:
    """Says when the next checkpoint is due: every so many steps, or seconds."""

    def __init__(self, settings: TrainSettings, start: int) -> None:
        every = settings.checkpoint_every
        self.steps = every if isinstance(every, int) else None
        self.seconds = float(every[:-1]) if isinstance(every, str) else 0.0
        self.last = time.monotonic()

    def now(self, step: int) -> bool:
        if self.steps is not None:
            return step % self.steps == 0
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True


def _check_inputs(found: Any, config: TrainingConfig, file: Path) -> None:
    """Raise `UserError` naming what differs, if `file` is of a training with other settings."""
    wanted = json.loads(json.dumps(training_inputs(config)))
    if found == wanted:
        return
    different = list(_differences(found if isinstance(found, dict) else {}, wanted))
    shown = "; ".join(different[:3]) + (f"; and {len(different) - 3} more" if len(different) > 3 else "")
    raise UserError(
        f"belongs to a training with other settings: {shown}",
        file=file,
        hint="Choose another name (name: in the config, or --run), or restore these settings",
    )


def _differences(found: Any, wanted: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from _differences(found.get(key), wanted.get(key), f"{prefix}.{key}" if prefix else key)
    elif found != wanted:
        yield f"{prefix} is {found!r} there and {wanted!r} here"
