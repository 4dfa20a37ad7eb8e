"""The training loop: from a config to a trained supernet in a run folder, over any number of interruptions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest, read_json, remove_leftovers
from search_spaces.common.progress import progress_bar
from search_spaces.supernet import build_supernet
from trainers import failure
from trainers.accounting import Ledger, StepCosts
from trainers.checkpoints.best import take_best
from trainers.checkpoints.policy import CheckpointClock
from trainers.checkpoints.state import TrainingState
from trainers.checkpoints.store import newest_checkpoint, read_description, save_supernet, write_checkpoint
from trainers.data import ImageData, load_data
from trainers.failure import failed
from trainers.loss_watch import Fault, LossWatch, StepRecord, TrainingFault
from trainers.milestones import Evaluations
from trainers.objective.class_weights import class_weights
from trainers.objective.compilation import Losses
from trainers.objective.mixing import Mixing
from trainers.optim import has_random_layers, set_learning_rate, set_regularisation
from trainers.phases import Phase, Plan, make_plan
from trainers.processes.allocator import keep_freed_memory
from trainers.processes.distributed import World, autocast_dtype, join_world
from trainers.processes.interruption import StopRequests
from trainers.run_log import RunLog
from trainers.settings.train import TrainingConfig, training_inputs
from trainers.start.weights import Start, announce, load_start
from trainers.step import StepSettings, accumulate_gradients, choose_subnets, shareable_operators


def train(config: TrainingConfig, run: Path) -> None:
    """Train the supernet of `config` into `run` (supernet.safetensors and .json), with the others under torchrun.

    A finished run returns at once, an interrupted one goes on from its last checkpoint and ends, on one
    process, with the very same weights. Raises `UserError` if `run` holds a training with other settings, or
    when a loss is no longer that of a training (see `LossWatch`), and `Stopped` after a checkpoint when a signal
    asks any process to stop.
    """
    run = Path(run)
    config = _pinned(config)
    if is_finished(config, run):
        return
    with StopRequests() as requests, join_world(config.train.device, requests) as world:
        _train(config, run, world)
        world.barrier()
        if requests.received is not None:
            raise requests.stopped("the training is finished, what follows it is not")


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
            info = read_description(path)
        except UserError:
            continue  # damaged: another one will be taken, or training says so
        if "inputs" in info:
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
    state, initial = _fresh_state(config, space, plan, checkpoints, world)
    watch = LossWatch(num_classes=data.num_classes, factor=settings.max_loss_factor)
    start, ledger = _resume(state, watch, config, data, checkpoints, world)
    if initial is not None and start == 0 and world.is_first:
        announce(initial, run)
    teacher_space = None if initial is None else initial.teacher_space
    limit = shareable_operators(state.supernet) if has_random_layers(state.supernet) else None
    costs = StepCosts(space, plan, settings.batch_size, settings.group_size, limit, teacher_space)
    log = RunLog(
        run,
        watch,
        start=start,
        every=settings.log_every,
        batch_size=settings.batch_size,
        writes=world.is_first,
        ledger=ledger,
    )
    due = CheckpointClock(settings)
    described = {"data": data.description(), "seed": config.seed, "inputs": training_inputs(config)}
    if initial is not None:
        described["start"] = initial.facts
    evaluations = Evaluations(config, plan, data, log, world, checkpoints=checkpoints, start=start, described=described)
    stream = data.training_stream(
        start_step=start,
        num_steps=plan.num_steps - start,
        seed=config.seed,
        batch_size=settings.batch_size,
        rows=rows,
        device=world.device,
        compile=settings.compile,
    )
    try:
        with (
            world.requests.deferred(),
            progress_bar("training", plan.num_steps, done=start, quiet=not world.is_first) as advance,
        ):
            if evaluations.due(start):  # the training was stopped before this evaluation was done
                evaluations.run(start, plan.phase_at(start - 1), state)
                if world.stops(wait=True):
                    raise world.requests.stopped(f"the same command goes on after step {start} of {plan.num_steps}")
            ledger.mark("pauses")
            for step, (x_BCHW, labels_B) in enumerate(stream, start=start):
                ledger.mark("data")
                phase = plan.phase_at(step)
                if step == phase.first_step:
                    state.begin_phase(phase, writes=world.is_first)
                    world.barrier()
                    state.load_teacher(phase)
                    step_settings = _step_settings(config, phase, state, world, data, costs)
                elif step == start:
                    step_settings = _step_settings(config, phase, state, world, data, costs)
                ledger.mark("pauses")

                lr = set_learning_rate(state.scheduler, phase, step)
                drawn = phase.sampler.subnets(step)
                ledger.mark("bookkeeping")
                subnets = choose_subnets(state.supernet, drawn, x_BCHW, labels_B, settings=step_settings, world=world)
                ledger.mark("selection")
                weights = phase.gradient_weights(subnets, step, lr)
                ledger.mark("bookkeeping")
                losses = accumulate_gradients(
                    state.supernet,
                    state.teacher,
                    subnets,
                    x_BCHW,
                    labels_B,
                    step=step,
                    settings=step_settings,
                    world=world,
                    weights=weights,
                )
                ledger.mark("forward_backward")
                grad_norm = state.update(phase, step)
                ledger.mark("optimizer")
                ledger.add(costs.of(phase, subnets), settings.batch_size)
                log.step(StepRecord(step, phase, lr, subnets, losses, grad_norm, ledger.macs.total))
                advance(note=phase.settings.name)

                stops = world.stops()
                ledger.mark("bookkeeping")
                saves = stops or (world.is_first and due.now(step + 1))
                if saves:
                    _save(state, log, ledger, config, data, step + 1, checkpoints, world, alone=not stops)
                if not stops and evaluations.due(step + 1):
                    evaluations.run(step + 1, phase, state)
                    stops = world.stops(wait=True)
                    if stops and not saves:
                        _save(state, log, ledger, config, data, step + 1, checkpoints, world, alone=False)
                if stops:
                    world.barrier()  # torchrun ends the others when one process ends: not before rank 0 has saved
                    saved = f"checkpoint saved after step {step + 1} of {plan.num_steps}"
                    raise world.requests.stopped(f"{saved}; the same command goes on from there")
                ledger.mark("pauses")
            log.flush()
            _check_finite(state, log, plan.num_steps)
            if world.is_first:
                _finish(state, ledger, config, plan, run, space, described)
    except TrainingFault as found:
        with world.requests.deferred():
            raise failed(found, config, run, data, world) from None
    finally:
        log.close()


def _finish(
    state: TrainingState,
    ledger: Ledger,
    config: TrainingConfig,
    plan: Plan,
    run: Path,
    space: SearchSpace,
    described: dict[str, Any],
) -> None:
    ledger.mark("pauses")
    info = {**described, "step": plan.num_steps, "cost": ledger.to_json()}
    if config.train.use_best:
        info["best"] = take_best(run / "checkpoints", state.result)
    save_supernet(run, state.result, space, info)
    (run / failure.NAME).unlink(missing_ok=True)


def _fresh_state(
    config: TrainingConfig, space: SearchSpace, plan: Plan, checkpoints: Path, world: World
) -> tuple[TrainingState, Start | None]:
    """The state before the first step, and the start weights that went into it, if any."""
    supernet = build_supernet(space, seed=config.seed)
    initial = None if config.train.init is None else load_start(supernet, config.train.init)
    set_regularisation(supernet, config.train)
    supernet.to(world.device)
    if config.train.channels_last:
        supernet.to(memory_format=torch.channels_last)
    first_teacher = None if initial is None or initial.teacher is None else initial.teacher.to(world.device)
    teacher_file = checkpoints / "teacher.safetensors"
    return TrainingState(supernet, plan, config.train, teacher_file=teacher_file, first_teacher=first_teacher), initial


def _pinned(config: TrainingConfig) -> TrainingConfig:
    """The config with the hash of its start weights, so that they are read once."""
    init = config.train.init
    if init is None:
        return config
    return config.model_copy(update={"train": config.train.model_copy(update={"init": init.pinned()})})


def _resume(
    state: TrainingState, watch: LossWatch, config: TrainingConfig, data: ImageData, checkpoints: Path, world: World
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
    watch.restore(checkpoint.info.get("watch"))
    if state.plan.phase_at(min(step, state.plan.num_steps - 1)) is phase:
        expected = checkpoint.info.get("teacher_sha256")
        if expected is not None and (not state.teacher_file.exists() or file_digest(state.teacher_file) != expected):
            raise UserError("this teacher is gone or damaged", file=state.teacher_file, hint="Restore it or start anew")
        state.load_teacher(phase)
    world.barrier()  # nobody goes on, and perhaps deletes this checkpoint, before all have read it
    return step, Ledger.from_json(checkpoint.info.get("cost"))


def _save(
    state: TrainingState,
    log: RunLog,
    ledger: Ledger,
    config: TrainingConfig,
    data: ImageData,
    step: int,
    checkpoints: Path,
    world: World,
    *,
    alone: bool,
) -> None:
    """Write a checkpoint of `step` on rank 0, once every loss before it was looked at. `alone`: others are not here."""
    log.flush(alone=alone)
    if not world.is_first:
        return
    _check_finite(state, log, step)
    ledger.mark("pauses")
    info = {
        "inputs": training_inputs(config),
        "train_split": data.split_sha256["train"],
        "watch": log.watch.state(),
        "cost": ledger.to_json(),
        **state.info(),
    }
    write_checkpoint(checkpoints, step, state.tensors(), info, keep=config.train.keep_checkpoints)


def _check_finite(state: TrainingState, log: RunLog, step: int) -> None:
    if not state.is_finite() and log.last is not None:
        fault = Fault("the update of the weights made some of them infinite or not a number", bad_from=step)
        raise TrainingFault(log.last, fault, known=False)


def _step_settings(
    config: TrainingConfig, phase: Phase, state: TrainingState, world: World, data: ImageData, costs: StepCosts
) -> StepSettings:
    settings = config.train
    weights = None
    if settings.class_weights is not None:
        weights = class_weights(settings.class_weights, data.class_counts("train")).to(world.device)
    return StepSettings(
        phase=phase,
        batch_size=settings.batch_size,
        micro_batch=settings.group_size,
        label_smoothing=settings.label_smoothing,
        channels_last=settings.channels_last,
        autocast=autocast_dtype(settings.amp, world.device),
        random_layers=has_random_layers(state.supernet),
        seed=config.seed,
        mixing=None if settings.mixing is None else Mixing(settings.mixing, data.num_classes, config.seed),
        class_weights=weights,
        losses=Losses.compiled() if settings.compile else Losses(),
        teacher_resolution=costs.teacher_resolution,
    )


def _check_inputs(found: Any, config: TrainingConfig, file: Path) -> None:
    """Raise `UserError` naming what differs, if `file` is of a training with other settings.

    Settings that are off and were not known yet when it was written make no difference.
    """
    wanted = json.loads(json.dumps(training_inputs(config)))
    different = list(_differences(found if isinstance(found, dict) else {}, wanted))
    if not different:
        return
    shown = "; ".join(different[:3]) + (f"; and {len(different) - 3} more" if len(different) > 3 else "")
    raise UserError(
        f"belongs to a training with other settings: {shown}",
        file=file,
        hint="Choose another name (name: in the config, or --run), or restore these settings",
    )


def _differences(found: Any, wanted: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        # `space` is as the user wrote it; these two are complete, so what is missing was not known yet
        younger = wanted.keys() - found.keys() if prefix.startswith(("data", "train")) else set()
        unknown_and_off = {key for key in younger if not wanted[key]}
        for key in sorted((found.keys() | wanted.keys()) - unknown_and_off):
            yield from _differences(found.get(key), wanted.get(key), f"{prefix}.{key}" if prefix else key)
    elif found != wanted:
        yield f"{prefix} is {found!r} there and {wanted!r} here"
