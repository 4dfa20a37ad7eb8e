"""A winner trained on alone for a while, distilled from the largest subnet. Kept only if it does not lose by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from ofa.export.settings import ExportSettings
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, read_json, write_json
from search_spaces.common.progress import progress_bar
from search_spaces.plain import clone_network
from trainers.checkpoints import read_tensors, weights_digest, write_tensors
from trainers.data import ImageData, resize_batch
from trainers.evaluation import evaluate_network
from trainers.losses import distillation_loss, label_loss
from trainers.recalibration import recalibrate

SCHEMA = 1


@dataclass(frozen=True)
class Finetuning:
    """Selection accuracies (0..1) of the network as the supernet has it and after fine-tuning; `kept`: which one goes
    on.
    """

    epochs: int
    before: float
    after: float
    kept: bool


def finetune(
    network: GraphModule,
    teacher: GraphModule,
    data: ImageData,
    settings: ExportSettings,
    *,
    resolution: int,
    teacher_resolution: int,
    seed: int,
    cache: Path,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> tuple[GraphModule, Finetuning]:
    """Train a copy of `network` for `settings.finetune_epochs` epochs and recalibrate its BN statistics.

    AdamW with a cosine schedule; the loss is the mean of label loss and soft cross entropy against `teacher` on the
    same augmented images. If selection accuracy falls, `network` itself is returned. The outcome is a file of `cache`
    under the hash of all its inputs: same inputs, same network, computed once.
    """
    inputs = _inputs(
        network, teacher, data, settings, resolution=resolution, teacher_resolution=teacher_resolution, seed=seed
    )
    weights, described = cache / f"{inputs[:16]}.safetensors", cache / f"{inputs[:16]}.json"
    if not described.exists():
        before = _accuracy(network, data, settings, resolution, device)
        student = _train(
            network,
            teacher,
            data,
            settings,
            resolution=resolution,
            teacher_resolution=teacher_resolution,
            seed=seed,
            device=device,
            quiet=quiet,
        )
        after = _accuracy(student, data, settings, resolution, device)
        outcome = Finetuning(epochs=settings.finetune_epochs, before=before, after=after, kept=after >= before)
        write_tensors(weights, student.state_dict())
        write_json(
            described, {"schema": SCHEMA, "inputs": inputs, **asdict(outcome)}
        )  # last: declares the weights whole
    stored = read_json(described, "fine-tuning outcome")
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA or stored.get("inputs") != inputs:
        raise UserError(
            f"not a fine-tuning outcome of schema {SCHEMA} for this network",
            file=described,
            hint="Delete it to train again",
        )
    outcome = Finetuning(**{key: stored[key] for key in ("epochs", "before", "after", "kept")})
    if not outcome.kept:
        return network, outcome
    tuned = clone_network(network)
    tuned.load_state_dict(read_tensors(weights, "fine-tuned network"))
    return tuned.eval(), outcome


def _train(
    network: GraphModule,
    teacher: GraphModule,
    data: ImageData,
    settings: ExportSettings,
    *,
    resolution: int,
    teacher_resolution: int,
    seed: int,
    device: torch.device | str,
    quiet: bool,
) -> GraphModule:
    batch_size = min(settings.finetune_batch_size, data.num_train)
    num_steps = settings.finetune_epochs * data.steps_per_epoch(batch_size)
    student = clone_network(network).to(device).train()
    teacher = clone_network(teacher).to(device).eval()
    decayed = [parameter for parameter in student.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in student.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        groups,
        lr=settings.finetune_lr,
        weight_decay=settings.finetune_weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=num_steps)
    stream = data.training_stream(start_step=0, num_steps=num_steps, seed=seed, batch_size=batch_size, device=device)
    with torch.random.fork_rng(devices=[]), progress_bar("fine-tuning", num_steps, quiet=quiet) as advance:
        torch.manual_seed(seed)
        for images, labels in stream:
            with torch.no_grad():
                soft = teacher(resize_batch(images, teacher_resolution))
            logits = student(resize_batch(images, resolution))
            loss = (label_loss(logits, labels, 0.0) + distillation_loss(logits, soft)) / (2 * len(labels))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            advance()

    def images_of_calibration() -> Iterable[Tensor]:
        return (
            x
            for x, _ in data.batches(
                "calibration", resolution=resolution, batch_size=settings.batch_size, device=device
            )
        )

    return recalibrate(student.eval(), images_of_calibration)


def _accuracy(
    network: GraphModule, data: ImageData, settings: ExportSettings, resolution: int, device: torch.device | str
) -> float:
    batches = data.batches("selection", resolution=resolution, batch_size=settings.batch_size, device=device)
    return evaluate_network(network.to(device), batches).accuracy


def _inputs(
    network: GraphModule, teacher: GraphModule, data: ImageData, settings: ExportSettings, **others: Any
) -> str:
    return digest(
        {
            "network": weights_digest(network.state_dict()),
            "teacher": weights_digest(teacher.state_dict()),
            "splits": {split: data.split_sha256[split] for split in ("train", "calibration", "selection")},
            "augmentation": data.augmentation.model_dump(mode="json"),
            "settings": {
                key: value for key, value in settings.model_dump(mode="json").items() if key.startswith("finetune_")
            },
            **others,
        }
    )
