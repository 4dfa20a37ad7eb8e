"""Losses against their definitions, and the gradients they send."""

from __future__ import annotations

import torch
from torch.nn import functional

from trainers.losses import distillation_loss, label_loss


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


def test_class_weights_and_soft_labels_against_the_written_out_sum() -> None:
    logits, weights = torch.randn(6, 4), torch.tensor([0.5, 1.0, 2.0, 0.0])
    soft = torch.randn(6, 4).softmax(1)
    hard = torch.tensor([0, 1, 2, 3, 0, 2])
    for labels, target in ((soft, soft), (hard, functional.one_hot(hard, 4).float())):
        smoothed = 0.9 * target + 0.1 / 4
        torch.testing.assert_close(
            label_loss(logits, labels, 0.1, weights), -(weights * smoothed * logits.log_softmax(1)).sum()
        )
