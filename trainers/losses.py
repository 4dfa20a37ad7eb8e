"""Losses summed over a micro-batch; the caller divides by the global batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def label_loss(logits_BK: torch.Tensor, labels_B: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross entropy with label smoothing (Szegedy et al., https://arxiv.org/abs/1512.00567), summed over images."""
    return F.cross_entropy(logits_BK.float(), labels_B, reduction="sum", label_smoothing=smoothing)


def distillation_loss(logits_BK: torch.Tensor, teacher_BK: torch.Tensor) -> torch.Tensor:
    """Soft cross entropy against the teacher's probabilities, summed over images.

    Hinton et al., https://arxiv.org/abs/1503.02531, at temperature 1.
    The gradient with respect to the logits is softmax(logits) - softmax(teacher); none flows into the teacher.
    """
    return F.cross_entropy(logits_BK.float(), teacher_BK.detach().float().softmax(dim=1), reduction="sum")
