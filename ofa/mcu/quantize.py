"""From a trained network to integers."""

from __future__ import annotations

import copy

import numpy as np
from torch import Tensor, fx

from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.scheduling import schedule
from ofa.mcu.settings import QuantizationSettings

__all__ = ["QuantizationSettings", "quantize_network"]


def quantize_network(
    network: fx.GraphModule, images: Tensor, *, settings: QuantizationSettings, plan: str = "overwriting"
) -> Program:
    """`network` in int8, its calls scheduled for the memory plan `naive` or `overwriting`, which gives the same numbers.

    `images` (N, C, R, R) as the network gets them, of the calibration split; `settings.num_images` of them are used,
    spread evenly. Raises `UserError` if there are none, if a value of the network is not finite on them, or if a layer
    has no kernel.
    """
    on_cpu = copy.deepcopy(network).cpu()
    chosen = np.linspace(0, len(images) - 1, min(settings.num_images, len(images))).round().astype(int)
    few = images[chosen].detach().float().cpu()
    affine = calibrate(on_cpu, few, method=settings.calibration, percentile=settings.percentile)
    return schedule(lower(on_cpu, tuple(images.shape[1:]), affine), plan=plan)
