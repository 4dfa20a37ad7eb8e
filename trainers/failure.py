"""A training that went wrong is stopped with all that helps to find out why, and its last good state is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_spaces.common.errors import UserError
from search_spaces.common.files import write_json
from trainers.checkpoints.store import checkpoint_steps, discard_checkpoints
from trainers.data import ImageData
from trainers.data.names import image_names
from trainers.loss_watch import TrainingFault, described, plain_number
from trainers.processes.distributed import World
from trainers.settings.train import TrainingConfig

NAME = "failure.json"
_SCHEMA = 1


def failed(found: TrainingFault, config: TrainingConfig, run: Path, data: ImageData, world: World) -> UserError:
    """The error that ends the training. Rank 0 writes failure.json and deletes checkpoints the fault has reached."""
    record, fault = found.record, found.fault
    checkpoints = run / "checkpoints"
    indices = data.step_images(step=record.step, seed=config.seed, batch_size=config.train.batch_size).tolist()
    names = image_names(config.data, indices if world.is_first else indices[:3])
    good = max((step for step in checkpoint_steps(checkpoints) if step < fault.bad_from), default=None)
    hint = "Lower train.optimizer.lr or set train.clip_grad_norm. "
    hint += (
        "There is no checkpoint from before" if good is None else f"The checkpoint of step {good}, from before, is kept"
    )
    error = UserError(
        f"{fault.what} at step {record.step} (phase {record.phase.settings.name!r}, learning rate {record.lr:.3g}), "
        f"on {len(indices)} images ({', '.join(names[:3])}{', ...' if len(indices) > 3 else ''}); more in {run / NAME}",
        hint=hint,
    )
    if world.is_first:
        discard_checkpoints(checkpoints, first=fault.bad_from)
        write_json(run / NAME, _description(found, config, error, indices, names, good))
    if found.known:
        world.barrier()  # torchrun ends the others when one process fails, and rank 0 among them
    return error


def _description(
    found: TrainingFault,
    config: TrainingConfig,
    error: UserError,
    indices: Sequence[int],
    names: Sequence[str],
    good: int | None,
) -> dict[str, Any]:
    record, fault = found.record, found.fault
    return {
        "schema": _SCHEMA,
        "message": error.message,
        "step": record.step,
        "phase": record.phase.settings.name,
        "seed": config.seed,
        "batch_size": config.train.batch_size,
        "learning_rate": record.lr,
        "gradient_norm": plain_number(record.grad_norm.item()),
        "usual_loss": fault.median,
        "loss_limit": fault.limit,
        "failing": fault.failing,
        "subnets": [
            described(subnet, loss) for subnet, loss in zip(record.subnets, record.losses.tolist(), strict=True)
        ],
        "last_good_checkpoint": good,
        "images": [{"index": index, "name": name} for index, name in zip(indices, names, strict=True)],
    }
