"""Losses against their definitions, and the gradients they send."""

from __future__ import annotations

import torch
from torch.nn import functional

from trainers.objective.losses import alpha_divergence_loss, distillation_loss, label_loss
from trainers.settings.phase import AlphaSettings


def test_distillation_gradient_is_the_difference_of_probabilities() -> None:
    student = torch.randn(6, 4, dtype=torch.float32, requires_grad=True)
    teacher = torch.randn(6, 4, requires_grad=True)
    distillation_loss(student, teacher).backward()
    assert student.grad is not None and teacher.grad is None
    torch.testing.assert_close(student.grad, student.softmax(1).detach() - teacher.softmax(1).detach())


def test_distillation_is_least_at_the_teacher() -> None:
    teacher = torch.randn(5, 3)
    entropy = -(teacher.softmax(1) * teacher.log_softmax(1)).sum()
    torch.testing.assert_close(distillation_loss(teacher, teacher), entropy)
    assert distillation_loss(teacher + torch.randn(5, 3), teacher) > entropy


def test_label_smoothing_spreads_over_all_classes() -> None:
    logits, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    target = torch.full((5, 4), 0.1 / 4)
    target[torch.arange(5), labels] += 0.9
    torch.testing.assert_close(label_loss(logits, labels, 0.1), -(target * logits.log_softmax(1)).sum())


def test_losses_are_summed_so_that_parts_add_up() -> None:
    logits, teacher, labels = torch.randn(8, 3), torch.randn(8, 3), torch.randint(3, (8,))
    halves = [slice(0, 3), slice(3, 8)]
    torch.testing.assert_close(
        label_loss(logits, labels, 0.1), sum(label_loss(logits[h], labels[h], 0.1) for h in halves)
    )
    torch.testing.assert_close(
        distillation_loss(logits, teacher), sum(distillation_loss(logits[h], teacher[h]) for h in halves)
    )


def exact_alpha_divergence(log_q: torch.Tensor, log_p: torch.Tensor, alpha: float) -> torch.Tensor:
    """(B,) by its definition, sum of q ((p / q)^alpha - 1) / (alpha (alpha - 1)); KL(p, q) for alpha 1."""
    p, q = log_p.exp(), log_q.exp()
    if alpha == 1:
        return (p * (log_p - log_q)).sum(1)
    return (q * ((p / q) ** alpha - 1)).sum(1) / (alpha * (alpha - 1))


def test_alpha_divergence_without_a_bound_is_the_larger_of_the_two() -> None:
    student, teacher = 2 * torch.randn(40, 5, dtype=torch.float64), 2 * torch.randn(40, 5, dtype=torch.float64)
    student.requires_grad_()
    loss = alpha_divergence_loss(student, teacher, AlphaSettings(low=-1, high=1, clip=1e9))
    loss.backward()
    found = student.grad
    student.grad = None
    log_q, log_p = student.float().log_softmax(1), teacher.float().log_softmax(1)
    low, high = exact_alpha_divergence(log_q, log_p, -1), exact_alpha_divergence(log_q, log_p, 1)
    assert 0 < int((low > high).sum()) < 40, "both orders must be at work"
    torch.maximum(low, high).sum().backward()
    torch.testing.assert_close(loss, torch.maximum(low, high).sum(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found, student.grad, rtol=1e-3, atol=1e-4)


def test_alpha_divergence_bounds_importance_ratios() -> None:
    """One class that the student misses wholly would have a gradient without end."""
    student = torch.tensor([[0.0, 30.0]], requires_grad=True)
    teacher = torch.tensor([[30.0, 0.0]])
    alpha_divergence_loss(student, teacher, AlphaSettings(low=-0.5, high=0.5, clip=5.0)).backward()
    assert student.grad is not None and bool(torch.isfinite(student.grad).all()) and student.grad.abs().max() <= 10


def test_alpha_divergence_is_least_at_the_teacher_and_leaves_it_alone() -> None:
    teacher = torch.randn(5, 3, requires_grad=True)
    student = teacher.detach().clone().requires_grad_()
    loss = alpha_divergence_loss(student, teacher, AlphaSettings())
    loss.backward()
    assert student.grad is not None and teacher.grad is None
    torch.testing.assert_close(loss, torch.zeros(()), atol=1e-5, rtol=0)
    torch.testing.assert_close(student.grad, torch.zeros(5, 3), atol=1e-5, rtol=0)


def test_class_weights_and_soft_labels_against_the_written_out_sum() -> None:
    logits, weights = torch.randn(6, 4), torch.tensor([0.5, 1.0, 2.0, 0.0])
    soft = torch.randn(6, 4).softmax(1)
    hard = torch.tensor([0, 1, 2, 3, 0, 2])
    for labels, target in ((soft, soft), (hard, functional.one_hot(hard, 4).float())):
        smoothed = 0.9 * target + 0.1 / 4
        torch.testing.assert_close(
            label_loss(logits, labels, 0.1, weights), -(weights * smoothed * logits.log_softmax(1)).sum()
        )
