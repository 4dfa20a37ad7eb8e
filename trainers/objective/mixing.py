"""Mixup and cutmix of a micro-batch: torchvision's, by random numbers that depend on (seed, step, group) alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.settings.mixing import MixingSettings

#: sets these random numbers apart from others of the same seed and step
_MIXING = 12


@dataclass(frozen=True)
class Mixing:
    """A function of (images, labels, step, group). `group` counts the micro-batches of the global batch."""

    settings: MixingSettings
    num_classes: int
    seed: int

    def __call__(self, images_BCHW: Tensor, labels_B: Tensor, *, step: int, group: int) -> tuple[Tensor, Tensor]:
        """New images, each mixed with its neighbour, and probabilities (B, num_classes) for labels.

        A micro-batch that is left alone comes back as it is. The global random state stays as it was.
        """
        rng = np.random.default_rng((self.seed, _MIXING, step, group))
        mixed, switched = rng.random(2)
        if mixed >= self.settings.probability:
            return images_BCHW, labels_B
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the CPU's generator, wherever the images are
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            images, targets = self._transforms[self._choice(switched)](images_BCHW, labels_B)
        return images, targets

    def _choice(self, uniform: float) -> str:
        if self.settings.mixup and self.settings.cutmix:
            return "cutmix" if uniform < self.settings.switch else "mixup"
        return "mixup" if self.settings.mixup else "cutmix"

    @cached_property
    def _transforms(self) -> dict[str, Any]:
        from torchvision.transforms import v2  # takes as long to import as torch itself

        kinds = {"mixup": (v2.MixUp, self.settings.mixup), "cutmix": (v2.CutMix, self.settings.cutmix)}
        return {
            name: kind(alpha=alpha, num_classes=self.num_classes) for name, (kind, alpha) in kinds.items() if alpha > 0
        }
