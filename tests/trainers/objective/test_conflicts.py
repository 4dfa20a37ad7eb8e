"""Gradients kept apart add up to what they were; where they conflict, the largest subnet's gives way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainers.objective.conflicts import GradientsApart


def projected(largest: list[float], sampled: list[float]) -> torch.Tensor:
    """The summed gradient of two weights, (a, b) and (c,): one vector of three."""
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    apart = GradientsApart(parameters)
    for values, exchanged in ((largest, True), (sampled, False)):
        if exchanged:
            apart.exchange()
        parameters[0].grad, parameters[1].grad = torch.tensor(values[:2]), torch.tensor(values[2:])
        if exchanged:
            apart.exchange()
    apart.add_projected()
    assert parameters[0].grad is not None and parameters[1].grad is not None
    return torch.cat([parameters[0].grad, parameters[1].grad])


def test_gradients_that_agree_are_summed() -> None:
    torch.testing.assert_close(projected([1.0, 2.0, 3.0], [0.5, 0.0, 1.0]), torch.tensor([1.5, 2.0, 4.0]))


def test_a_conflicting_gradient_is_projected() -> None:
    largest, sampled = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([0.5, 0.0, 1.0])
    result = projected(largest.tolist(), sampled.tolist())
    kept = result - sampled
    assert torch.dot(kept, sampled).abs() < 1e-6, "what is left of it is orthogonal"
    torch.testing.assert_close(kept, largest - torch.dot(largest, sampled) / torch.dot(sampled, sampled) * sampled)


@pytest.mark.parametrize("which", [0, 1])
def test_weights_that_only_one_of_them_reaches(which: int) -> None:
    parameters = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    apart = GradientsApart(parameters)
    apart.exchange()
    parameters[which].grad = torch.tensor([2.0])
    apart.exchange()
    parameters[1 - which].grad = torch.tensor([3.0])
    apart.add_projected()
    found = [parameter.grad.item() for parameter in parameters if parameter.grad is not None]
    assert found == [2.0, 3.0][:: 1 if which == 0 else -1]
