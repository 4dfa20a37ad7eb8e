"""From a trained network to integers."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.scheduling import schedule
from ofa.mcu.settings import QuantizationSettings
from trainers.data import ImageData

__all__ = ["QuantizationSettings", "calibration_images", "quantize_network"]


def quantize_network(
    network: fx.GraphModule, images: Tensor, *, settings: QuantizationSettings, plan: str = "overwriting"
) -> Program:
    """`network` in int8, scheduled for the memory plan `naive` or `overwriting`; both give the same numbers.

    `images` (N, C, R, R) as the network gets them, of the calibration split; `settings.num_images` of them are used,
    spread evenly. Raises `UserError` if there are none, if a value of the network is not finite on them, or if a layer
    has no kernel.
    """
    on_cpu = copy.deepcopy(network).cpu()
    few = images[_spread(len(images), settings.num_images)].detach().float().cpu()
    affine = calibrate(on_cpu, few, method=settings.calibration, percentile=settings.percentile)
    return schedule(lower(on_cpu, tuple(images.shape[1:]), affine), plan=plan)


def calibration_images(data: ImageData, *, resolution: int, num_images: int) -> Tensor:
    """(N, C, R, R): that many images of the calibration split, or all there are, spread evenly."""
    chosen, start, found = _spread(data.size("calibration"), num_images), 0, []
    for images, _ in data.batches("calibration", resolution=resolution, batch_size=250):
        found.append(images[chosen[(chosen >= start) & (chosen < start + len(images))] - start])
        start += len(images)
    return torch.cat(found)


def _spread(available: int, wanted: int) -> NDArray[np.int64]:
    return np.linspace(0, available - 1, min(wanted, available)).round().astype(np.int64)
