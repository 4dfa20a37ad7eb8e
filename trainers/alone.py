"""One network trained alone: the very same training over a space of one network, to compare its subnet with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces import Architecture, SearchSpace
from search_spaces.common.files import read_json, write_json
from trainers.architectures import restriction_to
from trainers.checkpoints.store import load_supernet
from trainers.data import ImageData
from trainers.evaluation.evaluate import Evaluation, Score, evaluate_architecture
from trainers.optim import freeze_running_statistics
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainingConfig, TrainSettings

SCHEMA = 1
FOLDER, FILE = "alone", "alone.json"


def alone_config(config: TrainingConfig, space: SearchSpace, architecture: Architecture) -> TrainingConfig:
    """`config` with `architecture` as its whole space, in one phase without distillation.

    Epochs (the sum of those of explicit phases), optimiser and schedule stay.
    """
    phase = PhaseSettings(name="alone", epochs=config.train.total_epochs, sampling="largest")
    return config.model_copy(
        update={
            "space": only(config.space, space, architecture),
            "train": with_phases(config.train, (phase,)),
        }
    )


def only(settings: dict[str, Any], space: SearchSpace, architecture: Architecture) -> dict[str, Any]:
    """The `space` section of which this network alone is left."""
    return {**settings, "restrict": restriction_to(space, architecture)}


def with_phases(settings: TrainSettings, phases: tuple[PhaseSettings, ...], **changes: Any) -> TrainSettings:
    """The same `train` section with these phases instead of its own, and `changes`."""
    kept = settings.model_dump(exclude={"recipe", "phases", "each_phase", "num_subnets"})
    return TrainSettings.model_validate({**kept, "phases": phases, **changes})


def score_alone(run: Path, data: ImageData, *, batch_size: int) -> dict[str, Any]:
    """Write and return RUN/alone.json: what the trained network scores on the selection split.

    `recalibrated`: with BN statistics exact over the calibration split, as every subnet is scored. `batch_statistics`:
    with those of the batches themselves, `batch_size` images each, as in training.
    """
    loaded = load_supernet(run)
    if (run / FILE).exists():
        known = read_json(run / FILE, "score")
        if isinstance(known, dict) and known.get("weights_sha256") == loaded.weights_sha256:
            return known
    space = loaded.space
    row = space.largest()
    (architecture,) = space.decode(row)
    side = architecture.resolution
    batches = data.batches("selection", resolution=side, batch_size=batch_size)
    network = loaded.supernet.extract(architecture)
    facts = {
        "schema": SCHEMA,
        "key": architecture.key,
        "architecture": architecture.to_json(),
        "weights_sha256": loaded.weights_sha256,
        "seed": loaded.info["seed"],
        "steps": loaded.info["step"],
        "costs": {metric: float(space.cost(metric).evaluate(row[None])[0]) for metric in ("macs", "params")},
        "selection": {
            "recalibrated": asdict(evaluate_architecture(loaded, architecture, data)),
            "batch_statistics": asdict(evaluate_by_batch(network, batches, batch_size)),
        },
    }
    write_json(run / FILE, facts)
    return facts


def evaluate_by_batch(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], batch_size: int) -> Evaluation:
    """Accuracy and loss where every batch is normalised by its own statistics; all else as in evaluation."""
    freeze_running_statistics(network)
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    score = Score()
    with torch.no_grad():
        for x, labels in _no_small_last(batches, batch_size):
            score.add(network(x), labels)
    return score.evaluation()


def _no_small_last(batches: Iterable[tuple[Tensor, Tensor]], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, the last one added to the one before where it has less than half the images."""
    held: tuple[Tensor, Tensor] | None = None
    for x, labels in batches:
        if held is None:
            held = x, labels
        elif 2 * len(x) < batch_size:
            held = torch.cat((held[0], x)), torch.cat((held[1], labels))
        else:
            yield held
            held = x, labels
    if held is not None:
        yield held
