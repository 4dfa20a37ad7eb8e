"""Losses summed over a micro-batch; the caller divides by the global batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from trainers.settings.phase import AlphaSettings


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


def alpha_divergence_loss(logits_BK: torch.Tensor, teacher_BK: torch.Tensor, settings: AlphaSettings) -> torch.Tensor:
    """Adaptive alpha-divergence of the teacher from the student, summed over images; none flows into the teacher.

    Wang et al., AlphaNet, https://arxiv.org/abs/2102.07954. Of the divergences of order `low` and `high`, every image
    takes the larger. `low` punishes a student that is surer than its teacher, `high` one that misses what its teacher
    holds possible. For teacher p and student q the gradient is that of -sum(w log q) / alpha with the weights
    w = q min((p / q)^alpha, clip) held constant: without the bound that is the gradient of the divergence itself.
    """
    log_q = logits_BK.float().log_softmax(dim=1)
    log_p = teacher_BK.detach().float().log_softmax(dim=1)
    low, high = (_alpha_divergence(log_q, log_p, alpha, settings.clip) for alpha in (settings.low, settings.high))
    return torch.where(low[0] > high[0], low[1], high[1]).sum()


def _alpha_divergence(
    log_q: torch.Tensor, log_p: torch.Tensor, alpha: float, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B,) the divergence by which orders are compared, and the same value with the bounded gradient."""
    constant_q = log_q.detach()
    ratio = (alpha * (log_p - constant_q)).exp().clamp(max=clip)
    q = constant_q.exp()
    if alpha == 1.0:
        value = (log_p.exp() * (log_p - constant_q)).sum(dim=1)
    else:
        value = ((q * ratio).sum(dim=1) - 1.0) / (alpha * (alpha - 1.0))
    surrogate = -(q * ratio * log_q).sum(dim=1) / alpha
    return value, surrogate + (value - surrogate).detach()
