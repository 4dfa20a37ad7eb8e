"""Quantisation-aware fine-tuning: a network trained on for a while in the numbers that int8 has.

The network as it is in floating point is its own teacher, so that no label is needed and nothing but the rounding is
learnt (Jacob et al., CVPR 2018, for training with rounded numbers; Hinton et al., arXiv 1503.02531, for the loss).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import fx

from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.program import Program
from latency_tables.folding import fold_batch_norm
from ofa.mcu.fake_quantization import FakeQuantized
from ofa.mcu.integer import evaluate_program
from ofa.mcu.quantize import calibration_images, quantize_network
from ofa.mcu.settings import QuantizationSettings
from trainers.data import ImageData
from trainers.data.resize import resize_batch
from trainers.objective.losses import distillation_loss

_BATCH_SIZE = 250


@dataclass(frozen=True, eq=False)
class Quantized:
    """A network in int8. `accuracy` (0..1) is that of the integers on the selection split, `plain_accuracy` without
    fine-tuning; `finetuned`: whether `network` is the fine-tuned one.
    """

    program: Program
    network: fx.GraphModule
    accuracy: float
    plain_accuracy: float
    finetuned: bool


def quantize_trained(
    network: fx.GraphModule,
    data: ImageData,
    *,
    resolution: int,
    settings: QuantizationSettings,
    plan: str = "overwriting",
    seed: int = 0,
) -> Quantized:
    """`network` in int8 by the images of `data`; fine-tuned before, if `settings` say so and it helps on the selection
    split.
    """
    images = calibration_images(data, resolution=resolution, num_images=settings.num_images)

    def quantized(candidate: fx.GraphModule) -> tuple[Program, float]:
        program = quantize_network(candidate, images, settings=settings, plan=plan)
        batches = data.batches("selection", resolution=resolution, batch_size=_BATCH_SIZE)
        return program, evaluate_program(program, batches).accuracy

    program, plain = quantized(network)
    if settings.finetune_epochs:
        tuned = finetune_quantized(network, data, settings, resolution=resolution, seed=seed)
        tuned_program, accuracy = quantized(tuned)
        if accuracy > plain:
            return Quantized(tuned_program, tuned, accuracy, plain, finetuned=True)
    return Quantized(program, network, plain, plain, finetuned=False)


def finetune_quantized(
    network: fx.GraphModule, data: ImageData, settings: QuantizationSettings, *, resolution: int, seed: int = 0
) -> fx.GraphModule:
    """`network` with batch norms folded, trained on for `settings.finetune_epochs` of `data`.

    Adam with a cosine schedule; the ranges of values are those of `network`, weights are rounded as they are in every
    step. The same inputs give the same network.
    """
    teacher, student = (fold_batch_norm(network) for _ in range(2))
    images = calibration_images(data, resolution=resolution, num_images=settings.num_images)
    affine = calibrate(student, images, method=settings.calibration, percentile=settings.percentile)
    rounding = FakeQuantized(student, affine)
    batch_size = min(settings.finetune_batch_size, data.num_train)
    steps = math.ceil(settings.finetune_epochs * data.steps_per_epoch(batch_size))
    optimizer = torch.optim.Adam(student.parameters(), lr=settings.finetune_lr)
    stream = data.training_stream(start_step=0, num_steps=steps, seed=seed, batch_size=batch_size)
    for step, (x_BCHW, _) in enumerate(stream):
        optimizer.param_groups[0]["lr"] = settings.finetune_lr * (1 + math.cos(math.pi * (step + 0.5) / steps)) / 2
        x_BCHW = resize_batch(x_BCHW, resolution)
        with torch.no_grad():
            target = teacher(x_BCHW)
        loss = distillation_loss(rounding.run(x_BCHW), target) / batch_size
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return student
