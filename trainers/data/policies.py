"""Augmentation policies of torchvision (RandAugment and its relatives), each image by random numbers of its own.

They work on the bytes of one image at a time, before any other augmentation, wherever the image is read: in worker
processes when images are streamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.settings.data import AugmentSettings

#: float32 numbers in [0, 1) are whole multiples of 2^-24
_STEPS = 2**24


@dataclass(frozen=True, eq=False)
class Policy:
    """`transform` draws from torch's global generator, which is seeded for each image and then left as it was."""

    transform: Any

    def image(self, image_HWC: NDArray[np.uint8], uniforms: NDArray[np.float32]) -> NDArray[np.uint8]:
        """A new image. `uniforms`: the two numbers of the image that decide everything."""
        image = torch.from_numpy(np.array(image_HWC.transpose(2, 0, 1), order="C"))
        changed: NDArray[np.uint8] = self.batch(image[None], uniforms[None])[0].numpy().transpose(1, 2, 0)
        return changed

    def batch(self, images_BCHW: torch.Tensor, uniforms: NDArray[np.float32]) -> torch.Tensor:
        """Change uint8 images on the CPU in place. `uniforms`: (B, 2)."""
        seeds = (uniforms.astype(np.float64) * _STEPS).astype(np.int64) @ np.array([_STEPS, 1])
        with torch.random.fork_rng(devices=[]):
            for number, seed in enumerate(seeds):
                torch.default_generator.manual_seed(int(seed))
                images_BCHW[number] = self.transform(images_BCHW[number])
        return images_BCHW


def find_policy(settings: AugmentSettings) -> Policy | None:
    """The policy that the settings ask for, if any, interpolating bilinearly; outside the image is black."""
    if settings.random_augment is None and not settings.trivial_augment and settings.auto_augment is None:
        return None
    from torchvision.transforms import v2  # takes as long to import as torch itself

    bilinear = v2.InterpolationMode.BILINEAR
    if settings.random_augment is not None:
        chosen = settings.random_augment
        return Policy(v2.RandAugment(chosen.num_ops, chosen.magnitude, interpolation=bilinear))
    if settings.trivial_augment:
        return Policy(v2.TrivialAugmentWide(interpolation=bilinear))
    return Policy(v2.AutoAugment(v2.AutoAugmentPolicy(settings.auto_augment), interpolation=bilinear))
