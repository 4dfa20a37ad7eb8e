"""Losses summed over a micro-batch; the caller divides by the global batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def label_loss(
    logits_BK: torch.Tensor, labels: torch.Tensor, smoothing: float, class_weights_K: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross entropy with label smoothing (Szegedy et al., https://arxiv.org/abs/1512.00567), summed over images.

    `labels`: classes (B,), or probabilities (B, K) of mixed images. A class weight multiplies what the loss has of
    that class, smoothed part included. Like the others, this sum is divided by the number of images of the global
    batch; never by the weights of the images that happen to be in a batch, which would make the result depend on how
    the batch is cut.
    """
    return F.cross_entropy(
        logits_BK.float(), labels, weight=class_weights_K, reduction="sum", label_smoothing=smoothing
    )


def distillation_loss(logits_BK: torch.Tensor, teacher_BK: torch.Tensor) -> torch.Tensor:
    """Soft cross entropy against the teacher's probabilities, summed over images.

    Hinton et al., https://arxiv.org/abs/1503.02531, at temperature 1.
    The gradient with respect to the logits is softmax(logits) - softmax(teacher); none flows into the teacher.
    """
    return F.cross_entropy(logits_BK.float(), teacher_BK.detach().float().softmax(dim=1), reduction="sum")
